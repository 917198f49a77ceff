"""The ConformanceReport: what counts as success, its schema, and what changed between two."""

import json
from collections.abc import Mapping
from io import StringIO
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from harness.judge.evidence import Evidence
from harness.judge.judgement import Level, Verdict
from harness.judge.requirement import Requirement, judge
from harness.model.observation import Observation
from reports import badge, closing, conformance, html, markdown
from reports.__main__ import main
from reports.compare import differences
from reports.document import read
from reports.model import ConformanceReport, Result
from reports.result import FailOn, TopologyResult, lacking
from reports.terminal import console
from suites.selftest.support.results import COMMAND, judged, run_info, verdict, without_address

MULTI_PRIMARY, PRIMARY_REMOTE = "multi-primary-multi-network", "primary-remote-multi-network"
M, S, E = Level.MUST, Level.SHOULD, Level.EXTENDED
PASS, FAIL, BLOCKED, SKIPPED, UNKNOWN = Verdict.PASS, Verdict.FAIL, Verdict.BLOCKED, Verdict.SKIPPED, Verdict.UNKNOWN
GOOD, BAD, UNSURE, NONE = Result.CONFORMANT, Result.NOT_CONFORMANT, Result.UNKNOWN, Result.NOTHING_JUDGED


@pytest.fixture(scope="module")
def healthy(good_observations: Mapping[str, Observation]) -> TopologyResult:
    """A good mesh, judged."""
    return judged(good_observations[MULTI_PRIMARY])


@pytest.fixture(scope="module")
def broken(good_observations: Mapping[str, Observation]) -> TopologyResult:
    """A mesh whose last gateway has no address, judged."""
    return judged(without_address(good_observations[MULTI_PRIMARY]))


@pytest.mark.parametrize(
    ("verdicts", "must", "should", "any_"),
    [
        ([], NONE, NONE, NONE),
        ([(M, SKIPPED), (S, SKIPPED)], NONE, NONE, NONE),
        ([(M, PASS)], GOOD, GOOD, GOOD),
        ([(M, PASS), (S, SKIPPED)], GOOD, GOOD, GOOD),
        ([(M, FAIL), (S, PASS)], BAD, BAD, BAD),
        ([(M, BLOCKED), (S, PASS)], BAD, BAD, BAD),
        ([(M, PASS), (S, FAIL)], GOOD, BAD, BAD),
        ([(M, PASS), (S, BLOCKED)], GOOD, BAD, BAD),
        ([(M, PASS), (E, FAIL)], GOOD, GOOD, BAD),
        ([(M, UNKNOWN)], UNSURE, UNSURE, UNSURE),
        ([(M, PASS), (E, UNKNOWN)], UNSURE, UNSURE, UNSURE),
        ([(M, FAIL), (S, UNKNOWN)], BAD, BAD, BAD),
        ([(S, FAIL), (M, UNKNOWN)], UNSURE, BAD, BAD),
        ([(M, SKIPPED), (S, PASS)], GOOD, GOOD, GOOD),
        ([(M, SKIPPED), (S, FAIL)], BAD, BAD, BAD),
        ([(E, FAIL)], BAD, BAD, BAD),
        ([(E, BLOCKED), (E, PASS)], BAD, BAD, BAD),
    ],
)
def test_what_counts_as_success(
    verdicts: list[tuple[Level, Verdict]], must: Result, should: Result, any_: Result
) -> None:
    """Unknown or nothing judged is never success; a binding requirement that fails or is blocked is failure."""
    fail_ons: tuple[tuple[FailOn, Result], ...] = (("must", must), ("should", should), ("any", any_))
    for fail_on, wanted in fail_ons:
        assert conformance.result_of(verdicts, fail_on) is wanted


@pytest.mark.parametrize(
    ("rows", "wanted"),
    [
        ({"A": (UNKNOWN,), "B": (BLOCKED, "A"), "C": (BLOCKED, "B")}, [UNKNOWN, UNKNOWN, UNKNOWN]),
        ({"A": (UNKNOWN,), "B": (FAIL,), "C": (BLOCKED, "A", "B")}, [UNKNOWN, FAIL, BLOCKED]),
        ({"A": (UNKNOWN,), "B": (BLOCKED, "API server")}, [UNKNOWN, BLOCKED]),
        ({"A": (UNKNOWN,), "B": (BLOCKED, "A", "API server")}, [UNKNOWN, BLOCKED]),
        ({"B": (BLOCKED, "NOT-RUN")}, [BLOCKED]),
    ],
)
def test_what_only_something_unknown_blocks_is_unknown(
    rows: dict[str, tuple[Verdict, *tuple[str, ...]]], wanted: list[Verdict], healthy: TopologyResult
) -> None:
    """Through chains of blocks; a failure, or what could not be read at all, blocks as ever."""
    some = conformance.build([healthy], run_info()).topologies[0].requirements[0]
    made = [
        some.model_copy(
            update={"id": name, "verdict": verdict, "reasons": tuple(f"blocked by {by}: why: how" for by in blockers)}
        )
        for name, (verdict, *blockers) in rows.items()
    ]
    assert [verdict for _, verdict in conformance.weighed(made)] == wanted


