"""TR-TCP, TR-PAYLOAD and TR-GRPC: Istio's echo server, called from its own pods on the other clusters."""

from harness.base.parallel import in_parallel
from harness.experiments.exchange import Sender, send_payload, send_with_client
from harness.experiments.testbed import Testbed
from harness.model import odds
from harness.model.experiment import ECHO, GRPC_PORT, PAYLOAD_BYTES, TCP_PORT, Exchange
from harness.model.topology import Cluster

CONNECTIONS = 3
"""To each of the other clusters."""


def tcp(testbed: Testbed) -> tuple[Exchange, ...]:
    """Connect from every cluster to the echo server of every other one, which stands nowhere else."""
    with testbed.step("Connect to a TCP service on every other cluster"):
        return tuple(
            in_parallel(
                lambda pair: send_with_client(
                    testbed,
                    Sender(pair[0], ECHO, ECHO),
                    pair[1],
                    _tcp_url(testbed, pair[1]),
                    CONNECTIONS,
                ),
                testbed.pairs,
            )
        )


def payload(testbed: Testbed) -> tuple[Exchange, ...]:
    """Send a long message from every cluster to the TCP service on every other one, which sends it back."""
    with testbed.step("Send a payload to a TCP service on every other cluster") as opened:
        opened.note(f"{PAYLOAD_BYTES // 1024} KiB out and back")
        return tuple(
            in_parallel(
                lambda pair: send_payload(testbed, Sender(pair[0], ECHO, ECHO), pair[1], _tcp_url(testbed, pair[1])),
                testbed.pairs,
            )
        )


def _tcp_url(testbed: Testbed, target: Cluster) -> str:
    return f"tcp://{ECHO}-{target.version}.{testbed.namespace}:{TCP_PORT}"


def grpc(testbed: Testbed) -> tuple[Exchange, ...]:
    """Call, from every cluster over one connection, the gRPC service whose pods are on all clusters."""
    count = calls(len(testbed.clusters))
    with testbed.step("Call a gRPC service on all clusters") as opened:
        opened.note(f"{count} calls over one connection")
        url = f"grpc://{ECHO}.{testbed.namespace}:{GRPC_PORT}"
        return tuple(
            in_parallel(
                lambda cluster: send_with_client(testbed, Sender(cluster, ECHO, ECHO), None, url, count),
                testbed.clusters,
            )
        )


def calls(clusters: int) -> int:
    """The calls after which a cluster that has not answered is taken for unreachable. Pure.

    The client's calls overlap. Envoy compares the open requests of two hosts that it picks at random, so that one of k
    hosts gets a call at least where both picks are that host: once in k² calls.
    """
    return odds.coverage_cap((1 / clusters**2,) * clusters)
