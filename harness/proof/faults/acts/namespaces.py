"""Labels and annotations of the system namespace, changed and put back."""

from collections.abc import Iterator
from contextlib import contextmanager

from harness.mesh.procedure import CONTROL_PLANE_ANNOTATION
from harness.model.gateways import NETWORK_LABEL
from harness.model.topology import Cluster
from harness.proof.live.live_mesh import LiveMesh


@contextmanager
def network_unlabelled(live: LiveMesh) -> Iterator[None]:
    """Take the network label from West's system namespace."""
    with _metadata(live, live.west, "labels", NETWORK_LABEL, None):
        yield


@contextmanager
def network_same_name(live: LiveMesh) -> Iterator[None]:
    """Give West's system namespace the name of East's network."""
    with _metadata(live, live.west, "labels", NETWORK_LABEL, live.east.network):
        yield


@contextmanager
def unannotated(live: LiveMesh) -> Iterator[None]:
    """Take the annotation that names its control plane from the remote's system namespace."""
    with _metadata(live, live.west, "annotations", CONTROL_PLANE_ANNOTATION, None):
        yield


@contextmanager
def _metadata(live: LiveMesh, cluster: Cluster, field: str, key: str, value: str | None) -> Iterator[None]:
    kube, namespace = live.kube(cluster), live.mesh.settings.system_namespace
    found = kube.get("v1", "Namespace", namespace) or {}
    before = (found["metadata"].get(field) or {}).get(key)
    kube.merge("v1", "Namespace", namespace, {"metadata": {field: {key: value}}})
    try:
        yield
    finally:
        kube.merge("v1", "Namespace", namespace, {"metadata": {field: {key: before}}})
