"""Inventories: what they list, how they compare, and whose the difference is."""

from pathlib import Path
from typing import Any

import pytest
from kubernetes.client import ApiException

from harness.kube import inventory
from harness.kube.api import KubeApi, Object
from harness.kube.inventory import Entry, Inventory, Kind
from harness.mesh import kept_mesh, ownership
from harness.mesh.gone import still_there
from harness.mesh.settings import MeshSettings
from harness.model.data_plane import DataPlane
from harness.model.topology import ControlPlaneModel, NetworkModel, preset
from suites.selftest.support.fake_kube import FakeKube

CONFIG_MAP = Kind("v1", "ConfigMap", "configmaps")
ROLE = Kind("rbac.authorization.k8s.io/v1", "ClusterRole", "clusterroles")
GATEWAY = Kind("networking.istio.io/v1", "Gateway", "gateways")
NAMESPACE = Kind("v1", "Namespace", "namespaces")
SETTINGS = MeshSettings(istio_version="1.31.0", istioctl=Path("istioctl"))


def _kube(answers: dict[str, Object | int]) -> KubeApi:
    """An API server with these answers by path; a number is a status."""
    kube = FakeKube("east")
    kube.answers = {
        path: ApiException(status=answer, reason="refused") if isinstance(answer, int) else answer
        for path, answer in answers.items()
    }
    return kube


def _take(answers: dict[str, Object | int]) -> Inventory:
    return inventory.take(_kube(answers))


def _resource(kind: str, plural: str, *verbs: str) -> Object:
    return {"resource": plural, "responseKind": {"kind": kind}, "verbs": verbs or ["list"]}


def _group(name: str, version: str, *resources: Object) -> Object:
    older: Object = {"version": "v0", "resources": resources}
    return {"metadata": {"name": name}, "versions": [{"version": version, "resources": resources}, older]}


def _item(name: str, uid: str = "1", **metadata: Any) -> Object:
    return {"metadata": {"name": name, "uid": uid, **metadata}}


def _entry(kind: Kind, name: str, namespace: str = "", uid: str = "1", managers: tuple[str, ...] = ()) -> Entry:
    return Entry(kind, namespace, name, uid, managers)


def _inventory_of(*entries: Entry, unread: dict[str, str] | None = None) -> Inventory:
    return Inventory("east", {found.key: found for found in entries}, unread or {})


def test_every_listable_kind_once() -> None:
    """Kinds come from discovery, each in its preferred version; computed and volatile ones stay out."""
    found = _take(
        {
            "/api": {
                "items": [
                    _group(
                        "",
                        "v1",
                        _resource("ConfigMap", "configmaps"),
                        _resource("Event", "events"),
                        _resource("Binding", "bindings", "create"),
                    )
                ]
            },
            "/apis": {
                "items": [
                    _group("apps", "v1", _resource("Deployment", "deployments")),
                    _group("metrics.k8s.io", "v1", _resource("PodMetrics", "pods")),
                    _group("packages.operators.coreos.com", "v1", _resource("PackageManifest", "packagemanifests")),
                ]
            },
            "/api/v1/configmaps": {"items": [_item("a", namespace="default"), _item("b", namespace="sample")]},
            "/apis/apps/v1/deployments": {"items": [_item("d", namespace="sample")]},
        }
    )
    assert set(found.entries) == {
        ("ConfigMap", "default", "a"),
        ("ConfigMap", "sample", "b"),
        ("Deployment.apps", "sample", "d"),
    }
    assert not found.unread


def test_an_object_that_an_aggregated_api_computes_is_told_by_its_name() -> None:
    """It has no uid; it is no other object because of that."""
    answers: dict[str, Object | int] = {
        "/api": {"items": []},
        "/apis": {"items": [_group("example.org", "v1", _resource("View", "views"))]},
        "/apis/example.org/v1/views": {"items": [{"metadata": {"name": "a"}}]},
    }
    assert set(_take(answers).entries) == {("View.example.org", "", "a")}
    assert inventory.changes(_take(answers), _take(answers)) == ()


