"""What reports are made from: plain data, handed over when everything has been judged."""

from collections.abc import Iterable
from datetime import datetime
from typing import Literal

from pydantic import Field

from harness.judge.diagnose.cause import Cause
from harness.judge.judgement import Judgement, Verdict
from harness.model.base import Model
from harness.model.observation import Observation, SuiteVersion

FailOn = Literal["must", "should", "any"]


class TopologyResult(Model):
    """One observation, judged."""

    observation: Observation
    judgements: tuple[Judgement, ...]
    """In the catalogue's order, without those that are not applicable."""
    causes: tuple[Cause, ...] = ()
    """The most fundamental first."""
    not_run: tuple[tuple[str, str], ...] = ()
    """Id and reason of each requirement that applies and was left out of the run."""
    not_applicable: tuple[tuple[str, str], ...] = ()
    """Id and reason of each requirement about what this mesh or topology does not have."""
    label: str = ""
    """What tells two observations of one topology apart; default the topology's name."""

    @property
    def name(self) -> str:
        """The name under which it is reported."""
        return self.label or self.observation.topology.name


def lacking(judgements: Iterable[Judgement]) -> tuple[tuple[str, str], ...]:
    """Id and reason of each requirement that turned out not to be applicable."""
    prefix = f"{Verdict.NOT_APPLICABLE}: "
    return tuple(
        (
            each.id,
            "; ".join(dict.fromkeys(r.reason.removeprefix(prefix) for r in each.reservations)),
        )
        for each in judgements
        if each.verdict is Verdict.NOT_APPLICABLE
    )


class RunInfo(Model):
    """What is known of the session that judged."""

    suite: SuiteVersion
    started: datetime
    seconds: float
    """Wall clock, from the start of the session until the reports are written."""
    command: str
    """One shell command that makes this report again. Never holds secrets."""
    options: dict[str, str] = Field(default_factory=dict)
    """The options that were given, on the command line or by their environment variables."""
    fail_on: FailOn = "must"
    """What must pass: MUST; SHOULD, too; or everything, with nothing blocked or unknown."""
    unobserved: tuple[tuple[str, str], ...] = ()
    """Name and reason of each topology that was asked for and of which there is no observation."""
    texts: dict[str, str] = Field(default_factory=dict)
    """Requirement id → its documentation (`Requirement.text`)."""
