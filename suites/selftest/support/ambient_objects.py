"""What Kubernetes and Istio have on the clusters of a mesh of ztunnels, made of what a mesh with sidecars has."""

from collections.abc import Mapping

from harness.model import expectations, gateways
from harness.model.cluster import ClusterObservation, Condition, Container, Pod, Service, ServicePort, Workload
from harness.model.gateway_api import CLASS_LABEL, EAST_WEST_CLASS, NAME_LABEL, ApiGateway, ApiListener
from harness.model.observation import Observation
from harness.model.proxy import ControlPlane, FilterChain, Listener, Proxy, ProxySync
from harness.model.reading import Reading, ReadOutcome, Subject
from harness.model.topology import Cluster

_GLOBAL = {"key": "istio.io/global", "operator": "In", "values": ["true"]}
_SCOPES = [{"servicesSelector": {"matchExpressions": [_GLOBAL]}, "scope": "GLOBAL"}]
_READ = tuple(
    Reading(subject=subject, outcome=ReadOutcome.READ) for subject in (Subject.ZTUNNELS, Subject.API_GATEWAYS)
)


def cluster_of(seen: Observation, cluster: Cluster) -> ClusterObservation:
    """A cluster with ztunnels in place of sidecars; what they say of themselves is left out."""
    observed = seen[cluster]
    gateway, deployment = expectations.gateway_service(observed), expectations.gateway_workload(observed)
    assert gateway and deployment
    labels = {
        CLASS_LABEL: EAST_WEST_CLASS,
        NAME_LABEL: gateway.name,
        expectations.NETWORK_LABEL: cluster.network,
    }
    behind = {(pod.namespace, pod.name) for pod in gateways.pods(observed, gateway)}
    more = _ztunnel_pods(seen, observed)
    known = {reading.subject for reading in observed.readings}
    return observed.model_copy(
        update={
            "readings": (*observed.readings, *(reading for reading in _READ if reading.subject not in known)),
            "namespaces": tuple(
                each.model_copy(update={"labels": {expectations.MODE_LABEL: "ambient"}})
                if each.name == seen.asked.sample_namespace
                else each
                for each in observed.namespaces
            ),
            "pods": (*_pods(seen, observed, behind, labels), *more),
            "workloads": (
                *(_gateway_workload(each, labels) if each == deployment else each for each in observed.workloads),
                _daemon_set(deployment, seen.asked.system_namespace, len(more)),
            ),
            "services": tuple(_service(each, gateway, labels) for each in observed.services),
            "config": tuple(each for each in observed.config if each.name != "cross-network-gateway"),
            "mesh_config": tuple(
                each.model_copy(update={"mesh": {**each.mesh, "serviceScopeConfigs": _SCOPES}})
                for each in observed.mesh_config
            ),
            "api_gateways": (_api_gateway(gateway, cluster),),
            "proxies": tuple(_gateway_proxy(each) for each in observed.proxies if (each.namespace, each.pod) in behind),
            "control_planes": tuple(_control_plane(seen, cluster, plane, more) for plane in observed.control_planes),
        }
    )


def _pods(
    seen: Observation, observed: ClusterObservation, behind: set[tuple[str, str]], labels: Mapping[str, str]
) -> tuple[Pod, ...]:
    def changed(found: Pod) -> Pod:
        if (found.namespace, found.name) in behind:
            return found.model_copy(update={"labels": dict(labels)})
        if found.namespace != seen.asked.sample_namespace:
            return found
        containers = tuple(c for c in found.containers if not c.name.startswith("istio-"))
        own = {key: value for key, value in found.labels.items() if "istio.io" not in key}
        annotations = {expectations.REDIRECTION: "enabled"}
        return found.model_copy(update={"containers": containers, "labels": own, "annotations": annotations})

    return tuple(map(changed, observed.pods))


def _control_plane(seen: Observation, cluster: Cluster, plane: ControlPlane, more: tuple[Pod, ...]) -> ControlPlane:
    types = {**dict.fromkeys(("CDS", "LDS", "EDS", "RDS"), "NOT SENT"), "WDS": "SYNCED"}
    others = tuple(row for row in plane.proxies if not row.proxy.endswith(f".{seen.asked.sample_namespace}"))
    rows = tuple(
        ProxySync(
            proxy=f"{pod.name}.{pod.namespace}",
            cluster_id=cluster.cluster_name,
            version=plane.proxies[0].version,
            types=types,
        )
        for pod in more
    )
    hbone = {"port": 0, "hbone_port": gateways.HBONE_PORT}
    known = tuple(row.model_copy(update=hbone) for row in plane.network_gateways)
    return plane.model_copy(update={"proxies": others + rows, "network_gateways": known})


def _ztunnel_pods(seen: Observation, observed: ClusterObservation) -> tuple[Pod, ...]:
    like = next(pod for pod in observed.pods if pod.namespace == seen.asked.sample_namespace)
    nodes = [node.name for node in observed.nodes if node.schedulable]
    return tuple(_ztunnel_pod(seen, like, node, index) for index, node in enumerate(nodes))


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


def _service(found: Service, gateway: Service, labels: Mapping[str, str]) -> Service:
    if found.name == expectations.HELLOWORLD:
        return found.model_copy(update={"labels": {**found.labels, expectations.GLOBAL_LABEL: "true"}})
    if found != gateway:
        return found
    ports = tuple(
        ServicePort(name=name, port=port, target_port=str(port))
        for name, port in (("status-port", 15021), ("mesh", 15008))
    )
    return found.model_copy(update={"labels": dict(labels), "selector": {NAME_LABEL: gateway.name}, "ports": ports})


def _api_gateway(service: Service, cluster: Cluster) -> ApiGateway:
    return ApiGateway(
        namespace=service.namespace,
        name=service.name,
        gateway_class=EAST_WEST_CLASS,
        labels={expectations.NETWORK_LABEL: cluster.network},
        listeners=(ApiListener(name="mesh", port=15008, protocol="HBONE", tls_mode="Terminate"),),
        addresses=gateways.addresses(service),
        conditions=(Condition(type="Accepted", status="True"), Condition(type="Programmed", status="True")),
    )


def _gateway_proxy(found: Proxy) -> Proxy:
    chain = FilterChain(tls=True, requires_client_certificate=True)
    return found.model_copy(update={"listeners": (Listener(name="connect_terminate", port=15008, chains=(chain,)),)})
