"""East-west gateways taken down, hidden or closed, and put back."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager

from harness.base.errors import StepError
from harness.base.parallel import in_parallel
from harness.experiments.bench import ready_pods
from harness.kube.client import Object
from harness.mesh.context import environment_faults
from harness.mesh.gateways import NAME, addresses
from harness.mesh.settings import ADDRESS_SECONDS
from harness.model import expectations
from harness.model.step import Phase
from harness.model.topology import Cluster
from harness.observe import envoy
from harness.observe.proxies import CLUSTERS, LISTENERS
from harness.proof.faults.act import Act, Stage
from harness.proof.faults.acts.changes import Reference, absent, changed, existing
from harness.proof.faults.acts.network import dropped, to_pods
from harness.proof.faults.acts.restarts import restart_gateways, restart_istiod
from harness.proof.faults.acts.waits import ask, await_rollout, await_true, cut_off, felt

SERVICES, ISTIOD = "cross-network-gateway", "istiod-gateway"
"""The Gateways of the chapter: manifests expose-services and expose-istiod."""


@contextmanager
def gateway_down(stage: Stage) -> Iterator[None]:
    """Scale the last gateway's Deployment to 0."""
    cluster, system = _gateway(stage), stage.mesh.settings.system_namespace
    deployment = Reference("apps/v1", "Deployment", NAME, system)
    try:
        with changed(stage, cluster, deployment, {"spec": {"replicas": 0}}):
            await_rollout(stage, cluster, system, NAME)
            yield
    finally:
        await_rollout(stage, cluster, system, NAME)


@contextmanager
def gateway_no_address(stage: Stage) -> Iterator[None]:
    """Make the last gateway's Service one without a load balancer; afterwards with the same address as before.

    Control planes that use the gateway are started anew: until then they know its former address (Istio,
    kube/controller, addOrUpdateService: a Service that has lost its addresses is passed over). Where remotes have their
    control plane through it, connections that stand end: a cloud's load balancer goes with the Service, while MetalLB's
    lets them go on.
    """
    cluster, reference = _gateway(stage), _service(stage)
    before = existing(stage, cluster, reference)
    former, ports = addresses(before), before["spec"]["ports"]
    bare = [{key: value for key, value in port.items() if key != "nodePort"} for port in ports]
    with ExitStack() as mending:
        if former and expectations.is_address(former[0]):
            # For as long as this lasts the load balancer is to give no other.
            mending.enter_context(changed(stage, cluster, reference, {"spec": {"loadBalancerIP": former[0]}}))
        mending.callback(_await_addresses, stage, cluster, former)
        hidden = _hidden(stage, cluster, {"spec": {"type": "ClusterIP", "ports": bare}})
        change = felt(stage, _neighbours(stage, cluster), hidden)
        if stage.mesh.topology.serves_remotes(cluster):
            change = cut_off(stage, cluster, _disconnected(stage, cluster, change))
        mending.enter_context(change)
        yield


@contextmanager
def _disconnected(stage: Stage, cluster: Cluster, change: AbstractContextManager[None]) -> Iterator[None]:
    """A change, after which the connections through a gateway end with its pod."""
    with change:
        restart_gateways(stage, (cluster,))
        yield


@contextmanager
def _hidden(stage: Stage, cluster: Cluster, change: Object) -> Iterator[None]:
    with changed(stage, cluster, _service(stage), change):
        _await_addresses(stage, cluster, [])
        for primary in {neighbour.primary for neighbour in _neighbours(stage, cluster)}:
            restart_istiod(stage, stage.mesh.topology[primary])
        yield


def gateway_unlabelled(stage: Stage) -> AbstractContextManager[None]:
    """Take the network label from the last gateway's Service."""
    cluster = _gateway(stage)
    change = {"metadata": {"labels": {expectations.NETWORK_LABEL: None}}}
    return felt(stage, _neighbours(stage, cluster), changed(stage, cluster, _service(stage), change))


def filtered(port: int) -> Act:
    """Drop packets to a port of a gateway: 15443 of West's, the ports of istiod at the primary of West."""

    def act(stage: Stage) -> AbstractContextManager[None]:
        cluster = stage.west if port == expectations.MESH_PORT else stage.signer
        system = stage.mesh.settings.system_namespace
        pods = ready_pods(stage.kube(cluster), system, NAME)
        packets = to_pods([pod["status"]["podIP"] for pod in pods], port)
        change = dropped(stage, cluster, "FORWARD", *packets)
        return cut_off(stage, cluster, change) if port == expectations.XDS_PORT else change

    return act


