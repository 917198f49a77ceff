"""Valid meshes of others: each a recorded mesh with one difference that people's real meshes have."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.model import expectations, gateways
from harness.model.cluster import Container, Pod, Service, ServicePort
from harness.model.istio import ConfigObject, DryRun, InjectionWebhook, RemoteAccess, WebhookRule
from harness.model.observation import Observation, load
from harness.model.proxy import ControlPlane, FilterChain, Proxy, ProxyEndpoint, RemoteClusterSync
from harness.model.topology import Cluster
from harness.model.traffic import Probe, ProbeKind, ProbeResult
from suites.selftest.support import certificates
from suites.selftest.support.breakage import edit, gateway_is, on, with_probes
from suites.selftest.support.good import TOPOLOGIES, good

RECORDED = Path(__file__).parents[1] / "recorded"
Kind = Callable[[Observation], Observation]


@dataclass(frozen=True)
class Base:
    """A recorded mesh that a kind is made from."""

    file: str

    def __str__(self) -> str:
        """A test's id."""
        return self.file.partition(".")[0].rpartition("/")[2]

    def observation(self) -> Observation:
        """It, as a mesh that somebody else installed."""
        found = load(RECORDED / self.file)
        asked = {"mode": "verify-only", "installer": "none", "istio_version": ""}
        update = {"asked": found.asked.model_copy(update=asked), "steps": (), "experiments": None, "cleanup": None}
        return found.model_copy(update=update)


@dataclass(frozen=True)
class Made(Base):
    """A mesh that is made for the tests; the file is the topology's name."""

    def observation(self) -> Observation:
        """It, as a mesh that somebody else installed."""
        found = good(TOPOLOGIES[self.file])
        asked = found.asked.model_copy(update={"mode": "verify-only", "installer": "none", "istio_version": ""})
        update = {"asked": asked, "steps": (), "experiments": None, "cleanup": None}
        return found.model_copy(update=update)


PRIMARIES = Base("meshes/app-protocol.json.gz")
"""Two primaries on two networks."""
REMOTE = Base("primary-remote-multi-network.json.gz")
"""A primary and a remote on two networks."""
PRIMARIES_NEAR = Base("multi-primary-single-network.json.gz")
"""Two primaries on one network."""
REMOTE_NEAR = Base("primary-remote-single-network.json.gz")
"""The same on one network."""
THREE = Made("mixed")
"""Two primaries and a remote; the second and the third cluster are on one network."""


def east(observation: Observation) -> Cluster:
    """The first cluster, a primary."""
    return observation.topology.clusters[0]


def west(observation: Observation) -> Cluster:
    """The second cluster."""
    return observation.topology.clusters[1]


def everywhere(observation: Observation, change: Callable[[Observation, Cluster], Observation]) -> Observation:
    """The change on every cluster."""
    for cluster in observation.topology.clusters:
        observation = change(observation, cluster)
    return observation


def gateway(observation: Observation, cluster: Cluster) -> Service:
    """The Service of a cluster's east-west gateway."""
    found = expectations.gateway_service(observation[cluster])
    assert found
    return found


def replaced(observation: Observation, old: str, new: str) -> Observation:
    """One text in place of another, wherever it stands."""
    return Observation.model_validate_json(observation.model_dump_json().replace(old, new))


# Gateways


def gateway_api(observation: Observation) -> Observation:
    """Every gateway is made from a Gateway of the Gateway API, of class istio, in a namespace of its own."""

    def change(seen: Observation, cluster: Cluster) -> Observation:
        service, name = gateway(seen, cluster), {"gateway.networking.k8s.io/gateway-name": "eastwest"}
        observed = seen[cluster]
        listener = {
            "name": "cross-network",
            "port": 15443,
            "protocol": "TLS",
            "tls": {"mode": "Passthrough", "options": {"gateway.istio.io/listener-protocol": "auto-passthrough"}},
        }
        made = ConfigObject(
            api_version="gateway.networking.k8s.io/v1",
            kind="Gateway",
            namespace="edge",
            name="eastwest",
            labels={"topology.istio.io/network": cluster.network},
            spec={"gatewayClassName": "istio", "listeners": [listener]},
        )
        behind = {pod.name for pod in gateways.pods(observed, service)}
        labels = {**name, "topology.istio.io/network": cluster.network}
        update: dict[str, Any] = {"namespace": "edge"}
        pods = edit(observed.pods, lambda pod: pod.name in behind, labels=labels, service_account="eastwest", **update)
        proxies = edit(observed.proxies, lambda each: each.pod in behind, role="eastwest", **update)
        workload = gateways.workload(observed, service)
        workloads = edit(
            observed.workloads,
            lambda each: each == workload,
            name="eastwest-istio",
            pod_labels=name,
            labels=name,
            **update,
        )
        seen = gateway_is(seen, cluster, name="eastwest-istio", labels=labels, selector=name, **update)
        others = tuple(item for item in observed.config if item.kind != "Gateway")
        return on(seen, cluster, pods=pods, proxies=proxies, workloads=workloads, config=(*others, made))

    changed = everywhere(observation, change)
    return _moved_proxies(changed, observation)


def _moved_proxies(changed: Observation, before: Observation) -> Observation:
    """The same pods are in another namespace: istiod reports them there, and their identity says it."""
    for cluster in before.topology.clusters:
        for pod in gateways.pods(before[cluster], gateway(before, cluster)):
            changed = replaced(changed, f'"{pod.name}.{pod.namespace}"', f'"{pod.name}.edge"')
            old = f"ns/{pod.namespace}/sa/{pod.service_account}"
            changed = replaced(
                changed, f'"spiffe://cluster.local/{old}"', '"spiffe://cluster.local/ns/edge/sa/eastwest"'
            )
    return changed


