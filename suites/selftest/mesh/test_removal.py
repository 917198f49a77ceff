"""Cleanup takes away what the run made, and nothing else."""
# ruff: noqa: ARG002 - the signatures are those of KubeApi

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from kubernetes.client import ApiException

from harness.base.errors import StepError
from harness.experiments.resilience import revision
from harness.kube import inventory
from harness.kube.api import KubeApi, Object
from harness.kube.inventory import Entry, Inventory, Kind
from harness.mesh import cleanup, ownership, removal
from harness.mesh.context import Mesh
from harness.mesh.settings import MeshSettings
from harness.model.step import Outcome
from harness.model.step_log import StepLog
from harness.model.topology import ControlPlaneModel, NetworkModel, preset
from suites.selftest.support.fake_kube import FakeKube

TOPOLOGY = preset(ControlPlaneModel.MULTI_PRIMARY, NetworkModel.MULTI)
SETTINGS = MeshSettings(istio_version="1.31.0", istioctl=Path("istioctl"))
NAMESPACE = Kind("v1", "Namespace", "namespaces")
ROLE = Kind("rbac.authorization.k8s.io/v1", "ClusterRole", "clusterroles")
CRD = Kind("apiextensions.k8s.io/v1", "CustomResourceDefinition", "customresourcedefinitions")
CONFIG_MAP = Kind("v1", "ConfigMap", "configmaps")


class RecordingKube(FakeKube):
    """Records what is deleted, and changed, of a cluster in which everything is there."""

    def __init__(self, name: str, history: list[tuple[str, str, str]]) -> None:
        super().__init__(name)
        self._history = history
        self.stuck = ""
        self.merged: dict[tuple[str, str], Object] = {}

    def delete(self, api_version: str, kind: str, name: str, namespace: str | None = None) -> bool:
        """It was there."""
        self._history.append((self.name, kind, f"{namespace}/{name}" if namespace else name))
        return True

    def get(self, api_version: str, kind: str, name: str, namespace: str | None = None) -> Object:
        """A namespace with the run's labels."""
        labels = {"istio-injection": "enabled", "topology.istio.io/network": "network1"}
        annotations = {"topology.istio.io/controlPlaneClusters": "cluster1", "example.org/note": "now"}
        return {"metadata": {"name": name, "labels": labels, "annotations": annotations}}

    def merge(self, api_version: str, kind: str, name: str, change: Object, namespace: str | None = None) -> Object:
        """Keep what was changed."""
        self.merged[kind, name] = change
        return change

    def wait(self, *which: Any, pending: Callable[[Object | None], str], **_options: Any) -> Object | None:
        """Gone at once, but for what is stuck."""
        if which[2] == self.stuck:
            raise StepError(pending({"kind": which[1], "metadata": {"name": which[2], "finalizers": ["hold"]}}))
        return None


@pytest.fixture
def history(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str, str]]:
    """Deletions in their order; pods are ended without an API server."""
    monkeypatch.setattr(removal, "_end_pods", lambda *_: None)
    return []


def _inventory(cluster: str, *entries: Entry) -> Inventory:
    return Inventory(cluster, {entry.key: entry for entry in entries})


def _entry(kind: Kind, name: str, namespace: str = "", manager: str = "eastwest") -> Entry:
    return Entry(kind, namespace, name, name, (manager,))


BEFORE = (_entry(NAMESPACE, "default"), _entry(ROLE, "admin"))
MADE = (
    _entry(NAMESPACE, "istio-system"),
    _entry(CONFIG_MAP, "istio", "istio-system"),
    _entry(CRD, "gateways.networking.istio.io"),
    _entry(ROLE, "istio-cni"),  # named like a namespace
    _entry(CONFIG_MAP, "istio-ca-root-cert", "default", "pilot-discovery"),
)
OTHERS = (_entry(NAMESPACE, "team-a", manager="kubectl-create"), _entry(ROLE, "team-a", manager="helm"))