@contextmanager
def services_not_exposed(stage: Stage) -> Iterator[None]:
    """Take the Gateway with AUTO_PASSTHROUGH from West's primary."""
    primary = stage.signer
    closed = [c for c in stage.mesh.topology.served_by(primary) if stage.mesh.topology.has_gateway(c)]
    with absent(stage, primary, _exposed(stage, SERVICES)):
        in_parallel(lambda cluster: _await_listening(stage, cluster, wanted=False), closed)
        clients = {client for cluster in closed for client in _neighbours(stage, cluster)}
        in_parallel(lambda client: _await_drained(stage, client, closed), clients)
        yield
    in_parallel(lambda cluster: _await_listening(stage, cluster, wanted=True), closed)


def istiod_not_exposed(stage: Stage) -> AbstractContextManager[None]:
    """Take the Gateway of 15012 and 15017 from the primary of West."""
    return cut_off(stage, stage.signer, absent(stage, stage.signer, _exposed(stage, ISTIOD)))


def _await_drained(stage: Stage, client: Cluster, closed: list[Cluster]) -> None:
    """Wait until a cluster's clients have no connection through gateways that do not listen any more.

    A gateway keeps those that it has for its drain time, 45 s (Istio, ProxyConfig.drainDuration).
    """
    sample = stage.mesh.settings.sample_namespace
    behind = {
        address
        for cluster in closed
        if cluster.network != client.network
        for address in expectations.gateway_addresses(stage.good[cluster])
    }

    def pending() -> str:
        found = 0
        for answer in ask(stage, client, sample, expectations.SLEEP, CLUSTERS):
            hosts = envoy.host_counters(
                answer, expectations.HELLOWORLD_PORT, f"{expectations.HELLOWORLD}.{sample}.svc."
            )
            found += sum(counters.get("cx_active", 0) for (address, _), counters in hosts.items() if address in behind)
        return f"{found} connections" if found else ""

    await_true(stage, client, "Wait until no connection is left from before", pending)


def _gateway(stage: Stage) -> Cluster:
    return expectations.gateways(stage.mesh.topology)[-1]


def _neighbours(stage: Stage, cluster: Cluster) -> list[Cluster]:
    """The clusters that need this gateway for traffic."""
    return [other for other in stage.mesh.topology.others(cluster) if other.network != cluster.network]


def _service(stage: Stage) -> Reference:
    return Reference("v1", "Service", NAME, stage.mesh.settings.system_namespace)


def _exposed(stage: Stage, name: str) -> Reference:
    return Reference("networking.istio.io/v1", "Gateway", name, stage.mesh.settings.system_namespace)


def _await_addresses(stage: Stage, cluster: Cluster, wanted: list[str]) -> None:
    title = f"Wait until the gateway has {'its former' if wanted else 'no'} address"

    def pending(seen: Object | None) -> str:
        found = addresses(seen)
        return "" if found == wanted else f"its addresses are {', '.join(found) or 'none'}"

    with stage.mesh.log.step(Phase.FAULTS, title, cluster.name) as opened, environment_faults():
        timeout = ADDRESS_SECONDS * stage.mesh.settings.timeout_scale
        stage.kube(cluster).wait(*_service(stage), pending=pending, timeout=timeout, step=opened)


def _await_listening(stage: Stage, cluster: Cluster, *, wanted: bool) -> None:
    """Wait until a gateway's Envoy listens on 15443, or does not."""
    system = stage.mesh.settings.system_namespace

    def pending() -> str:
        answers = [envoy.listeners(answer) for answer in ask(stage, cluster, system, NAME, LISTENERS)]
        if not answers:
            raise StepError(f"no gateway is ready on {cluster.name}")
        there = [any(found.port == expectations.MESH_PORT for found in listeners) for listeners in answers]
        return "" if all(listening is wanted for listening in there) else "the gateway has its former listeners"

    await_true(stage, cluster, f"Wait until the gateway {'listens' if wanted else 'is closed'}", pending)
