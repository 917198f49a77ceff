"""Ambient: what ztunnels know of other networks, and how it is carried there."""

from collections.abc import Iterator

from harness.judge.evidence import Evidence
from harness.judge.judgement import Level
from harness.judge.requirement import requirement
from harness.model import captured, expectations, gateways, requested
from harness.model.cluster import ClusterObservation, Service, Subject
from harness.model.mesh_features import MeshFeature
from harness.model.observation import Observation
from harness.model.topology import Cluster, Feature
from harness.model.ztunnel import ZtunnelConnections
from suites.conformance.common import missing
from suites.conformance.sent import good

AREA = "ambient"


@requirement(
    "AMB-VIEW", Level.SHOULD, Feature.MULTI_NETWORK, area=AREA, needs=(MeshFeature.AMBIENT, MeshFeature.TRAFFIC)
)
def test_amb_view(observation: Observation, evidence: Evidence) -> None:
    """Every ztunnel knows the service, with an address on its own network and pods behind each other network's gateway.

    A client may run on any node: what EP-COMPLETE examines for the client's must hold for each. istiod joins the pods
    of another network to one workload that is reached through that network's gateway. Examined are the addresses of
    the service, and that it has a workload behind a gateway for each other network with ready pods.

    Source: Istio, pilot, ambient's multicluster; ztunnel, src/state/workload.rs, network_gateway.
    """
    named = requested.service(observation.asked)
    for cluster, observed in evidence.readable(observation, Subject.PODS, Subject.SERVICES, Subject.ZTUNNELS):
        if not observed.ztunnels:
            evidence.blocked("AMB-ZTUNNEL", f"no ztunnel of {cluster.name} told what it knows")
        for ztunnel in observed.ztunnels:
            known = next((s for s in ztunnel.services if (s.namespace, s.name) == (named.namespace, named.name)), None)
            name = f"ztunnel {ztunnel.namespace}/{ztunnel.pod}"
            vips = known.vips if known else ()
            local = requested.found(observed, observation.asked)
            at_home = f"{cluster.network}/{local.cluster_ip}" if local and local.cluster_ip else ""
            evidence.expect(
                known is not None and (not expectations.is_address(at_home.partition("/")[2]) or at_home in vips),
                cluster=cluster,
                object=name,
                field=f"addresses of {named.name}",
                expected=at_home or "the service",
                found=", ".join(vips) or ("none" if known else "it does not know the service"),
            )
            behind = captured.behind_gateways(ztunnel, known) if known else {}
            for network in _serving_networks(observation, cluster):
                evidence.expect(
                    network in behind,
                    cluster=cluster,
                    object=name,
                    field=f"{named.name} on {network}",
                    expected="behind its gateway",
                    found=", ".join(behind.get(network, ())) or "not known",
                )


def _serving_networks(observation: Observation, cluster: Cluster) -> tuple[str, ...]:
    """The other networks with ready pods of the service."""
    others = (other for other in observation.topology.others(cluster) if other.network != cluster.network)
    serving = (other.network for other in others if requested.ready_pods(observation[other], observation.asked))
    return tuple(dict.fromkeys(serving))


@requirement("AMB-HBONE", Level.MUST, Feature.MULTI_NETWORK, area=AREA, needs=(MeshFeature.AMBIENT,))
def test_amb_hbone(observation: Observation, evidence: Evidence) -> None:
    """The gateway takes in HBONE on 15008, and what other networks' clients send comes over it.

    istiod makes the gateway from a Gateway of the class istio-east-west. It gives a network's gateway to ztunnels only
    if that has a listener with protocol HBONE that ends TLS, and the label of its network. Examined are the Gateway,
    its condition Programmed, the port of its Service and, in the access logs of the clients' ztunnels, that requests
    which another network answered went to its gateway through HBONE. With --service TR-REACH tells the latter.

    Source: Istio, pilot, ambient's networks; ztunnel, src/proxy/outbound.rs, double HBONE.
    """
    for cluster, observed in evidence.readable(observation, Subject.API_GATEWAYS, Subject.SERVICES):
        _judge_gateway(observation, evidence, cluster, observed)
    if observation.asked.service:
        evidence.fact("by which ways requests reach the service TR-REACH tells")
        return
    for client, target, answers in _crossing(observation, evidence):
        rows = [row for row in _connections(observation, client) if _through_gateway(observation, row, target)]
        over = sum(row.count for row in rows if row.hbone and not row.error)
        evidence.expect(
            over > 0,
            cluster=client,
            object=f"way {client.name} → {target.network}",
            field="connections through HBONE to its gateway",
            expected=f"at least one: it answered {answers} requests",
            found=str(over) if over else f"none among {sum(r.count for r in _connections(observation, client))}",
        )


