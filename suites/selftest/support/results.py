"""Judged results for the tests of the reports."""

from datetime import UTC, datetime, timedelta

from harness.judge.diagnose import diagnose
from harness.judge.judgement import Judgement, Level, Verdict
from harness.judge.requirement import judge
from harness.model import expectations
from harness.model.observation import Observation, SuiteVersion
from harness.model.step import Outcome, Phase, Step
from harness.model.topology import Cluster
from harness.model.traffic import Request
from reports.result import FailOn, RunInfo, TopologyResult, lacking
from suites.catalogue import catalogue
from suites.selftest.support.breakage import gateway_is, last

COMMAND = "pytest --topology=multi-primary"


def judged(observation: Observation, not_run: tuple[tuple[str, str], ...] = ()) -> TopologyResult:
    """Judge everything that applies, and name the causes."""
    left_out = {each for each, _ in not_run}
    judgements = tuple(
        judge(requirement, observation)
        for requirement in catalogue().values()
        if requirement.applies_to(observation.topology) and requirement.id not in left_out
    )
    causes = diagnose(observation, judgements)
    return TopologyResult(
        observation=observation,
        judgements=tuple(each for each in judgements if each.verdict is not Verdict.NOT_APPLICABLE),
        causes=causes,
        not_run=not_run,
        not_applicable=lacking(judgements),
    )


def without_address(observation: Observation) -> Observation:
    """The last cluster's gateway has no load balancer address, and nobody gets through to it."""
    target = last(observation.topology)
    traffic = observation.traffic
    assert traffic
    coverage = tuple(
        sequence.model_copy(update={"requests": tuple(_lost(request, target) for request in sequence.requests)})
        if sequence.client != target.name
        else sequence
        for sequence in traffic.coverage
    )
    broken = gateway_is(observation, target, ingress=(), resolved=())
    return broken.model_copy(
        update={
            "steps": procedure(Outcome.FAILED),
            "traffic": traffic.model_copy(update={"coverage": coverage}),
            "probes": tuple(probe for probe in broken.probes if probe.port != expectations.MESH_PORT),
        }
    )


def procedure(outcome: Outcome = Outcome.DONE) -> tuple[Step, ...]:
    """A few steps; the last one ends as told."""
    start = datetime(2026, 11, 23, 12, tzinfo=UTC)
    return (
        Step(
            phase=Phase.CLUSTERS, title="Create the cluster", cluster="east", started=start, seconds=12.0,
            outcome=Outcome.DONE,
        ),
        Step(
            phase=Phase.CLUSTERS, title="Create the cluster", cluster="west", started=start, seconds=17.5,
            outcome=Outcome.DONE,
        ),
        Step(
            phase=Phase.MESH, title="Wait for the gateway's address", cluster="west",
            started=start + timedelta(seconds=18), seconds=20.0, outcome=outcome, detail="no available IPs",
        ),
    )  # fmt: skip


def verdict(verdict: Verdict, level: Level = Level.MUST, number: int = 1) -> Judgement:
    """A judgement with that verdict and nothing else."""
    return Judgement(id=f"{level}-{number}", level=level, area="area", title="A requirement.", verdict=verdict)


def run_info(fail_on: FailOn = "must") -> RunInfo:
    """What is known of a session."""
    return RunInfo(
        suite=SuiteVersion(version="0.1.0", commit="0123456789abcdef"),
        started=datetime(2026, 11, 23, 12, tzinfo=UTC),
        seconds=94.2,
        command=COMMAND,
        options={"topology": "multi-primary"},
        fail_on=fail_on,
        texts={name: requirement.text for name, requirement in catalogue().items()},
    )


def _lost(request: Request, target: Cluster) -> Request:
    lost = {"status": 503, "version": "", "instance": "", "error": "no healthy upstream"}
    return request.model_copy(update=lost) if request.version == target.version else request