def two_replicas(observation: Observation) -> Observation:
    """Every gateway has two pods."""

    def change(seen: Observation, cluster: Cluster) -> Observation:
        (pod,) = gateways.pods(seen[cluster], gateway(seen, cluster))
        return with_twin(seen, cluster, pod)

    return everywhere(observation, change)


def with_twin(seen: Observation, cluster: Cluster, pod: Pod, **update: Any) -> Observation:
    """A second pod beside one, with a proxy that its control plane knows."""
    observed, other = seen[cluster], f"{pod.name[:-2]}zz"
    pods = (*observed.pods, pod.model_copy(update={"name": other, "ip": f"{pod.ip}9", **update}))
    own = [each for each in observed.proxies if each.pod == pod.name]
    twins = [each.model_copy(update={"pod": other}) for each in own]
    seen = on(seen, cluster, pods=pods, proxies=(*observed.proxies, *twins))
    primary = seen.topology[cluster.primary]
    planes = []
    for plane in seen[primary].control_planes:
        rows = [row for row in plane.proxies if row.proxy == f"{pod.name}.{pod.namespace}"]
        more = [row.model_copy(update={"proxy": f"{other}.{pod.namespace}"}) for row in rows]
        planes.append(plane.model_copy(update={"proxies": (*plane.proxies, *more)}))
    return on(seen, primary, control_planes=tuple(planes))


def daemon_set(observation: Observation) -> Observation:
    """Every gateway is a DaemonSet."""

    def change(seen: Observation, cluster: Cluster) -> Observation:
        workload = gateways.workload(seen[cluster], gateway(seen, cluster))
        workloads = edit(seen[cluster].workloads, lambda each: each == workload, kind="DaemonSet", conditions=())
        return on(seen, cluster, workloads=workloads)

    return everywhere(observation, change)


def node_port(observation: Observation) -> Observation:
    """West's gateway is a NodePort with traffic.istio.io/nodeSelector."""
    cluster, service = west(observation), gateway(observation, west(observation))
    (old,) = service.ingress
    ports = tuple(port.model_copy(update={"node_port": 20000 + port.port % 10000}) for port in service.ports)
    changed = gateway_is(
        observation, cluster, type="NodePort", ingress=(), resolved=(), node_addresses=(old,), ports=ports
    )
    new = 20000 + gateways.announced_port(service) % 10000
    return _at_port(changed, cluster, old, new)


def _at_port(observation: Observation, cluster: Cluster, address: str, port: int) -> Observation:
    """A cluster's gateway is entered at another port: probes, endpoints, what istiod reports."""

    def entered(items: Any) -> tuple[Any, ...]:
        return tuple(
            each.model_copy(update={"port": port}) if (each.address, each.port) == (address, 15443) else each
            for each in items
        )

    changed = observation.model_copy(update={"probes": entered(observation.probes)})
    for each in observation.topology.clusters:
        proxies = tuple(
            proxy.model_copy(
                update={
                    "endpoints": tuple(
                        known.model_copy(update={"endpoints": entered(known.endpoints)}) for known in proxy.endpoints
                    )
                }
            )
            for proxy in changed[each].proxies
        )
        planes = tuple(
            plane.model_copy(update={"network_gateways": entered(plane.network_gateways)})
            for plane in changed[each].control_planes
        )
        changed = on(changed, each, proxies=proxies, control_planes=planes)
    traffic = changed.traffic
    if traffic:
        moved = {
            kind: tuple(s.model_copy(update={"hosts": entered(s.hosts)}) for s in getattr(traffic, kind))
            for kind in ("coverage", "distribution")
        }
        changed = changed.model_copy(update={"traffic": traffic.model_copy(update=moved)})
    return changed


def host_name(observation: Observation) -> Observation:
    """West's load balancer has a host name, which only istiod resolves to the addresses that are in use."""
    return gateway_is(observation, west(observation), ingress=("lb-7.elb.example.com",), resolved=("198.51.100.7",))


def host_name_elsewhere(observation: Observation) -> Observation:
    """The same where the name resolves nowhere but inside; the pods' probes know the name."""
    (old,) = gateway(observation, west(observation)).ingress
    changed = gateway_is(observation, west(observation), ingress=("lb-7.elb.example.com",), resolved=())
    by_name = [
        probe.model_copy(update={"address": "lb-7.elb.example.com"}) for probe in changed.probes if probe.address == old
    ]
    return changed.model_copy(update={"probes": (*changed.probes, *by_name)})


def dual_stack(observation: Observation) -> Observation:
    """West's load balancer has an address of IPv6, too, which east's pods of IPv4 do not reach."""
    (old,) = gateway(observation, west(observation)).ingress
    both = (old, "2001:db8::7")
    changed = gateway_is(observation, west(observation), ingress=both, resolved=both)
    failed = {"address": "2001:db8::7", "result": ProbeResult.UNREACHABLE, "certificates": ()}
    more = [probe.model_copy(update=failed) for probe in changed.probes if probe.address == old]
    return changed.model_copy(update={"probes": (*changed.probes, *more)})


def pending_beside(observation: Observation) -> Observation:
    """West has a second Service for its network, whose load balancer has no address yet."""
    service = gateway(observation, west(observation))
    pending = service.model_copy(update={"name": "a-second", "ingress": (), "resolved": ()})
    return on(observation, west(observation), services=(pending, *observation[west(observation)].services))


