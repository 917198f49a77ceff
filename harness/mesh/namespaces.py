"""The namespaces of a mesh: created, and labelled with their network.

Source: chapter "Applying certificates to a multi-cluster topology".
"""

from kubernetes.client import ApiException

from harness.kube.api import Object
from harness.mesh.context import Mesh, step
from harness.mesh.pull_secret import ensure_pull_secret
from harness.model.gateways import NETWORK_LABEL
from harness.model.step import Phase
from harness.model.step_log import OpenStep
from harness.model.topology import Cluster

CONFLICT = 409


def ensure_namespace(mesh: Mesh, cluster: Cluster, name: str) -> bool:
    """Create a namespace unless it is there; whether it was there."""
    return not create_if_absent(mesh, cluster, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})


def label_namespace(mesh: Mesh, cluster: Cluster, name: str, key: str, value: str) -> None:
    """Set a namespace's label."""
    mesh.kube(cluster).merge("v1", "Namespace", name, {"metadata": {"labels": {key: value}}})


@step(Phase.CERTIFICATES)
def create_system_namespace(mesh: Mesh, cluster: Cluster, opened: OpenStep) -> None:
    """Create the project of the control plane."""
    if ensure_namespace(mesh, cluster, mesh.settings.system_namespace):
        opened.skip(f"{mesh.settings.system_namespace} is there")
    ensure_pull_secret(mesh, cluster, mesh.settings.system_namespace)


@step(Phase.CERTIFICATES)
def label_network(mesh: Mesh, cluster: Cluster, _opened: OpenStep) -> None:
    """Set the default network for the pods of the cluster."""
    label_namespace(mesh, cluster, mesh.settings.system_namespace, NETWORK_LABEL, cluster.network)


def create_if_absent(mesh: Mesh, cluster: Cluster, manifest: Object) -> bool:
    """Create an object unless it is there; whether it was created."""
    try:
        mesh.kube(cluster).create(mesh.labelled(manifest))
    except ApiException as refused:
        if refused.status != CONFLICT:
            raise
        return False
    return True
