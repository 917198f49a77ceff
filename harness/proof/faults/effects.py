"""What a broken mesh looks like from its clients, gateways and remotes: effects that faults have in common. Pure."""

from collections.abc import Callable, Iterable

from harness.model import client_endpoints, expectations
from harness.model.cluster import Condition, DryRun, Pod, SailResource
from harness.model.observation import Observation
from harness.model.proxy import ControlPlane, Listener, Proxy, ProxyEndpoint, ProxySync
from harness.model.topology import Cluster
from harness.model.traffic import Probe, ProbeKind, ProbeResult
from harness.proof.faults.edit import each, gateway_pods, on, pods, probes, with_webhooks

GATEWAY_KINDS = frozenset({ProbeKind.TCP, ProbeKind.TLS, ProbeKind.TLS_NO_CERTIFICATE, ProbeKind.CSR_NO_TOKEN})


def endpoints(
    observation: Observation, client: Cluster, change: Callable[[ProxyEndpoint], ProxyEndpoint | None]
) -> Observation:
    """Change helloworld's endpoints in a client's proxies."""

    def changed(proxy: Proxy) -> Proxy:
        if proxy.role != expectations.SLEEP:
            return proxy
        sets = tuple(
            found.model_copy(update={"endpoints": each(found.endpoints, change)})
            if "|helloworld." in found.cluster
            else found
            for found in proxy.endpoints
        )
        return proxy.model_copy(update={"endpoints": sets})

    return on(observation, client, proxies=each(observation[client].proxies, changed))


def lose_endpoints(observation: Observation, client: Cluster, *targets: Cluster) -> Observation:
    """A client's proxies no longer know helloworld on these clusters."""
    gone = {address for target in targets for address in client_endpoints.addresses_of(observation, client, target)}
    return endpoints(observation, client, lambda found: None if (found.address, found.port) in gone else found)


def pod_endpoints(observation: Observation, client: Cluster, target: Cluster) -> Observation:
    """Istiod knows no gateway of the target's network: its pods stand for themselves, and nothing routes to them."""
    known = client_endpoints.addresses_of(observation, client, target)
    ips = [pod.ip for pod in expectations.helloworld_pods(observation[target], observation.asked.sample_namespace)]

    def change(found: ProxyEndpoint) -> ProxyEndpoint:
        if (found.address, found.port) not in known or not ips:
            return found
        return found.model_copy(update={"address": ips[0], "port": expectations.HELLOWORLD_PORT})

    return endpoints(observation, client, change)


def gateway_probes(
    observation: Observation,
    target: Cluster,
    result: ProbeResult,
    *,
    ports: Iterable[int] = (),
    detail: str = "",
    connects: bool = False,
) -> Observation:
    """Probes of a gateway end otherwise.

    Args:
        observation: the run.
        target: the gateway's cluster.
        result: how they end.
        ports: which ports; default all.
        detail: the words with it.
        connects: the TCP connection is accepted, and only what comes after it fails.
    """
    meant = frozenset(ports)

    def change(probe: Probe) -> Probe:
        of_gateway = probe.target == target.name and probe.kind in GATEWAY_KINDS
        if not of_gateway or (meant and probe.port not in meant) or (connects and probe.kind is ProbeKind.TCP):
            return probe
        return probe.model_copy(update={"result": result, "detail": detail, "certificates": (), "status": 0})

    return probes(observation, change)


def listeners(observation: Observation, cluster: Cluster, *closed: int) -> Observation:
    """A gateway's Envoy does not listen on these ports."""
    names = gateway_pods(observation[cluster])

    def change(proxy: Proxy) -> Proxy:
        left: tuple[Listener, ...] = tuple(found for found in proxy.listeners if found.port not in closed)
        return proxy.model_copy(update={"listeners": left}) if proxy.pod in names else proxy

    return on(observation, cluster, proxies=each(observation[cluster].proxies, change))


def disconnected(observation: Observation, *clusters: Cluster) -> Observation:
    """The proxies of these clusters have lost their control plane; they go on with what they have."""
    for cluster in clusters:

        def without(plane: ControlPlane, name: str = cluster.cluster_name) -> ControlPlane:
            rows: tuple[ProxySync, ...] = tuple(row for row in plane.proxies if row.cluster_id != name)
            return plane.model_copy(update={"proxies": rows})

        planes = each(observation[cluster.primary].control_planes, without)
        observation = on(observation, cluster.primary, control_planes=planes)
        proxies = each(observation[cluster].proxies, lambda proxy: proxy.model_copy(update={"connected_to": ""}))
        observation = on(observation, cluster, proxies=proxies)
    return observation


