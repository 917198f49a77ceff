"""The experiment stage without clusters: what it reads from answers, and that it mends whatever happens."""

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from harness.base.errors import StepError
from harness.experiments import authorization, experiment, mutual_tls, policy, rerun, unfit
from harness.experiments import testbed as testbed_module
from harness.experiments.testbed import Testbed, unknown_to_ztunnel
from harness.kube.api import Object
from harness.mesh import pki, workloads
from harness.mesh.context import Mesh
from harness.mesh.settings import MeshSettings
from harness.model import captured
from harness.model.cluster import Pod
from harness.model.data_plane import DataPlane
from harness.model.experiment import LABEL, RERUN, TCP
from harness.model.observation import Observation
from harness.model.step_log import StepLog
from harness.model.topology import ControlPlaneModel, NetworkModel, preset
from harness.model.ztunnel import Ztunnel
from suites.selftest.support.ambient import ambient
from suites.selftest.support.fake_kube import FakeKube

PRIMARY_REMOTE = preset(ControlPlaneModel.PRIMARY_REMOTE, NetworkModel.MULTI, 3)
SETTINGS = MeshSettings(istio_version="1.31.0", istioctl=Path("istioctl"), run_id="run1", experiments=True)


def _kubes() -> dict[str, FakeKube]:
    return {cluster.name: FakeKube(cluster.name) for cluster in PRIMARY_REMOTE.clusters}


def _mesh(kubes: Mapping[str, FakeKube]) -> Mesh:
    return Mesh(PRIMARY_REMOTE, kubes, SETTINGS, StepLog())


def test_deployed() -> None:
    """One echo server a cluster, a Service for each version everywhere; all of it labelled, and so not observed."""
    kubes = _kubes()
    mesh = _mesh(kubes)
    for cluster in PRIMARY_REMOTE.clusters:
        workloads.deploy_experiments(mesh, cluster)
    for cluster in PRIMARY_REMOTE.clusters:
        applied = list(kubes[cluster.name].objects.values())
        names = sorted(f"{found['kind']} {found['metadata']['name']}" for found in applied)
        assert names == sorted(
            [
                *(f"Service echo-{other.version}" for other in PRIMARY_REMOTE.clusters),
                *(f"DestinationRule echo-{other.version}" for other in PRIMARY_REMOTE.clusters if cluster.is_primary),
                *("Service echo", "ServiceAccount echo", f"Deployment echo-{cluster.version}", "Deployment plain"),
            ]
        )
        pods = [found["spec"]["template"] for found in applied if found["kind"] == "Deployment"]
        assert all(LABEL in found["metadata"]["labels"] for found in [*applied, *pods])
        assert "docker.io/istio/app:1.31.0" in {pod["spec"]["containers"][0]["image"] for pod in pods}


def _chains(*transports: str) -> list[Any]:
    chains = [{"filter_chain_match": {"destination_port": 5000, "transport_protocol": kind}} for kind in transports]
    return [*chains, {"filter_chain_match": {"destination_port": 15006, "transport_protocol": "raw_buffer"}}]


def test_refuses_plaintext() -> None:
    """STRICT is in force where helloworld's port takes TLS only."""
    assert mutual_tls.refuses_plaintext(_chains("tls"))
    for chains in (_chains("tls", "raw_buffer"), _chains(""), _chains(), []):
        assert not mutual_tls.refuses_plaintext(chains)


def test_active_chains() -> None:
    """What a proxy is still warming is not yet in force."""
    listener = {"listener": {"filter_chains": _chains("tls")}}
    assert policy.active_chains({"configs": [{"active_state": listener}]}) == _chains("tls")
    for answer in ({"configs": [{"warming_state": listener}]}, {}, None):
        assert not policy.active_chains(answer)


def test_enforces_policy() -> None:
    """An authorization policy is in force where Envoy's rules name it."""
    assert authorization.enforces_policy([{"policies": {f"ns[sample]-policy[{authorization.NAME}]-rule[0]": {}}}])
    assert not authorization.enforces_policy([])


TAKES_TLS = policy.InForce(in_sidecar=bool, in_ztunnel="allow")


