"""The clusters of synthetic observations: every object that requirements look at, as a real run records it."""

from datetime import timedelta

from harness.model import expectations
from harness.model.certificate import CaSecret
from harness.model.cluster import (
    ClusterObservation,
    Condition,
    ConfigObject,
    Container,
    DryRun,
    InjectionWebhook,
    MeshConfig,
    Namespace,
    Node,
    Pod,
    Reading,
    ReadOutcome,
    RemoteAccess,
    RemoteSecret,
    SailResource,
    Service,
    ServicePort,
    Subject,
    WebhookRule,
    Workload,
)
from harness.model.proxy import (
    ControlPlane,
    FilterChain,
    Listener,
    Proxy,
    ProxySync,
    RemoteClusterSync,
)
from harness.model.remotes import CONFIG_SECRET
from harness.model.topology import Cluster, Role, Topology
from suites.selftest.support.certificates import OBSERVED, Pki

SYSTEM, SAMPLE, CNI = "istio-system", "sample", "istio-cni"
SERVER_NAME = f"outbound_.5000_._.helloworld.{SAMPLE}.svc.cluster.local"
"""Under which a gateway passes helloworld's traffic through."""
VERSION = "1.31.0"


def _number(topology: Topology, cluster: Cluster) -> int:
    return (*topology.clusters, *topology.hosts).index(cluster) + 1


def _owner(topology: Topology, cluster: Cluster) -> Cluster:
    """The primary of a cluster outside of the mesh, which runs its control plane; else the cluster itself."""
    return topology.hosted_by(cluster) if cluster in topology.hosts else cluster


def cluster_of(topology: Topology, cluster: Cluster, authority: Pki, installer: str) -> ClusterObservation:
    """What is observed of one cluster of a good mesh."""
    n, owner = _number(topology, cluster), _owner(topology, cluster)
    pods = _pods(topology, cluster, n)
    proxies = tuple(_proxy(pod, cluster, authority) for pod in pods if expectations.has_proxy(pod))
    return ClusterObservation(
        name=cluster.name,
        context=f"kind-{cluster.name}",
        api_server=f"https://172.18.0.{n + 1}:6443",
        readings=tuple(Reading(subject=subject, outcome=ReadOutcome.READ) for subject in Subject),
        nodes=(_node(n),),
        namespaces=_namespaces(topology, cluster),
        ca_secret=CaSecret(
            exists=True,
            keys=("ca-cert.pem", "ca-key.pem", "cert-chain.pem", "root-cert.pem"),
            ca_cert=authority.intermediates[owner.name],
            root_cert=authority.root,
            cert_chain=(authority.intermediates[owner.name], authority.root),
            key_matches=True,
        ),
        root_config_map=(authority.root,),
        workloads=tuple(_workload(pod) for pod in pods),
        pods=pods,
        services=tuple(_services(topology, cluster, pods)),
        sail=_sail(topology, cluster) if installer == "sail" else (),
        webhooks=(_webhook(cluster, authority),),
        dry_run=DryRun(injected=True),
        config=tuple(_config(topology, cluster)),
        mesh_config=(_mesh_config(topology, owner),) if cluster.runs_control_plane else (),
        remote_secrets=_secrets(topology, cluster),
        control_planes=(_control_plane(topology, owner, authority),) if cluster.runs_control_plane else (),
        proxies=proxies,
    )


def _node(n: int) -> Node:
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


def _namespaces(topology: Topology, cluster: Cluster) -> tuple[Namespace, ...]:
    primary = topology[cluster.primary].cluster_name
    annotations = {} if cluster.is_primary else {"topology.istio.io/controlPlaneClusters": primary}
    labels = {SYSTEM: {expectations.NETWORK_LABEL: cluster.network}, SAMPLE: {"istio-injection": "enabled"}, CNI: {}}
    return tuple(
        Namespace(name=name, labels=labels[name], annotations=annotations if name == SYSTEM else {}, phase="Active")
        for name in labels
    )


