"""When an object that is being deleted is gone, and the wait for it."""

from harness.kube.api import Object
from harness.mesh.context import Mesh
from harness.mesh.settings import REMOVAL_SECONDS
from harness.model.step_log import OpenStep
from harness.model.topology import Cluster


def await_gone(mesh: Mesh, cluster: Cluster, opened: OpenStep, which: tuple[str, str, str, str | None]) -> None:
    """Wait until an object is gone.

    Args:
        mesh: the mesh.
        cluster: where the object is.
        opened: told what holds it.
        which: API version, kind, name and namespace.

    Raises:
        StepError: it is still there after three minutes.
    """
    timeout = mesh.deadline(cluster, REMOVAL_SECONDS)
    mesh.kube(cluster).wait(*which, pending=still_there, timeout=timeout, step=opened)


def still_there(seen: Object | None) -> str:
    """What keeps an object that is being deleted, as far as it says so; empty when it is gone. Pure."""
    if seen is None:
        return ""
    metadata, status = seen["metadata"], seen.get("status") or {}
    told = [
        str(found.get("message"))
        for found in status.get("conditions") or []
        if seen["kind"] == "Namespace" and found.get("status") == "True" and found.get("message")
    ]
    if metadata.get("finalizers"):
        told.append(f"finalizers {', '.join(metadata['finalizers'])}")
    return f"{seen['kind']} {metadata['name']} is still there" + (f": {'; '.join(told)}" if told else "")
