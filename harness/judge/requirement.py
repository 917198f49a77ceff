"""Requirements, the six verdicts, and the one place where an observation becomes a judgement.

A requirement is a function of an observation: it looks, notes facts and findings, touches no cluster. `judge` turns
what it noted into a verdict. Order of precedence: fail, unknown, blocked, skipped, pass, not applicable; and a
requirement that examined nothing is unknown, never passed.
"""

import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from harness.model.base import Model
from harness.model.cluster import ClusterObservation, ReadOutcome, Subject
from harness.model.conditions import Conditions
from harness.model.mesh_features import MeshFeature, mesh_features
from harness.model.observation import Observation
from harness.model.topology import Cluster, Feature, Topology

TOPOLOGIES = {
    Feature.MULTI_PRIMARY: "multi-primary",
    Feature.PRIMARY_REMOTE: "primary-remote",
    Feature.SINGLE_NETWORK: "single network",
    Feature.MULTI_NETWORK: "multi-network",
}


class Level(StrEnum):
    """How binding a requirement is."""

    MUST = "MUST"
    """The chapter says it."""
    SHOULD = "SHOULD"
    """It follows from the chapter."""
    EXTENDED = "EXTENDED"
    """Users of a mesh need it."""


class Verdict(StrEnum):
    """What a judgement comes to."""

    PASS = "pass"  # noqa: S105
    FAIL = "fail"
    BLOCKED = "blocked"
    """It could not be judged, because something it depends on is broken."""
    SKIPPED = "skipped"
    """It was not judged, by choice or because reading was not permitted; the reason says which."""
    UNKNOWN = "unknown"
    """The suite itself failed."""
    NOT_APPLICABLE = "not applicable"
    """The mesh lacks the feature that it is about; the reason names it. Listed apart, never counted."""


class Finding(Model):
    """One thing that is not as it must be."""

    cluster: str
    """The cluster's name; empty where it concerns the mesh as a whole."""
    object: str
    """Kind namespace/name, or what stands in for it: `Secret istio-system/cacerts`, `route east → west`."""
    field: str
    """The field or property in question."""
    expected: str
    found: str

    def __str__(self) -> str:
        """One line."""
        where = f"{self.cluster}: " if self.cluster else ""
        return f"{where}{self.object} {self.field}: expected {self.expected}, found {self.found}"


class Reservation(Model):
    """Why something was not judged."""

    verdict: Verdict
    """BLOCKED, SKIPPED, UNKNOWN or NOT_APPLICABLE."""
    reason: str


class Judgement(Model):
    """The verdict on one requirement, with its evidence."""

    id: str
    level: Level
    area: str
    title: str
    verdict: Verdict
    facts: tuple[str, ...] = ()
    """What was examined and found to be as it must, or is worth knowing; one line each."""
    findings: tuple[Finding, ...] = ()
    reservations: tuple[Reservation, ...] = ()
    seconds: float = 0.0

    @property
    def explanation(self) -> str:
        """Why it is not passed, one line each reason; empty for a pass."""
        lines = [str(finding) for finding in self.findings]
        return "\n".join(lines + [reservation.reason for reservation in self.reservations])


