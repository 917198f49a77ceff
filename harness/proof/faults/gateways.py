"""Faults of networks, gateways and what they expose."""

from collections.abc import Callable

from harness.model import expectations
from harness.model.cluster import ConfigObject
from harness.model.observation import Observation
from harness.model.proxy import ControlPlane
from harness.model.topology import Cluster
from harness.model.traffic import ProbeKind, ProbeResult
from harness.proof.faults import effects, requests
from harness.proof.faults.acts import gateways as acts
from harness.proof.faults.acts import namespaces, network
from harness.proof.faults.certificates import NO_SHARES, REMOTE_READY, SHARES
from harness.proof.faults.control_plane import SILENT, UNAVAILABLE
from harness.proof.faults.edit import (
    each,
    gateway_pods,
    gateway_service,
    on,
    pods,
    probes,
    server,
    signer,
    west,
    with_namespace,
    workloads,
)
from harness.proof.faults.fault import EVERY_PLANE, MN, PR, SN, Consequence, Fault, either


def _gateway(observation: Observation) -> Cluster:
    """The last cluster with a gateway."""
    return expectations.gateways(observation.topology)[-1]


def _neighbours(observation: Observation, target: Cluster) -> tuple[Cluster, ...]:
    """The clusters that need this gateway for traffic."""
    return tuple(c for c in observation.topology.others(target) if c.network != target.network)


def _cut_off(observation: Observation, target: Cluster, why: str) -> Observation:
    """A gateway leads nobody to istiod any more."""
    dependents = observation.topology.dependents(target)
    return effects.disconnected(effects.injection_fails(observation, *dependents, why=why), *dependents)


def _unreached(observation: Observation, target: Cluster, vain: str) -> Observation:
    """Clients on other networks get no answer from the target."""
    for client in _neighbours(observation, target):
        rest = tuple(c for c in observation.topology.clusters if c != target)
        observation = requests.only_from(observation, client, *rest, vain=vain)
    return observation


def _unlabelled(observation: Observation) -> Observation:
    system = observation.asked.system_namespace
    return with_namespace(observation, west(observation), system, "labels", **{expectations.NETWORK_LABEL: None})


def _same_name(observation: Observation) -> Observation:
    system, name = observation.asked.system_namespace, observation.topology.clusters[0].network
    return with_namespace(observation, west(observation), system, "labels", **{expectations.NETWORK_LABEL: name})


def _packets_lost(observation: Observation) -> Observation:
    name = west(observation).name
    lost = {"result": ProbeResult.TIMEOUT, "detail": "curl: (28) Operation timed out"}
    return probes(
        observation,
        lambda p: p.model_copy(update=lost) if p.kind is ProbeKind.PACKETS and p.target == name else p,
    )


def _no_route(observation: Observation) -> Observation:
    changed = probes(
        observation,
        lambda p: (
            p.model_copy(update={"result": ProbeResult.TIMEOUT, "detail": "connection timed out"})
            if p.kind is ProbeKind.POD_ROUTE
            else p
        ),
    )
    for client in observation.topology.clusters:
        changed = requests.only_from(changed, client, client, vain="timeout")
    return changed


def _gateway_down(observation: Observation) -> Observation:
    target = _gateway(observation)
    names = gateway_pods(observation[target])
    changed = workloads(
        observation, target, lambda w: w.name == expectations.GATEWAY, desired=0, ready=0, conditions=(UNAVAILABLE,)
    )
    changed = gateway_service(changed, target, ready_endpoints=())
    changed = pods(changed, target, lambda pod: None if pod.name in names else pod)
    changed = on(changed, target, proxies=tuple(p for p in changed[target].proxies if p.pod not in names))
    full_names = {f"{name}.{observation.asked.system_namespace}" for name in names}

    def without(plane: ControlPlane) -> ControlPlane:
        rows = tuple(
            row for row in plane.proxies if row.proxy not in full_names or row.cluster_id != target.cluster_name
        )
        return plane.model_copy(update={"proxies": rows})

    changed = on(changed, target.primary, control_planes=each(changed[target.primary].control_planes, without))
    changed = effects.gateway_probes(changed, target, ProbeResult.REFUSED, detail="connection refused")
    changed = _cut_off(changed, target, "connect: connection refused")
    return _unreached(changed, target, "refused")


