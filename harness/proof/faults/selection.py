"""Which faults are made on live clusters, and in which order. Pure."""

from collections.abc import Collection, Mapping

from harness.base.errors import UserError
from harness.model.data_plane import DataPlane
from harness.model.experiment import IDS
from harness.model.topology import Topology
from harness.proof.faults.fault import Fault
from harness.proof.live.whole import AFTER_REMOVAL, NEVER_LIVE


def select(
    known: Mapping[str, Fault],
    topology: Topology,
    wanted: Collection[str] = (),
    plane: DataPlane = DataPlane.SIDECAR,
) -> tuple[Fault, ...]:
    """The faults that are made on live clusters in a topology; those that need the mesh to be removed come last.

    Args:
        known: every fault by its id.
        topology: where.
        wanted: ids; all where empty.
        plane: what carries the traffic.

    Raises:
        UserError: an id is not that of a fault which can be made on live clusters.
    """
    for name in wanted:
        if name not in known or known[name].act is None:
            raise UserError(
                f"--fault={name} can't be made on live clusters.",
                "it is made on recorded observations only" if name in known else "there is no fault of that id",
                f"choose among: {', '.join(fault.id for fault in known.values() if fault.act)}",
            )
    live = [
        fault
        for fault in known.values()
        if fault.act and plane in fault.planes and fault.where(topology) and (not wanted or fault.id in wanted)
    ]
    return tuple(sorted(live, key=removes))


def removes(fault: Fault) -> bool:
    """Whether it shows only after the mesh was removed."""
    return bool(fault.must_fail & AFTER_REMOVAL)


def experiments_of(fault: Fault) -> frozenset[str]:
    """The requirements whose experiments are made for a fault: those that it concerns, since experiments are slow."""
    return fault.must_fail.intersection(IDS) - NEVER_LIVE
