"""The operator by a Subscription of the Operator Lifecycle Manager (OLM), until it is installed.

Source: Operator Lifecycle Manager, "Subscription", "InstallPlan", "ClusterServiceVersion", "OperatorGroups"; OpenShift,
"Operator subscription condition types".
"""

from collections.abc import Callable
from typing import Any

from harness.kube.api import KubeApi, Object
from harness.mesh.context import Mesh
from harness.mesh.distributions.model import OlmSubscription
from harness.mesh.namespaces import create_if_absent, ensure_namespace
from harness.model.step_log import OpenStep
from harness.model.topology import Cluster

API = "operators.coreos.com/v1alpha1"
GROUPS_API = "operators.coreos.com/v1"
"""Of OperatorGroups, and of what OLM records of an operator."""
CSV = "ClusterServiceVersion"
INSTALL_SECONDS = 300.0
"""A catalogue may have to be pulled."""
_NEEDS_APPROVAL = "RequiresApproval"


def subscription(operator: OlmSubscription) -> Object:
    """The Subscription of the operator's package: pure."""
    spec = {
        "name": operator.package,
        "channel": operator.channel,
        "source": operator.source,
        "sourceNamespace": operator.source_namespace,
        "installPlanApproval": operator.approval,
    }
    if operator.starting_csv:
        spec["startingCSV"] = operator.starting_csv
    metadata = {"name": operator.package, "namespace": operator.namespace}
    return {"apiVersion": API, "kind": "Subscription", "metadata": metadata, "spec": spec}


def operator_group(operator: OlmSubscription) -> Object:
    """An OperatorGroup that lets the namespace's operators act in all namespaces: pure."""
    metadata = {"name": operator.package, "namespace": operator.namespace}
    return {"apiVersion": GROUPS_API, "kind": "OperatorGroup", "metadata": metadata, "spec": {}}


def subscribe(mesh: Mesh, cluster: Cluster, operator: OlmSubscription) -> None:
    """Make the Subscription, and the namespace and OperatorGroup that it needs, where there are none."""
    ensure_namespace(mesh, cluster, operator.namespace)
    # OLM installs nothing into a namespace that has two.
    if not mesh.kube(cluster).list(GROUPS_API, "OperatorGroup", operator.namespace):
        create_if_absent(mesh, cluster, operator_group(operator))
    mesh.apply(cluster, subscription(operator))


def approve(mesh: Mesh, cluster: Cluster, operator: OlmSubscription, opened: OpenStep) -> None:
    """Approve the InstallPlan that installs the Subscription's operator, and nothing else.

    Raises:
        StepError: OLM made none in time; says why in OLM's words.
    """
    kube = mesh.kube(cluster)
    seen = _await_subscription(mesh, cluster, operator, opened, approval_pending)
    if seen is None or not _needs_approval(seen):
        return
    plan = kube.get(API, "InstallPlan", plan_name(seen), operator.namespace)
    if reason := not_ours(plan, seen):
        opened.skip(reason)
        return
    name = plan_name(seen)
    kube.merge(API, "InstallPlan", name, {"spec": {"approved": True}}, operator.namespace)
    opened.note(f"InstallPlan {name}: {status_of(seen)['currentCSV']}")


def not_ours(plan: Object | None, subscribed: Object) -> str:
    """Why an InstallPlan is not the run's to approve; empty where it installs what one Subscription wants. Pure.

    Args:
        plan: the one that the Subscription names; None where it is gone.
        subscribed: the run's Subscription.
    """
    metadata, status, spec = subscribed["metadata"], status_of(subscribed), subscribed["spec"]
    if plan is None:
        return f"InstallPlan {plan_name(subscribed)} is gone"
    name, installs = plan["metadata"]["name"], plan["spec"].get("clusterServiceVersionNames") or []
    owners = [owner for owner in plan["metadata"].get("ownerReferences") or [] if owner["kind"] == "Subscription"]
    others = sorted(str(owner["name"]) for owner in owners if owner["uid"] != metadata["uid"])
    wanted = spec.get("startingCSV") or status.get("currentCSV")
    if others:
        return f"InstallPlan {name} is also that of Subscription {', '.join(others)}: it is not the run's to approve"
    if not owners or installs != [wanted]:
        told = ", ".join(map(str, installs)) or "nothing that it names"
        return f"InstallPlan {name} installs {told}, and not only {wanted}: it is not the run's to approve"
    return ""


def await_installed(mesh: Mesh, cluster: Cluster, operator: OlmSubscription, opened: OpenStep) -> None:
    """Wait until OLM has installed the Subscription's operator, and the operator runs.

    Raises:
        StepError: the time is over; says why in OLM's words.
    """
    kube, timeout = mesh.kube(cluster), mesh.deadline(cluster, INSTALL_SECONDS)
    seen = _await_subscription(mesh, cluster, operator, opened, subscription_pending)
    if installed := status_of(seen).get("installedCSV"):
        opened.note(str(installed))
        kube.wait(API, CSV, installed, operator.namespace, pending=csv_pending, timeout=timeout, step=opened)


