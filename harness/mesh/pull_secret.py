"""Credentials of the registry that images come from, in the namespaces whose pods need them."""

from base64 import b64encode
from pathlib import Path

from harness.mesh.context import Mesh
from harness.model.topology import Cluster


def ensure_pull_secret(mesh: Mesh, cluster: Cluster, namespace: str) -> None:
    """Make the profile's pull secret in a namespace; nothing where the profile names none.

    Pods with a proxy are given it by injection (`global.imagePullSecrets`).
    """
    if (wanted := mesh.settings.pull_secret) is None:
        return
    credentials = b64encode(Path(wanted.file).read_bytes()).decode()
    mesh.apply(
        cluster,
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": wanted.name, "namespace": namespace},
            "type": "kubernetes.io/dockerconfigjson",
            "data": {".dockerconfigjson": credentials},
        },
    )
