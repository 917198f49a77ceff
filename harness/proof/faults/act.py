"""A fault as an act on a live mesh: what it is given, and what it is.

An act is a context manager: it breaks one thing and waits until that is so, and on leaving it mends it and waits until
the thing it broke is whole again. It waits for what it has touched alone; whether the mesh as a whole has come back is
for whoever makes the act to see.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from harness.kube.client import Kube
from harness.mesh.context import Mesh
from harness.mesh.pki import Pki
from harness.model.observation import Observation
from harness.model.topology import Cluster


@dataclass(frozen=True)
class Stage:
    """A mesh that stands and is known to be good, to be broken."""

    mesh: Mesh
    certificates: Pki
    """Those that the mesh was formed with."""
    good: Observation
    """Of this mesh, before anything was broken."""

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

    def kube(self, cluster: Cluster) -> Kube:
        """The API server of a cluster."""
        return self.mesh.kube(cluster)


Act = Callable[[Stage], AbstractContextManager[None]]
