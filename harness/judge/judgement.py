"""What a requirement comes to: a verdict, with the findings and reservations that led to it."""

from enum import StrEnum

from harness.model.base import Model


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
