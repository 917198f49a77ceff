"""What scenarios ask of control planes and proxies while they are at it."""

import json
from typing import Any

from harness.base.parallel import in_parallel
from harness.experiments.resilience.stage import Stage
from harness.experiments.testbed import ready_pods
from harness.kube.api import TransportError
from harness.model import expectations, x509
from harness.model.certificate import Certificate
from harness.model.proxy import RemoteClusterSync
from harness.model.resilience import EndpointReading, TrustReading
from harness.model.topology import Cluster
from harness.observe import control_plane, envoy
from harness.observe.control_plane import CONTAINER
from harness.observe.proxies import SECRETS, admin, clusters

ASK_SECONDS = 15.0
SYNCED = "synced"


def _asked(stage: Stage, primary: Cluster, pod: str, path: str) -> Any:
    """What an istiod answers on a debug path; None where it does not."""
    command = ("pilot-discovery", "request", "GET", path)
    try:
        answer = stage.kube(primary).exec(stage.system_namespace, pod, CONTAINER, command, timeout=ASK_SECONDS)
        return json.loads(answer.stdout)
    except (TransportError, ValueError):
        return None


def serving_chain(stage: Stage, primary: Cluster) -> tuple[Certificate, ...]:
    """What the newest ready istiod of a cluster presents to its proxies, leaf first; empty where none does."""
    newest = next(iter(_istiods(stage, primary)), "")
    try:
        return control_plane.serving_chain(stage.kube(primary), stage.system_namespace, newest, ASK_SECONDS)
    except TransportError:
        return ()


def _istiods(stage: Stage, primary: Cluster) -> list[str]:
    """The ready istiods of a cluster, the newest first."""
    pods = ready_pods(stage.kube(primary), stage.system_namespace, "istiod")
    pods.sort(key=lambda pod: str(pod["metadata"]["creationTimestamp"]), reverse=True)
    return [str(pod["metadata"]["name"]) for pod in pods]


def remote_clusters(stage: Stage, primary: Cluster) -> tuple[RemoteClusterSync, ...]:
    """The clusters that the newest ready istiod of a cluster watches; none where it can't be asked."""
    newest = next(iter(_istiods(stage, primary)), "")
    return envoy.remote_clusters(_asked(stage, primary, newest, "/debug/clusterz"))


def proxies(stage: Stage, primary: Cluster) -> frozenset[str]:
    """The names of the proxies that are connected to any istiod of a cluster, as far as these can be asked."""
    rows = (
        row
        for pod in _istiods(stage, primary)
        for row in envoy.proxy_syncs(_asked(stage, primary, pod, "/debug/syncz"))
    )
    return frozenset(row.proxy for row in rows)


def sample_pods(stage: Stage, cluster: Cluster) -> list[str]:
    """The ready pods of sleep and helloworld."""
    kube = stage.kube(cluster)
    found = [ready_pods(kube, stage.sample_namespace, app) for app in (expectations.SLEEP, expectations.HELLOWORLD)]
    return [pod["metadata"]["name"] for pods in found for pod in pods]


def trust(stage: Stage) -> list[TrustReading]:
    """What every sample pod's proxy holds and trusts now; those that don't answer are left out."""

    def one(item: tuple[Cluster, str]) -> TrustReading | None:
        cluster, pod = item
        try:
            answer = admin(stage.kube(cluster), stage.sample_namespace, pod, (SECRETS,), ASK_SECONDS)
        except TransportError:
            return None
        chain, roots = envoy.secret_certificates(answer.get(SECRETS))
        issuer = next((each.sha256 for each in chain[1:] if x509.signed_by(chain[0], each)), "")
        return TrustReading(
            at=stage.load.now,
            cluster=cluster.name,
            pod=pod,
            issuer=issuer,
            roots=tuple(sorted(each.sha256 for each in roots)),
        )

    pods = [(cluster, pod) for cluster in stage.clusters for pod in sample_pods(stage, cluster)]
    return [found for found in in_parallel(one, pods) if found]


def endpoints(stage: Stage) -> list[EndpointReading]:
    """The endpoints of helloworld that each cluster's sleep has now; those that don't answer are left out."""
    host = f"{expectations.HELLOWORLD}.{stage.sample_namespace}.svc."
    path = clusters(host)

    def one(cluster: Cluster) -> EndpointReading | None:
        for pod in ready_pods(stage.kube(cluster), stage.sample_namespace, expectations.SLEEP)[:1]:
            try:
                name = pod["metadata"]["name"]
                answer = admin(stage.kube(cluster), stage.sample_namespace, name, (path,), ASK_SECONDS)
            except TransportError:
                return None
            counters = envoy.host_counters(answer.get(path), expectations.HELLOWORLD_PORT, host)
            found = tuple(sorted(f"{address}:{port}" for address, port in counters))
            return EndpointReading(at=stage.load.now, client=cluster.name, endpoints=found)
        return None

    return [found for found in in_parallel(one, stage.clusters) if found]
