"""What most variants are made of: objects added, fields changed, mesh configuration added; all of it undone."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

from harness.kube.api import Object
from harness.model import expectations
from harness.model.topology import Cluster
from harness.proof.faults.acts.policies import configured
from harness.proof.live.changes import Reference, changed, present
from harness.proof.live.live_mesh import Act, LiveMesh
from harness.proof.live.restarts import restarting_sample
from harness.proof.live.updates import await_quiet, quiet
from harness.proof.live.waits import await_rollout

Clusters = Callable[[LiveMesh], Sequence[Cluster]]
Manifests = Callable[[LiveMesh], Sequence[Object]]


def primaries(live: LiveMesh) -> Sequence[Cluster]:
    """Where istiod reads Istio's objects."""
    return tuple(live.mesh.topology.primaries)


def everywhere(live: LiveMesh) -> Sequence[Cluster]:
    """Every cluster."""
    return live.mesh.topology.clusters


def east(live: LiveMesh) -> Sequence[Cluster]:
    """The first cluster."""
    return (live.east,)


def west(live: LiveMesh) -> Sequence[Cluster]:
    """The last cluster."""
    return (live.west,)


def manifest(api_version: str, kind: str, name: str, namespace: str, spec: Object) -> Object:
    """An object with a spec."""
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, "spec": spec}


def adds(manifests: Manifests, where: Clusters = primaries) -> Act:
    """An act that creates objects and waits until proxies receive nothing new."""
    return lambda live: quiet(live, created(live, where(live), manifests(live)))


def sets(settings: Mapping[str, object]) -> Act:
    """An act that adds to the mesh configuration of every primary. Values must differ from those in use."""
    return lambda live: quiet(live, configured(live, dict(settings)))


def sets_for_proxies(settings: Mapping[str, object]) -> Act:
    """An act that adds to `defaultConfig` of every primary, and restarts the sample, whose proxies read it at start."""

    def act(live: LiveMesh) -> AbstractContextManager[None]:
        return restarting_sample(live, configured(live, {"defaultConfig": dict(settings)}))

    return act


@contextmanager
def created(live: LiveMesh, clusters: Iterable[Cluster], manifests: Sequence[Object]) -> Iterator[None]:
    """Create objects, in their order, on each of these clusters; delete them in the opposite order."""
    with ExitStack() as undoing:
        for cluster in clusters:
            for each in manifests:
                undoing.enter_context(present(live, cluster, each))
        yield


@contextmanager
def each_changed(
    live: LiveMesh, clusters: Iterable[Cluster], reference: Callable[[Cluster], Reference], change: Object
) -> Iterator[None]:
    """Make the same change on each of these clusters."""
    with ExitStack() as undoing:
        for cluster in clusters:
            undoing.enter_context(changed(live, cluster, reference(cluster), change))
        yield


@contextmanager
def rolled_out(live: LiveMesh, cluster: Cluster, deployment: Reference, change: Object) -> Iterator[None]:
    """Change a Deployment; wait until its pods have the change, and afterwards until they are as before."""
    namespace = deployment.namespace or ""
    try:
        with changed(live, cluster, deployment, change):
            await_rollout(live, cluster, namespace, deployment.name)
            await_quiet(live)
            yield
    finally:
        await_rollout(live, cluster, namespace, deployment.name)


def helloworld(live: LiveMesh, cluster: Cluster) -> Reference:
    """A cluster's Deployment of helloworld."""
    name = f"{expectations.HELLOWORLD}-{cluster.version}"
    return Reference("apps/v1", "Deployment", name, live.mesh.settings.sample_namespace)


def helloworld_service(live: LiveMesh) -> Reference:
    """Helloworld's Service."""
    return Reference("v1", "Service", expectations.HELLOWORLD, live.mesh.settings.sample_namespace)


def sample_namespace(live: LiveMesh) -> Reference:
    """The sample's namespace."""
    return Reference("v1", "Namespace", live.mesh.settings.sample_namespace)


def renamed(value: Any, old: str, new: str) -> Any:
    """A manifest in which every value that is exactly the old name is the new one. Pure."""
    match value:
        case dict():
            return {key: renamed(each, old, new) for key, each in value.items()}
        case list():
            return [renamed(each, old, new) for each in value]
        case _:
            return new if value == old else value
