"""The gateways that requirements examine, and what stands for one that is missing."""

from collections.abc import Iterator

from harness.judge.evidence import Evidence
from harness.model import expectations, gateway_objects, gateways, remotes
from harness.model.cluster import ClusterObservation, Service, Subject, Workload
from harness.model.observation import Observation
from harness.model.topology import Cluster


def standing(
    observation: Observation, evidence: Evidence, *subjects: Subject
) -> Iterator[tuple[Cluster, ClusterObservation, tuple[Service, ...]]]:
    """The clusters with gateways, each with their Services; none where the one that is meant is missing.

    On a mesh that was found, one gateway may stand for several clusters of its network, or outside of all of them: what
    is said of it is said where it stands.
    """
    topology, found = observation.topology, observation.asked.mode == "verify-only"
    for cluster, observed in evidence.readable(observation, *subjects, among=expectations.gateways(topology)):
        if needs_none(observation, cluster):
            evidence.fact(f"{cluster.name}: no gateway is needed: its remotes reach istiod without one")
        elif found and gateways.is_shared(topology, observation, cluster):
            entrances = gateways.entrances(topology, observation, cluster)
            evidence.expect(
                True,
                cluster=cluster,
                object=f"network {cluster.network}",
                field="gateway",
                expected="one for the network",
                found=", ".join(f"{entrance.address}:{entrance.port}" for entrance in entrances),
            )
        else:
            yield cluster, observed, gateways.serving(topology, observation, cluster)


def needs_none(observation: Observation, cluster: Cluster) -> bool:
    """Whether nobody needs a gateway of a cluster: all are on its network, and its remotes reach istiod otherwise."""
    crossed = any(other.network != cluster.network for other in observation.topology.others(cluster))
    return not crossed and remotes.served_from_elsewhere(observation, cluster)


def object_of(observation: Observation, kind: str, found: Service | Workload | None) -> str:
    """Kind, namespace and name of a gateway's object, or of the one that is missing."""
    if found is None:
        return f"{kind} {observation.asked.system_namespace}/{expectations.GATEWAY}"
    return f"{kind} {found.namespace}/{found.name}"


def state_of(observed: ClusterObservation, service: Service | None, workload: Workload | None) -> str:
    """The state of a gateway's workload, or what is missing, in words."""
    if workload is not None:
        reasons = "; ".join(f"{c.type}={c.status} {c.reason}" for c in workload.conditions)
        return "Available" if workload.available else f"{workload.ready} of {workload.desired} ready; {reasons}"
    if service is not None and not service.selector:
        return "outside of the cluster: a Service without a selector"
    pods = gateways.pods(observed, service) if service else ()
    return f"{sum(pod.ready for pod in pods)} of {len(pods)} pods ready" if pods else "no such Deployment"


def available(
    observation: Observation, evidence: Evidence, among: tuple[Cluster, ...], *also: Subject
) -> Iterator[tuple[Cluster, ClusterObservation]]:
    """The clusters of whose gateways one runs, or whose network is entered elsewhere."""
    for cluster, observed in evidence.readable(observation, Subject.WORKLOADS, Subject.SERVICES, *also, among=among):
        services = gateways.serving(observation.topology, observation, cluster) or (None,)
        shared = gateways.is_shared(observation.topology, observation, cluster) or needs_none(observation, cluster)
        if shared or any(gateways.is_available(observed, service) for service in services):
            yield cluster, observed
        else:
            evidence.blocked("GW-AVAILABLE", f"the gateway of {cluster.name} is not available")


def tls_ended_for_istiod(observation: Observation, evidence: Evidence, primary: Cluster, port: int) -> bool:
    """Whether a gateway of somebody's mesh ends TLS for istiod, and its remotes are served all the same: a fact then.

    Its certificate may be of any CA: that the remotes' proxies and API servers are connected shows that they trust it.
    """
    ending = gateway_objects.ending_tls(observation, primary, port)
    if not (ending and remotes.all_served(observation, primary)):
        return False
    evidence.fact(f"{primary.name}: Gateway {ending} ends TLS on {port}; the remotes are served")
    return True
