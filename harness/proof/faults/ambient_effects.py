"""What a broken mesh of ztunnels looks like: from its clients, in its ztunnels' view, in their logs. Pure."""

from collections.abc import Iterable, Mapping

from harness.model import captured, expectations, gateways
from harness.model.cluster import Pod, Service, Ztunnel
from harness.model.observation import Observation
from harness.model.topology import Cluster
from harness.model.ztunnel import ZtunnelConnections
from harness.proof.faults import requests
from harness.proof.faults.edit import each, gateway_pods, on, pods, probes, west, with_namespace
from harness.proof.faults.requests import Answers


def _answered(
    observation: Observation, client: Cluster, *sources: Cluster, vain: Iterable[Cluster] = ()
) -> Observation:
    """Only these clusters answer a client; connections to others fail, and no ztunnel tries them again elsewhere."""
    answers = {source.name: Answers() for source in sources}
    answers |= {target.name: Answers(failing=1.0, hidden=False) for target in vain}
    changed = requests.traffic(observation, client, **answers)
    traffic = changed.traffic
    if traffic is None:
        return changed
    # ztunnel counts nothing by endpoint.
    uncounted = {"hosts": (), "hosts_read": False}
    coverage = tuple(sequence.model_copy(update=uncounted) for sequence in traffic.coverage)
    return changed.model_copy(update={"traffic": traffic.model_copy(update={"coverage": coverage})})


def _ztunnels(observation: Observation, cluster: Cluster, *lost: str) -> Observation:
    """The ztunnels of a cluster do not know helloworld on these networks any more."""

    def change(ztunnel: Ztunnel) -> Ztunnel:
        gone = {each.uid for each in ztunnel.workloads if each.network in lost}
        services = tuple(
            service.model_copy(update={"endpoints": tuple(e for e in service.endpoints if e.uid not in gone)})
            for service in ztunnel.services
        )
        left = tuple(each for each in ztunnel.workloads if each.uid not in gone)
        return ztunnel.model_copy(update={"services": services, "workloads": left})

    return on(observation, cluster, ztunnels=each(observation[cluster].ztunnels, change))


def without_ztunnel(observation: Observation) -> Observation:
    """West's pods are redirected to a ztunnel that is not there: nothing leaves them, and nothing comes in."""
    lost = west(observation)
    observed = observation[lost]
    names = {f"{pod.name}.{pod.namespace}" for pod in captured.ztunnel_pods(observation, lost)}
    planes = each(
        observed.control_planes,
        lambda plane: plane.model_copy(
            update={"proxies": tuple(row for row in plane.proxies if row.proxy not in names)}
        ),
    )
    workloads = each(
        observed.workloads,
        lambda w: w.model_copy(update={"desired": 0, "ready": 0}) if w.name == expectations.ZTUNNEL else w,
    )
    changed = pods(observation, lost, lambda pod: None if captured.is_ztunnel(pod) else pod)
    changed = on(changed, lost, ztunnels=(), control_planes=planes, workloads=workloads)
    return _unreachable(changed, lost, from_itself=True)


def _unreachable(observation: Observation, lost: Cluster, *, from_itself: bool) -> Observation:
    """Nobody reaches a cluster's pods over its network's gateway; its own clients perhaps not either."""
    rest = observation.topology.others(lost)
    for client in rest:
        observation = _answered(observation, client, *rest, vain=(lost,))
    if from_itself:
        return _answered(observation, lost, vain=observation.topology.clusters)
    return _answered(observation, lost, lost)


def ambient_off(observation: Observation) -> Observation:
    """Pods whose namespace is no longer labelled are let go: plaintext at home, and no end of a tunnel for others."""
    lost, sample = west(observation), observation.asked.sample_namespace
    changed = with_namespace(observation, lost, sample, "labels", **{expectations.MODE_LABEL: None})

    def let_go(pod: Pod) -> Pod:
        kept = _without(pod.annotations, expectations.REDIRECTION)
        return pod.model_copy(update={"annotations": kept}) if pod.namespace == sample else pod

    return _without_records(_unreachable(pods(changed, lost, let_go), lost, from_itself=False), lost)


def _without_records(observation: Observation, cluster: Cluster) -> Observation:
    """No ztunnel of a cluster carried a connection."""
    traffic = observation.traffic
    if traffic is None:
        return observation
    update = {
        "connections": tuple(row for row in traffic.connections or () if row.cluster != cluster.name),
        "peers": tuple(peer for peer in traffic.peers or () if peer.destination != cluster.name),
    }
    return observation.model_copy(update={"traffic": traffic.model_copy(update=update)})


