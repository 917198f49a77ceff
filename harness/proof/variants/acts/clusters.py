"""Other valid forms of what joins the clusters: remote secrets, localities."""

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from harness.base.parallel import in_parallel
from harness.model.topology import Cluster
from harness.proof.faults.acts.network import made_here
from harness.proof.faults.acts.policies import NETWORKING
from harness.proof.faults.acts.remote_secrets import LABEL
from harness.proof.live.changes import Reference, absent, changed, existing, present
from harness.proof.live.live_mesh import LiveMesh
from harness.proof.live.restarts import await_connected, restart_sample
from harness.proof.live.waits import await_quiet, await_true, control_planes

REGION = "topology.kubernetes.io/region"


@contextmanager
def one_secret(live: LiveMesh) -> Iterator[None]:
    """Put the kubeconfigs of all clusters into one secret, on every primary, in place of the former secrets."""
    topology, system = live.mesh.topology, live.mesh.settings.system_namespace
    former = {primary: _secrets(live, primary) for primary in topology.primaries}
    entries = {
        key: value
        for primary, secrets in former.items()
        for secret in secrets
        for key, value in existing(live, primary, secret)["data"].items()
    }
    metadata = {"name": "clusters", "namespace": system, "labels": {LABEL: "true"}}
    together = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "Opaque", "data": entries}
    try:
        with ExitStack() as undoing:
            for primary, secrets in former.items():
                for secret in secrets:
                    undoing.enter_context(absent(live, primary, secret))
                undoing.enter_context(present(live, primary, together))
            _await_synced(live, tuple(entries))
            yield
    finally:
        _await_synced(live, tuple(entries))


@contextmanager
def failover(live: LiveMesh) -> Iterator[None]:
    """Put the nodes of each cluster into a region of its own, and set outlier detection for all services.

    Proxies take their locality from the node when they start, so the sample is restarted before and after.
    """
    topology = live.mesh.topology
    spec = {"host": "*.local", "trafficPolicy": {"outlierDetection": {}}}
    metadata = {"name": "failover", "namespace": live.mesh.settings.system_namespace}
    rule = {"apiVersion": NETWORKING, "kind": "DestinationRule", "metadata": metadata, "spec": spec}
    try:
        with ExitStack() as undoing:
            for cluster in topology.clusters:
                made_here(live, cluster)
                for node in live.kube(cluster).list("v1", "Node"):
                    reference = Reference("v1", "Node", node["metadata"]["name"])
                    label = {"metadata": {"labels": {REGION: f"region-{cluster.name}"}}}
                    undoing.enter_context(changed(live, cluster, reference, label))
            for primary in topology.primaries:
                undoing.enter_context(present(live, primary, rule))
            _restarted(live)
            yield
    finally:
        _restarted(live)


def _restarted(live: LiveMesh) -> None:
    restart_sample(live, live.mesh.topology.clusters)
    in_parallel(lambda primary: await_connected(live, primary), live.mesh.topology.primaries)
    await_quiet(live)


def _secrets(live: LiveMesh, primary: Cluster) -> list[Reference]:
    return [Reference("v1", "Secret", found.name, found.namespace) for found in live.good[primary].remote_secrets]


def _await_synced(live: LiveMesh, names: tuple[str, ...]) -> None:
    """Wait until every primary reports each of these clusters, except itself, as synced."""

    def pending(primary: Cluster) -> str:
        wanted = {name for name in names if name != primary.cluster_name}
        for plane in control_planes(live, primary):
            synced = {row.id for row in plane.clusters if row.sync_status == "synced"}
            if missing := wanted - synced:
                return f"not synced: {', '.join(sorted(missing))}"
        return ""

    for primary in live.mesh.topology.primaries:
        title = f"Wait until the control plane reports {json.dumps(list(names))} synced"
        await_true(live, primary, title, lambda primary=primary: pending(primary))  # type: ignore[misc]
    await_quiet(live)
