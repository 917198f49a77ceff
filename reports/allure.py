"""What Allure shows of a run: labels, requirement text and evidence of each test; the procedure as a result of its own.

`describe` and `attach` are called while pytest runs the test of a requirement; allure-pytest writes what they say.
"""

import uuid
from collections.abc import Iterable, Sequence
from datetime import timedelta
from itertools import groupby
from pathlib import Path

import allure
from allure_commons.logger import AllureFileLogger
from allure_commons.model2 import Attachment, Label, Status, StatusDetails, TestResult, TestStepResult

from harness.judge.diagnose.cause import Cause
from harness.judge.judgement import Judgement, Level
from harness.judge.requirement import Requirement
from harness.model.observation import Observation
from harness.model.step import Outcome, Phase, Step
from reports.conformance import requirement_link
from reports.model import ConformanceReport

SEVERITIES = {
    Level.MUST: allure.severity_level.BLOCKER,
    Level.SHOULD: allure.severity_level.NORMAL,
    Level.EXTENDED: allure.severity_level.MINOR,
}
STATUSES = {
    Outcome.DONE: Status.PASSED,
    Outcome.FAILED: Status.FAILED,
    Outcome.ERROR: Status.BROKEN,
    Outcome.SKIPPED: Status.SKIPPED,
}


def describe(requirement: Requirement, topology: str) -> None:
    """Label the running test: epic topology, feature area, the requirement's text."""
    allure.dynamic.title(f"{requirement.id}: {requirement.title}")
    allure.dynamic.epic(topology)
    allure.dynamic.feature(requirement.area)
    allure.dynamic.story(requirement.id)
    allure.dynamic.description(f"{requirement.text.strip()}\n\n{requirement_link(requirement.id)}")


def attach(judgement: Judgement, causes: Iterable[Cause] = ()) -> None:
    """Attach to the running test what was examined and found, and each cause of it; its severity is by the level."""
    allure.dynamic.severity(SEVERITIES[judgement.level])
    allure.dynamic.tag(judgement.level.value)
    parts = {
        "Findings": [str(finding) for finding in judgement.findings],
        "Why it was not judged": [reservation.reason for reservation in judgement.reservations],
        "Evidence": list(judgement.facts),
    }
    for name, lines in parts.items():
        if lines:
            allure.attach("\n".join(lines), name, allure.attachment_type.TEXT)
    for cause in causes:
        if judgement.id in cause.explains:
            allure.attach(cause.model_dump_json(indent=2), f"Cause: {cause.title}", allure.attachment_type.JSON)


def write_procedure(observation: Observation, name: str, directory: Path) -> None:
    """Write the procedure of one topology as a result: its phases with every step, the observation attached.

    Args:
        observation: the run.
        name: the topology's name in the report.
        directory: Allure's results directory.
    """
    logger = AllureFileLogger(str(directory))
    source = f"{uuid.uuid4()}-attachment.json"
    logger.report_attached_data(observation.model_dump_json(indent=1), source)
    steps = [_phase(phase, list(members)) for phase, members in groupby(observation.steps, lambda step: step.phase)]
    result = TestResult(
        uuid=str(uuid.uuid4()),
        name="The procedure, step by step",
        fullName=f"{name}: procedure",
        historyId=f"{name}-procedure",
        status=_gravest(observation.steps),
        statusDetails=_details(observation.steps),
        steps=steps,
        start=min((step.start for step in steps), default=_milliseconds(observation.started.timestamp())),
        stop=max((step.stop for step in steps), default=_milliseconds(observation.observed.timestamp())),
        labels=[Label("epic", name), Label("feature", "procedure"), Label("severity", "trivial")],
        attachments=[Attachment("observation", source, allure.attachment_type.JSON.mime_type)],
    )
    logger.report_result(result)


def write_environment(report: ConformanceReport, directory: Path) -> None:
    """Write what Allure shows as the environment of the run."""
    lines = [("suite", f"{report.suite.version} {report.suite.commit}".strip()), ("reproduce", report.reproduce)]
    for topology in report.topologies:
        environment = topology.environment
        lines += [
            (f"{topology.name}.installer", topology.distribution.installer),
            (f"{topology.name}.platform", environment.platform),
            (f"{topology.name}.loadBalancer", environment.load_balancer),
        ]
        for cluster in topology.clusters:
            lines.append((f"{topology.name}.{cluster.name}.kubernetes", cluster.kubernetes))
            lines.append((f"{topology.name}.{cluster.name}.istio", ", ".join(cluster.proxies)))
            lines.append((f"{topology.name}.{cluster.name}.envoy", ", ".join(cluster.envoys)))
    directory.mkdir(parents=True, exist_ok=True)
    text = "".join(f"{key}={' '.join(value.split())}\n" for key, value in lines if value)
    (directory / "environment.properties").write_text(text)


def _phase(phase: Phase, members: Sequence[Step]) -> TestStepResult:
    """Steps of one phase that followed each other."""
    steps = [_step(step) for step in members]
    return TestStepResult(
        name=phase.value,
        status=_gravest(members),
        steps=steps,
        start=min(step.start for step in steps),
        stop=max(step.stop for step in steps),
    )


def _gravest(steps: Sequence[Step]) -> str:
    outcomes = {step.outcome for step in steps}
    gravest = next((each for each in (Outcome.ERROR, Outcome.FAILED) if each in outcomes), Outcome.DONE)
    return str(STATUSES[gravest])


def _details(steps: Sequence[Step]) -> StatusDetails | None:
    """What went wrong, where something did."""
    bad = [step for step in steps if step.outcome in {Outcome.ERROR, Outcome.FAILED}]
    lines = [f"{step.cluster or 'all clusters'}: {step.title}: {step.detail}".rstrip(": ") for step in bad]
    return StatusDetails(message="\n".join(lines)) if lines else None


def _step(step: Step) -> TestStepResult:
    ended = step.started + timedelta(seconds=step.seconds)
    return TestStepResult(
        name=f"{step.cluster}: {step.title}" if step.cluster else step.title,
        status=STATUSES[step.outcome],
        statusDetails=StatusDetails(message=step.detail) if step.detail else None,
        start=_milliseconds(step.started.timestamp()),
        stop=_milliseconds(ended.timestamp()),
    )


def _milliseconds(seconds: float) -> int:
    return int(seconds * 1000)
