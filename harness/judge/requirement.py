"""Requirements, and the one place where an observation becomes a judgement.

A requirement is a function of an observation: it looks, notes facts and findings, touches no cluster. `judge` turns
what it noted into a verdict. Order of precedence: fail, unknown, blocked, skipped, pass, not applicable; and a
requirement that examined nothing is unknown, never passed.
"""

import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass

from harness.judge.evidence import Evidence
from harness.judge.judgement import Judgement, Level, Verdict
from harness.model.mesh_features import MeshFeature, has_feature
from harness.model.observation import Observation
from harness.model.topology import Feature, Topology

TOPOLOGIES = {
    Feature.MULTI_PRIMARY: "multi-primary",
    Feature.PRIMARY_REMOTE: "primary-remote",
    Feature.SINGLE_NETWORK: "single network",
    Feature.MULTI_NETWORK: "multi-network",
}


Check = Callable[[Observation, Evidence], None]


@dataclass(frozen=True)
class Requirement:
    """A row of the catalogue."""

    id: str
    level: Level
    area: str
    """certificates, control plane, proxies, network, gateways, remote secrets, workloads, endpoints, traffic, mtls …"""
    features: frozenset[Feature]
    """It applies where the topology has one of these; everywhere when empty."""
    experiment: bool
    """It needs the experiment stage, which acts on the sample namespace."""
    text: str
    """Its docstring: the first line is its title."""
    check: Check
    scenario: str = ""
    """The scenario that it judges, and without which it is not judged; empty for none."""
    needs: tuple[MeshFeature, ...] = ()
    """What a mesh must have for it to apply, the first to be named first."""
    for_traffic: bool = False
    """Where no traffic can be judged it stands in for it: whether the clusters meet is then told by nothing else."""

    @property
    def title(self) -> str:
        """The first line of its text."""
        return self.text.strip().splitlines()[0]

    def applies_to(self, topology: Topology) -> bool:
        """Whether the topology has what it is about."""
        return not self.features or bool(self.features & topology.features)

    @property
    def topologies(self) -> str:
        """Where it applies, in words: `multi-primary or multi-network`, `every topology`."""
        return " or ".join(name for feature, name in TOPOLOGIES.items() if feature in self.features) or "every topology"

    @property
    def levels(self) -> frozenset[Level]:
        """How binding it may be, whatever the mesh."""
        return frozenset({self.level, *((Level.MUST,) if self.for_traffic else ())})

    def level_for(self, observation: Observation | None) -> Level:
        """How binding it is for a mesh: MUST where it stands in for traffic."""
        if self.for_traffic and observation and not has_feature(observation, MeshFeature.TRAFFIC):
            return Level.MUST
        return self.level

    def lacks(self, observation: Observation) -> str:
        """The first feature, in words, that it needs and the observed mesh does not have; empty where it applies."""
        return next((feature.value for feature in self.needs if not has_feature(observation, feature)), "")


def requirement(
    id: str,  # noqa: A002 - the catalogue's word
    level: Level,
    *features: Feature,
    area: str,
    experiment: bool = False,
    scenario: str = "",
    needs: tuple[MeshFeature, ...] = (),
    for_traffic: bool = False,
) -> Callable[[Check], Check]:
    """Declare a test function to be a requirement of the catalogue.

    The function is given the observation and an `Evidence`; its docstring is the requirement's documentation, and its
    name is `test_` and the id in lower case with underscores.

    Args:
        id: stable id.
        level: how binding it is.
        features: it applies where the topology has one of these; everywhere when none is given.
        area: the part of the mesh it is about.
        experiment: see `Requirement.experiment`.
        scenario: see `Requirement.scenario`.
        needs: it applies where the mesh as observed has all of these.
        for_traffic: see `Requirement.for_traffic`.
    """

    def declare(check: Check) -> Check:
        check.requirement = Requirement(  # type: ignore[attr-defined]
            id, level, area, frozenset(features), experiment, check.__doc__ or "", check, scenario, needs, for_traffic
        )
        return check

    return declare


def of(function: object) -> Requirement | None:
    """The requirement that a test function was declared to be."""
    found = getattr(function, "requirement", None)
    return found if isinstance(found, Requirement) else None


def judge(requirement: Requirement, observation: Observation | None, evidence: Evidence | None = None) -> Judgement:
    """Judge one requirement, once.

    Args:
        requirement: what is judged.
        observation: the run; None where the requirement is left out, and `evidence` already says why.
        evidence: where it is noted; default a new one.
    """
    evidence, clock = evidence or Evidence(), time.perf_counter()
    try:
        if observation is not None:
            if missing := requirement.lacks(observation):
                evidence.not_applicable(f"needs {missing}")
            else:
                requirement.check(observation, evidence)
                evidence.set_aside_timed(observation.conditions, observation.conditions_of_forming)
    except Exception as broken:  # noqa: BLE001 - whatever breaks in a check is the suite's failure, not the mesh's
        where = traceback.extract_tb(broken.__traceback__)[-1]
        evidence.unknown(f"{type(broken).__name__}: {broken} ({where.name}, line {where.lineno})")
    if not (evidence.facts or evidence.findings or evidence.reservations):
        evidence.unknown("nothing was examined")
    return Judgement(
        id=requirement.id,
        level=requirement.level_for(observation),
        area=requirement.area,
        title=requirement.title,
        verdict=_verdict(evidence),
        facts=tuple(evidence.facts),
        findings=tuple(evidence.findings),
        reservations=tuple(evidence.reservations),
        seconds=round(time.perf_counter() - clock, 4),
    )


def _verdict(evidence: Evidence) -> Verdict:
    if evidence.findings:
        return Verdict.FAIL
    reserved = {reservation.verdict for reservation in evidence.reservations}
    for verdict in (Verdict.UNKNOWN, Verdict.BLOCKED, Verdict.SKIPPED):
        if verdict in reserved:
            return verdict
    if Verdict.NOT_APPLICABLE in reserved and not evidence.facts:
        return Verdict.NOT_APPLICABLE
    return Verdict.PASS
