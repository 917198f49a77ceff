"""A mesh that is changed and restored again and again, and must be good before each change."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from harness.base.errors import StepError, UserError
from harness.experiments.testbed import take_down
from harness.judge.judgement import Judgement
from harness.judge.requirement import Requirement
from harness.model.observation import Observation
from harness.model.step import Phase
from harness.model.step_log import Listener, StepLog
from harness.proof.live.live_mesh import LiveMesh
from harness.proof.live.whole import await_whole, broken, judged_while_it_stands
from harness.runs.mesh_run import FormedMesh

SETTLE_SECONDS = 90.0
"""For a mesh to recover after a change was undone."""
SHORT_REQUESTS = 100
"""Requests of each client to a mesh that only has to be seen to be whole."""


@dataclass
class StandingMesh:
    """A mesh on which acts are performed, one at a time.

    Args:
        formed: the mesh.
        listener: notified of every step.
    """

    formed: FormedMesh
    listener: Listener
    lost: str = ""
    """Why no further act is possible; empty while the mesh is good."""

    def __post_init__(self) -> None:
        self._forming = tuple(step for step in self.formed.mesh.log.steps if step.phase is Phase.MESH)
        self._good: Observation | None = None

    @property
    def topology(self) -> str:
        """The topology's name."""
        return self.formed.run.topology.name

    @property
    def good(self) -> Observation:
        """The last observation of the whole mesh.

        Raises:
            RuntimeError: the mesh was not observed yet.
        """
        if self._good is None:
            raise RuntimeError("begin() comes first")
        return self._good

    def begin(self, experiments: frozenset[str] = frozenset()) -> None:
        """Observe the mesh before anything is changed, and check that it is good.

        Args:
            experiments: requirements whose experiments are made now.

        Raises:
            UserError: the mesh is not good, so that a change could prove nothing.
        """
        log = self.log()
        if experiments:
            self._good = self.observed(log, experiments)
            wrong = broken(self.judged(self._good, experiments))
        else:
            take_down(self.formed.mesh.restarted(log))
            wrong = self.settle(log)
        if wrong:
            raise UserError(
                f"{self.topology}: the mesh is not good to begin with.",
                "; ".join(wrong),
                "find out what is wrong with pytest --topology=…; only a good mesh can be changed to prove something",
            )

    def log(self) -> StepLog:
        """A log that begins with the steps by which the mesh was formed."""
        return StepLog(self.listener, self._forming)

    def live(self, log: StepLog) -> LiveMesh:
        """What an act is given.

        Raises:
            RuntimeError: the mesh was not observed yet.
        """
        return LiveMesh(self.formed.mesh.restarted(log), self.formed.certificates, self.good)

    def observed(self, log: StepLog, experiments: frozenset[str], requests: int | None = None) -> Observation:
        """Observe the mesh as it is now, and make the experiments of these requirements."""
        return self.formed.experimented(self.formed.observed(log, requests=requests, changed=True), experiments, log)

    def judged(
        self, observation: Observation, experiments: frozenset[str] = frozenset(), *, removed: bool = False
    ) -> tuple[Judgement, ...]:
        """The verdicts on an observation of this mesh; see `judged_while_it_stands`."""
        return judged_while_it_stands(observation, self.requirements, experiments, removed=removed)

    @property
    def requirements(self) -> tuple[Requirement, ...]:
        """All there are."""
        return tuple(self.formed.run.options.catalogue.values())

    def settle(self, log: StepLog) -> list[str]:
        """Wait until the mesh is whole, then judge it; returns what does not pass, one line each."""
        seconds = SETTLE_SECONDS * self.formed.run.options.timeout_scale

        def look(whole: Callable[[Observation], bool]) -> Observation:
            # Looks while waiting are not reported one by one.
            log = StepLog(earlier=self._forming)
            return self.formed.observed(log, requests=SHORT_REQUESTS, send=whole, changed=True)

        try:
            with log.step(Phase.FAULTS, "Wait until the mesh is whole") as step:
                self._good = await_whole(look, self.requirements, seconds, step)
        except StepError as failed:
            return [str(failed)]
        return broken(self.judged(self._good))

    def recover(self, after: str) -> tuple[list[str], list[str]]:
        """Wait until the mesh is good again, and install it again if it does not recover.

        Args:
            after: id of what was done to it.

        Returns:
            What still did not pass, and remarks.
        """
        log = self.log()
        first = self.settle(log)
        if not first:
            return [], []
        second = self.settle(log)
        if not second:
            return [], [f"whole only at the second look: {'; '.join(first)}"]
        # The next act needs a good mesh, whatever this one has left behind.
        for from_nothing in (False, True):
            with suppress(StepError, UserError):
                self.formed.form_again(log, from_nothing=from_nothing)
            if not self.settle(log):
                again = "it was removed and installed again" if from_nothing else "the procedure was run again"
                return second, [f"the mesh did not recover by itself: {again}"]
        self.lost = f"the mesh did not recover after {after}, although it was installed again"
        return second, [self.lost]
