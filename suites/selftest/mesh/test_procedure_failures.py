"""The procedure where something fails: a step is recorded as failed, and what does not depend on it goes on."""

from typing import Any

import pytest
from kubernetes.client import ApiException

from harness.base.command import CommandError
from harness.base.errors import StepError
from harness.kube.api import Object
from harness.mesh import gateways, pki, procedure, workloads
from harness.mesh.context import HOPELESS_SECONDS
from harness.mesh.settings import AVAILABLE_SECONDS, INJECTION_SECONDS
from harness.model.step import WAIT_FOR_CONTROL_PLANE, Outcome
from harness.model.step_log import OpenStep
from harness.model.topology import ControlPlaneModel, NetworkModel, preset
from suites.selftest.support.quick_mesh import (
    ADDRESS,
    GATEWAY,
    Istioctl,
    QuickKube,
    installed,
    mesh_of,
    remote_secrets,
)

MP, PR = ControlPlaneModel.MULTI_PRIMARY, ControlPlaneModel.PRIMARY_REMOTE
MULTI, SINGLE = NetworkModel.MULTI, NetworkModel.SINGLE


def test_a_failed_step_does_not_hide_the_rest(istioctl: Istioctl) -> None:
    """A control plane that does not come: recorded, with little patience for what depends on it, and nothing raised."""
    kubes = {name: QuickKube(name) for name in ("east", "west")}
    kubes["east"].never = {"Deployment", "Service"}
    _, steps = installed(preset(PR, MULTI), kubes)
    failed = {(step.cluster, step.title): step.detail for step in steps if step.outcome is Outcome.FAILED}
    assert "after 180 s" in failed["east", WAIT_FOR_CONTROL_PLANE]
    assert "after 10 s" in failed["east", ADDRESS]
    skipped = [step for step in steps if step.title == "Install Istio on the remote cluster"]
    assert [step.outcome for step in skipped] == [Outcome.SKIPPED]
    assert "istio-remote-secret-cluster2" in remote_secrets(kubes["east"])
    assert not any(step.outcome is Outcome.ERROR for step in steps)


def test_a_program_that_fails_is_the_steps_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """The words of istioctl are the detail of the step."""

    def refuse(*_args: Any, **_options: Any) -> str:
        raise CommandError(["istioctl"], 1, "unknown field")

    monkeypatch.setattr(QuickKube, "run", refuse)
    _, steps = installed(preset(MP, MULTI))
    failed = [step for step in steps if step.title == "Install Istio on the primary cluster"]
    assert all(step.outcome is Outcome.FAILED and "unknown field" in step.detail for step in failed)


def test_an_api_server_that_refuses_everything_fails_steps_only(
    istioctl: Istioctl, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where several requests of one step are refused at once."""

    def refuse(_self: QuickKube, manifest: Object) -> Object:
        raise ApiException(status=403, reason=f"{manifest['metadata']['name']} is forbidden")

    monkeypatch.setattr("harness.mesh.istioctl.rendered", lambda *_: [_config_map("a"), _config_map("b")])
    monkeypatch.setattr(QuickKube, "apply", refuse)
    monkeypatch.setattr(QuickKube, "merge", lambda *_: {})
    _, steps = installed(preset(MP, SINGLE))
    details = {step.detail for step in steps if step.title == "Install Istio on the primary cluster"}
    assert details == {"403 a is forbidden; 403 b is forbidden"}
    assert not any(step.outcome is Outcome.ERROR for step in steps)


def _config_map(name: str) -> Object:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "istio-system"}}


def test_a_gateway_without_injection_is_created_all_the_same(
    istioctl: Istioctl, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its pods come when injection does; until then the Deployment shows what is missing."""
    monkeypatch.setattr(gateways, "INJECTION_SECONDS", 0.0)
    kubes = {name: QuickKube(name) for name in ("east", "west")}
    kubes["east"].injects = False
    _, steps = installed(preset(MP, MULTI), kubes)
    failed = [step.detail for step in steps if (step.cluster, step.title) == ("east", GATEWAY)]
    assert "are not injected after 0 s" in failed[0]
    assert ("Deployment", "istio-system", gateways.NAME) in kubes["east"].objects


@pytest.mark.parametrize("injects", [True, False])
def test_waits_are_short_after_a_failed_installation(
    injects: bool, istioctl: Istioctl, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sample is deployed with the record of what failed; that injection answers shows that its pods may start."""
    topology, waits = preset(MP, MULTI), list[tuple[str, float]]()

    def await_injection(kube: QuickKube, _namespace: str, timeout: float, _step: OpenStep) -> None:
        waits.append((kube.name, timeout))
        if not injects:
            raise StepError("no webhook added a proxy to the pod")

    def await_deployment(kube: QuickKube, _namespace: str, _name: str, timeout: float, _step: OpenStep) -> None:
        waits.append((kube.name, timeout))

    monkeypatch.setattr(workloads, "await_injection", await_injection)
    monkeypatch.setattr(workloads, "await_deployment", await_deployment)
    kubes = {cluster.name: QuickKube(cluster.name) for cluster in topology.clusters}
    kubes["east"].never = {"Deployment"}
    mesh = mesh_of(topology, kubes)
    procedure.install(mesh, pki.Pki({name: pki.CaFiles("cert", "key", "root", "chain") for name in kubes}))
    procedure.await_gateways(mesh)
    assert [step.cluster for step in mesh.log.steps if step.outcome is Outcome.FAILED][:1] == ["east"]
    workloads.deploy(mesh)
    east, west = ([timeout for cluster, timeout in waits if cluster == name] for name in ("east", "west"))
    started = AVAILABLE_SECONDS if injects else HOPELESS_SECONDS
    assert east == [HOPELESS_SECONDS, started, started]
    if injects:
        assert west == [INJECTION_SECONDS, AVAILABLE_SECONDS, AVAILABLE_SECONDS]
