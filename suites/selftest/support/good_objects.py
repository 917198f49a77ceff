"""What Kubernetes has on the clusters of synthetic observations, as a real run records it."""

from datetime import timedelta

from harness.model import expectations
from harness.model.cluster import (
    Condition,
    Container,
    Namespace,
    Node,
    Pod,
    Service,
    ServicePort,
    Workload,
)
from harness.model.topology import Cluster, Topology
from suites.selftest.support.certificates import OBSERVED

SYSTEM, SAMPLE, CNI = "istio-system", "sample", "istio-cni"
SERVER_NAME = f"outbound_.5000_._.helloworld.{SAMPLE}.svc.cluster.local"
"""Under which a gateway passes helloworld's traffic through."""
VERSION = "1.31.0"
_WantedPod = tuple[str, str, dict[str, str], tuple[Container, ...]]
"""Namespace, name, labels, containers."""


def number(topology: Topology, cluster: Cluster) -> int:
    return (*topology.clusters, *topology.hosts).index(cluster) + 1


def owner(topology: Topology, cluster: Cluster) -> Cluster:
    """The primary of a cluster outside of the mesh, which runs its control plane; else the cluster itself."""
    return topology.hosted_by(cluster) if cluster in topology.hosts else cluster


def node(n: int) -> Node:
    return Node(
        name=f"node{n}",
        ready=True,
        schedulable=True,
        addresses=(f"172.18.0.{n + 1}",),
        pod_cidrs=(f"10.{n}.0.0/24",),
        os_image="",
        architecture="amd64",
        kubelet_version="v1.36.1",
        container_runtime="",
    )


def namespaces(topology: Topology, cluster: Cluster) -> tuple[Namespace, ...]:
    primary = topology[cluster.primary].cluster_name
    annotations = {} if cluster.is_primary else {"topology.istio.io/controlPlaneClusters": primary}
    labels = {SYSTEM: {expectations.NETWORK_LABEL: cluster.network}, SAMPLE: {"istio-injection": "enabled"}, CNI: {}}
    return tuple(
        Namespace(name=name, labels=labels[name], annotations=annotations if name == SYSTEM else {}, phase="Active")
        for name in labels
    )


def pods(topology: Topology, cluster: Cluster) -> tuple[Pod, ...]:
    """Every pod of a cluster, ready."""
    n, accounts = number(topology, cluster), {"helloworld-" + cluster.version: "default"}
    return tuple(
        Pod(
            namespace=namespace,
            name=f"{name}-1",
            labels=labels,
            annotations={"istio.io/rev": "default"} if any(c.name == expectations.PROXY for c in containers) else {},
            service_account=accounts.get(name, name),
            node=f"node{n}",
            ip=f"10.{n}.0.{index}",
            phase="Running",
            ready=True,
            created=OBSERVED - timedelta(minutes=1),
            containers=containers,
        )
        for index, (namespace, name, labels, containers) in enumerate(_wanted_pods(topology, cluster), start=2)
    )


def _wanted_pods(topology: Topology, cluster: Cluster) -> list[_WantedPod]:
    env = {
        "ISTIO_META_CLUSTER_ID": cluster.cluster_name,
        "ISTIO_META_NETWORK": cluster.network,
        "ISTIO_META_MESH_ID": topology.mesh_id,
        "TRUST_DOMAIN": topology.trust_domain,
    }
    sidecar = Container(name=expectations.PROXY, image="proxyv2", init=True, sidecar=True, ready=True, env=env)
    validation = Container(name="istio-validation", image="proxyv2", init=True, state="terminated")
    gateway = Container(name=expectations.PROXY, image="proxyv2", ready=True, env=env)
    serves = {"EXTERNAL_ISTIOD": str(topology.serves_remotes(cluster)).lower()}
    wanted: list[_WantedPod] = [
        (SAMPLE, "helloworld-" + cluster.version, {"app": "helloworld", "version": cluster.version},
         (validation, sidecar, Container(name="helloworld", image="helloworld", ready=True))),
        (SAMPLE, "sleep", {"app": "sleep"}, (validation, sidecar, Container(name="sleep", image="sleep", ready=True))),
        (CNI, "istio-cni-node", {"k8s-app": "istio-cni-node"},
         (Container(name="install-cni", image="cni", ready=True),)),
    ]  # fmt: skip
    if cluster in topology.hosts:
        wanted = wanted[-1:]
    if cluster.runs_control_plane:
        discovery = Container(name="discovery", image="pilot", ready=True, env=serves)
        wanted.append((SYSTEM, "istiod", {"app": "istiod"}, (discovery,)))
    if topology.has_gateway(cluster):
        wanted.append(
            (SYSTEM, expectations.GATEWAY, {"app": expectations.GATEWAY, "istio": "eastwestgateway"}, (gateway,))
        )
    return wanted


def workload(pod: Pod) -> Workload:
    return Workload(
        kind="DaemonSet" if pod.namespace == CNI else "Deployment",
        namespace=pod.namespace,
        name=pod.name.removesuffix("-1"),
        labels=pod.labels,
        desired=1,
        ready=1,
        conditions=(Condition(type="Available", status="True"),),
        images=tuple(container.image for container in pod.containers),
        created=pod.created,
        uid=pod.name,
        generation=1,
    )


def services(topology: Topology, cluster: Cluster, pods: tuple[Pod, ...]) -> list[Service]:
    ips = {pod.labels.get("app", ""): pod.ip for pod in pods}
    address = gateway_address(topology, cluster)
    helloworld = Service(
        namespace=SAMPLE,
        name="helloworld",
        type="ClusterIP",
        labels={"app": "helloworld"},
        selector={"app": "helloworld"},
        cluster_ip="10.96.0.10",
        ports=(ServicePort(name="http", port=5000, target_port="5000"),),
        ready_endpoints=(ips.get("helloworld", ""),),
    )
    istiod = Service(
        namespace=SYSTEM,
        name="istiod",
        type="ClusterIP",
        labels={"app": "istiod"},
        selector={"app": "istiod"} if cluster.runs_control_plane else {},
        cluster_ip="10.96.0.11",
        ports=(ServicePort(name="tcp-istiod", port=15012, target_port="15012"),),
        ready_endpoints=(ips["istiod"] if cluster.runs_control_plane else control_plane_address(topology, cluster),),
    )
    gateway = Service(
        namespace=SYSTEM,
        name=expectations.GATEWAY,
        type="LoadBalancer",
        labels={"istio": "eastwestgateway", expectations.NETWORK_LABEL: cluster.network},
        selector={"istio": "eastwestgateway"},
        cluster_ip="10.96.0.12",
        ports=tuple(ServicePort(name=f"tls-{p}", port=p, target_port=str(p)) for p in (15021, 15443, 15012, 15017)),
        ingress=(address,),
        resolved=(address,),
        ready_endpoints=(ips.get(expectations.GATEWAY, ""),),
    )
    return [helloworld, istiod, gateway] if topology.has_gateway(cluster) else [helloworld, istiod]


def gateway_address(topology: Topology, cluster: Cluster) -> str:
    """The address of a cluster's load balancer."""
    return f"172.18.200.{number(topology, cluster)}"


def control_plane_address(topology: Topology, cluster: Cluster) -> str:
    """Where a cluster reaches the control plane that serves it, when that runs elsewhere."""
    return gateway_address(topology, topology.control_plane_of(cluster))