def gateway_api_attached(observation: Observation) -> Observation:
    """The chapter's Deployments and Services, opened by Gateways of the Gateway API that name the Services."""

    def change(seen: Observation, cluster: Cluster) -> Observation:
        service = gateway(seen, cluster)
        host = f"{service.name}.{service.namespace}.svc.cluster.local"
        options = {"gateway.istio.io/listener-protocol": "auto-passthrough"}
        listener = {
            "name": "cross-network",
            "port": 15443,
            "protocol": "TLS",
            "tls": {"mode": "Passthrough", "options": options},
        }
        spec = {
            "gatewayClassName": "istio",
            "addresses": [{"type": "Hostname", "value": host}],
            "listeners": [listener],
        }
        made = ConfigObject(
            api_version="gateway.networking.k8s.io/v1",
            kind="Gateway",
            namespace=service.namespace,
            name="cross-network",
            spec=spec,
        )
        others = tuple(item for item in seen[cluster].config if item.kind != "Gateway")
        return on(seen, cluster, config=(*others, made))

    return everywhere(observation, change)


def _gateway_removed(observation: Observation, cluster: Cluster, service: Service) -> Observation:
    """The observation without a gateway: its Service, and what stands behind it."""
    observed = observation[cluster]
    behind = {pod.name for pod in gateways.pods(observed, service)}
    return on(
        observation,
        cluster,
        services=tuple(each for each in observed.services if each != service),
        pods=tuple(each for each in observed.pods if each.name not in behind),
        proxies=tuple(each for each in observed.proxies if each.pod not in behind),
        workloads=tuple(each for each in observed.workloads if each != gateways.workload(observed, service)),
    )


def one_gateway_for_a_network(observation: Observation) -> Observation:
    """The second and the third cluster share a network, and the gateway of the second."""
    shared, bare = observation.topology.clusters[1:3]
    service = gateway(observation, bare)
    behind = {pod.name for pod in gateways.pods(observation[bare], service)}
    changed = _gateway_removed(observation, bare, service)
    (old,), (new,) = service.ingress, gateway(observation, shared).ingress
    for cluster in changed.topology.clusters:
        planes = tuple(_without(plane, bare, old, behind) for plane in changed[cluster].control_planes)
        proxies = tuple(
            proxy.model_copy(
                update={
                    "endpoints": tuple(
                        known.model_copy(update={"endpoints": _met(known.endpoints, old, new)})
                        for known in proxy.endpoints
                    )
                }
            )
            for proxy in changed[cluster].proxies
        )
        changed = on(changed, cluster, control_planes=planes, proxies=proxies)
    return replaced(changed, f'"{old}"', f'"{new}"')


def _without(plane: ControlPlane, cluster: Cluster, address: str, pods: set[str]) -> ControlPlane:
    """A control plane that knows nothing of a cluster's gateway."""
    rows = tuple(row for row in plane.network_gateways if row.address != address)
    proxies = tuple(
        row
        for row in plane.proxies
        if row.cluster_id != cluster.cluster_name or row.proxy.partition(".")[0] not in pods
    )
    return plane.model_copy(update={"network_gateways": rows, "proxies": proxies})


def _met(endpoints: tuple[ProxyEndpoint, ...], old: str, new: str) -> tuple[ProxyEndpoint, ...]:
    """The endpoints of two gateways as those of one, whose weight is that of both."""
    extra = sum(each.weight for each in endpoints if each.address == old)
    kept = (each for each in endpoints if each.address != old)
    return tuple(
        each.model_copy(update={"weight": each.weight + extra}) if each.address == new else each for each in kept
    )


def mesh_networks_by_address(observation: Observation) -> Observation:
    """The mesh configuration names networks with the addresses of their gateways; no Service and no namespace does."""
    return _mesh_networks(observation, lambda service: [{"address": each, "port": 15443} for each in service.ingress])


def mesh_networks_by_service(observation: Observation) -> Observation:
    """The same, with the gateways' Services by their names in the registry."""

    def named(service: Service) -> list[dict[str, Any]]:
        return [{"registryServiceName": f"{service.name}.{service.namespace}.svc.cluster.local", "port": 15443}]

    return _mesh_networks(observation, named)


def mesh_networks_renamed(observation: Observation) -> Observation:
    """The same, where the Services have names of their own."""

    def named(service: Service) -> list[dict[str, Any]]:
        return [{"registryServiceName": f"{service.name}.{service.namespace}.svc.cluster.local", "port": 15443}]

    changed = everywhere(observation, lambda seen, cluster: gateway_is(seen, cluster, name="crossing"))
    return _mesh_networks(changed, named)


def mesh_networks_port(observation: Observation) -> Observation:
    """The same by address, and West's gateway is entered at 443, which only the mesh configuration says."""
    cluster, service = west(observation), gateway(observation, west(observation))
    ports = tuple(
        port.model_copy(update={"port": 443}) if port.port == expectations.MESH_PORT else port for port in service.ports
    )
    (address,) = service.ingress
    changed = _at_port(gateway_is(observation, cluster, ports=ports), cluster, address, 443)

    def named(seen: Service) -> list[dict[str, Any]]:
        return [{"address": seen.ingress[0], "port": 443 if gateways.has_port(seen, 443) else 15443}]

    return _mesh_networks(changed, named)


