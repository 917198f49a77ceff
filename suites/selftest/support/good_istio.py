"""What Istio has on the clusters of synthetic observations, as a real run records it."""

from harness.model import expectations
from harness.model.cluster import (
    Condition,
    ConfigObject,
    InjectionWebhook,
    MeshConfig,
    Pod,
    RemoteAccess,
    RemoteSecret,
    SailResource,
    WebhookRule,
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
from suites.selftest.support.good_objects import (
    SAMPLE,
    SERVER_NAME,
    SYSTEM,
    VERSION,
    control_plane_address,
    number,
    pods,
)


def proxy(pod: Pod, cluster: Cluster, authority: Pki) -> Proxy:
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


def sail(topology: Topology, cluster: Cluster) -> tuple[SailResource, ...]:
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


def webhook(cluster: Cluster, authority: Pki) -> InjectionWebhook:
    path = "/inject" if cluster.runs_control_plane else f"/inject/cluster/{cluster.cluster_name}/net/{cluster.network}"
    rule = WebhookRule(
        name="namespace.sidecar-injector.istio.io",
        service=f"{SYSTEM}/istiod:443",
        path=path,
        ca_bundle=(authority.root,),
        failure_policy="Fail",
    )
    return InjectionWebhook(name="istio-sidecar-injector", revision="default", webhooks=(rule,))


def config(topology: Topology, cluster: Cluster) -> list[ConfigObject]:
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


def mesh_config(topology: Topology, cluster: Cluster) -> MeshConfig:
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


def secrets(topology: Topology, cluster: Cluster) -> tuple[RemoteSecret, ...]:
    """A primary's remote secrets; outside of the mesh the kubeconfig of the config cluster."""
    if cluster in topology.hosts:
        made = remote_secret(topology, topology.hosted_by(cluster))
        return (made.model_copy(update={"name": CONFIG_SECRET, "clusters": ("config",)}),)
    return tuple(remote_secret(topology, other) for other in topology.watched_by(cluster))


def remote_secret(topology: Topology, other: Cluster) -> RemoteSecret:
    return RemoteSecret(
        namespace=SYSTEM,
        name=f"istio-remote-secret-{other.cluster_name}",
        labelled=True,
        clusters=(other.cluster_name,),
        servers=(f"https://172.18.0.{number(topology, other) + 1}:6443",),
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
        for pod in pods(topology, cluster)
        if expectations.has_proxy(pod)
    )


def control_plane(topology: Topology, primary: Cluster, authority: Pki) -> ControlPlane:
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
