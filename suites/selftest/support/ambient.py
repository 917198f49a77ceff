"""A good observation of a mesh of ztunnels, made of one with sidecars: what differs is put in ztunnel's own format."""

import base64
from collections.abc import Mapping
from functools import cache
from typing import Any

from harness.model import captured, client_endpoints, expectations, gateways
from harness.model.certificate import Certificate
from harness.model.cluster import ClusterObservation, Condition, Container, Pod, Service, ServicePort, Workload
from harness.model.data_plane import DataPlane
from harness.model.experiment import Experiments
from harness.model.gateway_api import CLASS_LABEL, EAST_WEST_CLASS, NAME_LABEL, ApiGateway, ApiListener
from harness.model.observation import Observation
from harness.model.proxy import FilterChain, Listener, Proxy, ProxySync
from harness.model.reading import Reading, ReadOutcome, Subject
from harness.model.topology import Cluster
from harness.model.traffic import PeerIdentity, Probe, ProbeKind, ProbeResult, Sequence
from harness.observe import ztunnel_log, ztunnels
from suites.selftest.support.recordings import recorded

TOPOLOGY = "multi-primary-multi-network"
HOST = "helloworld.sample.svc.cluster.local"
_GLOBAL = {"key": "istio.io/global", "operator": "In", "values": ["true"]}
_SCOPES = [{"servicesSelector": {"matchExpressions": [_GLOBAL]}, "scope": "GLOBAL"}]


@cache
def ambient() -> Observation:
    """The recorded mesh on several networks as it would be with ztunnels."""
    return with_ztunnels(recorded(TOPOLOGY))


def with_ztunnels(seen: Observation) -> Observation:
    """A mesh with sidecars, with ztunnels in their place."""
    asked = seen.asked.model_copy(update={"data_plane": DataPlane.AMBIENT, "cni": True})
    clusters = tuple(_cluster(seen, seen.topology[observed.name]) for observed in seen.clusters)
    changed = seen.model_copy(update={"asked": asked, "clusters": clusters})
    told = tuple(
        observed.model_copy(
            update={
                "ztunnels": tuple(
                    ztunnels.ztunnel(pod, config_dump(seen, changed, changed.topology[observed.name], pod), ("sample",))
                    for pod in captured.ztunnel_pods(changed, changed.topology[observed.name])
                )
            }
        )
        for observed in changed.clusters
    )
    changed = changed.model_copy(update={"clusters": told})
    return _traffic(changed.model_copy(update={"probes": tuple(_probe(changed, probe) for probe in seen.probes)}))


def _cluster(seen: Observation, cluster: Cluster) -> ClusterObservation:
    observed = seen[cluster]
    sample = seen.asked.sample_namespace
    gateway = expectations.gateway_service(observed)
    assert gateway
    chosen = {NAME_LABEL: gateway.name}
    own = {CLASS_LABEL: EAST_WEST_CLASS, **chosen, expectations.NETWORK_LABEL: cluster.network}
    behind = {(pod.namespace, pod.name) for pod in gateways.pods(observed, gateway)}
    deployment = expectations.gateway_workload(observed)
    assert deployment
    nodes = [node.name for node in observed.nodes if node.schedulable]
    like = next(pod for pod in observed.pods if pod.namespace == sample)

    def pod(found: Pod) -> Pod:
        if (found.namespace, found.name) in behind:
            return found.model_copy(update={"labels": own})
        if found.namespace != sample:
            return found
        containers = tuple(c for c in found.containers if not c.name.startswith("istio-"))
        labels = {key: value for key, value in found.labels.items() if "istio.io" not in key}
        annotations = {expectations.REDIRECTION: "enabled"}
        return found.model_copy(update={"containers": containers, "labels": labels, "annotations": annotations})

    more = tuple(_ztunnel_pod(seen, like, node, index) for index, node in enumerate(nodes))
    namespaces = tuple(
        each.model_copy(update={"labels": {expectations.MODE_LABEL: "ambient"}}) if each.name == sample else each
        for each in observed.namespaces
    )
    addresses = gateways.addresses(gateway)
    return observed.model_copy(
        update={
            "readings": (
                *observed.readings,
                *(
                    Reading(subject=subject, outcome=ReadOutcome.READ)
                    for subject in (Subject.ZTUNNELS, Subject.API_GATEWAYS)
                    if not observed.was_read(subject)
                ),
            ),
            "namespaces": namespaces,
            "pods": (*map(pod, observed.pods), *more),
            "workloads": (
                *(_gateway_workload(each, own) if each == deployment else each for each in observed.workloads),
                _daemon_set(deployment, seen.asked.system_namespace, len(nodes)),
            ),
            "services": tuple(_service(each, gateway, own, chosen) for each in observed.services),
            "config": tuple(each for each in observed.config if each.name != "cross-network-gateway"),
            "mesh_config": tuple(
                each.model_copy(update={"mesh": {**each.mesh, "serviceScopeConfigs": _SCOPES}})
                for each in observed.mesh_config
            ),
            "api_gateways": (_api_gateway(gateway, cluster, addresses),),
            "proxies": tuple(_gateway_proxy(each) for each in observed.proxies if (each.namespace, each.pod) in behind),
            "control_planes": tuple(
                plane.model_copy(
                    update={
                        "proxies": (
                            *(row for row in plane.proxies if not row.proxy.endswith(f".{sample}")),
                            *(
                                ProxySync(
                                    proxy=f"{each.name}.{each.namespace}",
                                    cluster_id=cluster.cluster_name,
                                    version=plane.proxies[0].version,
                                    types={**dict.fromkeys(("CDS", "LDS", "EDS", "RDS"), "NOT SENT"), "WDS": "SYNCED"},
                                )
                                for each in more
                            ),
                        ),
                        "network_gateways": tuple(
                            row.model_copy(update={"port": 0, "hbone_port": gateways.HBONE_PORT})
                            for row in plane.network_gateways
                        ),
                    }
                )
                for plane in observed.control_planes
            ),
        }
    )