def _mesh_networks(observation: Observation, gateways_of: Callable[[Service], list[dict[str, Any]]]) -> Observation:
    networks = {
        cluster.network: {
            "endpoints": [{"fromRegistry": cluster.cluster_name}],
            "gateways": gateways_of(gateway(observation, cluster)),
        }
        for cluster in observation.topology.clusters
    }
    by_address = any("address" in each for network in networks.values() for each in network["gateways"])

    def change(seen: Observation, cluster: Cluster) -> Observation:
        observed, system = seen[cluster], seen.asked.system_namespace
        namespaces = edit(observed.namespaces, lambda each: each.name == system, labels={})
        config = tuple(each.model_copy(update={"networks": networks}) for each in observed.mesh_config)
        planes = []
        for plane in observed.control_planes:
            rows = plane.network_gateways
            rows = tuple(row.model_copy(update={"cluster": ""}) for row in rows) if by_address else rows
            planes.append(plane.model_copy(update={"network_gateways": rows}))
        labels = {
            key: value for key, value in gateway(seen, cluster).labels.items() if key != "topology.istio.io/network"
        }
        seen = gateway_is(seen, cluster, labels=labels)
        return on(seen, cluster, namespaces=namespaces, mesh_config=config, control_planes=tuple(planes))

    return everywhere(observation, change)


# Names and networks


def root_namespace(observation: Observation) -> Observation:
    """The namespace of mesh-wide policies is not that of istiod."""

    def change(seen: Observation, cluster: Cluster) -> Observation:
        observed, own = seen[cluster], "istio-config"
        if not cluster.is_primary:
            return seen
        config = tuple(
            each.model_copy(update={"mesh": {**each.mesh, "rootNamespace": own}}) for each in observed.mesh_config
        )
        strict = ConfigObject(
            api_version="security.istio.io/v1",
            kind="PeerAuthentication",
            namespace=own,
            name="default",
            spec={"mtls": {"mode": "STRICT"}},
        )
        return on(seen, cluster, mesh_config=config, config=(*observed.config, strict))

    return everywhere(observation, change)


def cluster_domain(observation: Observation) -> Observation:
    """The clusters' DNS domain is not cluster.local; the trust domain is."""
    changed = replaced(observation, "svc.cluster.local", "svc.corp.example")
    changed = replaced(changed, '"clusterDomain":"cluster.local"', '"clusterDomain":"corp.example"')
    return replaced(changed, '"*.local"', '"*.example"')


def network_by_injection(observation: Observation) -> Observation:
    """The system namespaces carry no network; the injected pods and the gateways' Services do."""

    def change(seen: Observation, cluster: Cluster) -> Observation:
        system = seen.asked.system_namespace
        namespaces = edit(seen[cluster].namespaces, lambda each: each.name == system, labels={})
        return on(seen, cluster, namespaces=namespaces)

    return everywhere(observation, change)


# Remote secrets


def from_directory(observation: Observation) -> Observation:
    """Istiod has its kubeconfigs from a directory (PILOT_MULTICLUSTER_KUBECONFIG_PATH), and no secrets."""

    def change(seen: Observation, cluster: Cluster) -> Observation:
        planes = tuple(
            plane.model_copy(
                update={
                    "clusters": tuple(
                        RemoteClusterSync(id=row.id, secret_name="", sync_status=row.sync_status)
                        for row in plane.clusters
                    )
                }
            )
            for plane in seen[cluster].control_planes
        )
        return on(seen, cluster, remote_secrets=(), control_planes=planes)

    changed = everywhere(observation, change)
    left = tuple(probe for probe in changed.probes if probe.kind is not ProbeKind.API_SERVER)
    return changed.model_copy(update={"probes": left})


def _with_form(observation: Observation, form: str, why: str, **access: object) -> Observation:
    def change(seen: Observation, cluster: Cluster) -> Observation:
        remote_secrets = tuple(
            secret.model_copy(
                update={
                    "has_token": form == "token",
                    "access": tuple(RemoteAccess(cluster=name, form=form, **access) for name in secret.clusters),
                }
            )
            for secret in seen[cluster].remote_secrets
        )
        return on(seen, cluster, remote_secrets=remote_secrets)

    changed = everywhere(observation, change)
    return _api_probes(changed, result=ProbeResult.NO_TOOL, detail=why, permissions={})


def _api_probes(observation: Observation, **update: object) -> Observation:
    probes = tuple(
        probe.model_copy(update=update) if probe.kind is ProbeKind.API_SERVER else probe for probe in observation.probes
    )
    return observation.model_copy(update={"probes": probes})


def exec_form(observation: Observation) -> Observation:
    """The remote secrets hold exec plugins of a cloud."""
    return _with_form(observation, "exec", "the kubeconfig in the remote secret holds no token, but: exec")


def client_certificate(observation: Observation) -> Observation:
    """The remote secrets hold client certificates."""
    return _with_form(observation, "client certificate", "holds no token, but: client certificate")


def over_proxy(observation: Observation) -> Observation:
    """The other API servers are reached over a proxy."""
    return _with_form(observation, "token", "goes over a proxy", proxy_url="http://proxy.corp:3128")


def egress_denied(observation: Observation) -> Observation:
    """The sample's pods may not reach API servers; istiod may, and has synchronised."""
    return _api_probes(observation, result=ProbeResult.TIMEOUT, status=0, detail="", permissions={})


# Control planes and injection


def canary(observation: Observation) -> Observation:
    """A newer control plane runs beside the one in use, on every primary."""

    def change(seen: Observation, cluster: Cluster) -> Observation:
        observed = seen[cluster]
        if not cluster.is_primary:
            return seen
        istiod = next(each for each in observed.workloads if each.name == "istiod")
        pod = next(iter(expectations.istiod_pods(observed)))
        rev = {"istio.io/rev": "canary"}
        newer = {"name": "istiod-canary-1", "labels": {**pod.labels, **rev}}
        (plane,) = observed.control_planes
        second = plane.model_copy(
            update={"pod": "istiod-canary-1", "revision": "canary", "version": "1.32.0", "proxies": ()}
        )
        (config,) = observed.mesh_config
        hooks = tuple(
            hook.model_copy(
                update={
                    "name": f"{hook.name}-canary",
                    "revision": "canary",
                    "webhooks": tuple(
                        rule.model_copy(
                            update={
                                "namespace_selector": {"matchLabels": rev},
                                "service": "istio-system/istiod-canary:443",
                            }
                        )
                        for rule in hook.webhooks
                    ),
                }
            )
            for hook in observed.webhooks
        )
        service = observed.service("istio-system", "istiod")
        assert service
        workload = istiod.model_copy(update={"name": "istiod-canary", "labels": {**istiod.labels, **rev}})
        return on(
            seen,
            cluster,
            workloads=(*observed.workloads, workload),
            pods=(*observed.pods, pod.model_copy(update=newer)),
            control_planes=(second, plane),
            mesh_config=(config.model_copy(update={"revision": "canary"}), config),
            webhooks=(*hooks, *observed.webhooks),
            services=(*observed.services, service.model_copy(update={"name": "istiod-canary"})),
        )

    return everywhere(observation, change)


