"""What goes with an operator that OLM installed: exactly what was not there before, on a fake API server with OLM."""

from typing import Any

import pytest

from harness.kube.api import Object
from harness.kube.inventory import Entry, Inventory, Kind
from harness.mesh import olm, olm_removal, operator, ownership
from harness.mesh.distributions.model import OlmSubscription
from harness.model.step import Outcome
from suites.selftest.mesh.test_sail import CRD, EAST, OperatorKube, definition, mesh_of, outcome

OLM = OlmSubscription(arrival="olm", package="servicemeshoperator3", channel="stable", source="redhat-operators")
SPACE, CSV = OLM.namespace, "servicemeshoperator3.v3.0.15"
INSTALLED = {"installedCSV": CSV, "currentCSV": CSV, "state": "AtLatestKnown"}
UNDER_WAY = {"currentCSV": CSV, "state": "UpgradePending"}
ROLES = Kind("rbac.authorization.k8s.io/v1", "ClusterRole", "clusterroles")
RECORD = f"{OLM.package}.{SPACE}"


class RemovingOlm(OperatorKube):
    """An API server on which OLM takes the copies of a version along."""

    def delete(self, api_version: str, kind: str, name: str, namespace: str | None = None) -> bool:
        """As ever; a version with its copies."""
        if kind == olm.CSV:
            for copy in self.list(olm.API, kind, label_selector=f"{olm_removal.COPIED}={namespace}"):
                if copy["metadata"]["name"] == name:
                    self.objects.pop((kind, copy["metadata"]["namespace"], name))
        return super().delete(api_version, kind, name, namespace)


def made(kind: str, name: str, namespace: str = "", **fields: Any) -> Object:
    """An object."""
    metadata = {"name": name, **({"namespace": namespace} if namespace else {}), **fields.pop("metadata", {})}
    return {"kind": kind, "metadata": metadata, **fields}


def step(kind: str, name: str, resolving: str = CSV, group: str = "rbac.authorization.k8s.io") -> Object:
    """A step of an InstallPlan."""
    return {"resolving": resolving, "resource": {"kind": kind, "name": name, "group": group, "version": "v1"}}


def plan(name: str, owner: str, *steps: Object) -> Object:
    """An InstallPlan of a Subscription."""
    return made("InstallPlan", name, SPACE, metadata={"ownerReferences": [{"uid": owner}]}, status={"plan": steps})


def before(*keys: tuple[str, str, str], entries: tuple[Entry, ...] = ()) -> Inventory:
    """An inventory of these."""
    found = {key: Entry(Kind("v1", key[0], ""), key[1], key[2], "uid") for key in keys}
    return Inventory("east", {**found, **{entry.key: entry for entry in entries}})


def removed(kube: OperatorKube, stood: Inventory | None = None, **settings: Any) -> tuple[list[str], Outcome, str]:
    """The operator is removed: what was deleted, and how the step ended."""
    mesh = mesh_of(kube, OLM, **settings)
    operator.remove_operator(mesh, EAST, stood or before())
    return kube.deleted, *outcome(mesh)


def subscribed(status: dict[str, str]) -> Object:
    """The run's Subscription."""
    found = olm.subscription(OLM)
    return {**found, "metadata": {**found["metadata"], "uid": "own"}, "status": status}


@pytest.mark.parametrize("status", [INSTALLED, UNDER_WAY], ids=["installed", "under way"])
def test_what_olm_installed_goes_with_the_subscription(status: dict[str, str]) -> None:
    """OLM would keep it; one that never was installed is removed as well, and copies are waited for."""
    version = made(olm.CSV, CSV, SPACE, status={"phase": "Failed"})
    copy = made(olm.CSV, CSV, "default", metadata={"labels": {olm_removal.COPIED: SPACE}})
    kube = RemovingOlm(subscribed(status), version, copy)
    deleted, ended, _ = removed(kube)
    assert ended is Outcome.DONE
    assert deleted == [
        f"Subscription/{SPACE}/{OLM.package}",
        f"ClusterServiceVersion/{SPACE}/{CSV}",
        f"OperatorGroup/{SPACE}/{OLM.package}",
    ]
    assert not kube.objects


def test_a_copy_that_olm_does_not_take_away_is_named() -> None:
    """And so is a version that OLM's finalizer holds."""
    copy = made(olm.CSV, CSV, "default", metadata={"labels": {olm_removal.COPIED: SPACE}})
    other = made(olm.CSV, "other.v1", "default", metadata={"labels": {olm_removal.COPIED: SPACE}})
    _, ended, told = removed(OperatorKube(subscribed(INSTALLED), made(olm.CSV, CSV, SPACE), copy, other))
    assert (ended, f"ClusterServiceVersion {CSV} is still there" in told) == (Outcome.FAILED, True)
    held = made(olm.CSV, CSV, SPACE, metadata={"finalizers": ["operators.coreos.com/csv-cleanup"]})
    _, ended, told = removed(RemovingOlm(subscribed(INSTALLED), held))
    assert (ended, "finalizers operators.coreos.com/csv-cleanup" in told) == (Outcome.FAILED, True)