def _pods(topology: Topology, cluster: Cluster, n: int) -> tuple[Pod, ...]:
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
    wanted: list[tuple[str, str, dict[str, str], tuple[Container, ...]]] = [
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
    accounts = {"helloworld-" + cluster.version: "default"}
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
        for index, (namespace, name, labels, containers) in enumerate(wanted, start=2)
    )


def _workload(pod: Pod) -> Workload:
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


def _proxy(pod: Pod, cluster: Cluster, authority: Pki) -> Proxy:
    common = {"cluster_id": cluster.cluster_name, "network": cluster.network, "version": VERSION}
    if cluster.role is Role.EXTERNAL:  # of the gateway's own mesh, which nobody looks at
        named = {"pod": pod.name, "namespace": pod.namespace, "role": pod.labels["app"]}
        return Proxy.model_validate({**named, **common, "listeners": _listeners()})
    issuer = authority.intermediates[cluster.primary]
    identity = expectations.spiffe_id("cluster.local", pod.namespace, pod.service_account)
    return Proxy(
        pod=pod.name,
        namespace=pod.namespace,
        role=pod.labels["app"],
        **common,
        chain=(authority.workload(cluster.primary, identity), issuer, authority.root),
        roots=(authority.root,),
        connected_to=f"istiod.{SYSTEM}.svc:15012",
        listeners=_listeners() if pod.namespace == SYSTEM else (),
    )


def _listeners() -> tuple[Listener, ...]:
    mesh = FilterChain(server_names=(SERVER_NAME,), alpn=("istio",), clusters=(SERVER_NAME,))
    xds = FilterChain(clusters=(f"outbound|15012||istiod.{SYSTEM}.svc.cluster.local",))
    webhook = FilterChain(clusters=(f"outbound|443||istiod.{SYSTEM}.svc.cluster.local",))
    return (
        Listener(name="0.0.0.0_15443", port=15443, chains=(mesh,)),
        Listener(name="0.0.0.0_15012", port=15012, chains=(xds,)),
        Listener(name="0.0.0.0_15017", port=15017, chains=(webhook,)),
    )


def _services(topology: Topology, cluster: Cluster, pods: tuple[Pod, ...]) -> list[Service]:
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
    return f"172.18.200.{_number(topology, cluster)}"


def control_plane_address(topology: Topology, cluster: Cluster) -> str:
    """Where a cluster reaches the control plane that serves it, when that runs elsewhere."""
    primary = topology[cluster.primary]
    return gateway_address(topology, topology[primary.host or primary.name])


def _sail(topology: Topology, cluster: Cluster) -> tuple[SailResource, ...]:
    path = f"/inject/cluster/{cluster.cluster_name}/net/{cluster.network}"
    address = control_plane_address(topology, cluster)
    remote = {
        "profile": "remote",
        "values": {"istiodRemote": {"injectionPath": path}, "global": {"remotePilotAddress": address}},
    }
    specs = {"Istio": {"values": {}} if cluster.runs_control_plane else remote, "IstioCNI": {}}
    return tuple(
        SailResource(
            api_version="sailoperator.io/v1",
            kind=kind,
            name="default",
            generation=1,
            observed_generation=1,
            created=OBSERVED,
            spec=spec,
            conditions=(Condition(type="Ready", status="True"),),
        )
        for kind, spec in specs.items()
    )


def _webhook(cluster: Cluster, authority: Pki) -> InjectionWebhook:
    path = "/inject" if cluster.runs_control_plane else f"/inject/cluster/{cluster.cluster_name}/net/{cluster.network}"
    rule = WebhookRule(
        name="namespace.sidecar-injector.istio.io",
        service=f"{SYSTEM}/istiod:443",
        path=path,
        ca_bundle=(authority.root,),
        failure_policy="Fail",
    )
    return InjectionWebhook(name="istio-sidecar-injector", revision="default", webhooks=(rule,))


