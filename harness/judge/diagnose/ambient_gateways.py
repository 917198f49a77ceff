"""Causes in the Gateways between the networks of a mesh without sidecars."""

from collections.abc import Iterator

from harness.judge.diagnose.facts import events, failed_steps, few, known_endpoints, read
from harness.judge.diagnose.graph import Layer
from harness.judge.diagnose.registry import Found, cause
from harness.judge.diagnose.repair import kubectl, manifest, noted
from harness.model import expectations, gateways
from harness.model.cluster import ApiGateway, ClusterObservation, Subject
from harness.model.data_plane import DataPlane
from harness.model.observation import Observation
from harness.model.topology import Cluster

AMBIENT = DataPlane.AMBIENT
_GATEWAYS = "gateways.gateway.networking.k8s.io"
"""What kubectl calls a Gateway: Istio has a kind of the same name."""


def _api_gateways(observation: Observation) -> Iterator[tuple[Cluster, ClusterObservation, tuple[ApiGateway, ...]]]:
    """The clusters whose network others enter, each with the Gateways that were meant for that."""
    among = expectations.multi_network_gateways(observation.topology)
    for cluster, observed in read(observation, Subject.API_GATEWAYS, among=among):
        if not gateways.is_shared(observation.topology, observation, cluster):
            yield cluster, observed, observed.api_gateways


@cause("hbone-gateway-missing", Layer.GATEWAYS, "AMB-HBONE", "GW-AVAILABLE", "GW-ADDRESS", plane=AMBIENT)
def hbone_gateway_missing(observation: Observation) -> Iterator[Found]:
    """There is no Gateway of the class istio-east-west.

    istiod makes the Deployment and the Service of an east-west gateway from it, and takes both away with it. Other
    networks then know no way in.
    """
    for cluster, observed, found in _api_gateways(observation):
        served = any(gateways.has_port(s, gateways.HBONE_PORT) for s in gateways.labelled(observed))
        if found or (served and observation.asked.mode == "verify-only"):
            continue
        system = observation.asked.system_namespace
        yield Found(
            cluster=cluster.name,
            object=f"Gateway {system}/{expectations.GATEWAY}",
            field="exists",
            expected="a Gateway of the class istio-east-west",
            found="none",
            repair=manifest(observed, "east-west-gateway-ambient", namespace=system, network=cluster.network),
            change=f"Create a Gateway of the class istio-east-west on {cluster.name}, labelled with its network",
            evidence=few(failed_steps(observation, cluster.name), known_endpoints(observation)),
        )


@cause("hbone-gateway-unlabelled", Layer.GATEWAYS, "AMB-HBONE", "AMB-VIEW", breaks=Layer.ENDPOINTS, plane=AMBIENT)
def hbone_gateway_unlabelled(observation: Observation) -> Iterator[Found]:
    """The Gateway does not say whose network's gateway it is.

    istiod gives ztunnels the address of a Gateway for the network in its label topology.istio.io/network. Without the
    label they know the other network's pods, and no way to them.
    """
    for cluster, observed, found in _api_gateways(observation):
        labels = [each.labels.get(expectations.NETWORK_LABEL) for each in found]
        if not found or cluster.network in labels:
            continue
        gateway, label = found[0], f"{expectations.NETWORK_LABEL}={cluster.network}"
        yield Found(
            cluster=cluster.name,
            object=f"Gateway {gateway.namespace}/{gateway.name}",
            field=f"label {expectations.NETWORK_LABEL}",
            expected=cluster.network,
            found=labels[0] or "none",
            repair=kubectl(observed, "-n", gateway.namespace, f"label {_GATEWAYS} {gateway.name} {label} --overwrite"),
            evidence=few(known_endpoints(observation)),
        )


@cause("hbone-gateway-not-programmed", Layer.GATEWAYS, "AMB-HBONE", "GW-ADDRESS", effect=True, plane=AMBIENT)
def hbone_gateway_not_programmed(observation: Observation) -> Iterator[Found]:
    """The Gateway is not programmed, or takes in no HBONE.

    istiod gives other networks the addresses in the Gateway's status, and only where it has a listener with protocol
    HBONE that ends TLS. No address is there while the load balancer has given none.
    """
    for cluster, observed, found in _api_gateways(observation):
        for gateway in found:
            condition = next((c for c in gateway.conditions if c.type == "Programmed"), None)
            listening = ", ".join(f"{each.protocol} {each.port} {each.tls_mode}".strip() for each in gateway.listeners)
            programmed = condition is not None and condition.status == "True"
            if gateway.labels.get(expectations.NETWORK_LABEL) != cluster.network or (programmed and gateway.hbone):
                continue
            said = f"{condition.status} {condition.reason}: {condition.message}" if condition else "none"
            yield Found(
                cluster=cluster.name,
                object=f"Gateway {gateway.namespace}/{gateway.name}",
                field="listeners" if not gateway.hbone else "condition Programmed",
                expected="HBONE 15008 Terminate" if not gateway.hbone else "True",
                found=(listening or "none") if not gateway.hbone else said,
                repair=noted(
                    kubectl(observed, "-n", gateway.namespace, f"describe {_GATEWAYS} {gateway.name}"),
                    "mend what its conditions say",
                ),
                change="Give it a listener with protocol HBONE that ends TLS" if not gateway.hbone else "",
                evidence=few(
                    (f"condition {c.type}={c.status} {c.reason}: {c.message}" for c in gateway.conditions),
                    events(observed, f"Service/{gateway.name}", f"Gateway/{gateway.name}"),
                ),
            )