def older_proxies(observation: Observation) -> Observation:
    """The control planes were upgraded by one minor version; the proxies have not been restarted yet."""
    return _versions(observation, plane="1.31.2", proxy="1.30.5")


def west_upgraded(observation: Observation) -> Observation:
    """West was upgraded with its proxies, east was not yet."""
    changed = _versions(observation, plane="1.30.5", proxy="1.30.5")
    return _versions(changed, plane="1.31.2", proxy="1.31.2", only=west(observation))


def _versions(observation: Observation, *, plane: str, proxy: str, only: Cluster | None = None) -> Observation:
    def change(seen: Observation, cluster: Cluster) -> Observation:
        if only and cluster != only:
            return seen
        planes = tuple(
            each.model_copy(
                update={
                    "version": plane,
                    "proxies": tuple(row.model_copy(update={"version": proxy}) for row in each.proxies),
                }
            )
            for each in seen[cluster].control_planes
        )
        proxies = tuple(each.model_copy(update={"version": proxy}) for each in seen[cluster].proxies)
        return on(seen, cluster, control_planes=planes, proxies=proxies)

    return everywhere(observation, change)


# What stands beside


def ztunnel_beside(observation: Observation) -> Observation:
    """Ambient is used by other namespaces: ztunnel runs on every node, its container is called istio-proxy."""

    def change(seen: Observation, cluster: Cluster) -> Observation:
        pod = gateways.pods(seen[cluster], gateway(seen, cluster))[0]
        container = pod.container("istio-proxy")
        assert container
        labels = {"app": "ztunnel", "app.kubernetes.io/name": "ztunnel", "sidecar.istio.io/inject": "false"}
        env = {name: value for name, value in container.env.items() if name == "ISTIO_META_CLUSTER_ID"}
        ztunnel = pod.model_copy(
            update={
                "name": "ztunnel-abcde",
                "labels": labels,
                "namespace": "istio-system",
                "service_account": "ztunnel",
                "containers": (container.model_copy(update={"image": "istio/ztunnel:1.31", "env": env}),),
            }
        )
        return on(seen, cluster, pods=(*seen[cluster].pods, ztunnel))

    return everywhere(observation, change)


def waypoint_beside(observation: Observation) -> Observation:
    """A waypoint stands in the sample's namespace, for pods that are none of the sample's."""

    def change(seen: Observation, cluster: Cluster) -> Observation:
        observed, primary = seen[cluster], seen.topology[cluster.primary]
        pod = next(each for each in observed.pods if each.labels.get("app") == "helloworld")
        proxy = next(each for each in observed.proxies if each.pod == pod.name)
        labels = {
            "gateway.networking.k8s.io/gateway-name": "waypoint",
            "gateway.istio.io/managed": "istio.io-mesh-controller",
            "service.istio.io/canonical-name": "waypoint",
        }
        own = tuple(each for each in pod.containers if each.name == "istio-proxy")
        mine = {"name": "waypoint-1", "labels": labels, "containers": own}
        seen = on(
            seen,
            cluster,
            pods=(*observed.pods, pod.model_copy(update=mine)),
            proxies=(*observed.proxies, proxy.model_copy(update={"pod": "waypoint-1", "role": "waypoint"})),
        )
        planes = []
        for plane in seen[primary].control_planes:
            rows = [row for row in plane.proxies if row.proxy == f"{pod.name}.{pod.namespace}"]
            more = [
                row.model_copy(
                    update={"proxy": f"waypoint-1.{pod.namespace}", "types": {**row.types, "RDS": "NOT SENT"}}
                )
                for row in rows
            ]
            planes.append(plane.model_copy(update={"proxies": (*plane.proxies, *more)}))
        return on(seen, primary, control_planes=tuple(planes))

    return everywhere(observation, change)


def batch_pending(observation: Observation) -> Observation:
    """East's sample namespace has a pod of something else that can't be scheduled."""
    cluster, observed = east(observation), observation[east(observation)]
    pod = next(each for each in observed.pods if each.labels.get("app") == "helloworld")
    own = tuple(each.model_copy(update={"ready": False, "state": ""}) for each in pod.containers)
    labels = {**pod.labels, "app": "batch", "service.istio.io/canonical-name": "batch"}
    update = {"name": "batch-1", "labels": labels, "phase": "Pending", "ready": False, "node": "", "ip": ""}
    batch = pod.model_copy(update={**update, "containers": own})
    return on(observation, cluster, pods=(*observed.pods, batch))