def _config(topology: Topology, cluster: Cluster) -> list[ConfigObject]:
    """What expose-services.yaml and expose-istiod.yaml make."""
    served, found = topology.served_by(cluster), []
    if any(topology.has_gateway(other) and other.network != at.network for other in served for at in topology.clusters):
        server = {"port": {"number": 15443}, "tls": {"mode": "AUTO_PASSTHROUGH"}, "hosts": ["*.local"]}
        found.append(_networking("Gateway", "cross-network-gateway", [server]))
    if topology.serves_remotes(cluster):
        servers = [
            {"port": {"number": port}, "tls": {"mode": "PASSTHROUGH"}, "hosts": ["*"]} for port in (15012, 15017)
        ]
        found.append(_networking("Gateway", "istiod-gateway", servers))
        found.append(_networking("VirtualService", "istiod-vs", []))
    return found


def _networking(kind: str, name: str, servers: list[dict[str, object]]) -> ConfigObject:
    host = f"istiod.{SYSTEM}.svc.cluster.local"
    routes = [
        {"match": [{"port": port}], "route": [{"destination": {"host": host, "port": {"number": to}}}]}
        for port, to in ((15012, 15012), (15017, 443))
    ]
    spec = (
        {"selector": {"istio": "eastwestgateway"}, "servers": servers}
        if kind == "Gateway"
        else {"hosts": ["*"], "gateways": ["istiod-gateway"], "tls": routes}
    )
    return ConfigObject(api_version="networking.istio.io/v1", kind=kind, namespace=SYSTEM, name=name, spec=spec)


def _mesh_config(topology: Topology, cluster: Cluster) -> MeshConfig:
    settings = {
        "meshID": topology.mesh_id,
        "multiCluster": {"clusterName": cluster.cluster_name},
        "network": cluster.network,
        "externalIstiod": bool(topology.remotes_of(cluster)),
    }
    mesh = {
        "trustDomain": topology.trust_domain,
        "defaultConfig": {"meshId": topology.mesh_id},
        "rootNamespace": SYSTEM,
    }
    return MeshConfig(revision="default", mesh=mesh, values={"global": settings})


def _secrets(topology: Topology, cluster: Cluster) -> tuple[RemoteSecret, ...]:
    """A primary's remote secrets; outside of the mesh the kubeconfig of the config cluster."""
    if cluster in topology.hosts:
        made = _remote_secret(topology, topology.hosted_by(cluster))
        return (made.model_copy(update={"name": CONFIG_SECRET, "clusters": ("config",)}),)
    return tuple(_remote_secret(topology, other) for other in topology.watched_by(cluster))


def _remote_secret(topology: Topology, other: Cluster) -> RemoteSecret:
    return RemoteSecret(
        namespace=SYSTEM,
        name=f"istio-remote-secret-{other.cluster_name}",
        labelled=True,
        clusters=(other.cluster_name,),
        servers=(f"https://172.18.0.{_number(topology, other) + 1}:6443",),
        has_token=True,
        created=OBSERVED,
        access=(RemoteAccess(cluster=other.cluster_name, form="token"),),
    )


def _syncs(topology: Topology, primary: Cluster) -> tuple[ProxySync, ...]:
    everything = dict.fromkeys(("CDS", "LDS", "EDS", "RDS"), "SYNCED")
    return tuple(
        ProxySync(
            proxy=f"{pod.name}.{pod.namespace}",
            cluster_id=cluster.cluster_name,
            version=VERSION,
            types=everything if pod.namespace == SAMPLE else everything | {"RDS": "NOT SENT"},
        )
        for cluster in topology.served_by(primary)
        for pod in _pods(topology, cluster, _number(topology, cluster))
        if expectations.has_proxy(pod)
    )


def _control_plane(topology: Topology, primary: Cluster, authority: Pki) -> ControlPlane:
    return ControlPlane(
        pod="istiod-1",
        revision="default",
        version=VERSION,
        clusters=tuple(
            RemoteClusterSync(id=cluster.cluster_name, secret_name="", sync_status="synced")
            for cluster in topology.clusters
        ),
        proxies=_syncs(topology, primary),
        serving_chain=(authority.istiod(primary.name), authority.intermediates[primary.name], authority.root),
    )