def _no_address(observation: Observation) -> Observation:
    target = _gateway(observation)
    changed = observation
    for client in _neighbours(observation, target):
        changed = effects.pod_endpoints(changed, client, target)
    changed = _unreached(changed, target, "timeout")
    changed = gateway_service(changed, target, ingress=(), resolved=())
    gone = frozenset({ProbeKind.TCP, ProbeKind.TLS, ProbeKind.TLS_NO_CERTIFICATE, ProbeKind.CSR_NO_TOKEN})
    changed = probes(changed, lambda p: None if p.target == target.name and p.kind in gone else p)
    return _cut_off(changed, target, "context deadline exceeded")


def _gateway_unlabelled(observation: Observation) -> Observation:
    target = _gateway(observation)
    service = expectations.gateway_service(observation[target])
    labels = {k: v for k, v in (service.labels if service else {}).items() if k != expectations.NETWORK_LABEL}
    changed = observation
    for client in _neighbours(observation, target):
        changed = effects.pod_endpoints(changed, client, target)
    return gateway_service(_unreached(changed, target, "timeout"), target, labels=labels)


def _filtered(port: int) -> Callable[[Observation], Observation]:
    def mutate(observation: Observation) -> Observation:
        target = west(observation) if port == expectations.MESH_PORT else server(observation)
        changed = effects.gateway_probes(
            observation, target, ProbeResult.TIMEOUT, ports=(port,), detail="connection timed out"
        )
        dependents = observation.topology.dependents(target)
        if port == expectations.XDS_PORT:
            return effects.disconnected(changed, *dependents)
        if port == expectations.WEBHOOK_PORT:
            return effects.injection_fails(changed, *dependents, why="context deadline exceeded")
        return _unreached(changed, target, "timeout")

    return mutate


def _is_gateway(item: ConfigObject, *ports: int) -> bool:
    return item.kind == "Gateway" and any(
        (server.get("port") or {}).get("number") in ports for server in item.spec.get("servers") or ()
    )


def _not_exposed(observation: Observation) -> Observation:
    primary = signer(observation)
    config = tuple(item for item in observation[primary].config if not _is_gateway(item, expectations.MESH_PORT))
    changed = on(observation, primary, config=config)
    for target in observation.topology.served_by(primary):
        changed = effects.listeners(changed, target, expectations.MESH_PORT)
        changed = effects.gateway_probes(
            changed, target, ProbeResult.REFUSED, ports=(expectations.MESH_PORT,), detail="connection refused"
        )
    for client in observation.topology.clusters:
        open_ones = [
            t
            for t in observation.topology.clusters
            if t.network == client.network or t not in observation.topology.served_by(primary)
        ]
        changed = requests.only_from(changed, client, *open_ones, vain="refused")
    # A client that no closed gateway concerns goes on as before.
    return changed


def _plain(observation: Observation) -> Observation:
    target = west(observation)
    return probes(
        observation,
        lambda p: (
            p.model_copy(update={"result": ProbeResult.ANSWERED, "status": 200, "detail": "helloworld answered"})
            if p.kind is ProbeKind.TLS_NO_CERTIFICATE and p.target == target.name
            else p
        ),
    )


def _istiod_not_exposed(observation: Observation) -> Observation:
    target = server(observation)
    ports = (expectations.XDS_PORT, expectations.WEBHOOK_PORT)
    config = tuple(
        item
        for item in observation[target].config
        if not _is_gateway(item, *ports) and not (item.kind == "VirtualService" and "istiod" in str(item.spec))
    )
    changed = effects.listeners(on(observation, target, config=config), target, *ports)
    changed = effects.gateway_probes(changed, target, ProbeResult.REFUSED, ports=ports, detail="connection refused")
    return _cut_off(changed, target, "connect: connection refused")


