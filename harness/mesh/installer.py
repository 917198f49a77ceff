"""What installs Istio on one cluster: istioctl, or the Sail operator."""

from typing import Protocol

from harness.mesh.context import Mesh
from harness.mesh.istioctl import Istioctl
from harness.mesh.sail import Sail
from harness.mesh.settings import MeshSettings
from harness.model.step_log import OpenStep
from harness.model.topology import Cluster


class Installer(Protocol):
    """Installs Istio on one cluster. Every method is idempotent and raises StepError where it does not succeed."""

    def install_cni(self, mesh: Mesh, cluster: Cluster) -> None:
        """Install the CNI plugin; do not wait for it."""

    def await_cni(self, mesh: Mesh, cluster: Cluster, opened: OpenStep) -> None:
        """Wait until the CNI plugin is on every node."""

    def install_ztunnel(self, mesh: Mesh, cluster: Cluster) -> None:
        """Install ztunnel; do not wait for it."""

    def await_ztunnel(self, mesh: Mesh, cluster: Cluster, opened: OpenStep) -> None:
        """Wait until ztunnel is on every node."""

    def install_primary(self, mesh: Mesh, cluster: Cluster) -> None:
        """Install a control plane; do not wait for it."""

    def install_remote(self, mesh: Mesh, cluster: Cluster, pilot_address: str) -> None:
        """Install what a cluster needs that is served by the control plane at that address; do not wait for it."""

    def await_ready(self, mesh: Mesh, cluster: Cluster, opened: OpenStep) -> None:
        """Wait until the control plane serves this cluster."""


def installer(settings: MeshSettings) -> Installer:
    """The installer that was asked for."""
    return Sail() if settings.installer == "sail" else Istioctl()