def test_labels_of_namespaces_are_kept() -> None:
    """The run adds some; those of other objects are nobody's concern."""
    item = _item("a", labels={"team": "a"}, annotations={"note": "b"})
    answers: dict[str, Object | int] = {
        "/api": {"items": [_group("", "v1", _resource("Namespace", "namespaces"), _resource("Node2", "nodes2"))]},
        "/apis": {"items": []},
        "/api/v1/namespaces": {"items": [item]},
        "/api/v1/nodes2": {"items": [item]},
    }
    found = _take(answers).entries
    namespace, other = found["Namespace", "", "a"], found["Node2", "", "a"]
    assert (namespace.labels, namespace.annotations) == ({"team": "a"}, {"note": "b"})
    assert (other.labels, other.annotations) == ({}, {})


def test_what_another_object_owns_is_left_out() -> None:
    """What goes with its owner, or is made by the API server itself, is no difference."""
    answers: dict[str, Object | int] = {
        "/api": {"items": [_group("", "v1", _resource("ConfigMap", "configmaps"))]},
        "/apis": {"items": []},
        "/api/v1/configmaps": {
            "items": [
                _item("owned", namespace="a", ownerReferences=[{"name": "x"}]),
                _item("made-by-api-server", labels={inventory.AUTOMANAGED: "true"}),
            ]
        },
    }
    assert not _take(answers).entries


def test_a_kind_that_may_not_be_listed_is_named() -> None:
    """Forbidden is said; not listable is not worth saying."""
    answers: dict[str, Object | int] = {
        "/api": {"items": [_group("", "v1", _resource("Secret", "secrets"), _resource("Odd", "odd"))]},
        "/apis": {"items": []},
        "/api/v1/secrets": 403,
        "/api/v1/odd": 405,
    }
    assert _take(answers).unread == {"Secret": "403 refused"}


def test_what_could_not_be_listed_before_is_no_leftover() -> None:
    """It may have stood there; a namespace, too."""
    before = _inventory_of(unread={"ConfigMap": "timed out", "Namespace": "timed out"})
    after = _inventory_of(_entry(CONFIG_MAP, "a", "default"), _entry(NAMESPACE, "sample"), _entry(ROLE, "r"))
    assert [str(entry) for entry in inventory.leftovers(before, after)] == ["ClusterRole r"]
    assert before.holds_namespace("sample")
    assert not _inventory_of().holds_namespace("sample")


def test_an_inventory_is_kept_with_what_it_lacks(tmp_path: Path) -> None:
    """What --keep writes down says the same to the run that takes the mesh away."""
    labelled = Entry(NAMESPACE, "", "sample", "1", labels={"team": "a"}, annotations={"note": "b"})
    before = _inventory_of(_entry(CONFIG_MAP, "a", "default"), labelled, unread={"Secret": "timed out"})
    topology = preset(ControlPlaneModel.MULTI_PRIMARY, NetworkModel.MULTI)
    kept_mesh.write(tmp_path, topology, "sample", DataPlane.AMBIENT, {"east": before})
    kept = kept_mesh.read(tmp_path)
    assert kept
    assert kept.data_plane is DataPlane.AMBIENT
    assert kept.before == {"east": before}
    found = kept.before["east"].entries[labelled.key]
    assert (found.labels, found.annotations) == (labelled.labels, labelled.annotations)


def test_nothing_changed() -> None:
    """Equal inventories differ in nothing."""
    same = _inventory_of(_entry(CONFIG_MAP, "a", "default"), _entry(ROLE, "r"))
    assert inventory.changes(same, same) == ()


def test_changes_name_both_directions() -> None:
    """Left behind, missing, and made again under the same name."""
    before = _inventory_of(_entry(CONFIG_MAP, "gone", "default"), _entry(CONFIG_MAP, "made-again", "default"))
    held = Entry(ROLE, "", "new", "9", ("eastwest",), ("example.org/hold",))
    after = _inventory_of(_entry(CONFIG_MAP, "made-again", "default", uid="2"), held)
    found = [(change.change, change.kind, change.name, change.detail) for change in inventory.changes(before, after)]
    role = ("ClusterRole.rbac.authorization.k8s.io", "new", "held by finalizers example.org/hold; written by eastwest")
    assert found == [
        ("left behind", *role),
        ("missing", "ConfigMap", "gone", ""),
        ("missing", "ConfigMap", "made-again", "another object stands under its name"),
    ]


