"""Which faults are made on live clusters, and in which order. Pure."""

from collections.abc import Collection, Mapping

from harness.base.errors import UserError
from harness.model.topology import Topology
from harness.proof.faults.fault import EXPERIMENTS, Fault

LAST = frozenset({"CLEAN"})
"""What is only seen when the mesh has been removed."""
NEVER_LIVE = frozenset({"IDEMPOTENT"})


def select(known: Mapping[str, Fault], topology: Topology, wanted: Collection[str] = ()) -> tuple[Fault, ...]:
    """The faults that are made on live clusters in a topology; those that need the mesh to be removed come last.

    Args:
        known: every fault by its id.
        topology: where.
        wanted: ids; all where empty.

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
        fault for fault in known.values() if fault.act and fault.where(topology) and (not wanted or fault.id in wanted)
    ]
    return tuple(sorted(live, key=removes))


def removes(fault: Fault) -> bool:
    """Whether it is only seen when the mesh has been removed."""
    return bool(fault.must_fail & LAST)


def experiments_of(fault: Fault) -> frozenset[str]:
    """The requirements whose experiments are made for a fault: those that it concerns, since experiments are slow."""
    return fault.must_fail.intersection(EXPERIMENTS) - NEVER_LIVE