def _ztunnel_pod(seen: Observation, like: Pod, node: str, index: int) -> Pod:
    container = Container(name=expectations.PROXY, image="ztunnel", ready=True, state="running")
    return like.model_copy(
        update={
            "namespace": seen.asked.system_namespace,
            "name": f"ztunnel-{index}",
            "labels": {"app": expectations.ZTUNNEL},
            "annotations": {},
            "service_account": expectations.ZTUNNEL,
            "node": node,
            "ip": like.ip.rpartition(".")[0] + f".{200 + index}",
            "containers": (container,),
        }
    )


def _daemon_set(like: Workload, namespace: str, count: int) -> Workload:
    return like.model_copy(
        update={
            "kind": "DaemonSet",
            "namespace": namespace,
            "name": expectations.ZTUNNEL,
            "labels": {"app": expectations.ZTUNNEL},
            "pod_labels": {"app": expectations.ZTUNNEL},
            "desired": count,
            "ready": count,
            "uid": "ztunnel",
        }
    )


def _gateway_workload(found: Workload, labels: Mapping[str, str]) -> Workload:
    return found.model_copy(update={"labels": dict(labels), "pod_labels": dict(labels)})


def _service(found: Service, gateway: Service, labels: Mapping[str, str], selector: Mapping[str, str]) -> Service:
    if found.name == expectations.HELLOWORLD:
        return found.model_copy(update={"labels": {**found.labels, expectations.GLOBAL_LABEL: "true"}})
    if found != gateway:
        return found
    ports = tuple(
        ServicePort(name=name, port=port, target_port=str(port))
        for name, port in (("status-port", 15021), ("mesh", 15008))
    )
    return found.model_copy(update={"labels": dict(labels), "selector": dict(selector), "ports": ports})


def _api_gateway(service: Service, cluster: Cluster, addresses: tuple[str, ...]) -> ApiGateway:
    return ApiGateway(
        namespace=service.namespace,
        name=service.name,
        gateway_class=EAST_WEST_CLASS,
        labels={expectations.NETWORK_LABEL: cluster.network},
        listeners=(ApiListener(name="mesh", port=15008, protocol="HBONE", tls_mode="Terminate"),),
        addresses=addresses,
        conditions=(Condition(type="Accepted", status="True"), Condition(type="Programmed", status="True")),
    )


def _gateway_proxy(found: Proxy) -> Proxy:
    chain = FilterChain(tls=True, requires_client_certificate=True)
    return found.model_copy(update={"listeners": (Listener(name="connect_terminate", port=15008, chains=(chain,)),)})