def cni_on_one(observation: Observation, cluster: Cluster | None = None) -> Observation:
    """West has no CNI plugin: its pods have the init container istio-init."""
    cluster = cluster or west(observation)
    observed = observation[cluster]
    init = Container(name="istio-init", image="istio/proxyv2:1.31", init=True, state="terminated")
    pods = tuple(
        pod.model_copy(update={"containers": (init, *pod.containers)})
        if pod.namespace == observation.asked.sample_namespace
        else pod
        for pod in observed.pods
        if pod.labels.get("k8s-app") != "istio-cni-node"
    )
    workloads = tuple(each for each in observed.workloads if each.name != "istio-cni-node")
    return on(observation, cluster, pods=pods, workloads=workloads)


def without_cni(observation: Observation) -> Observation:
    """No cluster has a CNI plugin: pods have the init container istio-init."""

    def change(seen: Observation, cluster: Cluster) -> Observation:
        return cni_on_one(seen, cluster)

    changed = everywhere(observation, change)
    return changed.model_copy(update={"asked": changed.asked.model_copy(update={"cni": False})})


def node_without_cni(observation: Observation) -> Observation:
    """A node that is there for something else, without the CNI plugin and without any pod of the mesh."""
    observed = observation[west(observation)]
    other = observed.nodes[0].model_copy(update={"name": "windows-1"})
    return on(observation, west(observation), nodes=(*observed.nodes, other))


QUOTA = 'pods "x" is forbidden: exceeded quota: compute, requested: pods=1, used: pods=4, limited: pods=4'
NAKED = (
    'admission webhook "validate.kyverno.svc-fail" denied the request: prevent-naked-pods: Naked Pods are not allowed'
)


def refused(observation: Observation, message: str) -> Observation:
    """The dry-run pod is not let in, for a reason."""
    answer = DryRun(injected=False, error=message)
    return everywhere(observation, lambda seen, cluster: on(seen, cluster, dry_run=answer))


def quota_used_up(observation: Observation) -> Observation:
    """The sample's namespace has a quota that lets in no further pod."""
    return refused(observation, QUOTA)


def no_naked_pods(observation: Observation) -> Observation:
    """A policy wants every pod to belong to a Deployment or the like."""
    return refused(observation, NAKED)


def istiod_starting(observation: Observation) -> Observation:
    """The autoscaler has just started a second istiod on east."""
    cluster, observed = east(observation), observation[east(observation)]
    pod = next(each for each in observed.pods if each.labels.get("app") == "istiod")
    own = tuple(each.model_copy(update={"ready": False}) for each in pod.containers)
    new = pod.model_copy(update={"name": "istiod-starting", "ready": False, "containers": own})
    silent: dict[str, Any] = {"version": "", "clusters": (), "proxies": (), "network_gateways": (), "serving_chain": ()}
    plane = observed.control_planes[0].model_copy(update={"pod": new.name, **silent})
    return on(observation, cluster, pods=(*observed.pods, new), control_planes=(*observed.control_planes, plane))


def network_by_label_only(observation: Observation) -> Observation:
    """There is one network, which only the system namespaces' labels name."""
    label, variable = "topology.istio.io/network", "ISTIO_META_NETWORK"

    def bare(container: Container) -> Container:
        env = {key: value for key, value in container.env.items() if key != variable}
        return container.model_copy(update={"env": env})

    def change(seen: Observation, cluster: Cluster) -> Observation:
        pods = tuple(
            pod.model_copy(
                update={
                    "labels": {key: value for key, value in pod.labels.items() if key != label},
                    "containers": tuple(map(bare, pod.containers)),
                }
            )
            for pod in seen[cluster].pods
        )
        config = tuple(
            each.model_copy(
                update={
                    "values": {
                        **each.values,
                        "global": {key: value for key, value in each.values["global"].items() if key != "network"},
                    }
                }
            )
            for each in seen[cluster].mesh_config
        )
        return on(seen, cluster, pods=pods, mesh_config=config)

    return everywhere(observation, change)


def cni_by_node_pool(observation: Observation) -> Observation:
    """A pool of west's nodes has no CNI plugin yet; the pods there have istio-init."""
    observed = observation[west(observation)]
    other = observed.nodes[0].model_copy(update={"name": "pool-b-1"})
    init = Container(name="istio-init", image="istio/proxyv2:1.31", init=True, state="terminated")

    def moved(pod: Pod) -> Pod:
        update = {"node": "pool-b-1", "containers": (init, *pod.containers)}
        return pod.model_copy(update=update) if pod.labels.get("app") == "sleep" else pod

    pods = tuple(map(moved, observed.pods))
    return on(observation, west(observation), nodes=(*observed.nodes, other), pods=pods)


def one_address_behind_proxies(observation: Observation) -> Observation:
    """All API servers have one private address, and a proxy of its own each."""
    address = "172.16.0.2"

    def change(seen: Observation, cluster: Cluster) -> Observation:
        held = []
        for secret in seen[cluster].remote_secrets:
            access = tuple(
                RemoteAccess(cluster=name, form="token", proxy_url=f"http://proxy-{name}:3128")
                for name in secret.clusters
            )
            servers = (f"https://{address}",) * len(secret.clusters)
            held.append(secret.model_copy(update={"servers": servers, "access": access}))
        return on(seen, cluster, remote_secrets=tuple(held))

    untried: dict[str, Any] = {"result": ProbeResult.NO_TOOL, "address": address, "port": 443, "permissions": {}}
    probes = tuple(
        probe.model_copy(update=untried) if probe.kind is ProbeKind.API_SERVER else probe
        for probe in observation.probes
    )
    return everywhere(observation.model_copy(update={"probes": probes}), change)


