"""Policies and settings, made where they are read, and withdrawn."""

import json
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

import yaml

from harness.base.parallel import in_parallel
from harness.experiments.testbed import ready_pods
from harness.kube.api import TransportError
from harness.mesh.settings import merged
from harness.model import expectations
from harness.model.topology import Cluster
from harness.observe import control_plane
from harness.proof.faults import configuration
from harness.proof.live.changes import Reference, changed, existing, present
from harness.proof.live.live_mesh import LiveMesh
from harness.proof.live.updates import pushed
from harness.proof.live.waits import ASK_SECONDS, ask, await_true, felt, sync_volumes

NETWORKING, SECURITY = "networking.istio.io/v1", "security.istio.io/v1"
MOUNT_SECONDS = 120.0
"""For the kubelet to bring a mounted file up to date."""
_MESH = ("pilot-discovery", "request", "GET", "/debug/mesh")
_ROUTES = "config_dump?resource=dynamic_route_configs"


def policies_differ(live: LiveMesh) -> AbstractContextManager[None]:
    """Keep traffic local by a DestinationRule on East only."""
    spec = configuration.local_only(live.mesh.settings.sample_namespace)
    clients = live.mesh.topology.served_by(live.east)
    return felt(live, clients, applied(live, [live.east], NETWORKING, DestinationRule=spec))


def all_local(live: LiveMesh) -> AbstractContextManager[None]:
    """Keep traffic local by a DestinationRule."""
    spec = configuration.local_only(live.mesh.settings.sample_namespace)
    topology = live.mesh.topology
    return felt(live, topology.clusters, applied(live, topology.primaries, NETWORKING, DestinationRule=spec))


def cluster_local(live: LiveMesh) -> AbstractContextManager[None]:
    """Declare helloworld cluster-local."""
    settings = configuration.cluster_local(live.mesh.settings.sample_namespace)
    return felt(live, live.mesh.topology.clusters, configured(live, settings))


@contextmanager
def not_discovered(live: LiveMesh) -> Iterator[None]:
    """Let discoverySelectors leave West's sample namespace out."""
    namespace = Reference("v1", "Namespace", live.mesh.settings.sample_namespace)
    change = {"metadata": {"labels": dict(configuration.OVERLOOKED)}}
    # Nothing is overlooked until the namespace has its label: one change that clients feel.
    labelled = changed(live, live.west, namespace, change)
    with configured(live, configuration.overlooking()), felt(live, live.mesh.topology.clusters, labelled):
        yield


@contextmanager
def shares_skewed(live: LiveMesh) -> Iterator[None]:
    """Send one request in four to the second version, by a VirtualService."""
    topology, sample = live.mesh.topology, live.mesh.settings.sample_namespace
    specs = {
        "DestinationRule": configuration.versions(topology, sample),
        "VirtualService": configuration.skewed(topology, sample),
    }
    with applied(live, topology.primaries, NETWORKING, **specs):
        in_parallel(lambda client: _await_routes(live, client, weighted=True), topology.clusters)
        yield
    in_parallel(lambda client: _await_routes(live, client, weighted=False), topology.clusters)


def plaintext_accepted(live: LiveMesh) -> AbstractContextManager[None]:
    """Let helloworld take plaintext, by a policy of its own."""
    spec = configuration.plaintext_for_helloworld()
    return pushed(live, applied(live, live.mesh.topology.primaries, SECURITY, PeerAuthentication=spec))


@contextmanager
def applied(
    live: LiveMesh, clusters: Iterable[Cluster], api_version: str, **specs: configuration.Spec
) -> Iterator[None]:
    """Create an object for helloworld of each kind, one after the other, on each of these clusters."""
    metadata = {"name": expectations.HELLOWORLD, "namespace": live.mesh.settings.sample_namespace}
    with ExitStack() as mending:
        for cluster in clusters:
            for kind, spec in specs.items():
                manifest = {"apiVersion": api_version, "kind": kind, "metadata": dict(metadata), "spec": spec}
                mending.enter_context(present(live, cluster, manifest))
        yield


@contextmanager
def configured(live: LiveMesh, settings: configuration.Spec) -> Iterator[None]:
    """Add settings to the mesh configuration of every primary; mappings are merged at every depth."""
    with ExitStack() as mending:
        for primary in live.mesh.topology.primaries:
            mending.enter_context(_mesh_config(live, primary, settings))
        yield


@contextmanager
def _mesh_config(live: LiveMesh, primary: Cluster, settings: configuration.Spec) -> Iterator[None]:
    """Add settings to a primary's mesh configuration, and wait until istiod has them from the file that it mounts."""
    system, place = live.mesh.settings.system_namespace, live.mesh.topology.control_plane_of(primary)
    reference = Reference("v1", "ConfigMap", "istio", system)
    before = existing(live, place, reference)["data"]["mesh"]
    text = yaml.safe_dump(merged(yaml.safe_load(before), settings))
    former = _in_use(live, place, settings)

    def pending(*, as_before: bool) -> str:
        found = _in_use(live, place, settings)
        waiting = [name for name, values in found.items() if (values == former.get(name)) is not as_before]
        for name in waiting:
            sync_volumes(live, place, system, name)
        return f"{', '.join(waiting)} has its former mesh configuration" if waiting else ""

    title = "Wait until istiod has the mesh configuration"
    with changed(live, place, reference, {"data": {"mesh": text}}):
        await_true(live, primary, title, lambda: pending(as_before=False), MOUNT_SECONDS)
        yield
    await_true(live, primary, title, lambda: pending(as_before=True), MOUNT_SECONDS)


def _in_use(live: LiveMesh, primary: Cluster, settings: configuration.Spec) -> dict[str, list[Any]]:
    """The values that each istiod pod now has of these settings.

    Raises:
        TransportError: one can't be asked.
    """
    kube, system = live.kube(primary), live.mesh.settings.system_namespace
    found = {}
    for pod in ready_pods(kube, system, "istiod"):
        name = pod["metadata"]["name"]
        answer = kube.exec(system, name, control_plane.CONTAINER, _MESH, timeout=ASK_SECONDS)
        if answer.status:
            raise TransportError(f"{name}: {answer.stderr}")
        mesh = json.loads(answer.stdout)
        found[name] = [mesh.get(key) for key in settings]
    return found


def _await_routes(live: LiveMesh, client: Cluster, *, weighted: bool) -> None:
    """Wait until the proxies of a cluster's sleep share out helloworld's requests by routes, or do not."""
    sample = live.mesh.settings.sample_namespace

    def pending() -> str:
        there = [routed_by_version(answer, sample) for answer in ask(live, client, sample, expectations.SLEEP, _ROUTES)]
        return "" if there and all(found is weighted for found in there) else "clients have their former routes"

    await_true(live, client, f"Wait until clients have {'weighted' if weighted else 'no weighted'} routes", pending)


def routed_by_version(routes: Any, namespace: str) -> bool:
    """Whether a proxy's routes lead to subsets of helloworld. Pure.

    Args:
        routes: the answer of Envoy's `config_dump?resource=dynamic_route_configs`.
        namespace: helloworld's.
    """
    found = json.dumps(routes)
    start = f"outbound|{expectations.HELLOWORLD_PORT}|"
    return f"{start}|{expectations.HELLOWORLD}.{namespace}." not in found and start in found