def test_the_gravest_topology_decides() -> None:
    """One topology that is not conformant makes the run not conformant."""
    assert conformance.overall([]) is NONE
    assert conformance.overall([GOOD, GOOD]) is GOOD
    assert conformance.overall([GOOD, NONE]) is NONE
    assert conformance.overall([GOOD, NONE, UNSURE]) is UNSURE
    assert conformance.overall([GOOD, UNSURE, BAD]) is BAD


def test_exit_codes(healthy: TopologyResult, broken: TopologyResult) -> None:
    """Each result has its exit code."""
    nothing = healthy.model_copy(update={"judgements": ()})
    unknown = healthy.model_copy(update={"judgements": (verdict(UNKNOWN),)})
    for results, code in (([healthy], 0), ([healthy, broken], 1), ([unknown], 3), ([nothing], 5), ([], 5)):
        assert conformance.exit_code(conformance.build(results, run_info())) == code


def test_what_could_not_be_observed_is_unknown(healthy: TopologyResult, broken: TopologyResult) -> None:
    """A topology that was asked for and is not there is never forgotten, however good the others are."""
    run = run_info().model_copy(update={"unobserved": ((PRIMARY_REMOTE, "no cluster could be created"),)})
    for results, wanted in (([healthy], UNSURE), ([], UNSURE), ([broken], BAD)):
        report = conformance.build(results, run)
        assert report.result is wanted
        assert report.partial
        assert f"{PRIMARY_REMOTE}: not observed" in report.summary
        for text in (markdown.render(report), html.render(report, results, run)):
            assert "no cluster could be created" in text
    assert differences(conformance.build([healthy], run), conformance.build([healthy], run_info()))


def test_less_than_everything_is_partial(healthy: TopologyResult) -> None:
    """What was left out or skipped is said wherever the result is."""
    whole = conformance.build([healthy], run_info())
    left_out = healthy.model_copy(update={"not_run": (("CLEAN", "left out by --area"),)})
    skipped = healthy.model_copy(update={"judgements": (*healthy.judgements, verdict(SKIPPED))})
    assert not whole.partial
    assert "partial" not in whole.summary
    for result in (left_out, skipped):
        report = conformance.build([result], run_info())
        assert report.partial
        assert report.result is GOOD
        assert "Conformant, partial" in report.summary
        assert "partial" in badge.render(report)
        assert "Conformant, partial" in markdown.render(report)


def test_not_applicable_is_listed_and_not_counted(healthy: TopologyResult) -> None:
    """It makes nothing partial, changes no count, and every form says it with its reason."""
    whole = conformance.build([healthy], run_info())
    lacks = Evidence()
    lacks.not_applicable("needs an operator")
    row = Requirement("CP-OPERATED", M, "control plane", frozenset(), False, "Title.", lambda *_: None)
    judgement = judge(row, None, lacks)
    also = (*healthy.not_applicable, *lacking([judgement]))
    result = healthy.model_copy(update={"not_applicable": also})

    report = conformance.build([result], run_info())

    assert judgement.verdict is Verdict.NOT_APPLICABLE
    assert (report.partial, report.summary) == (False, whole.summary)
    assert report.topologies[0].counts == whole.topologies[0].counts
    page = html.render(report, [result], run_info())
    stream = StringIO()
    closing.show(console(stream), report, [result], {})
    for text in (report.model_dump_json(), markdown.render(report), page, stream.getvalue()):
        assert "CP-OPERATED" in text
        assert "needs an operator" in text
    assert differences(whole, report) == (f"{MULTI_PRIMARY}: CP-OPERATED: not run → not applicable",)
    assert conformance.result_of([(M, Verdict.NOT_APPLICABLE)]) is NONE


def test_what_to_change_is_said_in_every_form(broken: TopologyResult) -> None:
    """Of a mesh that the suite did not install; the command beside it only looks."""
    asked = broken.observation.asked.model_copy(update={"mode": "verify-only"})
    result = judged(broken.observation.model_copy(update={"asked": asked}))
    report = conformance.build([result], run_info())
    stream = StringIO()
    closing.show(console(stream), report, [result], {})
    page = html.render(report, [result], run_info())
    for text in (report.model_dump_json(), markdown.render(report), page, stream.getvalue()):
        assert "where it is declared" in text
    assert "<dt>Look</dt>" in page
    assert "<dt>Repair</dt>" not in page


