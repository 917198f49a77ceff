"""Remote secrets: the kubeconfig with which a control plane watches another cluster's API server."""

from contextlib import suppress
from typing import Literal

from harness.base import yaml_documents
from harness.base.errors import StepError
from harness.kube.api import Object
from harness.mesh.context import Mesh, step
from harness.model.step import Phase
from harness.model.step_log import OpenStep
from harness.model.topology import Cluster

READER = "istio-reader-service-account"
"""Of what a control plane may do on another cluster."""
ISTIOD = "istiod"
"""Of what it may do on the cluster that is its own."""
READER_SECONDS = 30.0


@step(Phase.MESH)
def install_remote_secret(mesh: Mesh, watching: Cluster, opened: OpenStep, watched: Cluster) -> None:
    """Install a remote secret that provides access to the API server of another cluster."""
    opened.note(f"{watched.cluster_name} at {mesh.kube(watched).access.peer_server}")
    _await_account(mesh, watched, opened, READER)
    for secret in create_remote_secret(mesh, watched):
        mesh.apply(watching, secret)


@step(Phase.MESH)
def install_config_secret(mesh: Mesh, host: Cluster, opened: OpenStep, config: Cluster) -> None:
    """Install the secret by which the control plane uses the API server of the config cluster as its own."""
    opened.note(f"{config.cluster_name} at {mesh.kube(config).access.peer_server}")
    _await_account(mesh, config, opened, ISTIOD)
    for secret in create_remote_secret(mesh, config, kind="config"):
        mesh.apply(host, secret)


def create_remote_secret(
    mesh: Mesh, watched: Cluster, token_secret: str = "", kind: Literal["remote", "config"] = "remote"
) -> list[Object]:
    """What `istioctl create-remote-secret` makes for a cluster; the token stays in memory.

    istioctl binds it to the service account that the installation made there, and takes an existing token again.

    Args:
        mesh: the mesh.
        watched: the cluster that the secret provides access to.
        token_secret: name of the Secret that holds the token; empty for the one that istioctl makes, or finds.
        kind: what the secret is for: to watch a cluster, or to take it for the control plane's own.

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
            *(("--type", kind) if kind != "remote" else ()),
            *(("--secret-name", token_secret) if token_secret else ()),
        ],
        timeout=60,
    )
    secrets = list(yaml_documents.load_all(text))
    for secret in secrets:
        secret["metadata"].setdefault("namespace", namespace)
    return secrets


def _await_account(mesh: Mesh, watched: Cluster, opened: OpenStep, name: str) -> None:
    """Let the installation make the service account: where it is missing istioctl would, and an operator then trips."""
    timeout = mesh.deadline(watched, READER_SECONDS)
    with suppress(StepError):
        mesh.kube(watched).wait(
            "v1",
            "ServiceAccount",
            name,
            mesh.settings.system_namespace,
            pending=lambda seen: "" if seen else f"ServiceAccount {name} does not exist on {watched.name}",
            timeout=timeout,
            step=opened,
        )
