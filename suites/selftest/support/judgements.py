"""Judgements for the self-tests of causes."""

from harness.judge.judgement import Finding, Judgement, Level, Verdict
from harness.judge.requirement import judge
from harness.model.observation import Observation
from suites.catalogue import catalogue
from suites.selftest.support.breakage import concerns


def judged(observation: Observation) -> tuple[Judgement, ...]:
    """Verdicts on a mesh by every requirement that applies to its topology and to what carries its traffic."""
    return tuple(judge(row, observation) for row in catalogue().values() if concerns(row, observation))


def failed(*ids: str) -> tuple[Judgement, ...]:
    """A failure of each of these requirements."""
    finding = Finding(cluster="east", object="thing", field="property", expected="one", found="other")
    return tuple(
        Judgement(
            id=row, level=Level.MUST, area="", title=f"about {row}", verdict=Verdict.FAIL, findings=(finding, finding)
        )
        for row in ids
    )
