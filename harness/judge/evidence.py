"""What a requirement notes while it looks at an observation: facts, findings, and what could not be judged."""

from collections.abc import Iterator, Sequence

from harness.judge.judgement import Finding, Reservation, Verdict
from harness.judge.placement import place
from harness.model.cluster import ClusterObservation, ReadOutcome, Subject
from harness.model.conditions import Conditions
from harness.model.observation import Observation
from harness.model.topology import Cluster


class Evidence:
    """Collects what a requirement sees while it looks at an observation."""

    def __init__(self) -> None:
        self.facts: list[str] = []
        self.findings: list[Finding] = []
        self.reservations: list[Reservation] = []
        self._timed: list[Finding] = []
        self._waited: list[Finding] = []

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
        waited: bool = False,
    ) -> bool:
        """Note a fact where it holds, a finding where it does not; returns whether it holds.

        Args:
            holds: whether it is as it must be.
            cluster: where, or whose control plane's object it is; empty where it concerns the mesh as a whole.
            object: see `Finding`.
            field: see `Finding`.
            expected: see `Finding`.
            found: see `Finding`.
            timed: it rests on time: on a deadline, or on how many requests failed. On an overloaded machine such a
                finding is unknown.
            waited: the same of something that had to become ready while the mesh was formed, and to stay so.
        """
        name = cluster if isinstance(cluster, str) else cluster.name
        if isinstance(cluster, Cluster):
            name = place(cluster, object)
        if holds:
            where = f"{name}: " if name else ""
            self.fact(f"{where}{object} {field}: {found}")
        else:
            finding = Finding(cluster=name, object=object, field=field, expected=str(expected), found=str(found))
            self.findings.append(finding)
            self._timed += [finding] if timed else []
            self._waited += [finding] if waited else []
        return holds

    def set_aside_timed(self, observing: Conditions | None, forming: Conditions | None) -> None:
        """Take what rests on time for unknown, where something was too busy to keep a deadline meanwhile.

        Args:
            observing: the conditions while the mesh was observed; None where they were not measured.
            forming: the same while it was formed.
        """
        if not (self._timed or self._waited):
            return
        then = f"while the mesh was formed: {forming.strain}" if forming and forming.strain else ""
        now = observing.strain if observing else ""
        self._set_aside(self._timed, now)
        self._set_aside(self._waited, then or now)

    def _set_aside(self, findings: Sequence[Finding], strain: str) -> None:
        for finding in findings if strain else ():
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
