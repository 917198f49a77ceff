"""What ztunnels say of a made mesh: their config dump and their access log, in their own words."""

import base64
from collections.abc import Iterable, Mapping
from typing import Any

from harness.model import captured, client_endpoints, expectations, gateways
from harness.model.certificate import Certificate
from harness.model.cluster import ClusterObservation, Pod
from harness.model.observation import Observation
from harness.model.topology import Cluster
from harness.model.traffic import Sequence

HOST = "helloworld.sample.svc.cluster.local"


def config_dump(sidecars: Observation, changed: Observation, cluster: Cluster, pod: Pod) -> dict[str, Any]:
    """What a ztunnel answers on /config_dump, as its serialization writes it.

    Args:
        sidecars: the mesh whose sidecars hold the certificates.
        changed: the same with ztunnels.
        cluster: the ztunnel's.
        pod: the ztunnel.
    """
    pods = captured.captured_pods(changed, cluster)
    far = [_remote(changed, other) for other in changed.topology.others(cluster)]
    near = [_local(cluster, each) for each in pods]
    istiod = "https://istiod.istio-system.svc:15012"
    return {
        "workloads": sorted((*near, *far), key=lambda each: str(each["uid"])),
        "services": [_service(changed, (*(each for each in near if each["services"]), *far))],
        "policies": [],
        "stagedServices": {},
        "staticConfig": {"workloads": [], "policies": [], "services": []},
        "version": {"version": "", "gitRevision": "", "istioVersion": changed[cluster].proxies[0].version},
        "config": {
            "network": cluster.network,
            "localNode": pod.node,
            "clusterId": cluster.cluster_name,
            "clusterDomain": "cluster.local",
            "caAddress": istiod,
            "xdsAddress": istiod,
        },
        "certificates": sorted((_held(sidecars[cluster], each) for each in pods), key=lambda each: each["identity"]),
    }


def _held(sidecars: ClusterObservation, pod: Pod) -> dict[str, Any]:
    proxy = next(proxy for proxy in sidecars.proxies if proxy.pod == pod.name)
    return {
        "identity": f"spiffe://cluster.local/ns/{pod.namespace}/sa/{pod.service_account}",
        "state": "Available",
        "certChain": [_certificate(each) for each in proxy.chain],
        "rootCerts": [_certificate(each) for each in proxy.roots],
    }


def _service(changed: Observation, behind: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    found = ((c.network, changed[c].service("sample", expectations.HELLOWORLD)) for c in changed.topology.clusters)
    return {
        "name": "helloworld",
        "namespace": "sample",
        "hostname": HOST,
        "vips": [f"{network}/{service.cluster_ip}" for network, service in found if service],
        "ports": {"5000": 0},
        "endpoints": {each["uid"]: _endpoint(each["uid"]) for each in behind},
        "subjectAltNames": ["spiffe://cluster.local/ns/sample/sa/default"],
        "ipFamilies": "IPv4",
        "canonical": True,
        "visibility": "Public",
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