def _judge_gateway(
    observation: Observation, evidence: Evidence, cluster: Cluster, observed: ClusterObservation
) -> None:
    if gateways.is_shared(observation.topology, observation, cluster):
        evidence.fact(f"{cluster.name}: its network is entered elsewhere")
        return
    found = [each for each in observed.api_gateways if each.labels.get(expectations.NETWORK_LABEL) == cluster.network]
    services = [s for s in gateways.services(observed, cluster.network) if gateways.has_port(s, gateways.HBONE_PORT)]
    if not found and services and observation.asked.mode == "verify-only":
        evidence.fact(f"{cluster.name}: Service {services[0].name} takes in HBONE without a Gateway of istio-east-west")
        return
    if not found:
        others = ", ".join(f"{each.namespace}/{each.name}" for each in observed.api_gateways)
        evidence.expect(
            False,
            cluster=cluster,
            object=f"Gateway {observation.asked.system_namespace}/{expectations.GATEWAY}",
            field=f"label {expectations.NETWORK_LABEL}",
            expected=cluster.network,
            found=f"none; {others} has another" if others else "no such Gateway",
        )
    for each in found:
        name = f"Gateway {each.namespace}/{each.name}"
        programmed = next((c for c in each.conditions if c.type == "Programmed"), None)
        said = f"{programmed.status} {programmed.reason}: {programmed.message}" if programmed else "none"
        ports = ", ".join(f"{listener.protocol} {listener.port}" for listener in each.listeners) or "none"
        evidence.expect(
            bool(each.hbone), cluster=cluster, object=name, field="listeners", expected="HBONE, TLS ended", found=ports
        )
        evidence.expect(
            programmed is not None and programmed.status == "True",
            cluster=cluster,
            object=name,
            field="condition Programmed",
            expected="True",
            found="True" if programmed and programmed.status == "True" else said,
        )
    if found:
        _judge_port(observation, evidence, cluster, services)


def _judge_port(observation: Observation, evidence: Evidence, cluster: Cluster, services: list[Service]) -> None:
    """Judge that the Service of the Gateway has the port; GW-ADDRESS judges whether there is one at all."""
    there = gateways.services(observation[cluster], cluster.network)
    for service in there[:1]:
        evidence.expect(
            bool(services),
            cluster=cluster,
            object=f"Service {service.namespace}/{service.name}",
            field="port for HBONE",
            expected=gateways.HBONE_PORT,
            found=", ".join(str(port.port) for port in service.ports) or "none",
        )


def _crossing(observation: Observation, evidence: Evidence) -> Iterator[tuple[Cluster, Cluster, int]]:
    """The clients with each cluster of another network that answered them, and how often; where the logs tell."""
    traffic = observation.traffic
    for client in observation.topology.clusters:
        for target in observation.topology.others(client):
            if target.network == client.network:
                continue
            sent = [s for s in (traffic.coverage + traffic.distribution if traffic else ()) if s.client == client.name]
            answers = sum(good(r) and r.version == target.version for s in sent for r in s.requests)
            if traffic is None or not sent:
                missing(observation, evidence, client, f"a request to {target.name}")
            elif not answers:
                evidence.blocked("TR-REACH", f"{client.name}: {target.name} answered no request")
            elif traffic.connections is None:
                evidence.skipped(f"{client.name} → {target.name}: {traffic.peers_missing}")
            else:
                yield client, target, answers


def _connections(observation: Observation, client: Cluster) -> list[ZtunnelConnections]:
    """What a cluster's ztunnels sent on to the service."""
    rows = (observation.traffic.connections if observation.traffic else None) or ()
    host = requested.host(observation.asked, "")
    return [
        row
        for row in rows
        if row.cluster == client.name and row.direction == "outbound" and row.service.startswith(host)
    ]


def _through_gateway(observation: Observation, row: ZtunnelConnections, target: Cluster) -> bool:
    """Whether a connection went to a gateway of a cluster's network; by its port where that is known by name only."""
    entrances = gateways.entrances(observation.topology, observation, target, gateways.HBONE_PORT)
    services = gateways.services(observation[target], target.network)
    by_name = any(map(gateways.known_by_name, services))
    return any(
        row.address == f"{expectations.url_host(each.address)}:{each.port}"
        or (by_name and row.address.endswith(f":{each.port}"))
        for each in entrances
    )


@requirement("AMB-PLAINTEXT", Level.SHOULD, area=AREA, needs=(MeshFeature.AMBIENT, MeshFeature.SAMPLE))
def test_amb_plaintext(observation: Observation, evidence: Evidence) -> None:
    """No connection between pods of the sample is carried without mutual TLS.

    A ztunnel sends plaintext where it does not know that the other end is in the mesh, and takes it in unless a policy
    is STRICT: nothing fails then, and anyone on the way reads along. Examined are the connections between the sample's
    pods in the access logs of all ztunnels: each names the identities that HBONE proved.

    Source: Istio, "Ambient and the mesh's security", HBONE; ztunnel, src/proxy/metrics.rs, access log.
    """
    traffic = observation.traffic
    if traffic is None or traffic.connections is None:
        evidence.skipped((traffic.peers_missing if traffic else "") or "no requests were sent")
        return
    namespaces = observation.asked.namespaces
    for cluster in observation.topology.clusters:
        rows = [
            row
            for row in traffic.connections
            if row.cluster == cluster.name and row.source_namespace in namespaces and not row.error
        ]
        among = [row for row in rows if row.destination_namespace in namespaces or _is_of(row.service, namespaces)]
        plain = [row for row in among if not (row.source_identity and row.hbone)]
        told = (f"{row.count} × {row.source} → {row.destination} ({row.direction})" for row in plain)
        if among:
            evidence.expect(
                not plain,
                cluster=cluster,
                object=f"{sum(row.count for row in among)} connections of the sample",
                field="without mutual TLS",
                expected="none",
                found=", ".join(told) or "none",
            )
        else:
            evidence.fact(f"{cluster.name}: its ztunnels carried no connection between pods of the sample")


def _is_of(host: str, namespaces: tuple[str, ...]) -> bool:
    """Whether a Service's host name is of one of these namespaces."""
    return any(f".{name}.svc." in host for name in namespaces)
