"""The few requirements that must act to be seen: each acts on the sample namespace, records, and undoes what it did."""

from collections.abc import Callable
from typing import TypeVar

from harness.base.errors import StepError
from harness.experiments import authorization, echo, mutual_tls, rerun
from harness.experiments.testbed import set_up, take_down
from harness.mesh.context import Mesh
from harness.mesh.pki import Pki
from harness.model.experiment import AUTHORIZATION, GRPC, IDS, PAYLOAD, RERUN, STRICT, TCP, Experiments
from harness.model.observation import Observation
from harness.observe.reading import explain

Seen = TypeVar("Seen")


def experiment(mesh: Mesh, *, pki: Pki | None, observation: Observation, wanted: frozenset[str]) -> Experiments:
    """Make the experiments, one after the other; whatever happens, what they applied is withdrawn.

    Never raises for a fault of the mesh. On a mesh whose loop does not pass none is made: it would show nothing new.

    Args:
        mesh: the mesh.
        pki: the certificates that it was installed with; None where the suite did not install it: the procedure is not
            run again then.
        observation: what was observed before.
        wanted: the requirements whose experiments are made.
    """
    attempts = _Attempts(wanted & IDS)
    try:
        if reason := unfit(observation):
            return Experiments(prevented=dict.fromkeys(sorted(attempts.wanted), reason))
        seen = _with_pods(attempts, mesh, observation)
        # It would deploy again what is taken down.
        found = attempts.make(lambda: rerun.make(mesh, pki), RERUN) if pki else None
    finally:
        take_down(mesh)
    return seen.model_copy(update={"rerun": found, "prevented": attempts.prevented, "errors": attempts.errors})


def unfit(observation: Observation) -> str:
    """Why no experiment is worth making; empty where each version has answered each cluster. Pure."""
    traffic = observation.traffic
    clients = {timed.client for timed in traffic.convergence if timed.converged} if traffic else set()
    missing = [cluster.name for cluster in observation.topology.clusters if cluster.name not in clients]
    return f"TR-REACH: not every version answers {', '.join(missing)}" if missing else ""


def _with_pods(attempts: "_Attempts", mesh: Mesh, observation: Observation) -> Experiments:
    """The experiments that send requests."""
    testbed = attempts.make(lambda: set_up(mesh, observation), *(IDS - {RERUN}))
    if testbed is None:
        return Experiments()
    return Experiments(
        tcp=attempts.make(lambda: echo.tcp(testbed), TCP),
        payload=attempts.make(lambda: echo.payload(testbed), PAYLOAD),
        grpc=attempts.make(lambda: echo.grpc(testbed), GRPC),
        strict=attempts.make(lambda: mutual_tls.make(testbed), STRICT),
        authorization=attempts.make(lambda: authorization.make(testbed), AUTHORIZATION),
    )


class _Attempts:
    """Which experiments are made, and what kept them."""

    def __init__(self, wanted: frozenset[str]) -> None:
        self.wanted = wanted
        self.prevented: dict[str, str] = {}
        self.errors: dict[str, str] = {}

    def make(self, make: Callable[[], Seen], *requirements: str) -> Seen | None:
        """What is observed for these requirements; None where none of them is wanted, or the experiment failed."""
        wanted = sorted(self.wanted.intersection(requirements))
        if not wanted:
            return None
        try:
            return make()
        except Exception as failed:  # noqa: BLE001 - the suite's failure is a verdict of its own, and others go on
            # Clusters are worked on side by side, and may fail together.
            causes = failed.exceptions if isinstance(failed, ExceptionGroup) else (failed,)
            if all(isinstance(cause, StepError) for cause in causes):
                reason = f"its experiment: {'; '.join(map(str, causes))}"
                self.prevented |= dict.fromkeys(wanted, reason)
            else:
                self.errors |= dict.fromkeys(wanted, "; ".join(map(explain, causes)))
        return None