def config_dump(sidecars: Observation, changed: Observation, cluster: Cluster, pod: Pod) -> dict[str, Any]:
    """What a ztunnel answers on /config_dump, as its serialization writes it."""
    observed = changed[cluster]
    pods = {p.name: p for p in captured.captured_pods(changed, cluster)}
    held = {
        f"spiffe://cluster.local/ns/{p.namespace}/sa/{p.service_account}": next(
            proxy for proxy in sidecars[cluster].proxies if proxy.pod == name
        )
        for name, p in pods.items()
    }
    workloads = [_local(cluster, p) for p in pods.values()]
    endpoints = {
        _uid(cluster, p): _endpoint(_uid(cluster, p)) for p in pods.values() if p.labels["app"] == "helloworld"
    }
    for other in changed.topology.others(cluster):
        found = _remote(changed, other)
        workloads.append(found)
        endpoints[found["uid"]] = _endpoint(found["uid"])
    services = [
        (other, expectations.HELLOWORLD, changed[other].service("sample", expectations.HELLOWORLD))
        for other in changed.topology.clusters
    ]
    return {
        "workloads": sorted(workloads, key=lambda each: str(each["uid"])),
        "services": [
            {
                "name": "helloworld",
                "namespace": "sample",
                "hostname": HOST,
                "vips": [f"{other.network}/{service.cluster_ip}" for other, _, service in services if service],
                "ports": {"5000": 0},
                "endpoints": endpoints,
                "subjectAltNames": ["spiffe://cluster.local/ns/sample/sa/default"],
                "ipFamilies": "IPv4",
                "canonical": True,
                "visibility": "Public",
            }
        ],
        "policies": [],
        "stagedServices": {},
        "staticConfig": {"workloads": [], "policies": [], "services": []},
        "version": {"version": "", "gitRevision": "", "istioVersion": observed.proxies[0].version},
        "config": {
            "network": cluster.network,
            "localNode": pod.node,
            "clusterId": cluster.cluster_name,
            "clusterDomain": "cluster.local",
            "caAddress": "https://istiod.istio-system.svc:15012",
            "xdsAddress": "https://istiod.istio-system.svc:15012",
        },
        "certificates": [
            {
                "identity": identity,
                "state": "Available",
                "certChain": [_certificate(each) for each in proxy.chain],
                "rootCerts": [_certificate(each) for each in proxy.roots],
            }
            for identity, proxy in sorted(held.items())
        ],
    }