def _remove(
    monkeypatch: pytest.MonkeyPatch, kubes: Mapping[str, KubeApi], before: tuple[Entry, ...], after: tuple[Entry, ...]
) -> StepLog:
    monkeypatch.setattr(inventory, "take", lambda kube: _inventory(kube.name, *before, *after))
    log = StepLog()
    inventories = {name: _inventory(name, *before) for name in kubes}
    removal.remove(Mesh(TOPOLOGY, kubes, SETTINGS, log), inventories)
    return log


def test_the_difference_and_nothing_else(monkeypatch: pytest.MonkeyPatch, history: list[tuple[str, str, str]]) -> None:
    """Namespaces first; then, when no cluster has a control plane any more, the rest; definitions last."""
    kubes = {name: RecordingKube(name, history) for name in ("east", "west")}
    log = _remove(monkeypatch, kubes, BEFORE, MADE + OTHERS)
    east = [(kind, name) for cluster, kind, name in history if cluster == "east"]
    assert east == [
        ("Namespace", "istio-system"),
        ("Namespace", "sample"),
        ("Namespace", "istio-cni"),
        ("ClusterRole", "istio-cni"),
        ("ConfigMap", "default/istio-ca-root-cert"),
        ("CustomResourceDefinition", "gateways.networking.istio.io"),
    ]
    kinds = [kind for _, kind, _ in history]
    assert set(kinds[:6]) == {"Namespace"}
    assert all(step.outcome is Outcome.DONE for step in log.steps)


def test_a_namespace_that_stood_before_stays(
    monkeypatch: pytest.MonkeyPatch, history: list[tuple[str, str, str]]
) -> None:
    """What the run put into it is taken out, and what others did meanwhile stays."""
    kubes = {name: RecordingKube(name, history) for name in ("east", "west")}
    others = _entry(CONFIG_MAP, "settings", "istio-system", "kubectl")
    log = _remove(monkeypatch, kubes, (*BEFORE, _entry(NAMESPACE, "istio-system")), (*MADE[1:], others))
    assert ("east", "ConfigMap", "istio-system/settings") not in history
    assert ("east", "Namespace", "istio-system") not in history
    assert ("east", "ConfigMap", "istio-system/istio") in history
    assert any("stood before, and stays: istio-system" in step.detail for step in log.steps)


def test_a_namespace_that_stood_before_is_labelled_as_it_was(
    monkeypatch: pytest.MonkeyPatch, history: list[tuple[str, str, str]]
) -> None:
    """The run's keys get their former values or go; what others set meanwhile, and elsewhere, stays."""
    kubes = {name: RecordingKube(name, history) for name in ("east", "west")}
    labels = {"istio-injection": "disabled", "istio.io/rev": "theirs", "team": "a"}
    system = Entry(NAMESPACE, "", "istio-system", "1", labels=labels, annotations={"example.org/note": "then"})
    log = _remove(monkeypatch, kubes, (*BEFORE, system), MADE[1:])
    restored = {
        "labels": {"istio-injection": "disabled", "istio.io/rev": "theirs", "topology.istio.io/network": None},
        "annotations": {"topology.istio.io/controlPlaneClusters": None},
    }
    assert kubes["east"].merged == {("Namespace", "istio-system"): {"metadata": restored}}
    assert any("istio-system: istio-injection, istio.io/rev, topology" in step.detail for step in log.steps)


def test_what_the_run_sets_on_namespaces_is_restored() -> None:
    """Every key that the procedure, or a change of the revision, sets is one that removal knows."""
    assert set(revision.namespace_labels("default")) | set(revision.namespace_labels("canary")) <= set(
        ownership.NAMESPACE_KEYS["labels"]
    )


def test_by_hand_with_the_users_own_files() -> None:
    """The commands can be pasted, whatever contexts and files are called."""
    before = _inventory("east", _entry(NAMESPACE, "istio-cni"))
    said = ownership.by_hand("a b", (Path("one"), Path("my clusters")), SETTINGS, before)
    start = "KUBECONFIG='one:my clusters' kubectl --context='a b'"
    assert said.startswith(f"{start} delete --ignore-not-found namespace istio-system sample; then what `{start} get ")


