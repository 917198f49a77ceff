"""Observes and judges one healthy mesh again and again: every verdict that is not a pass is a false alarm."""

import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from harness.judge.judgement import Verdict
from harness.judge.requirement import Requirement, judge
from harness.model import odds
from harness.model.base import Model
from harness.model.observation import Observation
from harness.model.step_log import Listener, StepLog
from harness.runs.mesh_run import FormedMesh

NOT_WHILE_IT_STANDS = frozenset({"CLEAN"})
"""Judged when the mesh is gone."""


class Alarm(Model):
    """A requirement that did not pass."""

    requirement: str
    verdict: Verdict
    explanation: str


class Repetition(Model):
    """One time that the mesh was observed and judged."""

    number: int
    seconds: float
    judged: int
    alarms: tuple[Alarm, ...]


class Soak(Model):
    """All repetitions on one mesh."""

    topology: str
    repetitions: tuple[Repetition, ...]

    @property
    def judged(self) -> int:
        """How many verdicts there are."""
        return sum(repetition.judged for repetition in self.repetitions)

    @property
    def alarms(self) -> tuple[Alarm, ...]:
        """All that are not passes."""
        return tuple(alarm for repetition in self.repetitions for alarm in repetition.alarms)


def soak(formed: FormedMesh, runs: int, experiments: int, listener: Listener, output: Path) -> Soak:
    """Observe and judge a mesh that stands, `runs` times in a row.

    Args:
        formed: the mesh.
        runs: how often.
        experiments: in how many of them, the first ones, experiments are made too.
        listener: notified of every step.
        output: observations with an alarm are written there.
    """
    done = []
    rows = formed.run.options.catalogue.values()
    for number in range(1, runs + 1):
        began = time.monotonic()
        log = StepLog(listener, formed.run.log.steps)
        wanted = frozenset(row.id for row in rows if row.experiment) if number <= experiments else ()
        if wanted:
            formed.deploy_experiments(log)
        observation = formed.experimented(formed.observed(log), frozenset(wanted) - NOT_WHILE_IT_STANDS, log)
        found = repetition(observation, rows, number, time.monotonic() - began)
        if found.alarms:
            observation.save(output / f"{observation.topology.name}-{number}.json")
        done.append(found)
    return Soak(topology=formed.run.topology.name, repetitions=tuple(done))


def repetition(
    observation: Observation, requirements: Iterable[Requirement], number: int, seconds: float
) -> Repetition:
    """Judge everything that applies while the mesh stands; experiments only where they were made. Pure."""
    rows = [
        row
        for row in requirements
        if row.applies_to(observation.topology)
        and not row.scenario
        and row.id not in NOT_WHILE_IT_STANDS
        and (observation.experiments is not None or not row.experiment)
    ]
    judgements = [judge(row, observation) for row in rows]
    alarms = tuple(
        Alarm(requirement=each.id, verdict=each.verdict, explanation=each.explanation)
        for each in judgements
        if each.verdict not in {Verdict.PASS, Verdict.NOT_APPLICABLE}
    )
    return Repetition(number=number, seconds=round(seconds, 1), judged=len(rows), alarms=alarms)


def markdown(soaks: Sequence[Soak]) -> str:
    """A table, and what the figures say. Pure."""
    lines = [
        "# Soak: good meshes, judged again and again",
        "",
        "| topology | repetitions | verdicts | alarms | alarms a repetition, at most (95 %) |",
        "|---|---|---|---|---|",
    ]
    for each in soaks:
        runs, alarmed = len(each.repetitions), sum(1 for found in each.repetitions if found.alarms)
        bound = odds.error_rate_bound(runs) if not alarmed else 1.0
        lines.append(
            f"| {each.topology} | {runs} | {each.judged} | {len(each.alarms)} | "
            f"{f'{bound:.1%}' if not alarmed else f'{alarmed} of {runs} seen'} |"
        )
    for each in soaks:
        for found in each.repetitions:
            lines += [
                f"- {each.topology}, repetition {found.number}: {alarm.requirement} {alarm.verdict}: "
                + " ".join(alarm.explanation.split())
                for alarm in found.alarms
            ]
    return "\n".join(lines) + "\n"