def _await_subscription(
    mesh: Mesh,
    cluster: Cluster,
    operator: OlmSubscription,
    opened: OpenStep,
    pending: Callable[[Object | None, str], str],
) -> Object | None:
    kube = mesh.kube(cluster)
    return kube.wait(
        API,
        "Subscription",
        operator.package,
        operator.namespace,
        pending=lambda found: pending(found, mesh.settings.cli),
        timeout=mesh.deadline(cluster, INSTALL_SECONDS),
        step=opened,
        explain=lambda: _why(kube, operator),
    )


def approval_pending(seen: Object | None, cli: str) -> str:
    """What a Subscription waits for until it asks for approval, in OLM's words; empty when it does: pure."""
    return "" if seen and _needs_approval(seen) else subscription_pending(seen, cli)


def subscription_pending(seen: Object | None, cli: str) -> str:
    """What a Subscription waits for, in OLM's words; empty when its operator is installed: pure.

    OLM asks for approval although the Subscription says Automatic where another one of the namespace says Manual. It
    is the user's to give: the same InstallPlan installs what the other one wants.

    Args:
        seen: the Subscription; None where there is none.
        cli: the kubectl-compatible command.
    """
    if seen is None:
        return "the Subscription does not exist"
    status, metadata = status_of(seen), seen["metadata"]
    # With Manual what was approved stays: a newer version waits for an approval that nobody has to give.
    final = status.get("state") == "AtLatestKnown" or seen["spec"].get("installPlanApproval") == "Manual"
    if status.get("installedCSV") and final:
        return ""
    found = [condition for condition in status.get("conditions") or [] if condition.get("status") == "True"]
    told = "; ".join(map(_condition, found)) or status.get("state") or "not yet taken up: does the cluster run OLM?"
    if _needs_approval(seen):
        patch = f"{cli} --namespace={metadata['namespace']} patch installplan {plan_name(seen)} --type=merge"
        told += f"""; approve it: {patch} --patch='{{"spec":{{"approved":true}}}}'"""
    return f"Subscription {metadata['name']} is not installed ({told})"


def csv_pending(seen: Object | None) -> str:
    """Why an installed operator does not run, in OLM's words; empty when it does: pure."""
    if seen is None:
        return "the ClusterServiceVersion does not exist"
    status = status_of(seen)
    if status.get("phase") == "Succeeded":
        return ""
    words = [str(status[part]) for part in ("phase", "reason", "message") if status.get(part)]
    return f"ClusterServiceVersion {seen['metadata']['name']} has not succeeded ({': '.join(words) or 'no phase'})"


def install_plan_reasons(plan: Object | None) -> list[str]:
    """What an InstallPlan says of itself: its phase, what failed, and the bundles that could not be unpacked. Pure."""
    status = status_of(plan)
    bundles = [found for bundle in status.get("bundleLookups") or [] for found in bundle.get("conditions") or []]
    failed = [found for found in status.get("conditions") or [] if found.get("status") == "False"]
    # A lookup's conditions are there for as long as it is not done.
    lines = [_condition(found) for found in (*failed, *bundles) if found.get("message")]
    if status.get("message"):
        lines.append(str(status["message"]))
    return [f"InstallPlan {plan['metadata']['name']} is {status.get('phase')}", *lines] if plan else []


def plan_name(seen: Object) -> str:
    """The InstallPlan that a Subscription names; empty where it names none: pure."""
    return str((status_of(seen).get("installPlanRef") or {}).get("name") or "")


def status_of(seen: Object | None) -> dict[str, Any]:
    """An object's status; {} where it has none: pure."""
    return (seen or {}).get("status") or {}


def _needs_approval(seen: Object) -> bool:
    conditions = status_of(seen).get("conditions") or []
    asked = any((found.get("status"), found.get("reason")) == ("True", _NEEDS_APPROVAL) for found in conditions)
    return asked and bool(plan_name(seen))


def _why(kube: KubeApi, operator: OlmSubscription) -> str:
    seen = kube.get(API, "Subscription", operator.package, operator.namespace) or {}
    plan, current = plan_name(seen), status_of(seen).get("currentCSV")
    reasons = install_plan_reasons(kube.get(API, "InstallPlan", plan, operator.namespace)) if plan else []
    version = kube.get(API, CSV, current, operator.namespace) if current else None
    return "; ".join([*reasons, *([pending] if version and (pending := csv_pending(version)) else [])])


def _condition(found: Object) -> str:
    return f"{found['type']}: {found.get('reason', '')} {found.get('message', '')}".strip()
