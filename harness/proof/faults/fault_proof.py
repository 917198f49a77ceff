"""Makes faults on a live mesh, one after the other: break, observe, judge, undo, and check that it is whole again."""

import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from harness.base.errors import StepError
from harness.model.step import Phase
from harness.model.step_log import Listener, StepLog
from harness.observe.reading import explain
from harness.proof.faults.fault import Fault
from harness.proof.faults.selection import experiments_of, removes
from harness.proof.faults.trial import Trial, TrialResult, noticed
from harness.proof.live.standing_mesh import StandingMesh
from harness.proof.live.whole import broken
from harness.runs.mesh_run import FormedMesh


class Proof:
    """A mesh on which faults are made.

    Args:
        formed: the mesh.
        listener: notified of every step.
        records: directory for the observations of the broken mesh, one a fault.
    """

    def __init__(self, formed: FormedMesh, listener: Listener, records: Path) -> None:
        self._standing = StandingMesh(formed, listener)
        self._records = records

    def begin(self, faults: Sequence[Fault]) -> None:
        """Check that the mesh is good before anything is broken.

        Raises:
            UserError: the mesh is not good, so that nothing could be proved.
        """
        self._standing.begin(frozenset[str]().union(*map(experiments_of, faults)))

    def attempt(self, fault: Fault) -> Trial:
        """Make a fault, compare what notices it with its declaration, and undo it; never raises for what goes wrong.

        The fault is undone whatever happens, also after an interruption.
        """
        trial = self._untried(fault, self._standing.lost or "it was not made")
        if self._standing.lost:
            return trial
        with suppress(StepError), self._standing.log().step(Phase.FAULTS, f"{fault.id}: {fault.text}") as step:
            trial = self._attempt(fault)
            step.note(f"{trial.cause}; detected in {trial.seconds_to_detect} s, mended in {trial.seconds_to_mend} s")
            if trial.result is not TrialResult.CAUGHT:
                raise StepError("\n".join(filter(None, (trial.error, *trial.problems, *trial.remarks))))
        return trial

    def _attempt(self, fault: Fault) -> Trial:
        log, clock, trial = self._standing.log(), time.monotonic(), self._untried(fault, "it was not made")
        remarks: list[str] = []
        try:
            if experiments_of(fault):
                self._standing.formed.deploy_experiments(log)
            if fault.act is None:
                raise LookupError("it has no act")  # noqa: TRY301 - noted like everything else that goes wrong here
            with fault.act(self._standing.live(log)):
                in_force = time.monotonic()
                trial = self._noticed(fault, log).model_copy(
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
        left, more = self._recovered(fault)
        return trial.model_copy(
            update={
                "seconds_to_mend": round(time.monotonic() - clock, 1),
                "mended": not left,
                "remarks": (*remarks, *left, *more),
            }
        )

    def _untried(self, fault: Fault, why: str) -> Trial:
        topology = self._standing.topology
        return Trial(fault=fault.id, text=fault.text, topology=topology, declared_cause=fault.cause, error=why)

    def _noticed(self, fault: Fault, log: StepLog) -> Trial:
        """What notices the fault that is in force."""
        standing = self._standing
        if removes(fault):
            standing.formed.removed(log)
            observation = standing.formed.compared(standing.good, log)
        else:
            observation = standing.observed(log, experiments_of(fault))
        observation.save(self._records / f"{fault.id}.json.gz")
        return noticed(fault, observation, standing.requirements)

    def _recovered(self, fault: Fault) -> tuple[list[str], list[str]]:
        """What is still broken after the fault was undone, and remarks."""
        if not removes(fault):
            return self._standing.recover(fault.id)
        log = self._standing.log()
        observation = self._standing.formed.compared(self._standing.good, log)
        return broken(self._standing.judged(observation, removed=True)), []
