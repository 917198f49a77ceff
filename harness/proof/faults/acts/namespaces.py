"""Labels and annotations of the system namespace, changed and put back."""

from collections.abc import Iterator
from contextlib import contextmanager

from harness.mesh.certificates import NETWORK_LABEL
from harness.mesh.procedure import CONTROL_PLANE_ANNOTATION
from harness.model.topology import Cluster
from harness.proof.faults.act import Stage


@contextmanager
def network_unlabelled(stage: Stage) -> Iterator[None]:
    """Take the network label from West's system namespace."""
    with _metadata(stage, stage.west, "labels", NETWORK_LABEL, None):
        yield


@contextmanager
def network_same_name(stage: Stage) -> Iterator[None]:
    """Give West's system namespace the name of East's network."""
    with _metadata(stage, stage.west, "labels", NETWORK_LABEL, stage.east.network):
        yield


@contextmanager
def unannotated(stage: Stage) -> Iterator[None]:
    """Take the annotation that names its control plane from the remote's system namespace."""
    with _metadata(stage, stage.west, "annotations", CONTROL_PLANE_ANNOTATION, None):
        yield


@contextmanager
def _metadata(stage: Stage, cluster: Cluster, field: str, key: str, value: str | None) -> Iterator[None]:
    kube, namespace = stage.kube(cluster), stage.mesh.settings.system_namespace
    found = kube.get("v1", "Namespace", namespace) or {}
    before = (found["metadata"].get(field) or {}).get(key)
    kube.merge("v1", "Namespace", namespace, {"metadata": {field: {key: value}}})
    try:
        yield
    finally:
        kube.merge("v1", "Namespace", namespace, {"metadata": {field: {key: before}}})
