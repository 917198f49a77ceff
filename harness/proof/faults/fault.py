"""What a fault is: one thing that is broken, what must notice it, what follows from it and why. Pure."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from harness.experiments import unfit
from harness.model.data_plane import DataPlane
from harness.model.experiment import IDS, Experiments
from harness.model.observation import Observation
from harness.model.topology import Feature, Topology
from harness.proof.live.live_mesh import Act

EXPERIMENTS = tuple(sorted(IDS))
EVERY_PLANE = frozenset(DataPlane)
Where = Callable[[Topology], bool]
Mutate = Callable[[Observation], Observation]


def everywhere(_topology: Topology) -> bool:
    """In every topology."""
    return True


def has(*features: Feature) -> Where:
    """Where a topology has all of these."""
    return partial(_has, frozenset(features))


def _has(features: frozenset[Feature], topology: Topology) -> bool:
    return features <= topology.features


MP, PR = has(Feature.MULTI_PRIMARY), has(Feature.PRIMARY_REMOTE)
SN, MN = has(Feature.SINGLE_NETWORK), has(Feature.MULTI_NETWORK)


def outside(topology: Topology) -> bool:
    """Where a control plane runs outside of the mesh."""
    return bool(topology.hosts)


def inside(topology: Topology) -> bool:
    """Where every control plane runs in the mesh."""
    return not topology.hosts


def either(*places: Where) -> Where:
    """Where one of these holds."""
    return lambda topology: any(place(topology) for place in places)


def both(*places: Where) -> Where:
    """Where all of these hold."""
    return lambda topology: all(place(topology) for place in places)


@dataclass(frozen=True)
class Consequence:
    """Requirements that fail or can't be judged because of a fault, without being what proves it."""

    requirements: tuple[str, ...]
    reason: str
    """One line of how Istio (or what is beneath it) behaves."""
    where: Where = everywhere
    by_chance: bool = False
    """It depends on a choice that nobody can foresee, for instance of one among several endpoints: it may be absent."""


@dataclass(frozen=True)
class Fault:
    """One way to break a good mesh. Reasoned from Istio's behaviour, never copied from what came out."""

    id: str
    text: str
    """What is changed, one line."""
    mutate: Mutate | None
    """Turns a good observation into the one that a mesh broken in this way would give; None where only a recording of
    the broken mesh shows it."""
    cause: str
    """Id of the cause that must be named first."""
    must_fail: frozenset[str]
    one_of: frozenset[str] = frozenset()
    """At least one of these must fail too."""
    consequences: tuple[Consequence, ...] = ()
    where: Where = everywhere
    planes: frozenset[DataPlane] = frozenset({DataPlane.SIDECAR})
    """What may carry the traffic of a mesh in which it can be made."""
    live: bool = False
    """It is also to be made on live clusters."""
    act: Act | None = None
    """How it is made on live clusters."""

    def concerns(self, observation: Observation) -> bool:
        """Whether it can be made in such a mesh: of its topology, and of what carries its traffic."""
        return self.where(observation.topology) and observation.asked.data_plane in self.planes

    def mutated(self, observation: Observation) -> Observation:
        """The observation with the fault in it, its experiments as they were.

        Raises:
            LookupError: there is nothing in this observation that could be broken so, or the fault has no mutation.
        """
        if self.mutate is None:
            raise LookupError(f"{self.id} is made on live clusters only")
        return self.mutate(observation)

    def apply(self, observation: Observation) -> Observation:
        """The observation that the broken mesh would give; no experiment is made where the loop does not pass.

        Raises:
            LookupError: as `mutated`.
        """
        broken = self.mutated(observation)
        reason = unfit(broken) if broken.experiments else ""
        if not reason:
            return broken
        prevented = Experiments(prevented=dict.fromkeys(EXPERIMENTS, reason))
        return broken.model_copy(update={"experiments": prevented})

    def optional(self, topology: Topology) -> frozenset[str]:
        """The requirements that may as well pass in a topology: some of `one_of`, and what follows by chance alone."""
        certain = set[str](self.must_fail)
        chance = set[str](self.one_of)
        for consequence in self.consequences:
            if consequence.where(topology):
                (chance if consequence.by_chance else certain).update(consequence.requirements)
        return frozenset(chance - certain)

    def expected(self, topology: Topology) -> dict[str, str]:
        """The requirements that fail or are blocked in a topology, each with the reason."""
        found = dict.fromkeys(sorted(self.must_fail | self.one_of), self.text)
        for consequence in self.consequences:
            if consequence.where(topology):
                found |= dict.fromkeys((r for r in consequence.requirements if r not in found), consequence.reason)
        if "TR-REACH" in found:
            found |= dict.fromkeys(EXPERIMENTS, "no experiment is made on a mesh whose loop does not pass")
            found.setdefault("MTLS-PEER", "what no other cluster's client reaches has no caller from there to identify")
        return found
