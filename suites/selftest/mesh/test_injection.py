"""The pod that is sent as a dry run, and the wait for it to come back injected."""

from collections.abc import Mapping
from typing import Any

import pytest
from kubernetes.client import ApiException

from harness.kube.api import Object
from harness.mesh import injection
from harness.model.step import Phase
from harness.model.step_log import StepLog
from harness.observe.dry_run import created_from, dry_run
from suites.selftest.support.fake_kube import FakeKube


class PodSecurity(FakeKube):
    """An API server that admits a pod as the Pod Security Standard "Restricted" does, and injects it."""

    def create(self, manifest: Object, *, dry_run: bool = False) -> Object:
        """The pod with a sidecar."""
        assert dry_run
        assert _violations(manifest["spec"]) == []
        return {"spec": {"containers": [*manifest["spec"]["containers"], {"name": "istio-proxy"}]}}


def _violations(spec: Mapping[str, Any]) -> list[str]:
    pod, containers = spec.get("securityContext", {}), [c.get("securityContext", {}) for c in spec["containers"]]
    rules = {
        "runAsNonRoot": pod.get("runAsNonRoot") is True,
        "seccompProfile": pod.get("seccompProfile", {}).get("type") == "RuntimeDefault",
        "allowPrivilegeEscalation": all(c.get("allowPrivilegeEscalation") is False for c in containers),
        "capabilities": all(c.get("capabilities") == {"drop": ["ALL"]} for c in containers),
    }
    return [rule for rule, kept in rules.items() if not kept]


def test_a_namespace_with_pod_security_restricted_admits_the_pod() -> None:
    kube, log = PodSecurity("east"), StepLog()
    with log.step(Phase.WORKLOADS, "wait") as opened:
        injection.await_injection(kube, "sample", 0, opened, injection.INJECT)
    assert dry_run(kube, "sample").injected


def test_the_user_is_left_to_the_cluster() -> None:
    """OpenShift's SCC gives each namespace a range of users, and refuses every other."""
    assert "runAsUser" not in str(injection.probe_pod("sample"))


@pytest.mark.parametrize("labels", [{}, injection.INJECT])
def test_labels_that_ask_for_injection_are_on_the_pod(labels: Mapping[str, str]) -> None:
    assert labels.items() <= injection.probe_pod("sample", labels)["metadata"]["labels"].items()


class Strict(FakeKube):
    """An API server whose admission demands limits, as a policy engine's does, and injects a sidecar."""

    def create(self, manifest: Object, *, dry_run: bool = False) -> Object:
        """The pod with a sidecar."""
        assert dry_run
        if not all("resources" in container for container in manifest["spec"]["containers"]):
            raise ApiException(status=403, reason="limits are missing")
        return {"spec": {"containers": [*manifest["spec"]["containers"], {"name": "istio-proxy"}]}}


def test_on_a_mesh_of_others_the_pod_is_one_of_theirs() -> None:
    """A template that refuses injection is passed over; where nothing is deployed the suite's own pod is sent."""
    kube = Strict("east")
    limited = [{"name": "app", "resources": {"limits": {"cpu": "1"}}}]
    template = {"metadata": {"labels": {"app": "reviews"}}, "spec": {"containers": limited}}
    refusing = {"metadata": {"labels": {"sidecar.istio.io/inject": "false"}}, "spec": {"containers": []}}
    deployments = {"items": [{"spec": {"template": refusing}}, {"spec": {"template": template}}]}
    kube.answers = {"/apis/apps/v1/namespaces/sample/deployments": deployments}
    assert dry_run(kube, "sample", as_there=True).injected
    assert not dry_run(kube, "sample").injected
    sent = created_from([refusing, template], injection.probe_pod("sample"))
    assert sent["metadata"] == {"labels": {"app": "reviews"}, "name": injection.NAME, "namespace": "sample"}
    assert created_from([refusing], injection.probe_pod("sample")) == injection.probe_pod("sample")
