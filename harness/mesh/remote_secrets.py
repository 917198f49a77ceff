"""Remote secrets: the kubeconfig with which a control plane watches another cluster's API server."""

from contextlib import suppress

from harness.base import yaml_documents
from harness.base.errors import StepError
from harness.kube.api import Object
from harness.mesh.context import Mesh, step
from harness.model.step import Phase
from harness.model.step_log import OpenStep
from harness.model.topology import Cluster

READER = "istio-reader-service-account"
READER_SECONDS = 30.0


@step(Phase.MESH)
def install_remote_secret(mesh: Mesh, watching: Cluster, opened: OpenStep, watched: Cluster) -> None:
    """Install a remote secret that provides access to the API server of another cluster."""
    opened.note(f"{watched.cluster_name} at {mesh.kube(watched).access.peer_server}")
    _await_reader(mesh, watched, opened)
    for secret in create_remote_secret(mesh, watched):
        mesh.apply(watching, secret)


def create_remote_secret(mesh: Mesh, watched: Cluster, token_secret: str = "") -> list[Object]:
    """What `istioctl create-remote-secret` makes for a cluster; the token stays in memory.

    istioctl binds it to the service account that the installation made there, and takes an existing token again.

    Args:
        mesh: the mesh.
        watched: the cluster that the secret provides access to.
        token_secret: name of the Secret that holds the token; empty for the one that istioctl makes, or finds.

    Raises:
        CommandError: istioctl failed.
    """
    kube, namespace = mesh.kube(watched), mesh.settings.system_namespace
    access = kube.access
    text = kube.run(
        [
            *(mesh.settings.istioctl, "create-remote-secret"),
            *("--kubeconfig", access.kubeconfig, "--context", access.context, "--istioNamespace", namespace),
            *("--name", watched.cluster_name, "--server", access.peer_server),
            *(("--secret-name", token_secret) if token_secret else ()),
        ],
        timeout=60,
    )
    secrets = list(yaml_documents.load_all(text))
    for secret in secrets:
        secret["metadata"].setdefault("namespace", namespace)
    return secrets


def _await_reader(mesh: Mesh, watched: Cluster, opened: OpenStep) -> None:
    """Let the installation make the service account: where it is missing istioctl would, and an operator then trips."""
    timeout = mesh.deadline(watched, READER_SECONDS)
    with suppress(StepError):
        mesh.kube(watched).wait(
            "v1",
            "ServiceAccount",
            READER,
            mesh.settings.system_namespace,
            pending=lambda seen: "" if seen else f"ServiceAccount {READER} does not exist on {watched.name}",
            timeout=timeout,
            step=opened,
        )
