"""The dry run of a pod in the sample's namespace: whether pods that are made now come back with a sidecar."""

from harness.judge.evidence import Evidence
from harness.model import expectations, refusal, revisions
from harness.model.cluster import ClusterObservation
from harness.model.observation import Observation
from harness.model.starting_pods import only_starting
from harness.model.topology import Cluster

_ISTIO = ".istio.io"
"""How the names of Istio's own webhooks end."""


def injects(observation: Observation, evidence: Evidence, cluster: Cluster) -> bool:
    """Judge that the pod of the dry run is injected; False also where that can't be told."""
    observed = observation[cluster]
    dry_run = observed.dry_run
    if dry_run is None:
        evidence.unknown(f"{observed.name}: the injection dry run has no result")
        return False
    if not dry_run.injected and revisions.asks_for_nothing(observation, cluster):
        evidence.not_applicable(f"{observed.name}: no namespace of a sample shows whether pods are injected")
        return False
    if not dry_run.injected and _refused_as_a_stranger(observation, observed, dry_run.error):
        evidence.skipped(f"{observed.name}: the dry-run pod is not let in, its namespace's own are: {dry_run.error}")
        return False
    return evidence.expect(
        dry_run.injected,
        waited=istiod_starts(observation, cluster),
        cluster=observed,
        object="dry-run pod in the sample namespace",
        field="injection",
        expected="injected",
        found="injected" if dry_run.injected else dry_run.error or "came back without a sidecar",
    )


def istiod_starts(observation: Observation, cluster: Cluster) -> bool:
    """Whether the control plane that injects on a cluster is starting."""
    return only_starting(expectations.istiod_pods(observation[cluster.primary]))


def _refused_as_a_stranger(observation: Observation, observed: ClusterObservation, message: str) -> bool:
    """Whether on a mesh of others a quota or a policy refuses the pod, while the namespace's own have sidecars.

    A quota may be used up, and a policy may want pods to belong to a Deployment, which that of the dry run does not.
    What refuses injected pods for what they are (Pod Security, a LimitRange) would refuse the namespace's own as well.
    """
    namespace = observation.asked.sample_namespace
    found = refusal.refusal(message, namespace)
    if observation.asked.mode != "verify-only" or found is None:
        return False
    told_apart = found.by_admission and not found.webhook.endswith(_ISTIO)
    injected = any(pod.ready and pod.proxy and not pod.is_gateway for pod in observed.pods_with(namespace))
    workloads = (each for each in observed.workloads if each.namespace == namespace)
    failing = any((c.type, c.status) == ("ReplicaFailure", "True") for each in workloads for c in each.conditions)
    return told_apart and injected and not failing
