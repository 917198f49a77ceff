"""Builds the ConformanceReport from what was judged, and writes it. The rules of success stand here and nowhere else.

A MUST that fails, or is blocked by something broken, is failure; unknown is never success; nor is nothing judged.
Where no binding requirement was judged, those that were are what the run comes to.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema

from harness.base import yaml_documents
from harness.judge.diagnose.cause import Cause
from harness.judge.judgement import Judgement, Level, Verdict
from harness.model import expectations
from harness.model.cluster import ClusterObservation
from harness.model.observation import Observation
from harness.model.topology import Cluster
from harness.runs import output_layout as layout
from reports.model import (
    ConformanceReport,
    Counts,
    Distribution,
    NotApplicable,
    NotRun,
    ReportedCause,
    ReportedCluster,
    ReportedEnvironment,
    ReportedFinding,
    RequirementResult,
    Result,
    Suite,
    TopologyReport,
    Unobserved,
)
from reports.result import FailOn, RunInfo, TopologyResult
from reports.summary import headline, summary_line

SCHEMA = "conformance-report-v1.json"
EVIDENCE = 6
"""Facts that a requirement shows in the report; more are counted."""

BINDING: dict[FailOn, frozenset[Level]] = {
    "must": frozenset({Level.MUST}),
    "should": frozenset({Level.MUST, Level.SHOULD}),
    "any": frozenset(Level),
}
EXIT_CODES = {Result.CONFORMANT: 0, Result.NOT_CONFORMANT: 1, Result.UNKNOWN: 3, Result.NOTHING_JUDGED: 5}
NOT_JUDGED = frozenset({Verdict.SKIPPED, Verdict.NOT_APPLICABLE})
_BLOCKED_BY = re.compile(r"blocked by (.+?): ")
"""The reason of what is blocked: a requirement's id, or what could not be read."""
_GRAVEST_FIRST = (Result.NOT_CONFORMANT, Result.UNKNOWN, Result.NOTHING_JUDGED, Result.CONFORMANT)


def build(results: Sequence[TopologyResult], run: RunInfo) -> ConformanceReport:
    """Make the report of a run.

    Args:
        results: one for each topology; none at all is "nothing judged".
        run: what is known of the session.
    """
    topologies = tuple(_topology(result, run.fail_on) for result in results)
    unobserved = tuple(Unobserved(name=name, reason=reason) for name, reason in run.unobserved)
    result = overall([*(topology.result for topology in topologies), *(Result.UNKNOWN for _ in unobserved)])
    partial = bool(unobserved) or any(topology.partial for topology in topologies)
    return ConformanceReport(
        suite=Suite(version=run.suite.version, commit=run.suite.commit),
        date=run.started,
        seconds=round(run.seconds, 1),
        result=result,
        partial=partial,
        fail_on=run.fail_on,
        summary=summary_line(run.suite, headline(result, partial), topologies, unobserved),
        reproduce=run.command,
        options=run.options,
        topologies=topologies,
        unobserved=unobserved,
    )


def weighed(requirements: Iterable[RequirementResult]) -> tuple[tuple[Level, Verdict], ...]:
    """Level and verdict of each requirement, where what only something unknown blocks is unknown, too. Pure."""
    rows = tuple(requirements)
    verdicts = {row.id: row.verdict for row in rows}
    while found := [row.id for row in rows if verdicts[row.id] is Verdict.BLOCKED and _by_unknown(row, verdicts)]:
        verdicts |= dict.fromkeys(found, Verdict.UNKNOWN)
    return tuple((row.level, verdicts[row.id]) for row in rows)


def _by_unknown(row: RequirementResult, verdicts: Mapping[str, Verdict]) -> bool:
    blockers = [found[1] for reason in row.reasons if (found := _BLOCKED_BY.match(reason))]
    return bool(blockers) and all(verdicts.get(blocker) is Verdict.UNKNOWN for blocker in blockers)