def service_local(observation: Observation) -> Observation:
    """To West's istiod the Service is its own, to the others West's is none: each knows its own pods only."""
    lost, rest = west(observation), observation.topology.others(west(observation))

    def local(service: Service) -> Service:
        kept = _without(service.labels, expectations.GLOBAL_LABEL)
        return service.model_copy(update={"labels": kept}) if service.name == expectations.HELLOWORLD else service

    changed = on(observation, lost, services=each(observation[lost].services, local))
    for client in rest:
        changed = _answered(_ztunnels(changed, client, lost.network), client, *rest)
    return _answered(_ztunnels(changed, lost, *(other.network for other in rest)), lost, lost)


def _without(labels: Mapping[str, str], key: str) -> dict[str, str]:
    return {name: value for name, value in labels.items() if name != key}


def _unknown_gateway(observation: Observation, lost: Cluster) -> Observation:
    """No istiod knows a gateway of a network: its pods are handed out to nobody else."""
    rest = observation.topology.others(lost)
    for primary in observation.topology.primaries:
        planes = each(
            observation[primary].control_planes,
            lambda plane: plane.model_copy(
                update={"network_gateways": tuple(r for r in plane.network_gateways if r.network != lost.network)}
            ),
        )
        observation = on(observation, primary, control_planes=planes)
    for client in rest:
        observation = _answered(_ztunnels(observation, client, lost.network), client, *rest)
    return observation


def gateway_missing(observation: Observation) -> Observation:
    """With the Gateway istiod takes its Deployment and its Service away."""
    lost = west(observation)
    observed, names = observation[lost], gateway_pods(observation[lost])
    service = expectations.gateway_service(observed)
    workload = expectations.gateway_workload(observed)
    full = {f"{name}.{observation.asked.system_namespace}" for name in names}
    planes = each(
        observed.control_planes,
        lambda plane: plane.model_copy(update={"proxies": tuple(r for r in plane.proxies if r.proxy not in full)}),
    )
    changed = on(
        observation,
        lost,
        api_gateways=(),
        services=tuple(found for found in observed.services if found != service),
        workloads=tuple(found for found in observed.workloads if found != workload),
        pods=tuple(pod for pod in observed.pods if pod.name not in names),
        proxies=tuple(proxy for proxy in observed.proxies if proxy.pod not in names),
        control_planes=planes,
    )
    places = set(gateways.addresses(service)) if service else set()
    changed = probes(changed, lambda probe: None if probe.address in places else probe)
    return _unknown_gateway(changed, lost)


def gateway_unlabelled(observation: Observation) -> Observation:
    """Istiod makes the Service as the Gateway is: neither says whose gateway it is."""
    lost = west(observation)
    observed, service = observation[lost], expectations.gateway_service(observation[lost])
    label = expectations.NETWORK_LABEL

    changed = on(
        observation,
        lost,
        api_gateways=each(observed.api_gateways, lambda g: g.model_copy(update={"labels": _without(g.labels, label)})),
        services=each(
            observed.services,
            lambda s: s.model_copy(update={"labels": _without(s.labels, label)}) if s == service else s,
        ),
    )
    return _unknown_gateway(changed, lost)


def misplaced(observation: Observation) -> Observation:
    """Istiod gives a ztunnel with another cluster's name no certificates for the pods of its node."""
    lost = west(observation)
    refused = {"state": "Unavailable: certificate: gRPC error: unauthenticated", "chain": (), "roots": ()}

    def change(ztunnel: Ztunnel) -> Ztunnel:
        certificates = tuple(held.model_copy(update=refused) for held in ztunnel.certificates)
        return ztunnel.model_copy(update={"cluster_id": "Kubernetes", "certificates": certificates})

    names = {f"{pod.name}.{pod.namespace}" for pod in captured.ztunnel_pods(observation, lost)}
    planes = each(
        observation[lost].control_planes,
        lambda plane: plane.model_copy(
            update={
                "proxies": tuple(
                    row.model_copy(update={"cluster_id": "Kubernetes"}) if row.proxy in names else row
                    for row in plane.proxies
                )
            }
        ),
    )
    changed = on(observation, lost, ztunnels=each(observation[lost].ztunnels, change), control_planes=planes)
    return _unreachable(changed, lost, from_itself=True)


def plaintext(observation: Observation) -> Observation:
    """West's ztunnels take connections in that nobody proved an identity for.

    Raises:
        LookupError: no access log was read.
    """
    traffic, name = observation.traffic, west(observation).name
    if traffic is None or not traffic.connections:
        raise LookupError("no access log of a ztunnel")

    def plain(row: ZtunnelConnections) -> ZtunnelConnections:
        lost = {"source_identity": "", "destination_identity": "", "hbone": False}
        return row.model_copy(update=lost) if (row.cluster, row.direction) == (name, "inbound") else row

    lost = {"principal": "", "mutual_tls": False}
    update = {
        "connections": tuple(map(plain, traffic.connections)),
        "peers": tuple(p.model_copy(update=lost) if p.destination == name else p for p in traffic.peers or ()),
    }
    return observation.model_copy(update={"traffic": traffic.model_copy(update=update)})
