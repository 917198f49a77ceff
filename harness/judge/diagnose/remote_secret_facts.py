"""What the causes in remote secrets have in common. Pure."""

from collections.abc import Iterator
from urllib.parse import urlsplit

from harness.judge.diagnose.facts import few, read, readiness
from harness.model.cluster import ClusterObservation, RemoteSecret, Subject
from harness.model.observation import Observation
from harness.model.topology import Cluster

LOOPBACK = ("127.", "localhost", "0.0.0.0", "::1", "[::1]")  # noqa: S104 - recognised, not bound


def watched(observation: Observation) -> Iterator[tuple[Cluster, ClusterObservation, Cluster]]:
    """Every primary with each cluster its control plane must watch."""
    for cluster, observed in read(observation, Subject.REMOTE_SECRETS, among=observation.topology.primaries):
        for other in observation.topology.watched_by(cluster):
            yield cluster, observed, other


def sync_lines(observation: Observation, observed: ClusterObservation, other: Cluster) -> tuple[str, ...]:
    """What the control planes report of that cluster, and log of it; what the operator says of it."""
    rows = [
        f"{plane.pod} clusterz: {row.id} {row.sync_status}"
        for plane in observed.control_planes
        for row in plane.clusters
        if row.id == other.cluster_name
    ]
    logs = [
        f"log {plane.pod}: {line}"
        for plane in observed.control_planes
        for line in plane.log_lines
        if other.cluster_name in line
    ]
    return few(rows, logs, readiness(observation[other]))


def servers(observed: ClusterObservation, other: Cluster) -> Iterator[tuple[RemoteSecret, str]]:
    """Every secret that is keyed by a cluster, with the server that it names for it."""
    for secret in observed.remote_secrets:
        for name, server in zip(secret.clusters, secret.servers, strict=False):
            if name == other.cluster_name:
                yield secret, server


def is_loopback(server: str) -> bool:
    """Whether a server's URL leads to the machine that uses it."""
    return (urlsplit(server).hostname or "").startswith(LOOPBACK)


def address_inside(observation: Observation, other: Cluster, *, but: str = "") -> str:
    """The URL by which other clusters know an API server, in words where it is not known.

    A kubeconfig's loopback address serves the runner only; another control plane's secret may name a better one.

    Args:
        observation: the run.
        other: the cluster.
        but: a URL that is known to be wrong.
    """
    known = (server for observed in observation.clusters for _, server in servers(observed, other))
    candidates = (observation[other].api_server, *known)
    return next(
        (server for server in candidates if server and server != but and not is_loopback(server)),
        f"an address of {other.name}'s API server that answers from inside",
    )
