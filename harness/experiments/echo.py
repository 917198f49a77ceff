"""TR-TCP, TR-PAYLOAD and TR-GRPC: Istio's echo server, called from its own pods on the other clusters."""

from collections.abc import Callable
from functools import partial

from harness.base.parallel import in_parallel
from harness.experiments.exchange import Sender, send_payload, send_with_client
from harness.experiments.testbed import PROPAGATION_SECONDS, Testbed
from harness.model import odds
from harness.model.expectations import unanswered, versions_apart
from harness.model.experiment import ECHO, GRPC_PORT, PAYLOAD_BYTES, TCP_PORT, Exchange
from harness.model.topology import Cluster

CONNECTIONS = 3
"""To each of the other clusters."""


def tcp(testbed: Testbed) -> tuple[Exchange, ...]:
    """Connect from every cluster to the echo server of every other one, which stands nowhere else."""
    with testbed.step("Connect to a TCP service on every other cluster"):
        return _to_every_other(testbed, partial(send_with_client, count=CONNECTIONS))


def payload(testbed: Testbed) -> tuple[Exchange, ...]:
    """Send a long message from every cluster to the TCP service on every other one, which sends it back."""
    with testbed.step("Send a payload to a TCP service on every other cluster") as opened:
        opened.note(f"{PAYLOAD_BYTES // 1024} KiB out and back")
        return _to_every_other(testbed, send_payload)


def _to_every_other(
    testbed: Testbed, send: Callable[[Testbed, Sender, Cluster, str], Exchange]
) -> tuple[Exchange, ...]:
    def one(pair: tuple[Cluster, Cluster]) -> Exchange:
        source, target = pair
        url = f"tcp://{ECHO}-{target.version}.{testbed.namespace}:{TCP_PORT}"
        return send(testbed, Sender(source, ECHO, ECHO), target, url)

    return tuple(in_parallel(one, testbed.pairs))


def grpc(testbed: Testbed) -> tuple[Exchange, ...]:
    """Call, from every cluster over one connection, the gRPC service whose pods are on all clusters."""
    _await_grpc(testbed)
    with testbed.step("Call a gRPC service on all clusters") as opened:
        opened.note(f"{calls(len(testbed.clusters))} calls over one connection")
        return tuple(in_parallel(partial(_call_grpc, testbed), testbed.clusters))


def _await_grpc(testbed: Testbed) -> None:
    """Call until every cluster has answered, or the time is over: what is judged is sent afterwards.

    That a proxy tells an endpoint is not enough. Seen with Envoy 1.39: for up to a second nothing is sent to a new one.
    """

    def pending(cluster: Cluster) -> str:
        apart = versions_apart(testbed.mesh.topology, cluster)
        missing = unanswered(apart, _call_grpc(testbed, cluster).answers)
        return f"{cluster.name}: no answer of {', '.join(missing)}" if missing else ""

    with testbed.step("Time until gRPC calls reach every cluster") as opened:
        if late := testbed.await_each(pending, testbed.clusters):
            opened.note(f"after {testbed.seconds(PROPAGATION_SECONDS):.0f} s {'; '.join(late)}")


def _call_grpc(testbed: Testbed, cluster: Cluster) -> Exchange:
    url = f"grpc://{ECHO}.{testbed.namespace}:{GRPC_PORT}"
    return send_with_client(testbed, Sender(cluster, ECHO, ECHO), None, url, calls(len(testbed.clusters)))


def calls(clusters: int) -> int:
    """The calls after which a cluster that has not answered is taken for unreachable. Pure.

    The client's calls overlap. Envoy compares the open requests of two hosts that it picks at random, so that one of k
    hosts gets a call at least where both picks are that host: once in k² calls.
    """
    return odds.coverage_cap((1 / clusters**2,) * clusters)
