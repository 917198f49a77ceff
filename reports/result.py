"""What reports are made from: plain data, handed over when everything has been judged."""

from datetime import datetime
from typing import Literal

from pydantic import Field

from harness.judge.diagnose.cause import Cause
from harness.judge.requirement import Judgement
from harness.model.base import Model
from harness.model.observation import Observation, SuiteVersion

FailOn = Literal["must", "should", "any"]


class TopologyResult(Model):
    """One observation, judged."""

    observation: Observation
    judgements: tuple[Judgement, ...]
    """In the catalogue's order."""
    causes: tuple[Cause, ...] = ()
    """The most fundamental first."""
    not_run: tuple[tuple[str, str], ...] = ()
    """Id and reason of each requirement that applies and was left out of the run."""
    label: str = ""
    """What tells two observations of one topology apart; default the topology's name."""

    @property
    def name(self) -> str:
        """The name under which it is reported."""
        return self.label or self.observation.topology.name


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
