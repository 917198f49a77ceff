"""Makes faults on a live mesh, one after the other: break, observe, judge, mend, and see that it is whole again."""

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from harness.base.errors import StepError, UserError
from harness.experiments.bench import take_down
from harness.judge.diagnose import diagnose
from harness.judge.requirement import Judgement, Verdict
from harness.model.observation import Observation
from harness.model.step import Phase
from harness.model.step_log import Listener, StepLog
from harness.observe.reading import explain
from harness.proof.faults.act import Stage
from harness.proof.faults.fault import EXPERIMENTS, Fault
from harness.proof.faults.selection import NEVER_LIVE, experiments_of, removes
from harness.proof.faults.trial import BROKEN, Result, Trial, compare
from harness.proof.faults.whole import await_whole, judged
from harness.runs.mesh_run import FormedMesh

SETTLE_SECONDS = 90.0
"""For a mesh that was mended to be whole again."""
SHORT_REQUESTS = 100
"""A client, for the distribution of answers of a mesh that was mended: it only has to be seen to be whole."""
RUN_ONLY = frozenset({"CLEAN"})
"""What is judged only where the mesh was removed."""


@dataclass
class Proof:
    """A mesh on which faults are made.

    Args:
        formed: the mesh.
        listener: told of every step.
        records: directory for the observations of the broken mesh, one a fault.
    """

    formed: FormedMesh
    listener: Listener
    records: Path

    def __post_init__(self) -> None:
        self._forming = tuple(step for step in self.formed.mesh.log.steps if step.phase is Phase.MESH)
        self._good: Observation | None = None
        self._lost = ""

    def begin(self, faults: Sequence[Fault]) -> None:
        """See that the mesh is good before anything is broken.

        Raises:
            UserError: it is not, so that nothing could be shown.
        """
        wanted = frozenset[str]().union(*map(experiments_of, faults))
        log = self._log()
        if wanted:
            self._good = self._observed(log, wanted)
        else:
            take_down(replace(self.formed.mesh, log=log))
            self._settle(log)
        self._require_good(wanted)

    def attempt(self, fault: Fault) -> Trial:
        """Make a fault, hold what is noticed against its declaration, and mend it; never raises for what goes wrong.

        Whatever happens, also on an interruption, the fault is mended.
        """
        trial = self._untried(fault, self._lost or "it was not made")
        if self._lost:
            return trial
        with suppress(StepError), self._log().step(Phase.FAULTS, f"{fault.id}: {fault.text}") as step:
            trial = self._attempt(fault)
            step.note(f"{trial.cause}; detected in {trial.seconds_to_detect} s, mended in {trial.seconds_to_mend} s")
            if trial.result is not Result.CAUGHT:
                raise StepError("\n".join(filter(None, (trial.error, *trial.problems, *trial.remarks))))
        return trial

    def _attempt(self, fault: Fault) -> Trial:
        log, clock, trial = self._log(), time.monotonic(), self._untried(fault, "it was not made")
        remarks: list[str] = []
        try:
            wanted = experiments_of(fault)
            if wanted:
                self.formed.deploy_experiments(log)
            if fault.act is None:
                raise LookupError("it has no act")  # noqa: TRY301 - noted like all else that goes wrong here
            with fault.act(self._stage(log)):
                in_force = time.monotonic()
                trial = self._noticed(fault, log, wanted).model_copy(
                    update={
                        "seconds_to_break": round(in_force - clock, 1),
                        "seconds_to_detect": round(time.monotonic() - in_force, 1),
                    }
                )
                clock = time.monotonic()
        except Exception as failed:  # noqa: BLE001 - whatever breaks here is the suite's failure, and noted as such
            remarks.append(f"{'mending' if trial.notices else 'breaking'} it failed: {explain(failed)}")
            if not trial.notices:
                trial = trial.model_copy(update={"error": explain(failed)})
        left, more = self._mended(fault)
        return trial.model_copy(
            update={
                "seconds_to_mend": round(time.monotonic() - clock, 1),
                "mended": not left,
                "remarks": (*remarks, *left, *more),
            }
        )

    def _untried(self, fault: Fault, why: str) -> Trial:
        topology = self.formed.run.topology.name
        return Trial(fault=fault.id, text=fault.text, topology=topology, declared_cause=fault.cause, error=why)

    def _log(self) -> StepLog:
        return StepLog(self.listener, self._forming)

    def _stage(self, log: StepLog) -> Stage:
        if self._good is None:
            raise RuntimeError("begin() comes first")
        mesh = self.formed.mesh.restarted(log)
        return Stage(mesh, self.formed.certificates, self._good)

    def _observed(self, log: StepLog, experiments: frozenset[str], requests: int | None = None) -> Observation:
        observation = self.formed.observed(log, requests=requests)
        return self.formed.experimented(observation, experiments, log)

    def _noticed(self, fault: Fault, log: StepLog, experiments: frozenset[str]) -> Trial:
        """What notices the fault that is in force."""
        if removes(fault):
            self.formed.removed(log)
            observation = self.formed.compared(self._stage(log).good, log)
        else:
            observation = self._observed(log, experiments)
        judgements = _judged(observation, experiments, removed=removes(fault))
        observation.save(self.records / f"{fault.id}.json.gz")
        return compare(fault, observation.topology, judgements, diagnose(observation, judgements))

    def _mended(self, fault: Fault) -> tuple[list[str], list[str]]:
        """What is still broken after mending, and what else is worth knowing of it."""
        log = self._log()
        if removes(fault):
            good = self._stage(log).good
            judgements = _judged(self.formed.compared(good, log), frozenset(), removed=True)
            return _broken(judgements), []
        left = self._settle(log)
        if not left:
            return [], []
        more = self._settle(log)
        if not more:
            return [], [f"whole at the second look only: {'; '.join(left)}"]
        # The next fault is to be made on a good mesh, whatever this one has left.
        for from_nothing in (False, True):
            with suppress(StepError, UserError):
                self.formed.form_again(log, from_nothing=from_nothing)
            if not self._settle(log):
                again = "formed again from nothing" if from_nothing else "the procedure was run again"
                return more, [f"it did not come back by itself: {again}"]
        self._lost = f"the mesh did not come back after {fault.id}, though it was formed again"
        return more, [self._lost]

    def _settle(self, log: StepLog) -> list[str]:
        """Wait until the mesh is whole, and see that every requirement passes; returns what does not."""
        seconds = SETTLE_SECONDS * self.formed.run.options.timeout_scale
        try:
            with log.step(Phase.FAULTS, "Wait until the mesh is whole") as step:
                await_whole(lambda: self.formed.observed(self._quiet_log(), send=False), seconds, step)
        except StepError as failed:
            return [str(failed)]
        self._good = self._observed(log, frozenset(), SHORT_REQUESTS)
        return _broken(_judged(self._good, frozenset()))

    def _quiet_log(self) -> StepLog:
        """For looks that are repeated while waiting: what is waited for is told, not each look."""
        return StepLog(earlier=self._forming)

    def _require_good(self, experiments: frozenset[str]) -> None:
        wrong = _broken(_judged(self._good, experiments)) if self._good else ["it was not observed"]
        if wrong:
            raise UserError(
                f"{self.formed.run.topology.name}: the mesh is not good to begin with.",
                "; ".join(wrong),
                "see what is wrong: pytest --topology=…; faults are made on a good mesh only",
            )


def _judged(observation: Observation, experiments: frozenset[str], *, removed: bool = False) -> tuple[Judgement, ...]:
    """The verdicts on all that is judged of a live fault: of the experiments only those that were made."""
    leave_out = (frozenset(EXPERIMENTS) - experiments) | NEVER_LIVE | (frozenset() if removed else RUN_ONLY)
    return judged(observation, leave_out)


def _broken(judgements: Sequence[Judgement]) -> list[str]:
    """Every requirement that does not pass, with its first reason."""
    return [
        f"{judgement.id} {judgement.verdict}: {judgement.explanation.splitlines()[0]}"
        for judgement in judgements
        if judgement.verdict in BROKEN | {Verdict.UNKNOWN}
    ]
