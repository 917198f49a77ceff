"""MetalLB and cloud-provider-kind: which is taken, and how it is started."""

from pathlib import Path

import pytest

from harness.base import processes
from harness.base.errors import UserError
from harness.clusters import (
    cloud_provider_kind,
    containers,
    kind,
    metallb,
)
from harness.clusters.cloud_provider_kind import CloudProviderKind
from harness.clusters.load_balancer import choose
from harness.clusters.metallb import MetalLB
from harness.clusters.run_record import begin
from harness.model.step_log import StepLog
from suites.selftest.clusters.test_kind import EAST

MANIFEST = """
apiVersion: v1
kind: Namespace
metadata: {name: metallb-system}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: controller}
spec: {template: {spec: {containers: [{name: controller, args: [], env: [], readinessProbe: {periodSeconds: 10}}]}}}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {name: metallb-webhook-configuration}
"""


class TestLoadBalancers:
    """MetalLB and cloud-provider-kind."""

    def test_metallb_manifest(self) -> None:
        """No webhook, a key in time, quick probes; each time another key."""
        namespace, key, controller = metallb.fast(MANIFEST, "https://172.18.0.4:6443")
        assert namespace["kind"] == "Namespace"
        assert key["metadata"]["name"] == "memberlist"
        assert key["stringData"] != metallb.fast(MANIFEST, "https://172.18.0.4:6443")[1]["stringData"]
        container = controller["spec"]["template"]["spec"]["containers"][0]
        assert "--webhook-mode=disabled" in container["args"]
        assert container["readinessProbe"]["periodSeconds"] == 1
        env = {each["name"]: each["value"] for each in container["env"] if each["name"].startswith("KUBERNETES_")}
        assert env == {"KUBERNETES_SERVICE_HOST": "172.18.0.4", "KUBERNETES_SERVICE_PORT": "6443"}

    def test_pool(self) -> None:
        """The pool is announced."""
        pool, advertisement = metallb.pool_manifests("172.18.255.240-172.18.255.247")
        assert pool["spec"]["addresses"] == ["172.18.255.240-172.18.255.247"]
        assert advertisement["spec"]["ipAddressPools"] == [pool["metadata"]["name"]]

    def test_arguments(self) -> None:
        """Only flags that this version of the program has."""
        assert cloud_provider_kind.arguments("  -v int\n") == ()
        usage = "  -gateway-channel string\n  -enable-default-ingress\n"
        assert len(cloud_provider_kind.arguments(usage)) == 2

    @pytest.mark.parametrize(
        "said",
        [
            "Starting cloud controller for cluster eastwest-a-west2",
            '"Starting cloud controller" cluster="eastwest-a-west2"',
        ],
        ids=["0.10", "0.11"],
    )
    def test_taken_up(self, said: str) -> None:
        """A cluster whose name another begins with is not taken for it."""
        line = f"I1123 21:18:41.1 1 controller.go:1] {said}\n"
        assert cloud_provider_kind.taken_up(line, "eastwest-a-west2")
        assert not cloud_provider_kind.taken_up(line, "eastwest-a-west")

    def test_choice(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """`auto` takes cloud-provider-kind where it is there; wanting it where it is not is an error."""
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
        monkeypatch.setenv("PATH", str(tmp_path))
        with begin("abc") as run:
            assert isinstance(choose("auto", run, None), MetalLB)
            with pytest.raises(UserError, match="not installed"):
                choose("cloud-provider-kind", run, None)
            _program(tmp_path, "true")
            assert isinstance(choose("auto", run, None), CloudProviderKind)
            assert isinstance(choose("metallb", run, None), MetalLB)

    def test_one_run_at_a_time(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """It is taken up by the run that starts it, and free again once that run stops it."""
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
        monkeypatch.setattr(processes, "running", lambda _: ())
        monkeypatch.setattr(containers, "labelled", lambda *_: ())
        path = _program(tmp_path, 'echo "Starting cloud controller for cluster eastwest-abc-east"; exec sleep 60')
        log = StepLog()
        with begin("abc") as run:
            run.update(lambda record, _: record.model_copy(update={"clusters": (EAST,)}))
            provider, east = CloudProviderKind(str(path), run), kind.access_of(EAST, run)
            provider.start([east], log)
            provider.wait([east], log)
            assert cloud_provider_kind.used_by_another_run()
            with pytest.raises(UserError, match="another run"):
                CloudProviderKind(str(path), run).start([east], log)
            provider.stop(log)
            assert not cloud_provider_kind.used_by_another_run()
            assert "Starting cloud controller" in provider.log_file.read_text()

    def test_that_ends_at_once(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Its last words are shown."""
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
        monkeypatch.setattr(processes, "running", lambda _: ())
        monkeypatch.setattr(containers, "labelled", lambda *_: ())
        path, log = _program(tmp_path, "echo can not detect cluster provider"), StepLog()
        with begin("abc") as run:
            run.update(lambda record, _: record.model_copy(update={"clusters": (EAST,)}))
            provider, east = CloudProviderKind(str(path), run), kind.access_of(EAST, run)
            provider.start([east], log)
            with pytest.raises(UserError, match="can not detect"):
                provider.wait([east], log)
            provider.stop(log)


def _program(directory: Path, script: str) -> Path:
    path = directory / cloud_provider_kind.PROGRAM
    path.write_text(f'#!/bin/sh\n[ -z "$1" ] || exit 0\n{script}\n')
    path.chmod(0o755)
    return path
