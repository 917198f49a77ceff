"""Other valid forms of what joins the clusters: remote secrets, localities."""

import base64
import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import yaml

from harness.base.errors import StepError
from harness.model.topology import Cluster
from harness.proof.faults.acts.network import made_here
from harness.proof.faults.acts.policies import NETWORKING
from harness.proof.faults.acts.remote_secrets import LABEL
from harness.proof.faults.acts.reported import in_regions
from harness.proof.faults.fault import everywhere
from harness.proof.live.changes import Reference, absent, bare, changed, existing, present
from harness.proof.live.live_mesh import LiveMesh
from harness.proof.live.restarts import restarting_sample
from harness.proof.live.updates import await_quiet
from harness.proof.live.waits import await_true, control_planes
from harness.proof.variants.acts.common import created, manifest, primaries
from harness.proof.variants.variant import Variant


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
def secret_renamed(live: LiveMesh) -> Iterator[None]:
    """Give East's remote secret for West a name of its own."""
    secret, system = _secret_for_west(live), live.mesh.settings.system_namespace
    before = bare(existing(live, live.east, secret))
    other = {**before, "metadata": {**before["metadata"], "name": "west-kubeconfig", "namespace": system}}
    try:
        with absent(live, live.east, secret), present(live, live.east, other):
            _await_synced(live, (live.west.cluster_name,))
            yield
    finally:
        _await_synced(live, (live.west.cluster_name,))


@contextmanager
def client_certificate(live: LiveMesh) -> Iterator[None]:
    """Let East authenticate itself to West's API server by a client certificate instead of a token.

    Raises:
        StepError: the suite has not made West, whose administrator's certificate this is.
    """
    made_here(live, live.west)
    secret, name = _secret_for_west(live), live.west.cluster_name
    kubeconfig = yaml.safe_load(base64.b64decode(existing(live, live.east, secret)["data"][name]))
    user = administrator(live, live.west)
    for entry in kubeconfig["users"]:
        entry["user"] = user
    data = base64.b64encode(yaml.safe_dump(kubeconfig).encode()).decode()
    try:
        with changed(live, live.east, secret, {"data": {name: data}}):
            _await_synced(live, (name,))
            yield
    finally:
        _await_synced(live, (name,))


def administrator(live: LiveMesh, cluster: Cluster) -> dict[str, str]:
    """The client certificate and key of a cluster's kubeconfig, as they are written there; they stay in memory.

    Raises:
        StepError: the kubeconfig has none.
    """
    found = yaml.safe_load(live.kube(cluster).access.kubeconfig.read_text())
    for entry in found["users"]:
        user: dict[str, str] = entry["user"]
        if "client-certificate-data" in user:
            return {key: user[key] for key in ("client-certificate-data", "client-key-data")}
    raise StepError(f"the kubeconfig of {cluster.name} has no client certificate")


@contextmanager
def failover(live: LiveMesh) -> Iterator[None]:
    """Put each cluster into a region of its own, and set outlier detection for all services."""
    spec = {"host": "*.local", "trafficPolicy": {"outlierDetection": {}}}
    rule = manifest(NETWORKING, "DestinationRule", "failover", live.mesh.settings.system_namespace, spec)
    with created(live, primaries(live), [rule]), regions(live):
        yield


@contextmanager
def regions(live: LiveMesh) -> Iterator[None]:
    """Put the nodes of each cluster into a region of its own.

    Proxies take their locality from the node when they start, so the sample is restarted before and after.

    Raises:
        StepError: the suite has not made a cluster.
    """
    with restarting_sample(live, in_regions(live)):
        yield


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


def _secret_for_west(live: LiveMesh) -> Reference:
    """East's remote secret with a key for West.

    Raises:
        StepError: there is none.
    """
    for secret in _secrets(live, live.east):
        if live.west.cluster_name in existing(live, live.east, secret)["data"]:
            return secret
    raise StepError(f"{live.east.name} has no remote secret for {live.west.name}")


VARIANTS = (
    Variant(
        "failover",
        "A DestinationRule with outlier detection for all services, and the clusters in two regions",
        "locality failover: the other region serves when the own one does not",
        failover,
        everywhere,
    ),
    Variant(
        "regions",
        "The nodes of each cluster are in a region of its own",
        "without outlier detection Istio gives no locality precedence",
        regions,
        everywhere,
    ),
    Variant(
        "one-secret",
        "One remote secret with a key for every cluster, in place of one secret for each",
        "istiod reads every key of a labelled secret and passes over its own cluster",
        one_secret,
        everywhere,
    ),
    Variant(
        "secret-renamed",
        "East's remote secret for West has a name of its own",
        "istiod finds remote secrets by their label; the key names the cluster",
        secret_renamed,
        everywhere,
    ),
    Variant(
        "client-certificate",
        "East's remote secret for West has a client certificate instead of a token",
        "istiod takes every kubeconfig whose credentials need no program",
        client_certificate,
        everywhere,
        # What a client certificate may do can be tried by istiod only.
        frozenset({"RS-LEAST"}),
    ),
)