def sample_applied_whole(observation: Observation) -> Observation:
    """Istio's helloworld.yaml on every cluster as it is: each version runs on each."""
    versions = {cluster.version for cluster in observation.topology.clusters}

    def change(seen: Observation, cluster: Cluster) -> Observation:
        pod = next(each for each in seen[cluster].pods if each.labels.get("version") == cluster.version)
        own = seen[cluster].workload(seen.asked.sample_namespace, f"helloworld-{cluster.version}")
        assert own
        for version in sorted(versions - {cluster.version}):
            seen = with_twin(seen, cluster, pod, labels={**pod.labels, "version": version})
            labels = {
                "labels": {**own.labels, "version": version},
                "pod_labels": {**own.pod_labels, "version": version},
            }
            other = own.model_copy(update={"name": f"helloworld-{version}", **labels})
            seen = on(seen, cluster, workloads=(*seen[cluster].workloads, other))
        return seen

    return everywhere(observation, change).model_copy(update={"traffic": None})


def debug_off(observation: Observation) -> Observation:
    """No istiod has a debug interface: which clusters and proxies it knows it does not say."""
    silent: dict[str, Any] = {"clusters": (), "proxies": (), "network_gateways": (), "debug_off": True}

    def change(seen: Observation, cluster: Cluster) -> Observation:
        planes = tuple(plane.model_copy(update=silent) for plane in seen[cluster].control_planes)
        return on(seen, cluster, control_planes=planes)

    return everywhere(observation, change)


# Remotes


def injection_url(observation: Observation) -> Observation:
    """The remote's webhook calls a URL of its own, and its proxies know istiod by that name."""
    network = west(observation).network
    return _injected_by(observation, f"https://istiod.mesh.corp.example:15017/inject/cluster/cluster2/net/{network}")


def injection_url_without_network(observation: Observation) -> Observation:
    """The same, and the URL does not name the network: the namespace does."""
    return _injected_by(observation, "https://istiod.mesh.corp.example:15017/inject/cluster/cluster2")


def injection_url_other_order(observation: Observation) -> Observation:
    """The same, network first: istiod reads pairs in any order."""
    return _injected_by(observation, "https://istiod.mesh.corp.example:15017/inject/net/network2/cluster/cluster2")


def injection_url_env(observation: Observation) -> Observation:
    """The same in the older form."""
    return _injected_by(
        observation, "https://istiod.mesh.corp.example:15017/inject/:ENV:cluster=cluster2:ENV:net=network2"
    )


def _injected_by(observation: Observation, url: str) -> Observation:
    observed = observation[west(observation)]
    hooks = tuple(
        hook.model_copy(
            update={
                "webhooks": tuple(
                    rule.model_copy(update={"url": url, "service": "", "path": ""}) for rule in hook.webhooks
                )
            }
        )
        for hook in observed.webhooks
    )
    services = tuple(each for each in observed.services if each.name != "istiod")
    return on(observation, west(observation), webhooks=hooks, services=services)


def injection_elsewhere(observation: Observation) -> Observation:
    """The remote's webhook calls a URL elsewhere; its proxies come by the gateway, which has no port 15017."""
    cluster = east(observation)
    ports = tuple(port for port in gateway(observation, cluster).ports if port.port != expectations.WEBHOOK_PORT)
    changed = injection_url(gateway_is(observation, cluster, ports=ports))

    def closed(proxy: Proxy) -> Proxy:
        left = tuple(each for each in proxy.listeners if each.port != expectations.WEBHOOK_PORT)
        return proxy.model_copy(update={"listeners": left})

    changed = on(changed, cluster, proxies=tuple(map(closed, changed[cluster].proxies)))
    silent = {"result": ProbeResult.TIMEOUT, "certificates": ()}
    return with_probes(changed, lambda each: each.port == expectations.WEBHOOK_PORT, **silent)


def validator_by_name(observation: Observation) -> Observation:
    """Helm's default validator on a remote that calls istiod by the host name of a cloud's load balancer."""
    cluster, host = west(observation), "a1b2c3.elb.eu-west-1.amazonaws.com"
    old = gateway(observation, east(observation)).ingress
    changed = gateway_is(observation, east(observation), ingress=(host,), resolved=old)
    rule = WebhookRule(
        name="validation.istio.io",
        service="istio-system/istiod:443",
        path="/validate",
        failure_policy="Fail",
        namespace_selector={},
        object_selector={},
    )
    hook = InjectionWebhook(name="istiod-default-validator", revision="default", webhooks=(rule,))
    front: dict[str, Any] = {"type": "ExternalName", "ready_endpoints": (), "cluster_ip": ""}
    services = edit(changed[cluster].services, lambda each: each.name == "istiod", **front)
    return on(changed, cluster, services=services, validating_webhooks=(hook,))


def not_annotated(observation: Observation) -> Observation:
    """The remote's namespace names no primary; its webhook's caBundle was given by hand."""
    system = observation.asked.system_namespace
    namespaces = edit(observation[west(observation)].namespaces, lambda each: each.name == system, annotations={})
    return on(observation, west(observation), namespaces=namespaces)


def istiod_of_its_own_address(observation: Observation) -> Observation:
    """The remote reaches istiod by an internal load balancer of its own; the gateway has no port 15012."""
    cluster = east(observation)
    service, istiod = gateway(observation, cluster), observation[cluster].service("istio-system", "istiod")
    (old,) = service.ingress
    ports = tuple(port for port in service.ports if port.port not in {15012, 15017})
    changed = gateway_is(observation, cluster, ports=ports)
    assert istiod
    front = istiod.model_copy(
        update={
            "name": "istiod-internal",
            "type": "LoadBalancer",
            "ingress": ("10.9.9.9",),
            "resolved": ("10.9.9.9",),
            "ports": (
                ServicePort(name="xds", port=15012, target_port="15012"),
                ServicePort(name="hook", port=15017, target_port="15017"),
            ),
        }
    )
    changed = on(changed, cluster, services=(*changed[cluster].services, front))

    def moved(probe: Probe) -> Probe:
        at = {"address": "10.9.9.9"}
        return probe.model_copy(update=at) if (probe.address, probe.port) in {(old, 15012), (old, 15017)} else probe

    return changed.model_copy(update={"probes": tuple(map(moved, changed.probes))})