def result_of(judgements: Iterable[tuple[Level, Verdict]], fail_on: FailOn = "must") -> Result:
    """What verdicts come to.

    Args:
        judgements: level and verdict of each requirement that was run.
        fail_on: which levels bind.
    """
    judged = [(level, verdict) for level, verdict in judgements if verdict not in NOT_JUDGED]
    verdicts = {verdict for _, verdict in judged}
    binding = {verdict for level, verdict in judged if level in BINDING[fail_on]} or verdicts
    if binding & {Verdict.FAIL, Verdict.BLOCKED}:
        return Result.NOT_CONFORMANT
    if Verdict.UNKNOWN in verdicts:
        return Result.UNKNOWN
    return Result.CONFORMANT if verdicts else Result.NOTHING_JUDGED


def overall(results: Iterable[Result]) -> Result:
    """What several topologies come to: the gravest of them; nothing where there are none."""
    found = set(results)
    return next((result for result in _GRAVEST_FIRST if result in found), Result.NOTHING_JUDGED)


def exit_code(report: ConformanceReport) -> int:
    """0 conformant, 1 not conformant, 3 unknown, 5 nothing judged."""
    return EXIT_CODES[report.result]


def schema() -> dict[str, Any]:
    """The JSON Schema of the report, made from its model."""
    made = ConformanceReport.model_json_schema(mode="serialization")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": SCHEMA, **made}


def published_schema() -> dict[str, Any]:
    """The JSON Schema as it is published with the suite."""
    text = files("reports").joinpath("schema", SCHEMA).read_text()
    return dict(json.loads(text))


def write(report: ConformanceReport, directory: Path) -> tuple[Path, Path]:
    """Write report.json and report.yaml, and return their paths.

    Raises:
        jsonschema.ValidationError: the report does not follow the published schema; nothing is written then.
    """
    data = report.model_dump(mode="json")
    # jsonschema.validate would check the schema as well, each time: the self-tests do.
    jsonschema.Draft202012Validator(published_schema()).validate(data)
    directory.mkdir(parents=True, exist_ok=True)
    as_json, as_yaml = directory / layout.REPORT_JSON, directory / layout.REPORT_YAML
    as_json.write_text(json.dumps(data, indent=2, ensure_ascii=False) + "\n")
    as_yaml.write_text(yaml_documents.dump(data, width=120))
    return as_json, as_yaml


def requirement_link(id: str) -> str:  # noqa: A002 - the field's name
    """Where a requirement is documented."""
    return f"docs/requirements.md#{id.lower()}"


def cause_link(id: str) -> str:  # noqa: A002 - the field's name
    """Where a cause is documented."""
    return f"docs/causes.md#{id}"


def count(verdicts: Iterable[Verdict]) -> Counts:
    """How many there are of each verdict."""
    seen = list(verdicts)
    return Counts(
        passed=seen.count(Verdict.PASS),
        failed=seen.count(Verdict.FAIL),
        blocked=seen.count(Verdict.BLOCKED),
        skipped=seen.count(Verdict.SKIPPED),
        unknown=seen.count(Verdict.UNKNOWN),
    )


def _topology(result: TopologyResult, fail_on: FailOn) -> TopologyReport:
    observation, judgements = result.observation, result.judgements
    requirements = tuple(_requirement(judgement, result.causes) for judgement in judgements)
    return TopologyReport(
        name=result.name,
        result=result_of(weighed(requirements), fail_on),
        partial=bool(result.not_run) or any(j.verdict is Verdict.SKIPPED for j in judgements),
        observed=observation.observed,
        run_id=observation.run_id,
        clusters=tuple(_cluster(cluster, observation) for cluster in observation.topology.clusters),
        distribution=_distribution(observation),
        environment=_environment(observation),
        images=_images(observation),
        counts=count(j.verdict for j in judgements),
        counts_by_level={level: count(j.verdict for j in judgements if j.level is level) for level in Level},
        requirements=requirements,
        causes=tuple(ReportedCause(**cause.model_dump(), definition=cause_link(cause.id)) for cause in result.causes),
        not_run=tuple(NotRun(requirement=left_out, reason=reason) for left_out, reason in result.not_run),
        not_applicable=tuple(NotApplicable(requirement=each, reason=reason) for each, reason in result.not_applicable),
        deviations=observation.deviations,
        conditions=observation.conditions.summary if observation.conditions else "",
        strain=_strain(observation),
        errors=observation.errors,
    )