def test_kinds_that_could_not_be_read_are_not_compared() -> None:
    """What was not read is not missing."""
    before = _inventory_of(_entry(CONFIG_MAP, "a", "default"))
    assert inventory.changes(before, _inventory_of(unread={"ConfigMap": "forbidden"})) == ()


@pytest.mark.parametrize(
    ("found", "ours"),
    [
        (_entry(ROLE, "istiod-clusterrole", managers=("eastwest",)), True),
        (_entry(CONFIG_MAP, "istio-ca-root-cert", "default", managers=("pilot-discovery",)), True),
        (_entry(GATEWAY, "g", "istio-system", managers=("eastwest",)), True),
        (_entry(GATEWAY, "g", "other", managers=("argocd-controller",)), False),
        (
            _entry(Kind("apiextensions.k8s.io/v1", "CustomResourceDefinition", "crds"), "gateways.networking.istio.io"),
            True,
        ),
        (_entry(CONFIG_MAP, "anything", "sample", managers=("somebody",)), False),
        (_entry(NAMESPACE, "team-a", managers=("kubectl-create",)), False),
        (_entry(CONFIG_MAP, "settings", "team-a", managers=("helm",)), False),
    ],
)
def test_only_the_runs_own_objects_are_removed(found: Entry, ours: bool) -> None:
    """By field manager, and Istio's definitions whoever applied them; the work of others stays."""
    assert ownership.owned(found) is ours


def test_who_writes_a_status_has_not_made_it() -> None:
    """Istiod gives a ServiceEntry its address: that makes it no object of the run's."""
    fields = [{"manager": "argocd-controller"}, {"manager": "pilot-discovery", "subresource": "status"}]
    answers: dict[str, Object | int] = {
        "/api": {"items": [_group("", "v1", _resource("ConfigMap", "configmaps"))]},
        "/apis": {"items": []},
        "/api/v1/configmaps": {"items": [_item("a", namespace="default", managedFields=fields)]},
    }
    (found,) = _take(answers).entries.values()
    assert found.managers == ("argocd-controller",)
    assert not ownership.owned(found)


def test_a_hanging_finalizer_is_named() -> None:
    """The reason why something is still there is that which the object itself gives."""
    assert still_there(None) == ""
    stuck: Object = {"kind": "Namespace", "metadata": {"name": "sample", "finalizers": ["example.org/hold"]}}
    assert still_there(stuck) == "Namespace sample is still there: finalizers example.org/hold"
    told: Object = {
        "kind": "Namespace",
        "metadata": {"name": "sample"},
        "status": {"conditions": [{"type": "NamespaceContentRemaining", "status": "True", "message": "pods. has 1"}]},
    }
    assert still_there(told) == "Namespace sample is still there: pods. has 1"


def test_a_namespace_by_itself() -> None:
    """The namespace and what is in it; nothing is listed elsewhere, and without the namespace nothing at all."""
    place = "/api/v1/namespaces/own"
    kinds = [_resource("ConfigMap", "configmaps"), _resource("Secret", "secrets"), _resource("Node", "nodes")]
    scopes = [{**kind, "scope": "Namespaced" if kind["resource"] != "nodes" else "Cluster"} for kind in kinds]
    answers: dict[str, Object | int] = {
        "/api": {"items": [_group("", "v1", *scopes)]},
        place: _item("own"),
        f"{place}/configmaps": {"items": [_item("left", namespace="own")]},
        f"{place}/secrets": 403,
        "/api/v1/configmaps": {"items": [_item("theirs", namespace="other")]},
    }
    found = inventory.take_namespace(_kube(answers), "own")
    assert set(found.entries) == {("Namespace", "", "own"), ("ConfigMap", "own", "left")}
    assert list(found.unread) == ["Secret"]
    del answers[place]
    assert inventory.take_namespace(_kube(answers), "own") == Inventory("east", {})
