"""Takes away what a Subscription of the Operator Lifecycle Manager (OLM) has brought, and what OLM leaves behind.

OLM keeps an operator whose Subscription is gone. When its version is deleted OLM removes the roles and copies that it
made for it; other objects of the bundle, the definitions and the record of the operator stay. What of it is the run's
is told by the InstallPlans of its Subscription and by the inventory from before.

Source: Operator Lifecycle Manager, "Uninstall your operator", "Operator" (operators.coreos.com/v1), "Additional objects
in a bundle".
"""

from collections.abc import Iterable, Iterator

from harness.kube.api import KubeApi, Object
from harness.kube.inventory import Inventory
from harness.mesh.context import Mesh
from harness.mesh.distributions.model import OlmSubscription
from harness.mesh.gone import await_gone
from harness.mesh.olm import API, CSV, GROUPS_API, status_of
from harness.mesh.settings import REMOVAL_SECONDS
from harness.model.step_log import OpenStep
from harness.model.topology import Cluster

COPIED = "olm.copiedFrom"
"""Label of the copies of a version that OLM makes in every namespace; its value is the namespace of the version."""
CLUSTER_WIDE = frozenset(
    {
        "ClusterRole",
        "ClusterRoleBinding",
        "ConsoleCLIDownload",
        "ConsoleLink",
        "ConsoleQuickStart",
        "ConsoleYAMLSample",
        "PriorityClass",
    }
)
"""Kinds that a bundle may hold and that no namespace takes along; but for definitions, which go last of all."""
_ROLES = "rbac.authorization.k8s.io/v1", "ClusterRole"
Reference = tuple[str, str, str]
"""API version, kind and name of an object that is in no namespace."""


def subscribed(kube: KubeApi, operator: OlmSubscription, before: Inventory) -> bool:
    """Whether a Subscription stands there that did not stand there before."""
    key = ("Subscription.operators.coreos.com", operator.namespace, operator.package)
    return key not in before and kube.get(API, "Subscription", operator.package, operator.namespace) is not None


def unsubscribe(mesh: Mesh, cluster: Cluster, operator: OlmSubscription, opened: OpenStep, before: Inventory) -> None:
    """Delete the Subscription, what it installed, and the OperatorGroup if it was made for it.

    Raises:
        StepError: something does not go; says what holds it.
    """
    kube, namespace = mesh.kube(cluster), operator.namespace
    seen = kube.get(API, "Subscription", operator.package, namespace)
    names = versions_of(seen)
    made = brought(_plans(kube, seen), {found["metadata"]["name"] for found in kube.list(API, CSV, namespace)} - names)
    kube.delete(API, "Subscription", operator.package, namespace)
    for name in sorted(names):
        kube.delete(API, CSV, name, namespace)
    copies = kube.list(API, CSV, label_selector=f"{COPIED}={namespace}")
    gone = [(name, namespace) for name in sorted(names)]
    gone += [(name, copy["metadata"]["namespace"]) for copy in copies if (name := copy["metadata"]["name"]) in names]
    for name, within in gone:
        await_gone(mesh, cluster, opened, (API, CSV, name, within))
    _delete(mesh, cluster, opened, sorted(made), before)
    if ("OperatorGroup.operators.coreos.com", namespace, operator.package) not in before:
        _remove_group(mesh, cluster, operator, opened, before)


def forget(mesh: Mesh, cluster: Cluster, operator: OlmSubscription, opened: OpenStep, before: Inventory) -> None:
    """Delete OLM's record of the operator, when none of its components is left: before that OLM would make it again.

    Raises:
        StepError: a component is left, or the record does not go.
    """
    kube, name = mesh.kube(cluster), f"{operator.package}.{operator.namespace}"
    if ("Operator.operators.coreos.com", "", name) in before or kube.get(GROUPS_API, "Operator", name) is None:
        opened.skip("OLM keeps none that was not there before")
        return
    timeout = mesh.deadline(cluster, REMOVAL_SECONDS)
    kube.wait(GROUPS_API, "Operator", name, pending=components_pending, timeout=timeout, step=opened)
    kube.delete(GROUPS_API, "Operator", name)
    await_gone(mesh, cluster, opened, (GROUPS_API, "Operator", name, None))
    opened.note(name)


def versions_of(subscription: Object | None) -> set[str]:
    """The versions that a Subscription has installed, or was about to install: pure."""
    status = status_of(subscription)
    # One that could not be installed is only the current one.
    return {str(status.get(key) or "") for key in ("installedCSV", "currentCSV")} - {""}


def brought(plans: Iterable[Object], others: Iterable[str]) -> set[Reference]:
    """What InstallPlans made that is in no namespace, but for definitions: pure.

    Args:
        plans: of the run's Subscription.
        others: versions that are not the run's: an InstallPlan may be that of several Subscriptions.
    """
    kept = set(others)
    steps = [step for plan in plans for step in status_of(plan).get("plan") or []]
    return {_reference(step["resource"]) for step in steps if step.get("resolving") not in kept and _is_wide(step)}


def components_pending(seen: Object | None) -> str:
    """What OLM still counts as a part of the operator; empty when nothing: pure."""
    refs = ((status_of(seen)).get("components") or {}).get("refs") or []
    left = sorted(f"{found.get('kind')} {found.get('name')}" for found in refs)
    return f"OLM still counts {', '.join(left)} as a part of the operator" if left else ""


def _is_wide(step: Object) -> bool:
    return step["resource"]["kind"] in CLUSTER_WIDE


def _reference(resource: Object) -> Reference:
    group, version = resource.get("group") or "", resource["version"]
    return f"{group}/{version}" if group else version, resource["kind"], resource["name"]


def _plans(kube: KubeApi, subscription: Object | None) -> Iterator[Object]:
    uid = ((subscription or {}).get("metadata") or {}).get("uid")
    for plan in kube.list(API, "InstallPlan", subscription["metadata"]["namespace"]) if subscription else ():
        if any(owner.get("uid") == uid for owner in plan["metadata"].get("ownerReferences") or []):
            yield plan


def _remove_group(mesh: Mesh, cluster: Cluster, operator: OlmSubscription, opened: OpenStep, before: Inventory) -> None:
    """The OperatorGroup, and the roles that OLM made for it."""
    kube, name = mesh.kube(cluster), operator.package
    kube.delete(GROUPS_API, "OperatorGroup", name, operator.namespace)
    await_gone(mesh, cluster, opened, (GROUPS_API, "OperatorGroup", name, operator.namespace))
    owner = {"olm.owner": name, "olm.owner.kind": "OperatorGroup", "olm.owner.namespace": operator.namespace}
    roles = [
        role["metadata"]["name"]
        for role in kube.list(*_ROLES, label_selector=f"olm.owner={name}")
        if owner.items() <= role["metadata"]["labels"].items()
    ]
    _delete(mesh, cluster, opened, [(*_ROLES, role) for role in roles], before)


def _delete(mesh: Mesh, cluster: Cluster, opened: OpenStep, doomed: Iterable[Reference], before: Inventory) -> None:
    """Delete what did not stand there before."""
    for api_version, kind, name in doomed:
        group = api_version.rpartition("/")[0]
        key = (f"{kind}.{group}" if group else kind, "", name)
        if key not in before and mesh.kube(cluster).delete(api_version, kind, name):
            await_gone(mesh, cluster, opened, (api_version, kind, name, None))
