"""Makes variants on a live mesh, one after the other: change, observe and judge as a stranger's mesh, undo."""

import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from harness.base.errors import StepError, UserError
from harness.judge.diagnose import diagnose
from harness.judge.judgement import Judgement
from harness.model.observation import Observation
from harness.model.step import Phase
from harness.model.step_log import Listener, StepLog
from harness.observe.reading import explain
from harness.proof.live.standing_mesh import StandingMesh
from harness.proof.live.whole import broken
from harness.proof.variants.trial import VariantResult, VariantTrial, compare
from harness.proof.variants.variant import Variant
from harness.runs import verify_only
from harness.runs.mesh_run import FormedMesh


@dataclass
class VariantProof:
    """A mesh on which variants are made, and which is judged as `--verify-only` judges the mesh of somebody else.

    Args:
        formed: the mesh.
        listener: notified of every step.
        records: directory for the observations, one a variant.
    """

    formed: FormedMesh
    listener: Listener
    records: Path

    def __post_init__(self) -> None:
        self._standing = StandingMesh(self.formed, self.listener)
        self._before: tuple[Judgement, ...] = ()

    def begin(self) -> None:
        """Check that the mesh is good, also when it is judged as somebody else's.

        Raises:
            UserError: it is not, so that no variant could prove anything.
        """
        self._standing.begin()
        observation = self._found(self._standing.log())
        observation.save(self.records / "none.json.gz")
        self._before = self._standing.judged(observation)
        if wrong := broken(self._before):
            raise UserError(
                f"{self._standing.topology}: the mesh is not good when it is judged with --verify-only.",
                "; ".join(wrong),
                "correct this first; a variant must differ from a mesh that is green",
            )

    def attempt(self, variant: Variant) -> VariantTrial:
        """Make a variant, judge the mesh, and undo the change; never raises for what goes wrong.

        The change is undone whatever happens, also after an interruption.
        """
        trial = self._untried(variant, self._standing.lost or "it was not made")
        if self._standing.lost:
            return trial
        with suppress(StepError), self._standing.log().step(Phase.FAULTS, f"{variant.id}: {variant.text}") as step:
            trial = self._attempt(variant, trial)
            step.note(f"{trial.result}; judged after {trial.seconds} s")
            if trial.result is not VariantResult.GREEN:
                raise StepError("\n".join(filter(None, (trial.error, *trial.alarms, *trial.remarks))))
        return trial

    def _attempt(self, variant: Variant, trial: VariantTrial) -> VariantTrial:
        log, clock = self._standing.log(), time.monotonic()
        made, remarks = False, []
        try:
            with variant.act(self._standing.live(log)):
                trial = self._judged(variant, log)
                made, trial = True, trial.model_copy(update={"seconds": round(time.monotonic() - clock, 1)})
        except Exception as failed:  # noqa: BLE001 - whatever breaks here is the suite's failure, and noted as such
            remarks.append(f"{'undoing' if made else 'making'} it failed: {explain(failed)}")
            if not made:
                trial = trial.model_copy(update={"error": explain(failed)})
        left, more = self._standing.recover(variant.id)
        return trial.model_copy(update={"recovered": not left, "remarks": (*remarks, *left, *more)})

    def _judged(self, variant: Variant, log: StepLog) -> VariantTrial:
        """What the suite says of the mesh with the change in force."""
        topology = self._standing.topology
        try:
            observation = self._found(log)
        except UserError as refused:  # somebody who asks for --verify-only would get this and no verdict
            return self._untried(variant, "").model_copy(update={"alarms": (f"not recognised as a mesh: {refused}",)})
        observation.save(self.records / f"{variant.id}.json.gz")
        after = self._standing.judged(observation)
        return compare(variant, topology, self._before, after, diagnose(observation, after))

    def _found(self, log: StepLog) -> Observation:
        """The mesh as `--verify-only` finds and observes it.

        Raises:
            UserError: the clusters are not recognised as a mesh.
        """
        run, kubes = self.formed.run, self.formed.mesh.kubes
        return verify_only.verify(
            verify_only.discover(kubes, run.options),
            run.site.accesses,
            run.options,
            environment=run.provisions.environment(existing=True),
            run_id=run.site.run.id,
            started=datetime.now(UTC),
            log=log,
        )

    def _untried(self, variant: Variant, why: str) -> VariantTrial:
        return VariantTrial(variant=variant.id, text=variant.text, topology=self._standing.topology, error=why)
