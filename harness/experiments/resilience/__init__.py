"""What must hold while something changes: requests go on, something is changed, recorded and mended."""

from collections.abc import Mapping
from datetime import UTC, datetime

from harness.base.errors import StepError
from harness.experiments import unfit
from harness.experiments.resilience.load_generator import RATE, LoadGenerator
from harness.experiments.resilience.scenario import TABLE, ScenarioSpec, Setting
from harness.experiments.resilience.stage import Certificates, Stage
from harness.kube.access import ClusterAccess
from harness.mesh.context import Mesh
from harness.mesh.pki import Pki
from harness.model.observation import Observation
from harness.model.resilience import FAILED, Resilience, Scenario
from harness.model.step import Phase
from harness.observe.reading import explain


def play(
    mesh: Mesh,
    certificates: Pki,
    *,
    accesses: Mapping[str, ClusterAccess],
    observation: Observation,
    wanted: frozenset[str],
) -> Resilience:
    """Play scenarios one after the other on a mesh that serves.

    Never raises for a fault of the mesh. What a scenario changed it has changed back when it ends, but for
    certificates and tokens, which stay the new ones, and an upgrade that failed half way, which is left as it is.

    Args:
        mesh: it stands, with the sample on it.
        certificates: those that it was formed with.
        accesses: cluster → how it is reached, with its node containers where the suite made it.
        observation: what was observed before.
        wanted: the ids of scenarios; those that do not apply to the topology are left out.
    """
    present = Certificates(certificates)
    played: dict[str, Scenario] = {}
    prevented: dict[str, str] = {}
    errors: dict[str, str] = {}
    for spec in TABLE:
        if spec.id not in wanted or not spec.applies_to(mesh.topology):
            continue
        setting = Setting(mesh.topology, mesh.settings, present.current, all(a.nodes for a in accesses.values()))
        if reason := unfit(observation):
            prevented[spec.id] = reason
        elif reason := spec.unfit(setting):
            prevented[spec.id] = f"its environment: {reason}"
        else:
            try:
                played[spec.id] = _played(spec, Stage(mesh, present, accesses, _traffic(mesh)))
            except StepError as failed:
                prevented[spec.id] = f"its scenario: {failed}"
            except Exception as failed:  # noqa: BLE001 - the suite's failure is a verdict of its own, and others go on
                errors[spec.id] = explain(failed)
    return Resilience(scenarios=played, prevented=prevented, errors=errors)


def _traffic(mesh: Mesh) -> LoadGenerator:
    kubes = [mesh.kube(cluster) for cluster in mesh.topology.clusters]
    return LoadGenerator(kubes, mesh.settings.sample_namespace, mesh.settings.timeout_scale)


def _played(spec: ScenarioSpec, stage: Stage) -> Scenario:
    """Play one scenario; what fails after it began is recorded as a moment of it.

    Raises:
        StepError: the mesh did not serve before it began.
    """
    started = datetime.now(UTC)
    stage.load.start()
    try:
        with stage.mesh.log.step(Phase.RESILIENCE, spec.title):
            stage.await_whole()
            try:
                spec.act(stage)
            except (StepError, ExceptionGroup) as failed:
                _note_failure(stage, failed)
    finally:
        stage.load.stop()
    return Scenario(
        started=started,
        seconds=stage.load.now,
        rate=RATE,
        limit=stage.load.limit,
        moments=tuple(stage.moments),
        streams=stage.load.streams(),
        trust=tuple(stage.trust),
        authorities=stage.authorities,
        endpoints=tuple(stage.endpoints),
        syncs=tuple(stage.syncs),
        tokens=tuple(stage.tokens),
        revisions=tuple(stage.revisions),
    )


def _note_failure(stage: Stage, failed: Exception) -> None:
    """Note what the mesh or the environment did not do.

    Raises:
        Exception: it was the suite that failed.
    """
    causes = failed.exceptions if isinstance(failed, ExceptionGroup) else (failed,)
    if not all(isinstance(cause, StepError) for cause in causes):
        raise failed
    stage.note(FAILED, detail="; ".join(map(str, causes)))