@pytest.mark.parametrize(
    ("policies", "pending"),
    [(("sample:allow",), ()), (("sample:other",), ("east: echo-v1-1",)), ((), ("east: echo-v1-1",))],
)
def test_a_ztunnel_tells_whether_a_policy_is_in_force(
    policies: tuple[str, ...], pending: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """That of the node of the pod that is called: it is asked until it has the policy, and applies it to the pod."""
    seen, east = ambient(), ambient().topology.clusters[0]
    (asked,) = captured.ztunnel_pods(seen, east)
    kubes = {cluster.name: FakeKube(cluster.name) for cluster in seen.topology.clusters}
    place = {"name": "echo-v1-1", "namespace": "sample"}
    kubes["east"].apply({"kind": "Pod", "metadata": place, "spec": {"nodeName": asked.node}})
    settings = replace(SETTINGS, data_plane=DataPlane.AMBIENT, timeout_scale=0.01)
    testbed = Testbed(Mesh(seen.topology, kubes, settings, StepLog()), seen, {})

    def read(_kube: FakeKube, pod: Pod, *_: object) -> Ztunnel:
        assert pod == asked
        ztunnel = seen[east].ztunnels[0]
        workload = ztunnel.workloads[0].model_copy(update={**place, "policies": policies})
        return ztunnel.model_copy(update={"workloads": (workload,)})

    monkeypatch.setattr(testbed_module, "read_ztunnel", read)
    destinations = [(east, "echo-v1-1")]
    with policy.applied(
        testbed, "AuthorizationPolicy", "allow", {}, destinations=destinations, in_force=TAKES_TLS
    ) as applied:
        assert applied.pending == pending


def test_no_ztunnel_no_policy() -> None:
    """A pod on a node without one, or one that is gone, is waited for, and named."""
    seen = ambient()
    kubes = {cluster.name: FakeKube(cluster.name) for cluster in seen.topology.clusters}
    testbed = Testbed(Mesh(seen.topology, kubes, SETTINGS, StepLog()), seen, {})
    east = seen.topology.clusters[0]
    assert testbed.ztunnel(east, "gone") is None
    kubes["east"].apply({"kind": "Pod", "metadata": {"name": "new", "namespace": "sample"}, "spec": {"nodeName": "n9"}})
    assert testbed.ztunnel(east, "new") is None


def test_unknown_to_ztunnel() -> None:
    """A version is known to a ztunnel when its Service has an endpoint that leads somewhere."""
    seen = ambient()
    ztunnel = seen.clusters[0].ztunnels[0]
    assert not unknown_to_ztunnel(ztunnel, ["v1", "v2"])
    assert unknown_to_ztunnel(ztunnel, ["v1", "v3"]) == ["v3"]
    local = tuple(each for each in ztunnel.workloads if not each.gateway)
    assert unknown_to_ztunnel(ztunnel.model_copy(update={"workloads": local}), ["v1", "v2"]) == ["v2"]
    assert unknown_to_ztunnel(None, ["v1"]) == ["v1"]


def test_policies_stand_on_primaries_and_are_withdrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a remote's policies are read is its primary; whatever breaks, nothing stays."""
    kubes = _kubes()
    testbed = Testbed(_mesh(kubes), cast(Observation, SimpleNamespace()), {})
    listener = {"listener": {"filter_chains": _chains("tls")}}
    monkeypatch.setattr(Testbed, "ask", lambda *_: {"configs": [{"active_state": listener}]})

    def make() -> None:
        east = PRIMARY_REMOTE.clusters[0]
        with policy.applied(
            testbed, "PeerAuthentication", "strict", {}, destinations=[(east, "pod")], in_force=TAKES_TLS
        ) as applied:
            assert applied.clusters == ("east",)
            assert not applied.pending
            made = [list(kube.objects.values()) for kube in kubes.values()]
            assert [[found["kind"] for found in on] for on in made] == [["PeerAuthentication"], [], []]
            assert made[0][0]["metadata"]["labels"] == {"eastwest/run": "run1"}
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make()
    assert not any(kube.objects for kube in kubes.values())


def test_unfit(good_observations: Mapping[str, Observation]) -> None:
    """Experiments are made only where every version answers every cluster."""
    for observation in good_observations.values():
        assert not unfit(observation)
        assert unfit(observation.model_copy(update={"traffic": None})).startswith("TR-REACH: ")


@pytest.mark.parametrize("broken", [RuntimeError("bug"), KeyboardInterrupt()], ids=("suite", "interrupt"))
def test_taken_down(
    broken: BaseException, good_observations: Mapping[str, Observation], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was deployed for experiments goes, whatever happens; a failure of the suite is told as such."""
    kubes = _kubes()
    for kube in kubes.values():
        for kind in ("Deployment", "Service", "ServiceAccount"):
            kube.apply({"kind": kind, "metadata": {"name": "echo", "namespace": "sample", "labels": {LABEL: "true"}}})
    good = good_observations["primary-remote-multi-network"]

    def fail(*_: object) -> None:
        raise broken

    monkeypatch.setattr("harness.experiments.set_up", fail)
    monkeypatch.setattr(rerun, "make", fail)
    interrupted = isinstance(broken, KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt) if interrupted else nullcontext():
        found = experiment(
            _mesh(kubes),
            pki=pki.Pki({}),
            observation=good,
            wanted=frozenset({TCP, RERUN, "TR-REACH"}),
        )
        assert set(found.errors) == {TCP, RERUN}
        assert not found.prevented
    assert not any(kube.objects for kube in kubes.values())


def test_prevented(good_observations: Mapping[str, Observation], monkeypatch: pytest.MonkeyPatch) -> None:
    """What the mesh or the environment fails to do, on one cluster or on several, is no failure of the suite."""

    def fail(*_: object) -> None:
        raise ExceptionGroup("2 of 2 failed", [StepError("ImagePullBackOff on east"), StepError("and on west")])

    monkeypatch.setattr("harness.experiments.set_up", fail)
    found = experiment(
        _mesh(_kubes()),
        pki=pki.Pki({}),
        observation=good_observations["primary-remote-multi-network"],
        wanted=frozenset({TCP}),
    )
    assert found.prevented == {TCP: "its experiment: ImagePullBackOff on east; and on west"}
    assert not found.errors


def _deployment(**spec: object) -> Object:
    return {"metadata": {"name": "istiod", "uid": "1", "generation": 1, "resourceVersion": "5"}, "spec": spec}


def test_changes() -> None:
    """What differs is named by its fields; what others write is left aside."""
    key = ("Deployment.apps", "istio-system", "istiod")
    old = _deployment(replicas=1)
    same = {**old, "status": {"ready": 1}, "metadata": {**old["metadata"], "resourceVersion": "6"}}
    assert not list(rerun.changes("east", {key: old}, {key: same}))
    changed = list(rerun.changes("east", {key: old}, {key: _deployment(replicas=2)}))
    assert [(change.change, change.fields) for change in changed] == [("changed", ("spec.replicas",))]
    again = {**old, "metadata": {**old["metadata"], "uid": "2"}}
    found = [
        next(iter(rerun.changes("east", *states))).change
        for states in (({key: old}, {key: again}), ({key: old}, {}), ({}, {key: old}))
    ]
    assert found == ["made again", "removed", "added"]
    rolled = {**old, "metadata": {**old["metadata"], "generation": 3}}
    assert [change.generations for change in rerun.changes("east", {key: old}, {key: rolled})] == [(1, 3)]


def test_patched_aside() -> None:
    """Istiod writes its CA into webhooks; anything else in them counts."""
    key = ("ValidatingWebhookConfiguration.admissionregistration.k8s.io", "", "istio-validator")

    def webhook(generation: int, policy: str, path: str) -> Object:
        hook = {"failurePolicy": policy, "clientConfig": {"caBundle": policy, "service": {"path": path}}}
        return {"metadata": {"name": key[2], "uid": "1", "generation": generation}, "webhooks": [hook]}

    old = webhook(1, "Ignore", "/validate")
    assert not list(rerun.changes("east", {key: old}, {key: webhook(3, "Fail", "/validate")}))
    found = list(rerun.changes("east", {key: old}, {key: webhook(3, "Fail", "/other")}))
    assert found[0].fields == ("webhooks.0.clientConfig.service.path",)


def test_exchanged_certificates() -> None:
    """No cluster is given its own certificates again."""
    files = {name: pki.CaFiles(name, "", "", "") for name in ("east", "west", "north")}
    exchanged = rerun.exchanged(pki.Pki(files)).clusters
    assert {name: found.ca_cert for name, found in exchanged.items()} == {
        "east": "west",
        "west": "north",
        "north": "east",
    }
