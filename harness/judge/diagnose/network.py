"""Causes in network labels and routes."""

from collections.abc import Iterator

from harness.judge.diagnose.facts import few, known_endpoints, network_label, read, silent, values
from harness.judge.diagnose.graph import Layer
from harness.judge.diagnose.registry import Found, cause
from harness.judge.diagnose.repair import kubectl, noted, restart, set_value
from harness.model import expectations, gateways
from harness.model.cluster import ClusterObservation, Subject
from harness.model.data_plane import DataPlane
from harness.model.observation import Observation
from harness.model.topology import Cluster, Feature
from harness.model.traffic import Probe, ProbeKind

OK = 200


def _pair(probe: Probe) -> tuple[str, str]:
    return probe.source, probe.target


def _labelled(
    observation: Observation, cluster: Cluster, observed: ClusterObservation, found: str, *evidence: str
) -> Found:
    system = observation.asked.system_namespace
    label = f"label namespace {system} {expectations.NETWORK_LABEL}={cluster.network or 'NETWORK'} --overwrite"
    return Found(
        cluster=cluster.name,
        object=f"Namespace {system}",
        field=f"label {expectations.NETWORK_LABEL}",
        expected=cluster.network,
        found=found,
        repair=kubectl(observed, label),
        evidence=few(evidence, known_endpoints(observation)),
    )


@cause("network-unlabelled", Layer.NETWORK, "NET-LABEL")
def network_unlabelled(observation: Observation) -> Iterator[Found]:
    """A cluster does not say which network it is on.

    istiod takes the default network of a cluster's pods and gateway from this label of its system namespace. Without it
    the pods may count as directly reachable from anywhere, and clients elsewhere are given addresses that nothing
    routes.
    """
    for cluster, observed in read(observation, Subject.NAMESPACES):
        named = cluster.network and not expectations.network_name(observation, cluster)
        if named and observed.namespace(observation.asked.system_namespace):
            yield _labelled(observation, cluster, observed, "none")


@cause("network-same-name", Layer.NETWORK, "NET-DISTINCT", "NET-LABEL", "NET-ROUTES")
def network_same_name(observation: Observation) -> Iterator[Found]:
    """Two networks have one name though nothing routes between them.

    istiod takes their pods for directly reachable and hands out pod addresses instead of the gateway's.
    """
    if Feature.MULTI_NETWORK not in observation.topology.features:
        yield from _named_alike(observation)
        return
    networks = {cluster.name: cluster.network for cluster in observation.topology.clusters}
    for cluster, observed in read(observation, Subject.NAMESPACES):
        label = network_label(observation, observed)
        others = [name for name, network in networks.items() if network == label and network != cluster.network]
        if others:
            yield _labelled(observation, cluster, observed, f"{label}, the network of {', '.join(others)}")


def _named_alike(observation: Observation) -> Iterator[Found]:
    """Clusters of one network by its name that have gateways between them, and whose pods do not reach each other."""
    unreached = silent(observation, ProbeKind.POD_ROUTE, _pair)
    for source, target in sorted(unreached):
        there = observation[target]
        if (target, source) in unreached and source > target:
            continue  # once for both directions
        if all(gateways.labelled(observation[name]) for name in (source, target)):
            name = observation.topology[target].network
            yield Found(
                cluster=target,
                object=f"Namespace {observation.asked.system_namespace}",
                field=f"label {expectations.NETWORK_LABEL}, and values.global.network",
                expected=f"another network than that of {source}, which is entered over its gateway",
                found=f"{name}, the network of {source}",
                repair=noted(
                    kubectl(there, f"get namespace {observation.asked.system_namespace} --show-labels"),
                    "name its network otherwise: in this label, in values.global.network and at its gateway",
                ),
                evidence=few(known_endpoints(observation)),
            )