def test_summary_can_be_quoted(healthy: TopologyResult, broken: TopologyResult) -> None:
    """One line says result, topology, counts and cause."""
    good = conformance.build([healthy], run_info()).summary
    assert good.startswith("eastwest 0.1.0 (01234567): Conformant; multi-primary-multi-network: all ")
    bad = conformance.build([broken], run_info()).summary
    assert "Not conformant" in bad
    assert "of them MUST" in bad
    assert "cause: " in bad
    assert "gateway-no-address" in bad
    assert "\n" not in good + bad


def test_causes_are_linked_both_ways(broken: TopologyResult) -> None:
    """A requirement names its causes, a cause what it explains."""
    topology = conformance.build([broken], run_info()).topologies[0]
    address = next(each for each in topology.requirements if each.id == "GW-ADDRESS")
    assert "gateway-no-address" in address.causes
    assert address.definition == "docs/requirements.md#gw-address"
    assert "GW-ADDRESS" in topology.causes[0].explains
    assert topology.causes[0].definition.startswith("docs/causes.md#")


def test_written_report_follows_the_published_schema(broken: TopologyResult, tmp_path: Path) -> None:
    """JSON and YAML say the same, and a report against the schema is not written."""
    report = conformance.build([broken], run_info())
    as_json, as_yaml = conformance.write(report, tmp_path)
    data = json.loads(as_json.read_text())
    assert data == yaml.safe_load(as_yaml.read_text())
    jsonschema.validate(data, conformance.published_schema())
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**data, "result": "splendid"}, conformance.published_schema())
    assert read(as_json, ConformanceReport) == read(as_yaml, ConformanceReport) == report
    assert report.reproduce == COMMAND


def test_published_schema_is_current() -> None:
    """The committed schema is that of the model."""
    assert conformance.published_schema() == conformance.schema(), (
        "run python -m reports schema > reports/schema/conformance-report-v1.json"
    )


def test_every_field_is_described() -> None:
    """The schema describes every property."""
    schema = ConformanceReport.model_json_schema(mode="serialization")
    models = [schema, *(each for each in schema["$defs"].values() if "properties" in each)]
    missing = [
        f"{model['title']}.{name}"
        for model in models
        for name, field in model["properties"].items()
        if not field.get("description")
    ]
    assert missing == []


def test_no_key_material_is_reported(broken: TopologyResult) -> None:
    """No PEM block is in a report."""
    report = conformance.build([broken], run_info())
    for text in (report.model_dump_json(), markdown.render(report)):
        assert "BEGIN " not in text


def test_compare_says_what_changed(
    healthy: TopologyResult, broken: TopologyResult, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit 0 where both say the same, 1 with a line for each change."""
    paths = []
    for name, result in (("a", healthy), ("b", broken)):
        paths.append(str(conformance.write(conformance.build([result], run_info()), tmp_path / name)[0]))
    assert main(["compare", paths[0], paths[0]]) == 0
    assert main(["compare", *paths]) == 1
    said = capsys.readouterr().out
    assert "result: conformant → not conformant" in said
    assert f"{MULTI_PRIMARY}: GW-ADDRESS: pass → fail" in said
    assert "cause gateway-no-address west" in said
    assert "absent → present" in said


def test_compare_sees_topologies_come_and_go(healthy: TopologyResult) -> None:
    """Topologies of only one report are named."""
    two = [healthy, healthy.model_copy(update={"label": "second"})]
    before, after = conformance.build(two, run_info()), conformance.build(two[:1], run_info())
    assert differences(before, after) == ("second: no longer judged",)
    assert differences(after, before) == ("second: newly judged: conformant",)


@pytest.mark.parametrize("content", [None, "{", '{"kind": "Pod"}', "[]"])
def test_compare_refuses_what_is_no_report(
    content: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit 4 and three lines."""
    path = tmp_path / "report.json"
    if content is not None:
        path.write_text(content)
    assert main(["compare", str(path), str(path)]) == 4
    assert len(capsys.readouterr().err.strip().splitlines()) == 3


def test_markdown_keeps_its_tables(healthy: TopologyResult) -> None:
    """Text from outside can't end a cell or bring markup."""
    judgement = verdict(FAIL).model_copy(update={"title": "a | b\n<script> `c`"})
    text = markdown.render(conformance.build([healthy.model_copy(update={"judgements": (judgement,)})], run_info()))
    assert "a \\| b &lt;script&gt; \\`c\\`" in text
    assert "<script>" not in text


def test_schema_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """`python -m reports schema` prints JSON."""
    assert main(["schema"]) == 0
    printed: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert printed == conformance.schema()
