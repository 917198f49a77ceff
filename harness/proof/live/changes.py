"""Changes of API objects that take themselves back: an object changed, absent, or there in addition."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from harness.base.errors import StepError
from harness.kube.api import Object
from harness.mesh.context import environment_faults
from harness.mesh.gone import still_there
from harness.model.step import Phase
from harness.model.topology import Cluster
from harness.proof.live.live_mesh import LiveMesh

GONE_SECONDS = 60.0
_WRITTEN_BY_THE_SERVER = ("creationTimestamp", "generation", "managedFields", "resourceVersion", "uid")


class Reference(NamedTuple):
    """Which object is meant."""

    api_version: str
    kind: str
    name: str
    namespace: str | None = None


@contextmanager
def changed(live: LiveMesh, cluster: Cluster, reference: Reference, change: Object) -> Iterator[None]:
    """Change an object with a JSON merge patch, and put the same fields back.

    Raises:
        StepError: there is no such object.
    """
    kube = live.kube(cluster)
    before = existing(live, cluster, reference)
    api_version, kind, name, namespace = reference
    with environment_faults():
        kube.merge(api_version, kind, name, change, namespace)
    try:
        yield
    finally:
        with environment_faults():
            # Experiments take what is theirs away at their end, and then there is nothing to put back.
            if kube.get(*reference) is not None:
                kube.merge(api_version, kind, name, undo(before, change), namespace)


@contextmanager
def absent(live: LiveMesh, cluster: Cluster, reference: Reference) -> Iterator[None]:
    """Delete an object, and create it again as it was.

    Raises:
        StepError: there is no such object, or it does not go.
    """
    before = existing(live, cluster, reference)
    try:
        delete(live, cluster, reference)
        yield
    finally:
        with environment_faults():
            # One that did not go is still what it was.
            if live.kube(cluster).get(*reference) is None:
                live.kube(cluster).create(bare(before))


@contextmanager
def present(live: LiveMesh, cluster: Cluster, manifest: Object) -> Iterator[None]:
    """Create an object that is not there, and delete it again."""
    metadata = manifest["metadata"]
    reference = Reference(manifest["apiVersion"], manifest["kind"], metadata["name"], metadata.get("namespace"))
    with environment_faults():
        live.kube(cluster).create(live.mesh.labelled(manifest))
    try:
        yield
    finally:
        delete(live, cluster, reference)


def existing(live: LiveMesh, cluster: Cluster, reference: Reference) -> Object:
    """The object as it is.

    Raises:
        StepError: there is none.
    """
    with environment_faults():
        found = live.kube(cluster).get(*reference)
    if found is None:
        raise StepError(f"{reference.kind} {reference.name} does not exist on {cluster.name}")
    return found


def delete(live: LiveMesh, cluster: Cluster, reference: Reference) -> None:
    """Delete an object and wait until it is gone.

    Raises:
        StepError: it does not go.
    """
    title = f"Delete {reference.kind} {reference.name}"
    with live.mesh.log.step(Phase.FAULTS, title, cluster.name) as opened, environment_faults():
        kube = live.kube(cluster)
        kube.delete(*reference)
        timeout = GONE_SECONDS * live.mesh.settings.timeout_scale
        kube.wait(*reference, pending=still_there, timeout=timeout, step=opened)


def undo(before: Object, change: Object) -> Object:
    """The JSON merge patch that takes another one back (RFC 7396). Pure.

    Args:
        before: the object before it was changed.
        change: the merge patch that changed it.
    """
    return {
        key: undo(before[key], value)
        if isinstance(value, dict) and isinstance(before.get(key), dict)
        else before.get(key)
        for key, value in change.items()
    }


def bare(found: Object) -> Object:
    """An object without what the API server writes itself, to be created again. Pure."""
    metadata = {key: value for key, value in found["metadata"].items() if key not in _WRITTEN_BY_THE_SERVER}
    return {**{key: value for key, value in found.items() if key != "status"}, "metadata": metadata}
