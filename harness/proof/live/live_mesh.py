"""What an act on a live mesh is given, and what an act is."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from harness.kube.api import KubeApi
from harness.mesh.context import Mesh
from harness.mesh.pki import Pki
from harness.model.observation import Observation
from harness.model.topology import Cluster, Role


@dataclass(frozen=True)
class LiveMesh:
    """A mesh that serves traffic and was seen to be good."""

    mesh: Mesh
    certificates: Pki
    """The certificates that the mesh was installed with."""
    good: Observation
    """Of this mesh, before anything was changed."""

    @property
    def east(self) -> Cluster:
        """The first cluster: a primary."""
        return self.mesh.topology.clusters[0]

    @property
    def west(self) -> Cluster:
        """The last cluster: a remote wherever there is one."""
        return self.mesh.topology.clusters[-1]

    @property
    def signer(self) -> Cluster:
        """The primary that serves the last cluster."""
        return self.mesh.topology[self.west.primary]

    @property
    def server(self) -> Cluster:
        """The cluster on which that primary's istiod runs, in the mesh or outside."""
        return self.mesh.topology.control_plane_of(self.west)

    def gateway_namespace(self, cluster: Cluster) -> str:
        """Where a cluster's east-west gateway stands: outside of the mesh apart from the control plane."""
        settings = self.mesh.settings
        return settings.ingress_namespace if cluster.role is Role.EXTERNAL else settings.system_namespace

    def kube(self, cluster: Cluster) -> KubeApi:
        """The API server of a cluster."""
        return self.mesh.kube(cluster)


Act = Callable[[LiveMesh], AbstractContextManager[None]]
"""A context manager that changes one thing and waits until the change is in force; on exit it puts the thing back and
waits until it is as before. It waits only for what it has changed: whether the whole mesh has recovered is checked by
whoever runs the act."""