def _strain(observation: Observation) -> str:
    forming, observing = observation.conditions_of_forming, observation.conditions
    earlier = f"while the mesh was formed, {forming.strain}" if forming and forming.strain else ""
    return "; ".join(filter(None, (earlier, observing.strain if observing else "")))


def _requirement(judgement: Judgement, causes: Sequence[Cause]) -> RequirementResult:
    return RequirementResult(
        id=judgement.id,
        level=judgement.level,
        area=judgement.area,
        title=judgement.title,
        verdict=judgement.verdict,
        evidence=shortened(judgement.facts, EVIDENCE),
        findings=tuple(ReportedFinding(**finding.model_dump()) for finding in judgement.findings),
        reasons=tuple(reservation.reason for reservation in judgement.reservations),
        causes=tuple(dict.fromkeys(cause.id for cause in causes if judgement.id in cause.explains)),
        definition=requirement_link(judgement.id),
    )


def shortened(lines: Sequence[str], most: int) -> tuple[str, ...]:
    """The first lines, and how many more there are."""
    left = len(lines) - most
    return (*lines[:most], f"… and {left} more") if left > 0 else tuple(lines)


def _cluster(cluster: Cluster, observation: Observation) -> ReportedCluster:
    observed = observation[cluster]
    return ReportedCluster(
        name=cluster.name,
        cluster_name=cluster.cluster_name,
        role=cluster.role.value,
        primary=cluster.primary,
        network=cluster.network,
        workload_version=cluster.version,
        gateway_addresses=gateway_addresses(observed),
        kubernetes=observed.kubernetes_version,
        control_planes=_distinct(plane.version for plane in observed.control_planes),
        proxies=_distinct(proxy.version for proxy in observed.proxies),
        envoys=_distinct(proxy.envoy_version for proxy in observed.proxies),
        node_os=_distinct(node.os_image for node in observed.nodes),
        architectures=_distinct(node.architecture for node in observed.nodes),
        container_runtimes=_distinct(node.container_runtime for node in observed.nodes),
    )


def gateway_addresses(observed: ClusterObservation) -> tuple[str, ...]:
    """The addresses of a cluster's east-west gateway as published."""
    service = expectations.gateway_service(observed)
    return service.ingress if service else ()


def _distinct(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted({value for value in values if value}))


def _distribution(observation: Observation) -> Distribution:
    asked = observation.asked
    return Distribution(
        name=asked.distribution,
        mode=asked.mode,
        installer=asked.installer,
        istio_version=asked.istio_version,
        revision=asked.revision,
        cni=asked.cni,
        own_certificates=asked.own_pki,
        resolved=asked.resolved,
    )


def _environment(observation: Observation) -> ReportedEnvironment:
    environment = observation.environment
    return ReportedEnvironment(
        platform=environment.platform,
        load_balancer=observation.asked.load_balancer,
        container_engine=environment.container_engine,
        kind_version=environment.kind_version,
        node_image=environment.node_image,
        image_source=observation.asked.images,
        data_plane=environment.data_plane,
    )


def _images(observation: Observation) -> dict[str, str]:
    """What the nodes resolved; for what no pod showed, what the suite provided."""
    seen = {
        container.image: container.image_id.rpartition("@")[2]
        for observed in observation.clusters
        for pod in observed.pods
        for container in pod.containers
        if container.image_id
    }
    return dict(sorted({**observation.environment.images, **seen}.items()))
