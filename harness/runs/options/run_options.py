"""The options of a run: parsed, checked against each other, and completed."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from harness.base.errors import UserError
from harness.judge.requirement import Requirement
from harness.model.data_plane import DataPlane
from harness.model.experiment import WITHOUT_SIDECARS
from harness.model.resilience import SCENARIOS
from harness.model.topology import ControlPlaneModel, NetworkModel, Topology, preset
from harness.runs.options import exclusions
from harness.runs.options.ambient import require_ambient_known
from harness.runs.options.option import Given
from harness.runs.options.sections import OPTIONS, AllOptions


@dataclass(frozen=True)
class Options(AllOptions):
    """The options of a run."""

    catalogue: Mapping[str, Requirement]
    """Every requirement there is, by id."""
    topologies: tuple[Topology, ...]
    """Those that are run."""

    @property
    def existing(self) -> bool:
        """Whether the clusters are there already."""
        return bool(self.contexts)

    @property
    def data_plane(self) -> DataPlane:
        """What carries the traffic of workloads."""
        return self.given_data_plane or DataPlane.SIDECAR

    @property
    def partial(self) -> bool:
        """Whether a part of the catalogue is left out on purpose."""
        return bool(self.requirements or self.areas or self.levels or self.skipped)

    def selects(self, requirement: Requirement) -> bool:
        """Whether a requirement is to be judged."""
        return not self.left_out_by(requirement)

    def left_out_by(self, requirement: Requirement) -> str:
        """The option, with its values, that leaves a requirement out; empty where none does."""
        choices: tuple[tuple[str, frozenset[str], frozenset[str]], ...] = (
            ("requirement", self.requirements, frozenset({requirement.id})),
            ("area", self.areas, frozenset({requirement.area})),
            ("level", frozenset(self.levels), requirement.levels),
        )
        found = next(((name, chosen) for name, chosen, own in choices if chosen and not own & chosen), None)
        return f"{found[0]}={','.join(sorted(found[1]))}" if found else ""

    @property
    def judged(self) -> tuple[Requirement, ...]:
        """The requirements that the options select."""
        return tuple(row for row in self.catalogue.values() if self.selects(row) and row.id not in self.skipped)

    @property
    def experiments(self) -> frozenset[str]:
        """The requirements whose experiments are made: those that are judged, and can be made in such a mesh."""
        found = frozenset(row.id for row in self.judged if row.experiment)
        return found & WITHOUT_SIDECARS if self.data_plane is DataPlane.AMBIENT else found

    @property
    def played(self) -> frozenset[str]:
        """The scenarios that the run plays: none without --resilience."""
        return (self.scenarios or frozenset(SCENARIOS)) if self.resilience and not self.observations else frozenset()


def parse(raw: Callable[[str], Given], catalogue: Mapping[str, Requirement]) -> Options:
    """Check what was given and give it its types.

    Args:
        raw: gives an option's value by its name: text, a list where it is repeatable, whether it is set for a flag.
        catalogue: every requirement that can be chosen, by id.

    Raises:
        UserError: a value that is not one of the option's, or options that exclude each other; names the options.
    """
    converted: dict[str, Any] = {option.field: option.convert(option.name, raw(option.name)) for option in OPTIONS}
    given = AllOptions(**converted)
    exclusions.require_consistent(given, catalogue)
    topologies = exclusions.described(given) or _presets(given)
    exclusions.require_same_clusters(given, topologies)
    exclusions.require_resilience_known(given, topologies)
    distribution = exclusions.with_installer(given.distribution, given.installer)
    version = given.istio_version or distribution.istio_version
    require_ambient_known(given, topologies, version)
    own: dict[str, Any] = {field.name: getattr(given, field.name) for field in fields(AllOptions)}
    own |= {"distribution": distribution, "istio_version": version}
    return Options(**own, catalogue=catalogue, topologies=topologies)


def _presets(given: AllOptions) -> tuple[Topology, ...]:
    def clusters(model: str) -> int:
        outside = 1 if model == ControlPlaneModel.EXTERNAL else 0
        if 0 < len(given.contexts) < 2 + outside:
            raise UserError(
                f"There are too few contexts for --topology={model}.",
                f"a mesh has two clusters at least{', and its control plane has one of its own' if outside else ''}",
                f"give --contexts={'CONTROL,' if outside else ''}EAST,WEST",
            )
        return len(given.contexts) - outside if given.contexts else given.clusters

    return tuple(
        preset(ControlPlaneModel(model), NetworkModel(network), clusters(model))
        for network in given.network
        for model in given.topology
    )