class Evidence:
    """Collects what a requirement sees while it looks at an observation."""

    def __init__(self) -> None:
        self.facts: list[str] = []
        self.findings: list[Finding] = []
        self._timed: list[Finding] = []
        self.reservations: list[Reservation] = []

    def fact(self, text: str) -> None:
        """Note something that was examined; also what a pass is made of."""
        self.facts.append(text)

    def expect(
        self,
        holds: bool,
        *,
        cluster: Cluster | ClusterObservation | str = "",
        object: str,  # noqa: A002 - the field's name in a finding
        field: str,
        expected: object,
        found: object,
        timed: bool = False,
    ) -> bool:
        """Note a fact where it holds, a finding where it does not; returns whether it holds.

        Args:
            holds: whether it is as it must be.
            cluster: where; empty where it concerns the mesh as a whole.
            object: see `Finding`.
            field: see `Finding`.
            expected: see `Finding`.
            found: see `Finding`.
            timed: it rests on time: on a deadline, or on how many requests failed. On an overloaded machine such a
                finding is unknown.
        """
        name = cluster if isinstance(cluster, str) else cluster.name
        if holds:
            where = f"{name}: " if name else ""
            self.fact(f"{where}{object} {field}: {found}")
        else:
            finding = Finding(cluster=name, object=object, field=field, expected=str(expected), found=str(found))
            self.findings.append(finding)
            self._timed += [finding] if timed else []
        return holds

    def set_aside_timed(self, conditions: Conditions | None) -> None:
        """Take what rests on time for unknown, where something was too busy to keep a deadline meanwhile."""
        strain = conditions.strain if conditions and self._timed else ""
        for finding in self._timed if strain else ():
            self.findings.remove(finding)
            self.unknown(f"overloaded: {strain}; seen meanwhile: {finding}")

    def blocked(self, by: str, reason: str) -> None:
        """It can't be judged because of something else: a requirement's id, or what could not be read."""
        self.reservations.append(Reservation(verdict=Verdict.BLOCKED, reason=f"blocked by {by}: {reason}"))

    def skipped(self, reason: str) -> None:
        """It is not judged, and why."""
        self.reservations.append(Reservation(verdict=Verdict.SKIPPED, reason=reason))

    def unknown(self, reason: str) -> None:
        """The suite failed to find out."""
        self.reservations.append(Reservation(verdict=Verdict.UNKNOWN, reason=reason))

    def not_applicable(self, reason: str) -> None:
        """It is about something that this mesh, or this part of it, does not have.

        A requirement that notes nothing else is not applicable. Next to anything else the note changes no verdict.
        """
        self.reservations.append(
            Reservation(verdict=Verdict.NOT_APPLICABLE, reason=f"{Verdict.NOT_APPLICABLE}: {reason}")
        )

    def readable(
        self, observation: Observation, *subjects: Subject, among: tuple[Cluster, ...] | None = None
    ) -> Iterator[tuple[Cluster, ClusterObservation]]:
        """The clusters of which all these subjects were read, each with what was observed of it.

        For the others a reservation is noted: blocked where the API server never answered, skipped where reading is
        not permitted, unknown where it was lost in the middle or was not attempted.

        Args:
            observation: the run.
            subjects: what the requirement is going to look at.
            among: the clusters to consider; default all of the topology.
        """
        for cluster in observation.topology.clusters if among is None else among:
            observed = observation[cluster]
            reservations = [_reservation(observed, subject) for subject in subjects]
            missing = [reservation for reservation in reservations if reservation]
            self.reservations.extend(missing)
            if not missing:
                yield cluster, observed


def _reservation(observed: ClusterObservation, subject: Subject) -> Reservation | None:
    reading = observed.reading(subject)
    if reading is None:
        return Reservation(verdict=Verdict.UNKNOWN, reason=f"{observed.name}: {subject} was never read")
    reason = f"{observed.name}: {subject}: {reading.detail or reading.outcome}"
    match reading.outcome:
        case ReadOutcome.READ:
            return None
        case ReadOutcome.FORBIDDEN:
            return Reservation(verdict=Verdict.SKIPPED, reason=f"may not be read: {reason}")
        case ReadOutcome.UNREACHABLE:
            return Reservation(verdict=Verdict.BLOCKED, reason=f"blocked by {Subject.API_SERVER}: {reason}")
        case ReadOutcome.LOST:
            return Reservation(verdict=Verdict.UNKNOWN, reason=f"lost while reading: {reason}")


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

    def lacks(self, observation: Observation) -> str:
        """The first feature, in words, that it needs and the observed mesh does not have; empty where it applies."""
        found = mesh_features(observation)
        return next((feature.value for feature in self.needs if feature not in found), "")


def requirement(
    id: str,  # noqa: A002 - the catalogue's word
    level: Level,
    *features: Feature,
    area: str,
    experiment: bool = False,
    scenario: str = "",
    needs: tuple[MeshFeature, ...] = (),
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
    """

    def declare(check: Check) -> Check:
        check.requirement = Requirement(  # type: ignore[attr-defined]
            id, level, area, frozenset(features), experiment, check.__doc__ or "", check, scenario, needs
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
                evidence.set_aside_timed(observation.conditions)
    except Exception as broken:  # noqa: BLE001 - whatever breaks in a check is the suite's failure, not the mesh's
        where = traceback.extract_tb(broken.__traceback__)[-1]
        evidence.unknown(f"{type(broken).__name__}: {broken} ({where.name}, line {where.lineno})")
    if not (evidence.facts or evidence.findings or evidence.reservations):
        evidence.unknown("nothing was examined")
    return Judgement(
        id=requirement.id,
        level=requirement.level,
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
