"""Where a client's proxy finds the pods that requests are sent to, and how it shares requests out over them. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass

from harness.model import gateways, requested
from harness.model.expectations import mesh_port
from harness.model.observation import Observation
from harness.model.proxy import ProxyEndpoint
from harness.model.topology import Cluster

Places = dict[tuple[str, int], int]
"""Addresses and ports, each with the number of ready pods behind all of them."""


def every_address_of(observation: Observation, client: Cluster, target: Cluster) -> Places:
    """Where a client's proxy may find a cluster's pods of the service.

    The pods themselves on its own network, every entrance of the target's gateways on another.
    """
    asked, observed = observation.asked, observation[target]
    pods = requested.ready_pods(observed, asked)
    if asked.service and not pods:
        return {}
    if target.network == client.network:
        port = requested.listening_port(observed, asked)
        return {(pod.ip, port): len(pods) for pod in pods}
    found = gateways.entrances(observation.topology, observation, target, mesh_port(asked))
    return {(entrance.address, entrance.port): len(pods) for entrance in found}


def addresses_of(observation: Observation, client: Cluster, target: Cluster) -> Places:
    """Where a client's proxy must find a cluster's pods of the service.

    As `every_address_of`, without gateways of an IP family that the client's pods do not have: istiod keeps these from
    it (Istio, pilot: endpoints by network).
    """
    found = every_address_of(observation, client, target)
    return {place: count for place, count in found.items() if in_family(observation, client, place[0])} or found


def in_family(observation: Observation, client: Cluster, address: str) -> bool:
    """Whether an address is of an IP family that a cluster's pods have, as far as that is known; names are."""
    asked = observation.asked
    pods = observation[client].pods_with(asked.client.namespace if asked.client else asked.sample_namespace)
    families = {":" in pod.ip for pod in pods if pod.ip}
    return not families or not gateways.is_address(address) or (":" in address) in families


Owners = tuple[str, ...]
"""The names of the clusters behind an endpoint: of several where one gateway stands for them."""


def by_cluster(
    observation: Observation, client: Cluster, endpoints: Iterable[ProxyEndpoint]
) -> dict[Owners, list[ProxyEndpoint]] | None:
    """A client's endpoints by the clusters behind each; None where one of them belongs to none."""
    owners: dict[tuple[str, int], Owners] = {}
    for target in observation.topology.clusters:
        for place in every_address_of(observation, client, target):
            owners[place] = (*owners.get(place, ()), target.name)
    found: dict[Owners, list[ProxyEndpoint]] = {}
    for endpoint in endpoints:
        if (owner := owners.get((endpoint.address, endpoint.port))) is None:
            return None
        found.setdefault(owner, []).append(endpoint)
    return found


def serving(observation: Observation) -> tuple[Cluster, ...]:
    """The clusters that are to serve: all with the sample; those that have ready pods of somebody's own service."""
    asked, clusters = observation.asked, observation.topology.clusters
    return tuple(c for c in clusters if asked.service is None or requested.ready_pods(observation[c], asked))


@dataclass(frozen=True)
class Share:
    """The part of a client's requests that is meant for some clusters."""

    clusters: str
    """Their names; of several where one gateway stands for them."""
    weight: int
    """Of their endpoints, together."""
    pods: int
    """That are ready."""


def shares(observation: Observation, client: Cluster, endpoints: Iterable[ProxyEndpoint]) -> tuple[Share, ...]:
    """How a client's endpoints share requests out; empty where they are not those of all clusters that serve."""
    owned = by_cluster(observation, client, endpoints) or {}
    if {name for owners in owned for name in owners} < {cluster.name for cluster in serving(observation)}:
        return ()
    return tuple(
        Share(
            clusters=" and ".join(owners),
            weight=sum(endpoint.weight for endpoint in found),
            pods=sum(len(requested.ready_pods(observation[name], observation.asked)) for name in owners),
        )
        for owners, found in owned.items()
    )


def fair(found: tuple[Share, ...]) -> bool:
    """Whether weights are proportional to pods."""
    whole, ready = sum(share.weight for share in found), sum(share.pods for share in found)
    return all(share.weight * ready == share.pods * whole for share in found)
