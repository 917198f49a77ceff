"""East-west gateways taken down, hidden or closed, and put back."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager

from harness.base.errors import StepError
from harness.base.parallel import in_parallel
from harness.experiments.testbed import ready_pods
from harness.kube.api import Object
from harness.mesh.context import environment_faults
from harness.mesh.gateways import NAME, addresses
from harness.mesh.settings import ADDRESS_SECONDS
from harness.model import expectations
from harness.model.step import Phase
from harness.model.topology import Cluster, Role
from harness.observe import envoy
from harness.observe.proxies import LISTENERS, clusters
from harness.proof.faults.acts.network import dropped, to_pods
from harness.proof.live.changes import Reference, absent, changed, existing
from harness.proof.live.live_mesh import Act, LiveMesh
from harness.proof.live.restarts import restart_gateways, restart_istiod
from harness.proof.live.waits import ask, await_rollout, await_true, cut_off, felt

SERVICES, ISTIOD = "cross-network-gateway", "istiod-gateway"
"""The Gateways of the chapter: manifests expose-services and expose-istiod."""


@contextmanager
def gateway_down(live: LiveMesh) -> Iterator[None]:
    """Scale the last gateway's Deployment to 0."""
    cluster = _gateway(live)
    namespace = live.gateway_namespace(cluster)
    deployment = Reference("apps/v1", "Deployment", NAME, namespace)
    try:
        with changed(live, cluster, deployment, {"spec": {"replicas": 0}}):
            await_rollout(live, cluster, namespace, NAME)
            yield
    finally:
        await_rollout(live, cluster, namespace, NAME)


@contextmanager
def gateway_no_address(live: LiveMesh) -> Iterator[None]:
    """Make the last gateway's Service one without a load balancer; afterwards with the same address as before.

    Control planes that use the gateway are restarted: until then they know its former address (Istio,
    kube/controller, addOrUpdateService: a Service that has lost its addresses is passed over). Where remotes have their
    control plane through it, connections that stand end: a cloud's load balancer goes with the Service, while MetalLB's
    lets them go on.
    """
    cluster = _gateway(live)
    reference = gateway_service(live, cluster)
    before = existing(live, cluster, reference)
    former, ports = addresses(before), before["spec"]["ports"]
    bare = [{key: value for key, value in port.items() if key != "nodePort"} for port in ports]
    with ExitStack() as mending:
        if former and expectations.is_address(former[0]):
            # For as long as this lasts the load balancer is to give no other.
            mending.enter_context(changed(live, cluster, reference, {"spec": {"loadBalancerIP": former[0]}}))
        mending.callback(await_addresses, live, cluster, former)
        hidden = _hidden(live, cluster, {"spec": {"type": "ClusterIP", "ports": bare}})
        change = felt(live, _neighbours(live, cluster), hidden)
        if live.mesh.topology.serves_remotes(cluster):
            change = cut_off(live, live.signer, _disconnected(live, cluster, change))
        mending.enter_context(change)
        yield


@contextmanager
def _disconnected(live: LiveMesh, cluster: Cluster, change: AbstractContextManager[None]) -> Iterator[None]:
    """A change, after which the connections through a gateway end with its pod."""
    with change:
        restart_gateways(live, (cluster,))
        yield


@contextmanager
def _hidden(live: LiveMesh, cluster: Cluster, change: Object) -> Iterator[None]:
    with changed(live, cluster, gateway_service(live, cluster), change):
        await_addresses(live, cluster, [])
        for primary in {neighbour.primary for neighbour in _neighbours(live, cluster)}:
            restart_istiod(live, live.mesh.topology[primary])
        yield


def gateway_unlabelled(live: LiveMesh) -> AbstractContextManager[None]:
    """Take the network label from the last gateway's Service."""
    cluster = _gateway(live)
    change = {"metadata": {"labels": {expectations.NETWORK_LABEL: None}}}
    return felt(live, _neighbours(live, cluster), changed(live, cluster, gateway_service(live, cluster), change))


def filtered(port: int) -> Act:
    """Drop packets to a port of a gateway: 15443 of West's, the ports of istiod at the primary of West."""

    def act(live: LiveMesh) -> AbstractContextManager[None]:
        cluster = live.west if port == expectations.MESH_PORT else live.server
        pods = ready_pods(live.kube(cluster), live.gateway_namespace(cluster), NAME)
        packets = to_pods([pod["status"]["podIP"] for pod in pods], port)
        change = dropped(live, cluster, "FORWARD", *packets)
        return cut_off(live, live.signer, change) if port == expectations.XDS_PORT else change

    return act