def tls_ended_for_istiod(observation: Observation) -> Observation:
    """The gateway ends TLS on 15012 and 15017 with a certificate of a public CA, as in expose-istiod-https.yaml."""
    cluster, ports = east(observation), {expectations.XDS_PORT, expectations.WEBHOOK_PORT}
    tls = {"mode": "SIMPLE", "credentialName": "istiod-cert"}
    servers = [{"hosts": ["istiod.example.com"], "port": {"number": port}, "tls": tls} for port in sorted(ports)]
    spec = {"selector": {"istio": "eastwestgateway"}, "servers": servers}
    config = edit(observation[cluster].config, lambda each: each.name == "istiod-gateway", spec=spec)
    config = edit(config, lambda each: each.name == "istiod-vs", spec={"gateways": ["istiod-gateway"], "http": []})
    ended = (FilterChain(server_names=("istiod.example.com",), tls=True),)

    def serving(proxy: Proxy) -> Proxy:
        new = (each.model_copy(update={"chains": ended}) if each.port in ports else each for each in proxy.listeners)
        return proxy.model_copy(update={"listeners": tuple(new)})

    changed = on(observation, cluster, config=config, proxies=tuple(map(serving, observation[cluster].proxies)))
    public = (certificates.root_certificate(2048, "public"),)
    shown = with_probes(changed, lambda each: each.port == 15012 and bool(each.certificates), certificates=public)
    return _injected_by(shown, "https://istiod.example.com:15017/inject/cluster/cluster2/net/network2")


def istiod_by_name(observation: Observation) -> Observation:
    """The remote reaches istiod over 443 of something that is not in the cluster; nothing there has port 15012."""
    cluster = east(observation)
    ports = tuple(port for port in gateway(observation, cluster).ports if port.port not in {15012, 15017})
    changed = injection_url(gateway_is(observation, cluster, ports=ports))
    left = tuple(probe for probe in changed.probes if probe.port not in {15012, 15017})
    return changed.model_copy(update={"probes": left})


def istiod_by_name_without_gateway(observation: Observation) -> Observation:
    """The same on one network, where there is no gateway at all."""
    cluster = east(observation)
    service = gateway(observation, cluster)
    changed = on(_gateway_removed(injection_url(observation), cluster, service), cluster, config=())
    left = tuple(probe for probe in changed.probes if probe.port not in {15021, 15012, 15017})
    return changed.model_copy(update={"probes": left})


def without_sample(observation: Observation) -> Observation:
    """There is no sample, nor a namespace for it: the way a mesh is looked at for the first time."""
    name = observation.asked.sample_namespace
    gone = DryRun(injected=False, error=f'namespaces "{name}" not found')

    def change(seen: Observation, cluster: Cluster) -> Observation:
        observed = seen[cluster]
        left: dict[str, Any] = {
            field: tuple(each for each in getattr(observed, field) if each.namespace != name)
            for field in ("pods", "workloads", "services", "proxies", "config")
        }
        left["namespaces"] = tuple(each for each in observed.namespaces if each.name != name)
        left["control_planes"] = tuple(
            plane.model_copy(
                update={"proxies": tuple(row for row in plane.proxies if not row.proxy.endswith(f".{name}"))}
            )
            for plane in observed.control_planes
        )
        return on(seen, cluster, **left, dry_run=gone, root_config_map=())

    return everywhere(observation, change).model_copy(update={"probes": (), "traffic": None})


KINDS: tuple[tuple[Base, Kind], ...] = (
    *(
        (PRIMARIES, kind)
        for kind in (
            gateway_api,
            two_replicas,
            daemon_set,
            node_port,
            host_name,
            host_name_elsewhere,
            dual_stack,
            pending_beside,
            gateway_api_attached,
            mesh_networks_by_address,
            mesh_networks_by_service,
            mesh_networks_renamed,
            mesh_networks_port,
            root_namespace,
            cluster_domain,
            network_by_injection,
            from_directory,
            exec_form,
            client_certificate,
            over_proxy,
            egress_denied,
            canary,
            older_proxies,
            west_upgraded,
            ztunnel_beside,
            waypoint_beside,
            cni_on_one,
            without_cni,
            node_without_cni,
            batch_pending,
            debug_off,
            quota_used_up,
            no_naked_pods,
            istiod_starting,
            cni_by_node_pool,
        )
    ),
    *(
        (REMOTE, kind)
        for kind in (
            gateway_api,
            two_replicas,
            mesh_networks_by_address,
            mesh_networks_by_service,
            root_namespace,
            cluster_domain,
            network_by_injection,
            from_directory,
            egress_denied,
            canary,
            older_proxies,
            ztunnel_beside,
            injection_url,
            injection_url_without_network,
            injection_url_other_order,
            injection_url_env,
            not_annotated,
            istiod_of_its_own_address,
            tls_ended_for_istiod,
            istiod_by_name,
            debug_off,
            quota_used_up,
            no_naked_pods,
            istiod_starting,
            injection_elsewhere,
            validator_by_name,
        )
    ),
    (PRIMARIES_NEAR, network_by_label_only),
    (Made("multi-primary-multi-network-3-clusters"), one_address_behind_proxies),
    (THREE, debug_off),
    (THREE, one_gateway_for_a_network),
    *((REMOTE_NEAR, kind) for kind in (injection_url, istiod_by_name, istiod_by_name_without_gateway)),
)