def injection_fails(observation: Observation, *clusters: Cluster, why: str) -> Observation:
    """Pods are refused on these clusters; an operator does not report what is served from elsewhere Ready."""
    for cluster in clusters:
        said = f'Internal error occurred: failed calling webhook "namespace.sidecar-injector.istio.io": {why}'
        observation = on(observation, cluster, dry_run=DryRun(injected=False, error=said))
        if cluster.runs_control_plane or not observation[cluster].sail:
            continue
        observation = with_webhooks(
            observation,
            cluster,
            lambda webhook: webhook.model_copy(update={"annotations": {"sailoperator.io/readinessProbe.message": why}}),
        )
        not_ready = (Condition(type="Ready", status="False", reason="RemoteIstiodNotReady", message=why),)

        def change(resource: SailResource, conditions: tuple[Condition, ...] = not_ready) -> SailResource:
            return resource.model_copy(update={"conditions": conditions}) if resource.kind == "Istio" else resource

        observation = on(observation, cluster, sail=each(observation[cluster].sail, change))
    return observation


def sidecars_fail(observation: Observation, cluster: Cluster, why: str) -> Observation:
    """The sample's pods on a cluster were created again, and their sidecars do not become ready.

    Their Envoys run and can be asked, as containers of a pod start one after the other (Kubernetes, "Sidecar
    Containers"); they have got no certificate and no configuration, and the sample itself is not started.
    """
    sample = observation.asked.sample_namespace

    def change(pod: Pod) -> Pod:
        if pod.namespace != sample or not expectations.has_proxy(pod):
            return pod
        containers = tuple(
            c.model_copy(
                update={"ready": False, "state": "running", "message": why if c.name == expectations.PROXY else ""}
            )
            for c in pod.containers
        )
        return pod.model_copy(update={"ready": False, "containers": containers})

    observation = _without_sample(pods(observation, cluster, change), cluster)
    names = {f"{pod.name}.{sample}" for pod in observation[cluster].pods if pod.namespace == sample}

    def without(plane: ControlPlane) -> ControlPlane:
        rows = tuple(r for r in plane.proxies if r.proxy not in names or r.cluster_id != cluster.cluster_name)
        return plane.model_copy(update={"proxies": rows})

    planes = each(observation[cluster.primary].control_planes, without)
    observation = probes(
        on(observation, cluster.primary, control_planes=planes),
        lambda probe: None if probe.kind is ProbeKind.POD_ROUTE and probe.target == cluster.name else probe,
    )
    return requestless(observation, cluster)


def _without_sample(observation: Observation, cluster: Cluster) -> Observation:
    """The sample on a cluster without ready pods behind workloads and Services, and with proxies that know nothing."""
    sample, observed = observation.asked.sample_namespace, observation[cluster]
    unavailable = (Condition(type="Available", status="False", reason="MinimumReplicasUnavailable"),)
    return on(
        observation,
        cluster,
        workloads=each(
            observed.workloads,
            lambda w: w.model_copy(update={"ready": 0, "conditions": unavailable}) if w.namespace == sample else w,
        ),
        proxies=each(
            observed.proxies,
            lambda p: p.model_copy(update={"chain": (), "roots": (), "endpoints": ()}) if p.namespace == sample else p,
        ),
        services=each(
            observed.services,
            lambda s: s.model_copy(update={"ready_endpoints": ()}) if s.namespace == sample else s,
        ),
    )


def silent_client(observation: Observation, cluster: Cluster) -> Observation:
    """A cluster has no pod to send from: neither probes nor requests."""
    return requestless(probes(observation, lambda probe: None if probe.source == cluster.name else probe), cluster)


def requestless(observation: Observation, cluster: Cluster) -> Observation:
    """No client of a cluster sent requests, and helloworld there saw no caller."""
    old = observation.traffic
    if old is None:
        return observation
    changed = {
        field: tuple(found for found in getattr(old, field) if found.client != cluster.name)
        for field in ("coverage", "distribution", "convergence")
    }
    peers = tuple(peer for peer in old.peers or () if peer.destination != cluster.name)
    return observation.model_copy(update={"traffic": old.model_copy(update={**changed, "peers": peers})})