def test_the_bundles_objects_that_no_version_takes_along_are_told_by_the_install_plans() -> None:
    """Of every plan of the Subscription, also of a version that was replaced; nothing of another operator."""
    other, stood = "pipelines.v1", Entry(ROLES, "", "stood-before", "uid")
    mine = [step("ClusterRole", name) for name in ("metrics-reader", "stood-before", "gone-with-the-version")]
    kube = RemovingOlm(
        subscribed(INSTALLED),
        made(olm.CSV, CSV, SPACE),
        made(olm.CSV, other, SPACE),
        plan(
            "install-b", "own", *mine, step("ClusterRole", "pipelines", other), step("ServiceAccount", "sa", group="")
        ),
        plan("install-a", "own", step("PriorityClass", "mesh", "servicemeshoperator3.v3.0.0", "scheduling.k8s.io")),
        plan("install-c", "another", step("ClusterRole", "anothers")),
        *(made("ClusterRole", name) for name in ("metrics-reader", "stood-before", "pipelines", "anothers")),
        made("PriorityClass", "mesh"),
        made("ServiceAccount", "sa", SPACE),
    )
    _, ended, _ = removed(kube, before(entries=(stood,)))
    assert ended is Outcome.DONE
    left = {(kind, name) for kind, _, name in kube.objects if kind != "InstallPlan"}
    assert left == {
        (olm.CSV, other),
        ("ClusterRole", "stood-before"),
        ("ClusterRole", "pipelines"),
        ("ClusterRole", "anothers"),
        ("ServiceAccount", "sa"),
    }


def test_an_operator_group_of_the_run_goes_with_the_roles_that_olm_made_for_it() -> None:
    """One that stood before stays, with its roles."""
    owner = {"olm.owner": OLM.package, "olm.owner.kind": "OperatorGroup", "olm.owner.namespace": SPACE}
    there = (
        subscribed(INSTALLED),
        olm.operator_group(OLM),
        made("ClusterRole", "olm.og.mesh.admin-1", metadata={"labels": owner}),
        made("ClusterRole", "olm.og.mesh.admin-2", metadata={"labels": {**owner, "olm.owner.namespace": "other"}}),
    )
    kube = RemovingOlm(*there)
    removed(kube)
    assert {name for _, _, name in kube.objects} == {"olm.og.mesh.admin-2"}
    kube = RemovingOlm(*there)
    removed(kube, before(("OperatorGroup.operators.coreos.com", SPACE, OLM.package)))
    assert {kind for kind, _, _ in kube.objects} == {"OperatorGroup", "ClusterRole"}


def test_where_definitions_stood_before_only_the_runs_own_subscription_goes() -> None:
    """OLM had left them; an operator that stood there is nobody's to remove."""
    stood = ("CustomResourceDefinition.apiextensions.k8s.io", "", "istios.sailoperator.io")
    kube = RemovingOlm(definition("Istio", "v1"), subscribed(INSTALLED))
    deleted, ended, _ = removed(kube, before(stood))
    assert (ended, f"Subscription/{SPACE}/{OLM.package}" in deleted) == (Outcome.DONE, True)
    assert (CRD[1], "", "istios.sailoperator.io") in kube.objects
    subscription = ("Subscription.operators.coreos.com", SPACE, OLM.package)
    kube = RemovingOlm(definition("Istio", "v1"), subscribed(INSTALLED))
    assert removed(kube, before(stood, subscription)) == ([], Outcome.SKIPPED, "it stood before, and stays")
    assert removed(RemovingOlm(), before(stood)) == ([], Outcome.SKIPPED, "it stood before, and stays")


def forgotten(record: Object | None, stood: Inventory | None = None) -> tuple[OperatorKube, Outcome, str]:
    """OLM's record of the operator is removed: the API server, and how the step ended."""
    kube = OperatorKube(*([record] if record else []))
    mesh = mesh_of(kube, OLM)
    operator.forget_operator(mesh, EAST, OLM, stood or before())
    return kube, *outcome(mesh)


def test_olms_record_goes_when_olm_counts_no_component_any_more() -> None:
    """Before that OLM would make it again; what it counts is named."""
    record = made("Operator", RECORD, status={"components": {"labelSelector": {}}})
    kube, ended, told = forgotten(record)
    assert (ended, told, kube.deleted) == (Outcome.DONE, RECORD, [f"Operator//{RECORD}"])
    refs = [{"kind": "CustomResourceDefinition", "name": "istios.sailoperator.io"}]
    kube, ended, told = forgotten({**record, "status": {"components": {"refs": refs}}})
    assert (ended, kube.deleted) == (Outcome.FAILED, [])
    assert "OLM still counts CustomResourceDefinition istios.sailoperator.io as a part of the operator" in told


def test_a_record_that_stood_before_stays() -> None:
    """And where there is none nothing is done."""
    record, key = made("Operator", RECORD, status={}), ("Operator.operators.coreos.com", "", RECORD)
    for found, stood in ((record, before(key)), (None, None)):
        kube, ended, _ = forgotten(found, stood)
        assert (ended, kube.deleted) == (Outcome.SKIPPED, [])


def test_the_namespace_that_was_made_for_the_operator_goes() -> None:
    """By the inventory, as every other."""
    settings = mesh_of(OperatorKube(), OLM).settings
    assert SPACE in ownership.own_namespaces(settings, before())
    assert SPACE not in ownership.own_namespaces(settings, before(("Namespace", "", SPACE)))


def test_by_hand_the_version_is_removed_too() -> None:
    """It outlives its Subscription; of an operator that stood before neither is named."""
    settings = mesh_of(OperatorKube(), OLM, cli="oc").settings
    told = ownership.by_hand("east", (), settings, before(("Namespace", "", SPACE)))
    delete = f"oc --context=east delete --ignore-not-found --namespace={SPACE}"
    assert f"{delete} subscription.operators.coreos.com/{OLM.package}; " in told
    assert f"{delete} clusterserviceversion --selector=operators.coreos.com/{RECORD}; " in told
    stood = ("CustomResourceDefinition.apiextensions.k8s.io", "", "istios.sailoperator.io")
    assert "subscription" not in ownership.by_hand("east", (), settings, before(stood))
