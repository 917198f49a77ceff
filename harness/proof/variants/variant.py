"""What a variant is: one small reversible change that leaves a mesh valid. Pure."""

from collections.abc import Callable
from dataclasses import dataclass

from harness.model.data_plane import DataPlane
from harness.model.topology import Topology
from harness.proof.live.live_mesh import Act


@dataclass(frozen=True)
class Variant:
    """One valid configuration that the suite does not install itself."""

    id: str
    text: str
    """What is changed, one line."""
    why: str
    """Why the mesh stays valid: Istio's behaviour, one line."""
    act: Act
    where: Callable[[Topology], bool]
    """The topologies in which it can be made."""
    reported: frozenset[str] = frozenset()
    """Requirements that may be skipped because of the change, with a reason. All others must still be judged."""
    planes: frozenset[DataPlane] = frozenset({DataPlane.SIDECAR})
    """What may carry the traffic of a mesh in which it can be made."""
