"""What experiments meet: Services of the echo server that say another protocol, a policy that somebody takes away."""

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

from harness.base.parallel import in_parallel
from harness.experiments import authorization
from harness.experiments.policy import API_VERSION, LISTENERS, active_chains
from harness.experiments.testbed import ready_pods
from harness.model.experiment import ECHO, GRPC_PORT, TCP_PORT
from harness.model.topology import Cluster
from harness.proof.faults.acts import network
from harness.proof.live.changes import Reference, changed, existing
from harness.proof.live.live_mesh import LiveMesh
from harness.proof.live.waits import ask, await_rollout, await_true

_DYNAMIC_LISTENERS = "config_dump?resource=dynamic_listeners&mask=name"
_WATCH_SECONDS = 2


@contextmanager
def tcp_broken(live: LiveMesh) -> Iterator[None]:
    """Name the port of the TCP service on West http: its own proxy then parses what arrives."""
    west = live.west

    def parsed(answer: Any) -> bool:
        return speaks_http(active_chains(answer), TCP_PORT)

    with _port_named(live, west, f"{ECHO}-{west.version}", TCP_PORT, "http-parsed"):
        _await_echo(live, west, LISTENERS, parsed, "its proxy parses the TCP port")
        yield


@contextmanager
def payload_lost(live: LiveMesh) -> Iterator[None]:
    """Drop what follows the first 32 KiB of a connection to the echo server on West."""
    sample = live.mesh.settings.sample_namespace
    await_rollout(live, live.west, sample, f"{ECHO}-{live.west.version}")
    pods = ready_pods(live.kube(live.west), sample, ECHO)
    addresses = [pod["status"]["podIP"] for pod in pods]
    after = (
        "--match",
        "connbytes",
        "--connbytes",
        "32768:",
        "--connbytes-dir",
        "original",
        "--connbytes-mode",
        "bytes",
    )
    with network.dropped(live, live.west, "FORWARD", *network.to_pods(addresses, TCP_PORT), *after):
        yield


@contextmanager
def grpc_broken(live: LiveMesh) -> Iterator[None]:
    """Name the port of the gRPC service tcp, on every cluster: clients then know connections, not calls."""
    clusters = live.mesh.topology.clusters

    def settle(cluster: Cluster) -> None:
        address = existing(live, cluster, _service(live, ECHO))["spec"]["clusterIP"]
        # A TCP service has a listener at its own address; HTTP is told apart by names.
        name = f"{address}_{GRPC_PORT}"
        title = "its proxy knows the gRPC port as TCP"
        _await_echo(live, cluster, _DYNAMIC_LISTENERS, lambda answer: name in str(answer), title)

    with ExitStack() as mending:
        for cluster in clusters:
            mending.enter_context(_port_named(live, cluster, ECHO, GRPC_PORT, "tcp-calls"))
        in_parallel(settle, clusters)
        yield


@contextmanager
def authz_missing(live: LiveMesh) -> Iterator[None]:
    """Delete the experiment's policy on West's primary whenever it is applied."""
    kube, namespace = live.kube(live.signer), live.mesh.settings.sample_namespace
    policy = Reference(API_VERSION, "AuthorizationPolicy", authorization.NAME, namespace)
    over = threading.Event()

    def prune() -> None:
        while not over.is_set():
            for seen in kube.watch(*policy, timeout=_WATCH_SECONDS):
                if seen is not None:
                    kube.delete(*policy)

    pruning = threading.Thread(target=prune, name="prune AuthorizationPolicy")
    pruning.start()
    try:
        yield
    finally:
        over.set()
        pruning.join()


def speaks_http(chains: list[Any], port: int) -> bool:
    """Whether a sidecar's inbound filter chains parse HTTP at this port. Pure."""
    return any(
        found.get("name", "").endswith("http_connection_manager")
        for chain in chains
        if (chain.get("filter_chain_match") or {}).get("destination_port") == port
        for found in chain.get("filters") or ()
    )


def _service(live: LiveMesh, name: str) -> Reference:
    return Reference("v1", "Service", name, live.mesh.settings.sample_namespace)


def _port_named(live: LiveMesh, cluster: Cluster, service: str, number: int, name: str) -> AbstractContextManager[None]:
    """Give a port of a Service another name, from which Istio takes its protocol."""
    reference = _service(live, service)
    ports = existing(live, cluster, reference)["spec"]["ports"]
    renamed = [{**port, "name": name} if port["port"] == number else port for port in ports]
    return changed(live, cluster, reference, {"spec": {"ports": renamed}})


def _await_echo(live: LiveMesh, cluster: Cluster, path: str, settled: Callable[[Any], bool], title: str) -> None:
    """Wait until the proxy of a cluster's echo server answers so."""
    sample = live.mesh.settings.sample_namespace

    def pending() -> str:
        answers = list(ask(live, cluster, sample, ECHO, path))
        return "" if answers and all(map(settled, answers)) else f"{ECHO} has its former configuration"

    await_true(live, cluster, f"Wait until {title}", pending)