@cause("network-value", Layer.NETWORK, "WL-INJECTED", "EP-COMPLETE", plane=DataPlane.SIDECAR)
def network_value(observation: Observation) -> Iterator[Found]:
    """Injection gives pods another network than the one that their cluster is on.

    The injector's value global.network becomes each pod's network. Where it is empty or says something else than the
    label of the system namespace, proxies take themselves for strangers on their own cluster, or for neighbours of
    others, and get the wrong endpoints.
    """
    for cluster, observed in read(
        observation, Subject.MESH_CONFIG, Subject.NAMESPACES, among=observation.topology.primaries
    ):
        label, said = network_label(observation, observed), str(values(observation, observed).get("network") or "")
        if not values(observation, observed) or label != cluster.network or not label or said == label:
            continue
        config = expectations.mesh_config(observed, observation.asked.revision)
        revision = config.revision if config else ""
        suffix = "" if revision in {"", "default"} else f"-{revision}"
        system = observation.asked.system_namespace
        variable = "ISTIO_META_NETWORK"
        pods = (pod for pod in observed.lasting_pods if (proxy := pod.proxy) and (proxy.env.get(variable, "") != label))
        yield Found(
            cluster=cluster.name,
            object=f"ConfigMap {system}/istio-sidecar-injector{suffix}",
            field="values global.network",
            expected=f"{label}, as the label of Namespace {system} says",
            found=said or '""',
            repair=set_value(
                observation, cluster, "global.network", label, restart(observed, observation.asked.sample_namespace)
            ),
            evidence=few(f"pod {pod.namespace}/{pod.name} was injected without {variable}={label}" for pod in pods),
        )


@cause("network-other-name", Layer.NETWORK, "NET-LABEL")
def network_other_name(observation: Observation) -> Iterator[Found]:
    """A cluster is labelled with a network that the topology does not know.

    Its pods and its gateway are then on a network of their own; on a single network, others look for a gateway that
    there is not.
    """
    networks = set(observation.topology.networks)
    for cluster, observed in read(observation, Subject.NAMESPACES):
        label = network_label(observation, observed)
        if label and label not in networks:
            yield _labelled(observation, cluster, observed, label)


# It stands before remote secrets, whose API servers it silences as well.
@cause("packets-lost", Layer.NODES, "NET-PACKETS", "TR-PAYLOAD", breaks=Layer.NETWORK, effect=True)
def packets_lost(observation: Observation) -> Iterator[Found]:
    """Packets of full size are lost between two clusters.

    A short request is answered, one that fills packets is not. A tunnel, VPN or overlay between the clusters takes
    smaller packets than the pods' interfaces send, and the ICMP message that says so is filtered; or something on the
    way inspects what passes and holds it. TLS handshakes hang, which looks as if gateways or pods did not answer.
    """
    for (source, target), tried in silent(observation, ProbeKind.PACKETS, _pair).items():
        probes = [probe for probe in tried if probe.status == OK]
        if not probes:
            continue
        first, here = probes[0], observation[source]
        yield Found(
            cluster=source,
            object=f"way {source} → {target}",
            field=f"a request of 16 KiB to {first.address}:{first.port}",
            expected="answered, as the short one before it",
            found=f"{first.result} {first.detail}".strip(),
            repair=noted(
                kubectl(here, "get nodes -o wide"),
                f"compare the MTU of its nodes and pods with what the way to {target} takes: "
                f"`ping -M do -s 1472 {first.address}` from a node tells whether full packets pass",
            ),
            change=f"Give the pods of {source} an MTU that the way to {target} takes, or let ICMP type 3 code 4 pass; "
            "else look for a firewall that inspects connections there",
            evidence=few(f"{p.source_pod} → {p.address}:{p.port}: {p.result} {p.detail}" for p in probes),
        )


@cause("no-route", Layer.NETWORK, "NET-ROUTES", effect=True)
def no_route(observation: Observation) -> Iterator[Found]:
    """Pods of one cluster do not reach pods of another, though they are meant to share a network.

    On a single network endpoints are pod addresses: without routes between the clusters' pod ranges, or with a firewall
    between, every request across fails.
    """
    for (source, target), probes in silent(observation, ProbeKind.POD_ROUTE, _pair).items():
        first, there = probes[0], observation[target]
        routes = [
            f"ip route add {cidr} via {node.addresses[0]}"
            for node in there.nodes
            for cidr in node.pod_cidrs
            if node.addresses
        ]
        yield Found(
            cluster=source,
            object=f"route {source} → {target}",
            field=f"{first.address}:{first.port}",
            expected="answers",
            found=f"{first.result} {first.detail}".strip(),
            repair=noted("; ".join(routes), f"on each node of {source}; and the way back")
            if routes
            else noted(kubectl(there, "get nodes -o wide"), f"route the pod ranges of {target} to {source}"),
            change=f"Route the pod ranges of {target} to the nodes of {source} and back; or give them two networks",
            evidence=few(f"{p.source_pod} → {p.address}:{p.port}: {p.result} {p.detail}" for p in probes),
        )
