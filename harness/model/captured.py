"""What a pod's node's ztunnel does for it, as its own proxy would: where there are no sidecars. Pure."""

from collections.abc import Iterator

from harness.model import expectations
from harness.model.cluster import Pod
from harness.model.observation import Observation
from harness.model.proxy import EndpointSet, Proxy, ProxyEndpoint
from harness.model.topology import Cluster
from harness.model.ztunnel import Ztunnel, ZtunnelEndpoint, ZtunnelService


class CapturedPod(Proxy):
    """A pod without a sidecar: the identity that its node's ztunnel holds for it, and the endpoints it knows."""

    ztunnel: str
    """The ztunnel's pod."""
    ztunnel_namespace: str
    certificate_state: str
    """Of its identity; empty where the ztunnel has none."""

    @property
    def title(self) -> str:
        """How findings name it."""
        return f"ztunnel {self.ztunnel} for {self.namespace}/{self.pod}"

    @property
    def versioned(self) -> str:
        """How findings name the program whose version it is: the ztunnel, of however many pods."""
        return f"ztunnel {self.ztunnel_namespace}/{self.ztunnel}"

    @property
    def connection(self) -> str:
        """Under which name its control plane lists it: that of the ztunnel."""
        return f"{self.ztunnel}.{self.ztunnel_namespace}"


def captured_pods(observation: Observation, cluster: Cluster) -> tuple[Pod, ...]:
    """The pods of the sample and its clients whose traffic a ztunnel carries."""
    names = observation.asked.namespaces
    return tuple(
        pod for pod in observation[cluster].lasting_pods if pod.namespace in names and expectations.is_captured(pod)
    )


def ztunnel_of(observation: Observation, cluster: Cluster, pod: Pod) -> Ztunnel | None:
    """The ztunnel of a pod's node, where it was read."""
    return next((each for each in observation[cluster].ztunnels if each.node == pod.node), None)


def has_ready_ztunnel(observation: Observation, cluster: Cluster, pod: Pod) -> bool:
    """Whether a ztunnel is ready on a pod's node."""
    return any(each.node == pod.node and each.ready for each in ztunnel_pods(observation, cluster))


def is_ztunnel(pod: Pod) -> bool:
    """Whether a pod is a ztunnel."""
    return pod.labels.get("app") == expectations.ZTUNNEL


def ztunnel_pods(observation: Observation, cluster: Cluster) -> tuple[Pod, ...]:
    """The pods of ztunnel, in whatever namespace."""
    return tuple(filter(is_ztunnel, observation[cluster].lasting_pods))


def views(observation: Observation, cluster: Cluster) -> tuple[CapturedPod, ...]:
    """What the ztunnels of a cluster do for each captured pod; nothing where sidecars carry the traffic."""
    if not observation.asked.ambient:
        return ()
    found = ((pod, ztunnel_of(observation, cluster, pod)) for pod in captured_pods(observation, cluster))
    domain = expectations.trust_domain(observation)
    return tuple(_view(pod, ztunnel, domain) for pod, ztunnel in found if ztunnel)


def _view(pod: Pod, ztunnel: Ztunnel, trust_domain: str) -> CapturedPod:
    identity = expectations.spiffe_id(trust_domain, pod.namespace, pod.service_account)
    held = next((each for each in ztunnel.certificates if each.identity == identity), None)
    return CapturedPod(
        pod=pod.name,
        namespace=pod.namespace,
        role=pod.labels.get("app") or pod.labels.get("service.istio.io/canonical-name") or "",
        cluster_id=ztunnel.cluster_id,
        network=ztunnel.network,
        version=ztunnel.version,
        chain=held.chain if held else (),
        roots=held.roots if held else (),
        connected_to=ztunnel.connected_to.partition("://")[2] or ztunnel.connected_to,
        endpoints=tuple(_endpoint_sets(ztunnel)),
        ztunnel=ztunnel.pod,
        ztunnel_namespace=ztunnel.namespace,
        certificate_state=held.state if held else "",
    )


def _endpoint_sets(ztunnel: Ztunnel) -> Iterator[EndpointSet]:
    """A ztunnel's services under the names that Envoy has for them, one for each port."""
    for service in ztunnel.services:
        for port in service.ports:
            found = (endpoint_at(ztunnel, each, port) for each in service.endpoints)
            yield EndpointSet(cluster=f"outbound|{port}||{service.hostname}", endpoints=tuple(filter(None, found)))


def endpoint_at(ztunnel: Ztunnel, endpoint: ZtunnelEndpoint, port: int) -> ProxyEndpoint | None:
    """Where a ztunnel connects to for an endpoint; None where it does not know the workload, and passes it over.

    On its own network that is the pod, on another one the network's gateway: a workload there may have a gateway noted
    that is not used, since istiod sends all clients the same (ztunnel, src/state.rs, load_balance).
    """
    workload = ztunnel.workload(endpoint.uid)
    if workload is None:
        return None
    through = workload.gateway if workload.network != ztunnel.network else ""
    if not through and not workload.addresses:
        return None
    return ProxyEndpoint(
        address=through or workload.addresses[0],
        port=workload.gateway_port if through else endpoint.ports.get(port, port),
        weight=workload.capacity,
        healthy=endpoint.healthy,
        flags=() if endpoint.healthy else ("not ready",),
    )


def behind_gateways(ztunnel: Ztunnel, service: ZtunnelService) -> dict[str, tuple[str, ...]]:
    """The other networks on which a ztunnel knows a service behind a gateway, each with the gateways' ADDRESS:PORT."""
    found: dict[str, tuple[str, ...]] = {}
    for each in service.endpoints:
        workload = ztunnel.workload(each.uid)
        if workload and workload.gateway and workload.network != ztunnel.network:
            at = f"{expectations.url_host(workload.gateway)}:{workload.gateway_port}"
            found[workload.network] = (*found.get(workload.network, ()), at)
    return found