@contextmanager
def services_not_exposed(live: LiveMesh) -> Iterator[None]:
    """Take the Gateway with AUTO_PASSTHROUGH from West's primary."""
    primary = live.signer
    closed = [c for c in live.mesh.topology.served_by(primary) if live.mesh.topology.has_gateway(c)]
    with absent(live, primary, _exposed(live, SERVICES)):
        in_parallel(lambda cluster: await_listening(live, cluster, wanted=False), closed)
        clients = {client for cluster in closed for client in _neighbours(live, cluster)}
        in_parallel(lambda client: _await_drained(live, client, closed), clients)
        yield
    in_parallel(lambda cluster: await_listening(live, cluster, wanted=True), closed)


def istiod_not_exposed(live: LiveMesh) -> AbstractContextManager[None]:
    """Take the Gateway of 15012 and 15017 from the cluster with the control plane of West."""
    return cut_off(live, live.signer, absent(live, live.server, _exposed(live, ISTIOD)))


def _await_drained(live: LiveMesh, client: Cluster, closed: list[Cluster]) -> None:
    """Wait until a cluster's clients have no connection through gateways that do not listen any more.

    A gateway keeps those that it has for its drain time, 45 s (Istio, ProxyConfig.drainDuration).
    """
    sample = live.mesh.settings.sample_namespace
    host = f"{expectations.HELLOWORLD}.{sample}.svc."
    behind = {
        address
        for cluster in closed
        if cluster.network != client.network
        for address in expectations.gateway_addresses(live.good[cluster])
    }

    def pending() -> str:
        found = 0
        for answer in ask(live, client, sample, expectations.SLEEP, clusters(host)):
            hosts = envoy.host_counters(answer, expectations.HELLOWORLD_PORT, host)
            found += sum(counters.get("cx_active", 0) for (address, _), counters in hosts.items() if address in behind)
        return f"{found} connections" if found else ""

    await_true(live, client, "Wait until no connection is left from before", pending)


def _gateway(live: LiveMesh) -> Cluster:
    return expectations.gateways(live.mesh.topology)[-1]


def _neighbours(live: LiveMesh, cluster: Cluster) -> list[Cluster]:
    """The clusters that need this gateway for traffic: none needs one outside of the mesh for it."""
    if cluster.role is Role.EXTERNAL:
        return []
    return [other for other in live.mesh.topology.others(cluster) if other.network != cluster.network]


def gateway_service(live: LiveMesh, cluster: Cluster) -> Reference:
    """The Service of a cluster's east-west gateway."""
    return Reference("v1", "Service", NAME, live.gateway_namespace(cluster))


def _exposed(live: LiveMesh, name: str) -> Reference:
    return Reference("networking.istio.io/v1", "Gateway", name, live.mesh.settings.system_namespace)


def await_addresses(live: LiveMesh, cluster: Cluster, wanted: list[str]) -> None:
    """Wait until the gateway's Service has exactly these addresses from its load balancer.

    Raises:
        StepError: it has others when the time is over.
    """
    title = f"Wait until the gateway has {'its former' if wanted else 'no'} address"

    def pending(seen: Object | None) -> str:
        found = addresses(seen)
        return "" if found == wanted else f"its addresses are {', '.join(found) or 'none'}"

    with live.mesh.log.step(Phase.FAULTS, title, cluster.name) as opened, environment_faults():
        timeout = ADDRESS_SECONDS * live.mesh.settings.timeout_scale
        live.kube(cluster).wait(*gateway_service(live, cluster), pending=pending, timeout=timeout, step=opened)


def await_listening(live: LiveMesh, cluster: Cluster, *, wanted: bool, port: int = expectations.MESH_PORT) -> None:
    """Wait until a gateway's Envoy listens on a port, by default 15443, or does not."""
    namespace = live.gateway_namespace(cluster)

    def pending() -> str:
        answers = [envoy.listeners(answer) for answer in ask(live, cluster, namespace, NAME, LISTENERS)]
        if not answers:
            raise StepError(f"no gateway is ready on {cluster.name}")
        there = [any(found.port == port for found in listeners) for listeners in answers]
        return "" if all(listening is wanted for listening in there) else "the gateway has its former listeners"

    await_true(live, cluster, f"Wait until the gateway {'listens' if wanted else 'is closed'}", pending)
