"""One fault made on a live mesh: what noticed it, compared with what its declaration says must. Pure."""

from collections.abc import Collection, Iterable, Sequence
from enum import StrEnum

from harness.judge.diagnose import diagnose
from harness.judge.diagnose.cause import Cause
from harness.judge.judgement import Judgement, Verdict
from harness.judge.requirement import Requirement
from harness.model.base import Model
from harness.model.observation import Observation
from harness.model.topology import Topology
from harness.proof.faults.fault import Fault
from harness.proof.faults.selection import experiments_of, removes
from harness.proof.live.whole import judged_while_it_stands

BROKEN = frozenset({Verdict.FAIL, Verdict.BLOCKED})
LINES = 5
"""Of an explanation, as many as are kept."""


class Notice(StrEnum):
    """How the verdict on one requirement compares with the fault's declaration."""

    FAILED = "failed as declared"
    BLOCKED = "blocked as declared"
    MISSED = "missed"
    """Declared, and neither failed nor blocked; or what must fail was only blocked."""
    COLLATERAL = "collateral"
    """Failed or blocked without being declared."""
    UNKNOWN = "unknown"
    """The suite itself failed."""


class TrialResult(StrEnum):
    """What making a fault comes to."""

    CAUGHT = "caught"
    """Exactly what is declared failed or was blocked, and the fault's cause is named first."""
    NOT_AS_DECLARED = "not as declared"
    UNKNOWN = "unknown"
    """The fault could not be made, observed or judged, or the mesh did not come back: the suite itself failed."""


AS_DECLARED = frozenset({Notice.FAILED, Notice.BLOCKED})


class Trial(Model):
    """One fault, made on a live mesh in one topology."""

    fault: str
    """Id of the fault."""
    text: str
    """What was changed, one line."""
    topology: str
    """Name of the topology."""
    notices: dict[str, Notice] = {}  # noqa: RUF012 - pydantic copies defaults
    """Requirement id → how its verdict compares with the declaration; those that passed as they had to are left out."""
    explanations: dict[str, str] = {}  # noqa: RUF012 - pydantic copies defaults
    """Requirement id → the reasons of its verdict, where that is not as declared."""
    declared_cause: str
    """Id of the cause that must be named first."""
    causes: tuple[str, ...] = ()
    """Ids of the causes that were named, the most fundamental first."""
    cause: str = ""
    """The first of them, in one line: its title, object, and what was found."""
    problems: tuple[str, ...] = ()
    """What is not as declared, one line each."""
    error: str = ""
    """Why the fault could not be made, observed or judged; empty where it was."""
    seconds_to_break: float = 0.0
    """Until the fault was in force."""
    seconds_to_detect: float | None = None
    """From then until every verdict and the cause were known."""
    seconds_to_mend: float | None = None
    """From then until the mesh was seen to be whole again."""
    mended: bool = True
    """Whether every requirement passed after the fault had been mended."""
    remarks: tuple[str, ...] = ()
    """What is worth knowing: what still failed after mending, and that the mesh was formed again."""

    @property
    def result(self) -> TrialResult:
        """What it comes to."""
        if self.problems and not self.error:
            return TrialResult.NOT_AS_DECLARED
        return TrialResult.CAUGHT if self.mended and not self.error else TrialResult.UNKNOWN

    @property
    def cause_named(self) -> bool:
        """Whether the fault's cause was named first."""
        return self.causes[:1] == (self.declared_cause,)

    @property
    def caught(self) -> bool:
        """Whether all that must notice the fault did, whatever else did too."""
        return bool(self.notices) and Notice.MISSED not in self.notices.values() and not self.error


def noticed(fault: Fault, observation: Observation, requirements: Iterable[Requirement]) -> Trial:
    """Judge an observation of a mesh with a fault in force, and compare with the fault's declaration.

    Args:
        fault: what is broken.
        observation: of the broken mesh, live or recorded.
        requirements: all there are.
    """
    wanted, removed = experiments_of(fault), removes(fault)
    judgements = judged_while_it_stands(observation, requirements, wanted, removed=removed)
    return compare(fault, observation.topology, judgements, diagnose(observation, judgements))


def compare(fault: Fault, topology: Topology, judgements: Sequence[Judgement], causes: Sequence[Cause]) -> Trial:
    """Hold verdicts and causes against a fault's declaration.

    Args:
        fault: what was broken.
        topology: where.
        judgements: of the broken mesh; what is not among them is not compared.
        causes: named for it, the most fundamental first.
    """
    declared = fault.expected(topology)
    certain = declared.keys() - fault.optional(topology)
    found = {judgement.id: _notice(fault, declared, certain, judgement) for judgement in judgements}
    notices = {row: notice for row, notice in found.items() if notice}
    explained = {j.id: "\n".join(j.explanation.splitlines()[:LINES]) for j in judgements}
    unknown = [row for row, notice in notices.items() if notice is Notice.UNKNOWN]
    trial = Trial(
        fault=fault.id,
        text=fault.text,
        topology=topology.name,
        notices=notices,
        explanations={row: explained[row] for row, notice in notices.items() if notice not in AS_DECLARED},
        declared_cause=fault.cause,
        causes=tuple(dict.fromkeys(cause.id for cause in causes)),
        cause=_said(causes[0]) if causes else "",
        error=f"{Notice.UNKNOWN}: {', '.join(unknown)}" if unknown else "",
    )
    return trial.model_copy(update={"problems": tuple(_problems(fault, trial))})


def _notice(fault: Fault, declared: Collection[str], certain: Collection[str], judgement: Judgement) -> Notice | None:
    match judgement.verdict:
        case Verdict.UNKNOWN:
            return Notice.UNKNOWN
        case Verdict.FAIL | Verdict.BLOCKED if judgement.id not in declared:
            return Notice.COLLATERAL
        case Verdict.FAIL:
            return Notice.FAILED
        case Verdict.NOT_APPLICABLE if judgement.id not in fault.must_fail:
            return None  # a consequence for sidecars, where ztunnels carry the traffic
        case Verdict.BLOCKED:
            return Notice.MISSED if judgement.id in fault.must_fail else Notice.BLOCKED
        case _:
            return Notice.MISSED if judgement.id in certain else None


def _problems(fault: Fault, trial: Trial) -> list[str]:
    found = []
    for notice in (Notice.MISSED, Notice.COLLATERAL):
        rows = [row for row, seen in trial.notices.items() if seen is notice]
        found += [f"{notice}: {', '.join(rows)}"] if rows else []
    if fault.one_of and not any(trial.notices.get(row) is Notice.FAILED for row in fault.one_of):
        found.append(f"{Notice.MISSED}: none of {', '.join(sorted(fault.one_of))} failed")
    if not trial.cause_named:
        named = ", ".join(trial.causes) or "none"
        found.append(f"wrong cause: {named} was named instead of {fault.cause}")
    return found


def _said(cause: Cause) -> str:
    where = f"{cause.cluster}: " if cause.cluster else ""
    return f"{cause.title} ({where}{cause.object} {cause.field}: {cause.found})"
