"""When workloads count as ready, and why they are not: pure functions of objects, and the waits that use them."""

from collections.abc import Callable, Iterable
from typing import Any

from kubernetes.client import ApiException

from harness.base.redaction import redact
from harness.kube.api import KubeApi, Object, condition
from harness.kube.stuck_pods import CRASHED, StuckPods, crash_log, troubles
from harness.model.step_log import OpenStep

MOST_REASONS = 4
LONGEST = 1200
"""Characters."""


def deployment_pending(seen: Object | None) -> str:
    """What a Deployment still lacks to be available in its present form; empty when nothing."""
    if seen is None:
        return "the Deployment does not exist"
    status, wanted = seen.get("status") or {}, seen["spec"].get("replicas", 1)
    name = f"Deployment {seen['metadata']['name']}"
    if (status.get("observedGeneration") or 0) < seen["metadata"]["generation"]:
        return f"{name} is not yet observed"
    if (updated := status.get("updatedReplicas") or 0) < wanted:
        return f"{name} has {updated} of {wanted} pods"
    if (former := (status.get("replicas") or 0) - updated) > 0:
        return f"{name} still has {former} pods of its former form"
    if condition(seen, "Available").get("status") != "True" or (status.get("availableReplicas") or 0) < wanted:
        return f"{name} has {status.get('availableReplicas') or 0} of {wanted} pods available"
    return ""


def daemon_set_pending(seen: Object | None) -> str:
    """What a DaemonSet still lacks to be ready on every node it wants; empty when nothing."""
    if seen is None:
        return "the DaemonSet does not exist"
    status, name = seen.get("status") or {}, f"DaemonSet {seen['metadata']['name']}"
    wanted = status.get("desiredNumberScheduled") or 0
    if (status.get("observedGeneration") or 0) < seen["metadata"]["generation"] or not wanted:
        return f"{name} is on no node yet"
    ready = min(status.get("numberReady") or 0, status.get("updatedNumberScheduled") or 0)
    return "" if ready >= wanted else f"{name} is ready on {ready} of {wanted} nodes"


def definition_pending(seen: Object | None) -> str:
    """Whether a custom resource definition is not served yet; empty when it is."""
    if seen is None:
        return "the custom resource definition does not exist"
    established = condition(seen, "Established").get("status") == "True"
    return "" if established else f"{seen['metadata']['name']} is not established"


def await_deployment(kube: KubeApi, namespace: str, name: str, timeout: float, step: OpenStep) -> Object | None:
    """Wait until a Deployment is available.

    Raises:
        StepError: it was not in time, or its pods have got stuck; the message has the pods' own reasons.
    """
    return _await(kube, "Deployment", namespace, name, deployment_pending, timeout, step)


def await_daemon_set(kube: KubeApi, namespace: str, name: str, timeout: float, step: OpenStep) -> Object | None:
    """Wait until a DaemonSet is ready on every node it wants.

    Raises:
        StepError: it was not in time, or its pods have got stuck; the message has the pods' own reasons.
    """
    return _await(kube, "DaemonSet", namespace, name, daemon_set_pending, timeout, step)


def _await(  # noqa: PLR0917 - private, and called beside its definition
    kube: KubeApi,
    kind: str,
    namespace: str,
    name: str,
    pending: Callable[[Object | None], str],
    timeout: float,
    step: OpenStep,
) -> Object | None:
    return kube.wait(
        "apps/v1",
        kind,
        name,
        namespace,
        pending=pending,
        timeout=timeout,
        step=step,
        explain=lambda: why_unready(kube, kind, namespace, name),
        hopeless=StuckPods(kube, lambda: pods_of(kube, kube.get("apps/v1", kind, name, namespace)), timeout),
    )


def pods_of(kube: KubeApi, workload: Object | None) -> list[Object]:
    """The pods of a Deployment or DaemonSet; none where it does not exist.

    Raises:
        ApiException: as the API server refused it.
    """
    labels = (((workload or {}).get("spec") or {}).get("selector") or {}).get("matchLabels") or {}
    selector = ",".join(f"{key}={value}" for key, value in labels.items())
    return kube.list("v1", "Pod", (workload or {})["metadata"]["namespace"], label_selector=selector) if labels else []


def why_unready(kube: KubeApi, kind: str, namespace: str, name: str) -> str:
    """Why a workload's pods are not ready: conditions, pods' states and last words, warnings; a few, in one line."""
    try:
        workload = kube.get("apps/v1", kind, name, namespace) or {}
        pods = pods_of(kube, workload)
        events = kube.list("v1", "Event", namespace, field_selector="type=Warning")
    except ApiException as refused:
        return f"and the reason could not be read ({refused.status})"
    named = {pod["metadata"]["name"] for pod in pods} | {name}
    crashed = (trouble for pod in pods for trouble in troubles(pod) if trouble.reason == CRASHED)
    reasons = [
        *_failure(workload),
        *(reason for pod in pods for reason in pod_reasons(pod)),
        *(f"{trouble.container} said: {line}" for trouble in crashed for line in crash_log(kube, trouble)[-1:]),
        *warnings(events, named),
    ]
    return redact("; ".join(list(dict.fromkeys(reasons))[:MOST_REASONS]), LONGEST)


def pod_reasons(pod: Object) -> list[str]:
    """Why a pod is not ready: not scheduled, or what its containers wait for or ended with."""
    name, status = pod["metadata"]["name"], pod.get("status") or {}
    scheduled = condition(pod, "PodScheduled")
    if scheduled.get("status") == "False":
        return [f"pod {name}: {scheduled.get('reason')}: {scheduled.get('message')}"]
    containers = [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]
    return [f"pod {name}: {reason}" for container in containers if (reason := _container_reason(container))]


def warnings(events: Iterable[Object], names: set[str]) -> list[str]:
    """The newest warnings about objects whose names begin with one of these."""
    about = [
        event
        for event in events
        if any((event.get("involvedObject") or {}).get("name", "").startswith(name) for name in names)
    ]
    newest = sorted(about, key=lambda event: str(event.get("lastTimestamp") or event.get("eventTime")), reverse=True)
    return [f"{event.get('reason')}: {str(event.get('message')).strip()}" for event in newest]


def _failure(workload: Object) -> list[str]:
    failed = condition(workload, "ReplicaFailure")
    return [f"{failed.get('reason')}: {failed.get('message')}"] if failed.get("status") == "True" else []


def _container_reason(container: dict[str, Any]) -> str:
    state = container.get("state") or {}
    stopped = state.get("waiting") or state.get("terminated") or {}
    if container.get("ready") or stopped.get("reason") in (None, "Completed", "PodInitializing", "ContainerCreating"):
        unready = bool(state.get("running")) and not container.get("ready")
        return f"container {container['name']} runs but is not ready" if unready else ""
    last = (container.get("lastState") or {}).get("terminated") or {}
    detail = stopped.get("message") or last.get("message") or ""
    return f"container {container['name']}: {stopped['reason']}" + (f": {detail.strip()}" if detail else "")