RETRIED = "connections to the gateway are refused; Envoy retries at home, and the other cluster never answers"
TIMED_OUT = "requests to the other cluster wait for an answer until the client gives up"
NOT_SENT = "requests that are given up before a connection stands are not counted as attempts"
POD_ADDRESSES = "istiod knows a network without a known gateway by its pod addresses"
HANDSHAKE = "a TLS handshake needs the port"
FETCH = "a remote's proxies fetch configuration and certificates over the gateway's 15012"
REMOTE_WEBHOOK = "a remote's API server calls injection over the gateway's 15017"

_REMOTE_CUT_OFF = (
    Consequence(("XDS-SYNCED", "CERT-ISTIOD"), FETCH, PR),
    Consequence(("CP-INJECTION-WEBHOOK",), REMOTE_WEBHOOK, PR),
    Consequence(("CP-READY",), REMOTE_READY, PR),
)


def _on_one_network(*consequences: Consequence) -> tuple[Consequence, ...]:
    """On one network the only gateway is that of the primary."""
    return tuple(Consequence(c.requirements, c.reason, SN) for c in consequences)


def _unanswered(*more: Consequence) -> tuple[Consequence, ...]:
    return (
        Consequence(("TR-REACH", "TR-NO-ERRORS"), TIMED_OUT, MN),
        Consequence(("TR-NO-RETRIES",), NOT_SENT, MN),
        Consequence(SHARES, NO_SHARES, MN),
        *more,
    )


_GATEWAYS = either(MN, PR)