def test_by_hand_the_operators_resources_go_first() -> None:
    """While it runs it removes what it has made; `oc` is called as it is. Namespaces that stood before stay."""
    settings = replace(SETTINGS, installer="sail", cli="oc")
    stood = [_entry(NAMESPACE, name) for name in settings.namespaces]
    said = ownership.by_hand("east", (), settings, _inventory("east", *stood))
    resources = "istio.sailoperator.io/default istiocni.sailoperator.io/default"
    assert said.startswith(f"oc --context=east delete --ignore-not-found {resources}; then what `oc --context=east get")


def test_routes_of_others_stay(monkeypatch: pytest.MonkeyPatch, history: list[tuple[str, str, str]]) -> None:
    """Where Istio's definitions stood before, GitOps goes on applying objects of these kinds during the run."""
    kubes = {name: RecordingKube(name, history) for name in ("east", "west")}
    kind = Kind("networking.istio.io/v1", "VirtualService", "virtualservices")
    made = (_entry(kind, "theirs", "team-a", "argocd-controller"), _entry(kind, "ours", "team-a"))
    _remove(monkeypatch, kubes, (*BEFORE, _entry(NAMESPACE, "team-a"), MADE[2]), made)
    assert {name for _, kind, name in history if kind == "VirtualService"} == {"team-a/ours"}


def test_what_hangs_is_said_and_the_rest_is_removed(
    monkeypatch: pytest.MonkeyPatch, history: list[tuple[str, str, str]]
) -> None:
    """A finalizer nobody takes off fails one step."""
    kubes = {name: RecordingKube(name, history) for name in ("east", "west")}
    kubes["east"].stuck = "sample"
    log = _remove(monkeypatch, kubes, BEFORE, MADE)
    failed = [step for step in log.steps if step.outcome is Outcome.FAILED]
    assert [(step.cluster, step.title) for step in failed] == [("east", "Wait for the namespaces to be gone")]
    assert "finalizers hold" in failed[0].detail
    assert ("west", "CustomResourceDefinition", "gateways.networking.istio.io") in history


def test_what_finalizers_hold_keeps_nothing_else(
    monkeypatch: pytest.MonkeyPatch, history: list[tuple[str, str, str]]
) -> None:
    """One object that does not go is named, and the definitions, whose turn comes after it, are removed."""
    kubes = {name: RecordingKube(name, history) for name in ("east", "west")}
    kubes["east"].stuck = "istio-ca-root-cert"
    log = _remove(monkeypatch, kubes, BEFORE, MADE)
    (failed,) = [step for step in log.steps if step.outcome is Outcome.FAILED]
    assert failed.cluster == "east"
    assert "istio-ca-root-cert is still there: finalizers hold" in failed.detail
    assert ("east", "CustomResourceDefinition", "gateways.networking.istio.io") in history


def test_cleanup_is_observed(history: list[tuple[str, str, str]]) -> None:
    """Every cluster is compared with itself; one that does not answer is named."""
    kubes = {name: RecordingKube(name, history) for name in ("east", "west")}

    def take(kube: KubeApi) -> Inventory:
        if kube.name == "west":
            raise ApiException(status=503, reason="gone")
        return _inventory(kube.name, *BEFORE, MADE[3])

    before = {name: _inventory(name, *BEFORE) for name in kubes}
    found = cleanup.observe_cleanup(kubes, before, ["lb-1"], take)
    assert found.clusters == ("east",)
    assert [(change.change, change.name, change.detail) for change in found.changes] == [
        ("left behind", "istio-cni", "written by eastwest")
    ]
    assert found.unread == ("west: 503 gone",)
    assert found.objects_before == {"east": 2, "west": 2}
    assert found.containers_left == ("lb-1",)
