"""The operator by a Subscription of the Operator Lifecycle Manager, until it is installed, and away again.

Untested live: it needs OpenShift. Source: Operator Lifecycle Manager, "Subscription", "InstallPlan",
"ClusterServiceVersion"; OpenShift, "Operator subscription condition types".
"""

from typing import Any

from harness.kube.api import KubeApi, Object
from harness.mesh.context import Mesh
from harness.mesh.distributions.model import OlmSubscription
from harness.model.step_log import OpenStep
from harness.model.topology import Cluster

API = "operators.coreos.com/v1alpha1"
INSTALL_SECONDS = 300.0
"""A catalogue may have to be pulled."""
_CSV = "ClusterServiceVersion"
_NEEDS_APPROVAL = "RequiresApproval"


def subscription(operator: OlmSubscription) -> Object:
    """The Subscription of the operator's package: pure."""
    spec = {
        "name": operator.package,
        "channel": operator.channel,
        "source": operator.source,
        "sourceNamespace": operator.source_namespace,
        "installPlanApproval": "Automatic",
    }
    if operator.starting_csv:
        spec["startingCSV"] = operator.starting_csv
    metadata = {"name": operator.package, "namespace": operator.namespace}
    return {"apiVersion": API, "kind": "Subscription", "metadata": metadata, "spec": spec}


def await_installed(mesh: Mesh, cluster: Cluster, operator: OlmSubscription, opened: OpenStep) -> None:
    """Wait until OLM has installed the Subscription's operator, and the operator runs.

    Raises:
        StepError: the time is over; says why in OLM's words.
    """
    kube, timeout = mesh.kube(cluster), mesh.deadline(cluster, INSTALL_SECONDS)
    seen = kube.wait(
        API,
        "Subscription",
        operator.package,
        operator.namespace,
        pending=lambda found: subscription_pending(found, mesh.settings.cli),
        timeout=timeout,
        step=opened,
        explain=lambda: _why(kube, operator),
    )
    if installed := _status(seen).get("installedCSV"):
        opened.note(str(installed))
        kube.wait(API, _CSV, installed, operator.namespace, pending=csv_pending, timeout=timeout, step=opened)


def unsubscribe(kube: KubeApi, operator: OlmSubscription) -> None:
    """Delete the Subscription and what it installed: OLM keeps the operator of a Subscription that is gone."""
    status = _status(kube.get(API, "Subscription", operator.package, operator.namespace))
    kube.delete(API, "Subscription", operator.package, operator.namespace)
    # One that could not be installed is only the current one.
    for name in sorted({str(status.get(key) or "") for key in ("installedCSV", "currentCSV")} - {""}):
        kube.delete(API, _CSV, name, operator.namespace)


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
    status, metadata = _status(seen), seen["metadata"]
    if status.get("installedCSV") and status.get("state") == "AtLatestKnown":
        return ""
    found = [condition for condition in status.get("conditions") or [] if condition.get("status") == "True"]
    told = "; ".join(map(_condition, found)) or status.get("state") or "not yet taken up: does the cluster run OLM?"
    plan = (status.get("installPlanRef") or {}).get("name")
    if plan and any(condition.get("reason") == _NEEDS_APPROVAL for condition in found):
        patch = f"{cli} --namespace={metadata['namespace']} patch installplan {plan} --type=merge"
        told += f"""; approve it: {patch} --patch='{{"spec":{{"approved":true}}}}'"""
    return f"Subscription {metadata['name']} is not installed ({told})"


def csv_pending(seen: Object | None) -> str:
    """Why an installed operator does not run, in OLM's words; empty when it does: pure."""
    if seen is None:
        return "the ClusterServiceVersion does not exist"
    status = _status(seen)
    if status.get("phase") == "Succeeded":
        return ""
    words = [str(status[part]) for part in ("phase", "reason", "message") if status.get(part)]
    return f"ClusterServiceVersion {seen['metadata']['name']} has not succeeded ({': '.join(words) or 'no phase'})"


def install_plan_reasons(plan: Object | None) -> list[str]:
    """What an InstallPlan says of itself: its phase, what failed, and the bundles that could not be unpacked. Pure."""
    status = _status(plan)
    bundles = [found for bundle in status.get("bundleLookups") or [] for found in bundle.get("conditions") or []]
    failed = [found for found in status.get("conditions") or [] if found.get("status") == "False"]
    # A lookup's conditions are there for as long as it is not done.
    lines = [_condition(found) for found in (*failed, *bundles) if found.get("message")]
    if status.get("message"):
        lines.append(str(status["message"]))
    return [f"InstallPlan {plan['metadata']['name']} is {status.get('phase')}", *lines] if plan else []


def _why(kube: KubeApi, operator: OlmSubscription) -> str:
    status = _status(kube.get(API, "Subscription", operator.package, operator.namespace))
    plan = (status.get("installPlanRef") or {}).get("name")
    current = status.get("currentCSV")
    reasons = install_plan_reasons(kube.get(API, "InstallPlan", plan, operator.namespace)) if plan else []
    version = kube.get(API, _CSV, current, operator.namespace) if current else None
    return "; ".join([*reasons, *([pending] if version and (pending := csv_pending(version)) else [])])


def _condition(found: Object) -> str:
    return f"{found['type']}: {found.get('reason', '')} {found.get('message', '')}".strip()


def _status(seen: Object | None) -> dict[str, Any]:
    return (seen or {}).get("status") or {}