def _certificate(found: Certificate) -> dict[str, str]:
    return {
        "pem": base64.b64encode(found.pem.encode()).decode(),
        "serialNumber": str(int(found.serial, 16)),
        "validFrom": found.not_before.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "expirationTime": found.not_after.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


def _uid(cluster: Cluster, pod: Pod) -> str:
    return f"{cluster.cluster_name}//Pod/{pod.namespace}/{pod.name}"


def _endpoint(uid: str) -> dict[str, Any]:
    return {"workloadUid": uid, "port": {"5000": 5000}, "status": "Healthy"}


def _local(cluster: Cluster, pod: Pod) -> dict[str, Any]:
    return {
        "workloadIps": [pod.ip],
        "protocol": "HBONE",
        "networkMode": "Standard",
        "uid": _uid(cluster, pod),
        "name": pod.name,
        "namespace": pod.namespace,
        "trustDomain": "cluster.local",
        "serviceAccount": pod.service_account,
        "network": cluster.network,
        "workloadName": pod.name.rsplit("-", 2)[0],
        "workloadType": "pod",
        "canonicalName": pod.labels["app"],
        "canonicalRevision": pod.labels.get("version", "latest"),
        "node": pod.node,
        "status": "Healthy",
        "clusterId": cluster.cluster_name,
        "services": [f"sample/{HOST}"] if pod.labels["app"] == "helloworld" else [],
        "capacity": 1,
    }


def _remote(changed: Observation, other: Cluster) -> dict[str, Any]:
    entrance = gateways.entrances(changed.topology, changed, other, gateways.HBONE_PORT)[0]
    uid = f"{other.network}/SplitHorizonWorkload/istio-system/istio-eastwestgateway/{entrance.address}/sample/{HOST}"
    return {
        "workloadIps": [],
        "networkGateway": {"destination": f"{other.network}/{entrance.address}", "hboneMtlsPort": entrance.port},
        "protocol": "HBONE",
        "networkMode": "Standard",
        "uid": uid,
        "name": uid,
        "namespace": "sample",
        "trustDomain": "cluster.local",
        "serviceAccount": "default",
        "network": other.network,
        "workloadType": "pod",
        "status": "Healthy",
        "clusterId": other.cluster_name,
        "services": [f"sample/{HOST}"],
        "capacity": len(expectations.helloworld_pods(changed[other], "sample")),
    }


def _probe(changed: Observation, probe: Probe) -> Probe:
    if probe.port != gateways.MESH_PORT:
        return probe
    proxies = expectations.gateway_proxies(changed[probe.target])
    shown = proxies[0].chain if probe.kind is ProbeKind.TLS and probe.result is ProbeResult.ANSWERED else ()
    return probe.model_copy(update={"port": gateways.HBONE_PORT, "certificates": shown})


def access_log(changed: Observation, cluster: Cluster, pod: Pod) -> str:
    """The log of a ztunnel after the requests that were sent, in its own words."""
    traffic = changed.traffic
    lines: list[str] = []
    for sequence in (*traffic.coverage, *traffic.distribution) if traffic else ():
        client = next(c for c in changed.topology.clusters if c.name == sequence.client)
        for request in sequence.requests:
            target = next(c for c in changed.topology.clusters if c.version == request.version)
            if client == cluster and _on_node(changed, client, sequence.pod, pod):
                lines.append(_line(changed, client, target, sequence, request.instance, outbound=True))
            if target == cluster and _on_node(changed, target, request.instance, pod):
                lines.append(_line(changed, client, target, sequence, request.instance, outbound=False))
    return "\n".join(("2026-08-27T10:00:00.000000Z\tinfo\tztunnel\tversion: 1", *lines, ""))


def _on_node(changed: Observation, cluster: Cluster, name: str, ztunnel: Pod) -> bool:
    return any(pod.name == name and pod.node == ztunnel.node for pod in changed[cluster].pods)


def _line(
    changed: Observation, client: Cluster, target: Cluster, sequence: Sequence, instance: str, *, outbound: bool
) -> str:
    ip = next(pod.ip for pod in changed[target].pods if pod.name == instance)
    caller = next(pod for pod in changed[client].pods if pod.name == sequence.pod)
    near = client == target
    place = next(iter(client_endpoints.addresses_of(changed, client, target)))
    at = f"{ip}:15008" if near or not outbound else f"{place[0]}:{place[1]}"
    hbone = f"{ip}:5000" if near else f"{HOST}:5000"
    return (
        "2026-08-27T10:00:01.000000Z\tinfo\taccess\tconnection complete\t"
        f'src.addr={caller.ip if near or outbound else ip}:45678 src.workload="{caller.name}" src.namespace="sample" '
        f'src.identity="spiffe://cluster.local/ns/sample/sa/{caller.service_account}" dst.addr={at} '
        f'dst.hbone_addr={hbone} dst.service="{HOST}" dst.workload="{instance}" dst.namespace="sample" '
        'dst.identity="spiffe://cluster.local/ns/sample/sa/default" '
        f'direction="{"outbound" if outbound else "inbound"}" bytes_sent=84 bytes_recv=160 duration="2ms"'
    )


def _traffic(changed: Observation) -> Observation:
    traffic = changed.traffic
    assert traffic

    def without(sequence: Sequence) -> Sequence:
        return sequence.model_copy(update={"hosts": (), "hosts_read": False})

    rows = tuple(
        row
        for cluster in changed.topology.clusters
        for pod in captured.ztunnel_pods(changed, cluster)
        for row in ztunnel_log.connections(cluster.name, pod.name, access_log(changed, cluster, pod), ("sample",))
    )
    names = {
        observed.name: {pod.name for pod in expectations.helloworld_pods(observed, "sample")}
        for observed in changed.clusters
    }
    peers: tuple[PeerIdentity, ...] = ztunnel_log.callers(rows, names)
    update = {
        "coverage": tuple(map(without, traffic.coverage)),
        "distribution": tuple(map(without, traffic.distribution)),
        "peers": peers,
        "connections": rows,
    }
    return changed.model_copy(
        update={"traffic": traffic.model_copy(update=update), "experiments": _experiments(changed.experiments)}
    )


def _experiments(found: Experiments | None) -> Experiments | None:
    """A ztunnel refuses what a policy denies: it knows no requests that it could answer."""
    if found is None or found.authorization is None:
        return found
    exchanges = tuple(
        each.model_copy(update={"result": ProbeResult.REFUSED, "status": 0, "answers": {}})
        if each.account == found.authorization.denied
        else each
        for each in found.authorization.exchanges
    )
    authorization = found.authorization.model_copy(update={"exchanges": exchanges})
    return found.model_copy(update={"authorization": authorization})
