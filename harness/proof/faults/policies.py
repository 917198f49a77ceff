"""Faults of policies and settings."""

from harness.model import expectations
from harness.model.cluster import ConfigObject
from harness.model.observation import Observation
from harness.model.topology import Cluster
from harness.model.traffic import ProbeResult
from harness.proof.faults import configuration, effects, requests
from harness.proof.faults.acts import policies as acts
from harness.proof.faults.certificates import NO_SHARES, SHARES
from harness.proof.faults.control_plane import SILENT
from harness.proof.faults.edit import east, west, with_config, with_mesh, with_namespace
from harness.proof.faults.fault import MN, MP, Consequence, Fault
from harness.proof.faults.requests import Answers


def _policy(observation: Observation, kind: str, name: str, **spec: object) -> ConfigObject:
    group = "networking.istio.io/v1"
    return ConfigObject(
        api_version=group, kind=kind, namespace=observation.asked.sample_namespace, name=name, spec=dict(spec)
    )


def _local_only(observation: Observation) -> ConfigObject:
    spec = configuration.local_only(observation.asked.sample_namespace)
    return _policy(observation, "DestinationRule", "helloworld", **spec)


def _policies_differ(observation: Observation) -> Observation:
    client = east(observation)
    changed = with_config(observation, (client,), _local_only(observation))
    return requests.only_from(changed, client, client)


def _all_local(observation: Observation) -> Observation:
    changed = with_config(observation, observation.topology.primaries, _local_only(observation))
    for client in observation.topology.clusters:
        changed = requests.only_from(changed, client, client)
    return changed


def _cluster_local(observation: Observation) -> Observation:
    settings = configuration.cluster_local(observation.asked.sample_namespace)
    changed = with_mesh(observation, observation.topology.primaries, **settings)
    for client in observation.topology.clusters:
        changed = effects.lose_endpoints(changed, client, *observation.topology.others(client))
        changed = requests.only_from(changed, client, client)
    return changed


def _not_discovered(observation: Observation) -> Observation:
    sample, lost = observation.asked.sample_namespace, west(observation)
    changed = with_mesh(observation, observation.topology.primaries, **configuration.overlooking())
    changed = with_namespace(changed, lost, sample, "labels", **configuration.OVERLOOKED)
    rest = observation.topology.others(lost)
    for client in observation.topology.clusters:
        changed = effects.lose_endpoints(changed, client, lost)
        changed = requests.only_from(changed, client, *rest)
    return reset_behind_gateway(changed, lost)


def reset_behind_gateway(observation: Observation, target: Cluster) -> Observation:
    """The gateway accepts connections, and the helloworld to pass them on to is not there or refuses."""
    return effects.gateway_probes(
        observation,
        target,
        ProbeResult.REFUSED,
        ports=(expectations.MESH_PORT,),
        detail="connection reset",
        connects=True,
    )


def _skewed(observation: Observation) -> Observation:
    topology, sample = observation.topology, observation.asked.sample_namespace
    subsets = _policy(observation, "DestinationRule", "helloworld", **configuration.versions(topology, sample))
    rule = _policy(observation, "VirtualService", "helloworld", **configuration.skewed(topology, sample))
    changed = with_config(observation, topology.primaries, subsets, rule)
    shares = {
        cluster.name: Answers(share=weight)
        for cluster, weight in zip(observation.topology.clusters, (3.0, 1.0, 1.0, 1.0), strict=False)
    }
    for client in observation.topology.clusters:
        changed = requests.traffic(changed, client, **shares)
    return changed


LOCAL = "clients stay at home, as the setting says"
NO_ENDPOINTS = "endpoints that a client does not know can't be compared"
FAULTS: tuple[Fault, ...] = (
    Fault(
        "policies-differ",
        "a DestinationRule on East only that keeps all traffic on v1",
        _policies_differ,
        "policies-differ",
        frozenset({"CONFIG-CONSISTENT"}),
        consequences=(Consequence(("TR-REACH",), LOCAL), Consequence(SHARES, NO_SHARES)),
        where=MP,
        live=True,
        act=acts.policies_differ,
    ),
    Fault(
        "not-discovered",
        "discoverySelectors leave West's sample namespace out",
        _not_discovered,
        "not-discovered",
        frozenset({"EP-COMPLETE"}),
        consequences=(
            Consequence(("EP-WEIGHTS",), NO_ENDPOINTS),
            Consequence(("TR-REACH",), "istiod overlooks what stands in a namespace that no selector takes in"),
            Consequence(SHARES, NO_SHARES),
            Consequence(("GW-DATAPATH",), "West's gateway has no endpoint to pass helloworld's traffic on to", MN),
            Consequence(("GW-HARDENED",), SILENT, MN),
        ),
        live=True,
        act=acts.not_discovered,
    ),
    Fault(
        "cluster-local",
        "helloworld declared cluster-local",
        _cluster_local,
        "cluster-local",
        frozenset({"TR-REACH"}),
        consequences=(
            Consequence(("EP-COMPLETE", "EP-WEIGHTS"), "endpoints of a cluster-local service stay in their cluster"),
            Consequence(SHARES, NO_SHARES),
        ),
        live=True,
        act=acts.cluster_local,
    ),
    Fault(
        "all-local",
        "locality settings keep traffic local",
        _all_local,
        "all-local",
        frozenset({"TR-REACH"}),
        consequences=(Consequence(SHARES, NO_SHARES),),
        live=True,
        act=acts.all_local,
    ),
    Fault(
        "shares-skewed",
        "a VirtualService sends 1 in 4 to v2",
        _skewed,
        "shares-skewed",
        frozenset({"TR-DISTRIBUTION"}),
        live=True,
        act=acts.shares_skewed,
    ),
)