FAULTS: tuple[Fault, ...] = (
    Fault(
        "network-unlabelled",
        "West's system namespace has no network label; running pods keep theirs",
        _unlabelled,
        "network-unlabelled",
        frozenset({"NET-LABEL"}),
        consequences=(Consequence(("NET-DISTINCT",), "a network without a name can't be compared", MN),),
        live=True,
        act=namespaces.network_unlabelled,
    ),
    Fault(
        "network-same-name",
        "both system namespaces say network1 though nothing routes; running pods keep their label",
        _same_name,
        "network-same-name",
        frozenset({"NET-DISTINCT"}),
        consequences=(Consequence(("NET-LABEL",), "the label is not what the topology says"),),
        where=MN,
        live=True,
        act=namespaces.network_same_name,
    ),
    Fault(
        "no-route",
        "the routes to the other cluster's pods are taken away",
        _no_route,
        "no-route",
        frozenset({"NET-ROUTES"}),
        frozenset({"TR-NO-ERRORS", "TR-NO-RETRIES"}),
        (
            Consequence(("TR-REACH", "TR-NO-ERRORS"), TIMED_OUT),
            Consequence(("TR-NO-RETRIES",), NOT_SENT),
            Consequence(SHARES, NO_SHARES),
        ),
        where=SN,
        live=True,
        act=network.no_route,
    ),
    Fault(
        "packets-lost",
        "packets of full size to West's readiness ports are dropped",
        _packets_lost,
        "packets-lost",
        frozenset({"NET-PACKETS"}),
        planes=EVERY_PLANE,
        live=True,
        act=network.packets_lost,
    ),
    Fault(
        "gateway-down",
        "the gateway's Deployment is scaled to 0",
        _gateway_down,
        "gateway-down",
        frozenset({"GW-AVAILABLE"}),
        consequences=(
            Consequence(("GW-REACHABLE", "GW-HARDENED"), "there is no gateway that could answer"),
            Consequence(("GW-EXPOSE-SERVICES", "GW-DATAPATH"), "there is no gateway to look at", MN),
            Consequence(("TR-REACH", "TR-NO-RETRIES"), RETRIED, MN),
            Consequence(SHARES, NO_SHARES, MN),
            *_on_one_network(*_REMOTE_CUT_OFF, Consequence(("GW-EXPOSE-ISTIOD",), "there is no gateway to look at")),
        ),
        where=_GATEWAYS,
        live=True,
        act=acts.gateway_down,
    ),
    Fault(
        "gateway-no-address",
        "the gateway's Service has no load balancer",
        _no_address,
        "gateway-no-address",
        frozenset({"GW-ADDRESS"}),
        consequences=(
            Consequence(("GW-REACHABLE", "GW-HARDENED"), "there is no address to try"),
            Consequence(("GW-DATAPATH",), "there is no address to try", MN),
            Consequence(("EP-COMPLETE", "EP-WEIGHTS"), POD_ADDRESSES, MN),
            *_unanswered(),
            *_on_one_network(
                *_REMOTE_CUT_OFF, Consequence(("CP-REMOTE-PROFILE",), "there is no present address to compare with")
            ),
        ),
        where=_GATEWAYS,
        live=True,
        act=acts.gateway_no_address,
    ),
    Fault(
        "gateway-unlabelled",
        "the gateway's Service has no network label",
        _gateway_unlabelled,
        "gateway-unlabelled",
        frozenset({"EP-COMPLETE"}),
        consequences=_unanswered(Consequence(("EP-WEIGHTS",), POD_ADDRESSES)),
        where=MN,
        live=True,
        act=acts.gateway_unlabelled,
    ),
    Fault(
        "gateway-filtered-15443",
        "packets to West's gateway on 15443 are dropped",
        _filtered(expectations.MESH_PORT),
        "gateway-filtered",
        frozenset({"GW-REACHABLE"}),
        consequences=_unanswered(Consequence(("GW-DATAPATH",), HANDSHAKE), Consequence(("GW-HARDENED",), SILENT)),
        where=MN,
        live=True,
        act=acts.filtered(expectations.MESH_PORT),
    ),
    Fault(
        "gateway-filtered-15012",
        "packets to the primary's gateway on 15012 are dropped",
        _filtered(expectations.XDS_PORT),
        "gateway-filtered",
        frozenset({"GW-REACHABLE"}),
        consequences=(
            Consequence(("CERT-ISTIOD",), HANDSHAKE),
            Consequence(("XDS-SYNCED",), FETCH),
            Consequence(("GW-HARDENED",), SILENT),
        ),
        where=PR,
        live=True,
        act=acts.filtered(expectations.XDS_PORT),
    ),
    Fault(
        "gateway-filtered-15017",
        "packets to the primary's gateway on 15017 are dropped",
        _filtered(expectations.WEBHOOK_PORT),
        "gateway-filtered",
        frozenset({"GW-REACHABLE"}),
        consequences=(
            Consequence(("CP-INJECTION-WEBHOOK",), REMOTE_WEBHOOK),
            Consequence(("CP-READY",), REMOTE_READY),
        ),
        where=PR,
        live=True,
        act=acts.filtered(expectations.WEBHOOK_PORT),
    ),
    Fault(
        "services-not-exposed",
        "no Gateway with AUTO_PASSTHROUGH on West's primary",
        _not_exposed,
        "services-not-exposed",
        frozenset({"GW-EXPOSE-SERVICES", "GW-DATAPATH"}),
        consequences=(
            Consequence(("GW-REACHABLE",), "without a Gateway Envoy does not listen on 15443"),
            Consequence(("GW-HARDENED",), SILENT),
            Consequence(("TR-REACH", "TR-NO-RETRIES"), RETRIED),
            Consequence(SHARES, NO_SHARES),
        ),
        where=MN,
        live=True,
        act=acts.services_not_exposed,
    ),
    Fault(
        "services-exposed-plain",
        "15443 of West's gateway answers without a mesh certificate",
        _plain,
        "services-exposed-plain",
        frozenset({"GW-HARDENED"}),
        where=MN,
    ),
    Fault(
        "istiod-not-exposed",
        "the Gateway of 15012 and 15017 is missing",
        _istiod_not_exposed,
        "istiod-not-exposed",
        frozenset({"GW-EXPOSE-ISTIOD"}),
        consequences=(
            Consequence(("GW-REACHABLE",), "without a Gateway Envoy does not listen on these ports"),
            Consequence(("GW-HARDENED",), SILENT),
            *_REMOTE_CUT_OFF,
        ),
        where=PR,
        live=True,
        act=acts.istiod_not_exposed,
    ),
)
