"""A mesh that --keep left on clusters of the suite: written down, so that --reuse can take it away first."""

from collections.abc import Mapping
from pathlib import Path

from harness.kube.inventory import Entry, Inventory
from harness.model.base import Model
from harness.model.data_plane import DataPlane
from harness.model.topology import Topology

_FILE = "kept-mesh.json"


class KeptMesh(Model):
    """What was kept, and what stood before it."""

    topology: Topology
    sample_namespace: str
    data_plane: DataPlane = DataPlane.SIDECAR
    entries: dict[str, tuple[Entry, ...]]
    """Cluster → its inventory from before the mesh."""
    unread: Mapping[str, Mapping[str, str]] = {}
    """Cluster → what that inventory lacks; files of earlier versions have none."""

    @property
    def before(self) -> dict[str, Inventory]:
        """The inventories from before the mesh."""
        return {
            name: Inventory(name, {entry.key: entry for entry in found}, self.unread.get(name, {}))
            for name, found in self.entries.items()
        }


def write(
    directory: Path, topology: Topology, sample_namespace: str, data_plane: DataPlane, before: dict[str, Inventory]
) -> None:
    """Write down what is kept, in the run's directory."""
    entries = {name: tuple(inventory.entries.values()) for name, inventory in before.items()}
    unread = {name: inventory.unread for name, inventory in before.items()}
    kept = KeptMesh(
        topology=topology, sample_namespace=sample_namespace, data_plane=data_plane, entries=entries, unread=unread
    )
    (directory / _FILE).write_text(kept.model_dump_json())


def read(directory: Path) -> KeptMesh | None:
    """What was kept, if anything."""
    path = directory / _FILE
    return KeptMesh.model_validate_json(path.read_text()) if path.exists() else None


def forget(directory: Path) -> None:
    """It has been removed."""
    (directory / _FILE).unlink(missing_ok=True)
