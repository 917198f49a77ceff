"""The registry of all variants."""

from collections.abc import Collection, Mapping

from harness.base.errors import UserError
from harness.model.data_plane import DataPlane
from harness.model.topology import Topology
from harness.proof.variants.acts import (
    ambient,
    certificates,
    clusters,
    control_planes,
    gateways,
    mesh_settings,
    policies,
    routing,
    services,
    workloads,
)
from harness.proof.variants.variant import Variant

AREAS = (
    policies,
    routing,
    mesh_settings,
    services,
    workloads,
    clusters,
    gateways,
    control_planes,
    certificates,
    ambient,
)
VARIANTS: tuple[Variant, ...] = tuple(variant for area in AREAS for variant in area.VARIANTS)


def variants() -> dict[str, Variant]:
    """Every variant by its id.

    Raises:
        ValueError: an id is declared twice.
    """
    found = {variant.id: variant for variant in VARIANTS}
    if len(found) < len(VARIANTS):
        raise ValueError("a variant is declared twice")
    return found


def select(
    known: Mapping[str, Variant],
    topology: Topology,
    wanted: Collection[str] = (),
    plane: DataPlane = DataPlane.SIDECAR,
) -> tuple[Variant, ...]:
    """The variants that are made in a topology.

    Args:
        known: every variant by its id.
        topology: where.
        wanted: ids; all where empty.
        plane: what carries the traffic.

    Raises:
        UserError: there is no variant of an id.
    """
    for name in wanted:
        if name not in known:
            raise UserError(
                f"--variant={name} is not known.",
                "there is no variant of that id",
                f"choose among: {', '.join(known)}",
            )
    return tuple(
        variant
        for variant in known.values()
        if plane in variant.planes and variant.where(topology) and (not wanted or variant.id in wanted)
    )
