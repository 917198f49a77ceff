"""Causes in admission: the API server does not let a pod in, and the object that refuses it is named."""

from collections.abc import Iterator

from harness.judge.diagnose.facts import condition_lines, events, few, read
from harness.judge.diagnose.graph import Layer
from harness.judge.diagnose.registry import Found, cause
from harness.judge.diagnose.repair import kubectl, noted
from harness.model import expectations, gateways
from harness.model.cluster import ClusterObservation, Subject, Workload
from harness.model.observation import Observation
from harness.model.refusal import Refusal, refusal


@cause("control-plane-refused", Layer.CONTROL_PLANE, "CP-READY")
def control_plane_refused(observation: Observation) -> Iterator[Found]:
    """The API server refuses a control plane's pods.

    The Deployment is there and its ReplicaSet can't create pods: a Pod Security level, a quota, a limit range, security
    context constraints or an admission webhook says no. The ReplicaSet's events name it.
    """
    for _, observed in read(observation, Subject.WORKLOADS):
        for workload in expectations.istiod_workloads(observed):
            yield from _refused(observed, workload)


@cause("gateway-refused", Layer.GATEWAYS, "GW-AVAILABLE")
def gateway_refused(observation: Observation) -> Iterator[Found]:
    """The API server refuses an east-west gateway's pods.

    The gateway's Deployment is there and its ReplicaSet can't create pods. The ReplicaSet's events name what says no:
    a Pod Security level, a quota, a limit range, security context constraints or an admission webhook.
    """
    for cluster, observed in read(observation, Subject.WORKLOADS, Subject.SERVICES):
        for service in gateways.serving(observation.topology, observation, cluster):
            if workload := gateways.workload(observed, service):
                yield from _refused(observed, workload)


@cause("pod-refused", Layer.WORKLOADS, "WL-PLACED", "WL-INJECTED", "CP-INJECTION-WEBHOOK")
def pod_refused(observation: Observation) -> Iterator[Found]:
    """The API server refuses the sample's pods.

    Pods that run go on; a new one, or one with a sidecar, is not let in. Often the sidecar is what breaks the rule:
    without Istio's CNI plugin it starts with istio-init, which needs NET_ADMIN and NET_RAW and is refused at the Pod
    Security levels baseline and restricted; a quota wants requests and limits for every container.
    """
    sample = observation.asked.sample_namespace
    for _, observed in read(observation, Subject.WORKLOADS):
        said = observed.dry_run.error if observed.dry_run else ""
        if said and (seen := refusal(said, sample)) and not _of_istio(observed, seen):
            yield _found(observed, seen, said, f"dry run: {said}")
            continue
        for workload in observed.workloads:
            if workload.namespace == sample:
                yield from _refused(observed, workload)


def _refused(observed: ClusterObservation, workload: Workload) -> Iterator[Found]:
    """What refuses the pods of a workload that is not available; at most one object."""
    if workload.available or workload.desired == 0:
        return
    owners = _owners(workload)
    for message in _said(observed, workload):
        seen = refusal(message, workload.namespace)
        if seen and not _of_istio(observed, seen):
            told = (*condition_lines(workload), *events(observed, *owners))
            whose = f"{workload.kind} {workload.namespace}/{workload.name}"
            yield _found(observed, seen, f"refuses {whose}: {message}", *told)
            return


def _owners(workload: Workload) -> tuple[str, ...]:
    """What the events name that concern its pods."""
    return f"{workload.kind}/{workload.name}", f"ReplicaSet/{workload.name}-"


def _said(observed: ClusterObservation, workload: Workload) -> Iterator[str]:
    """How the API server refused pods of a workload, the newest first."""
    yield from (c.message for c in workload.conditions if c.type == "ReplicaFailure" and c.status == "True")
    for event in reversed(observed.events):
        own = event.namespace == workload.namespace and event.object.startswith(_owners(workload))
        if own and event.reason == "FailedCreate":
            yield event.message


def refusals(observed: ClusterObservation) -> tuple[str, ...]:
    """How the API server refused pods of the workloads that are not available."""
    lacking = (each for each in observed.workloads if not each.available and each.desired)
    return tuple(dict.fromkeys(message for each in lacking for message in _said(observed, each)))


def is_known(observed: ClusterObservation, message: str, namespace: str) -> bool:
    """Whether a message names an object that refuses pods, other than a webhook of Istio."""
    seen = refusal(message, namespace)
    return seen is not None and not _of_istio(observed, seen)


def _of_istio(observed: ClusterObservation, seen: Refusal) -> bool:
    """Istio's own webhooks are causes of their own: they are judged by what stands behind them."""
    names = {rule.name for webhook in observed.webhooks for rule in webhook.webhooks}
    return bool(seen.webhook) and (seen.webhook in names or seen.webhook.endswith(".istio.io"))


def _found(observed: ClusterObservation, seen: Refusal, message: str, *evidence: str) -> Found:
    webhook = next((each for each in observed.other_webhooks if seen.webhook in each.rules), None)
    object_ = f"{webhook.kind} {webhook.name}" if webhook else seen.object
    field = f"{seen.field} ({seen.webhook})" if webhook else seen.field
    kinds = "mutatingwebhookconfigurations,validatingwebhookconfigurations"
    words = object_.split()
    name = words[-1].rpartition("/")
    where = ("-n", name[0]) if name[0] else ()
    look = kubectl(observed, *where, f"describe {words[0].lower()} {name[2]}")
    if seen.webhook and not webhook:
        look = kubectl(observed, f"get {kinds}")
    return Found(
        cluster=observed.name,
        object=object_,
        field=field,
        expected=seen.expected,
        found=" ".join(message.split())[:240],
        repair=noted(look, f"wanted: {seen.expected}"),
        evidence=few(evidence),
    )
