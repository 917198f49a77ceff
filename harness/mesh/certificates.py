"""Chapter "Applying certificates to a multi-cluster topology"."""

from base64 import b64encode

from kubernetes.client import ApiException

from harness.kube.api import Object
from harness.mesh.context import Mesh, step
from harness.mesh.pki import CaFiles
from harness.mesh.pull_secret import ensure_pull_secret
from harness.model.step import Phase
from harness.model.step_log import OpenStep
from harness.model.topology import Cluster

NETWORK_LABEL = "topology.istio.io/network"
CONFLICT = 409


def ensure_namespace(mesh: Mesh, cluster: Cluster, name: str) -> bool:
    """Create a namespace unless it is there; whether it was there."""
    return not _created(mesh, cluster, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})


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


@step(Phase.CERTIFICATES)
def create_cacerts(mesh: Mesh, cluster: Cluster, opened: OpenStep, files: CaFiles) -> None:
    """Create the CA certificates, certificate chain, and the private key for Istio."""
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "cacerts", "namespace": mesh.settings.system_namespace},
        "data": {name: b64encode(text.encode()).decode() for name, text in files.entries.items()},
    }
    if not _created(mesh, cluster, secret):
        opened.skip("cacerts is there")


def _created(mesh: Mesh, cluster: Cluster, manifest: Object) -> bool:
    try:
        mesh.kube(cluster).create(mesh.labelled(manifest))
    except ApiException as refused:
        if refused.status != CONFLICT:
            raise
        return False
    return True
