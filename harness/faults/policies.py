"""Faults of policies and settings."""

from harness import expected
from harness.faults import effects, requests
from harness.faults.certificates import NO_SHARES, SHARES
from harness.faults.control_plane import SILENT
from harness.faults.edit import east, west, with_config, with_mesh, with_namespace
from harness.faults.fault import MN, MP, Consequence, Fault
from harness.faults.requests import Answers
from harness.model.cluster import ConfigObject
from harness.model.observation import Observation
from harness.model.traffic import ProbeResult
from harness.topology import Cluster


def _policy(observation: Observation, kind: str, name: str, **spec: object) -> ConfigObject:
    group = "networking.istio.io/v1"
    return ConfigObject(
        api_version=group, kind=kind, namespace=observation.asked.sample_namespace, name=name, spec=dict(spec)
    )


def _helloworld(observation: Observation) -> str:
    return f"{expected.HELLOWORLD}.{observation.asked.sample_namespace}.svc.cluster.local"


def _local_only(observation: Observation) -> ConfigObject:
    setting = {"enabled": True, "distribute": [{"from": "*", "to": {"*": 100}}]}
    return _policy(
        observation,
        "DestinationRule",
        "helloworld",
        host=_helloworld(observation),
        trafficPolicy={"loadBalancer": {"localityLbSetting": setting}, "outlierDetection": {}},
    )


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
    settings = [{"settings": {"clusterLocal": True}, "hosts": [_helloworld(observation)]}]
    changed = with_mesh(observation, observation.topology.primaries, serviceSettings=settings)
    for client in observation.topology.clusters:
        changed = effects.lose_endpoints(changed, client, *observation.topology.others(client))
        changed = requests.only_from(changed, client, client)
    return changed


def _not_discovered(observation: Observation) -> Observation:
    sample, lost = observation.asked.sample_namespace, west(observation)
    selectors = [{"matchLabels": {"istio-discovery": "enabled"}}]
    changed = with_mesh(observation, observation.topology.primaries, discoverySelectors=selectors)
    rest = observation.topology.others(lost)
    for cluster in rest:
        changed = with_namespace(changed, cluster, sample, "labels", **{"istio-discovery": "enabled"})
    for client in observation.topology.clusters:
        changed = effects.lose_endpoints(changed, client, lost)
        changed = requests.only_from(changed, client, *rest)
    return nothing_behind_gateway(changed, lost)


def nothing_behind_gateway(observation: Observation, target: Cluster) -> Observation:
    """The gateway accepts connections and has no helloworld to pass them on to."""
    return effects.gateway_probes(
        observation,
        target,
        ProbeResult.REFUSED,
        ports=(expected.MESH_PORT,),
        detail="connection reset",
        connects=True,
    )


def _skewed(observation: Observation) -> Observation:
    routes = [
        {"destination": {"host": _helloworld(observation), "subset": cluster.version}, "weight": weight}
        for cluster, weight in zip(observation.topology.clusters, (90, 10, 0, 0), strict=False)
    ]
    rule = _policy(
        observation, "VirtualService", "helloworld", hosts=[_helloworld(observation)], http=[{"route": routes}]
    )
    changed = with_config(observation, observation.topology.primaries, rule)
    shares = {
        cluster.name: Answers(share=weight)
        for cluster, weight in zip(observation.topology.clusters, (9.0, 1.0, 1.0, 1.0), strict=False)
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
    ),
    Fault(
        "all-local",
        "locality settings keep traffic local",
        _all_local,
        "all-local",
        frozenset({"TR-REACH"}),
        consequences=(Consequence(SHARES, NO_SHARES),),
        live=True,
    ),
    Fault(
        "shares-skewed",
        "a VirtualService sends 1 in 10 to v2",
        _skewed,
        "shares-skewed",
        frozenset({"TR-DISTRIBUTION"}),
        live=True,
    ),
)
