"""The recorded runs that ship with the suite, judged as `make demo` does, and everything that this leaves behind."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import jsonschema
import pytest

from harness.base.errors import UserError
from harness.model.observation import Observation, load
from harness.runs import output_layout as layout
from reports import conformance, demo
from reports.compare import differences
from reports.document import read as read_document
from reports.judging import ROOT
from reports.model import ConformanceReport
from suites.selftest.support import sessions
from suites.selftest.support.results import judged, run_info

LARGEST = 150_000
"""Bytes of a recorded run: it comes with every checkout."""


def recorded(name: str) -> Path:
    return ROOT / demo.recording(name)


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What judging the broken run leaves behind; what it printed is beside it."""
    directory = tmp_path_factory.mktemp("demo")
    arguments = [f"--observation={recorded('broken')}", f"--output={directory}"]
    variables = {"EASTWEST_SKIP_REQUIREMENT": "CLEAN:not today", "EASTWEST_LEVEL": "MUST,SHOULD", "NO_COLOR": "1"}
    status, said = sessions.run(arguments, directory / "said.txt", variables)
    assert status == 1, said
    return directory


def test_the_healthy_run_is_conformant_and_the_broken_one_names_its_cause_first() -> None:
    healthy, broken = (judged(load(recorded(name))) for name in ("healthy", "broken"))
    assert conformance.exit_code(conformance.build([healthy], run_info())) == demo.EXPECTED["healthy"]
    report = conformance.build([broken], run_info())
    assert conformance.exit_code(report) == demo.EXPECTED["broken"]
    assert [cause.id for cause in report.topologies[0].causes] == [demo.FAULT]
    assert "this is no real run" in report.topologies[0].deviations[0]
    changed = differences(conformance.build([healthy], run_info()), report)
    assert any("GW-ADDRESS: pass → fail" in line for line in changed)


def test_recorded_runs_are_small() -> None:
    assert all(recorded(name).stat().st_size < LARGEST for name in demo.EXPECTED)


def test_recorded_runs_are_made_anew_from_a_good_run(
    good_observations: Mapping[str, Observation], tmp_path: Path
) -> None:
    demo.record(good_observations["primary-remote-multi-network"], tmp_path)
    assert load(tmp_path / "healthy.json.gz") == good_observations["primary-remote-multi-network"]
    assert load(tmp_path / "broken.json.gz") != load(tmp_path / "healthy.json.gz")
    with pytest.raises(UserError, match="can't be made from multi-primary"):
        demo.record(good_observations["multi-primary-multi-network"], tmp_path)


def test_the_report_says_how_to_make_it_again_and_what_was_left_out(output: Path) -> None:
    data = json.loads((output / layout.REPORT_JSON).read_text())
    jsonschema.validate(data, conformance.published_schema())
    as_json, as_yaml = (
        read_document(output / name, ConformanceReport) for name in (layout.REPORT_JSON, layout.REPORT_YAML)
    )
    assert as_json == as_yaml
    assert data["reproduce"].startswith(
        "EASTWEST_LEVEL=MUST,SHOULD EASTWEST_SKIP_REQUIREMENT='CLEAN:not today' pytest "
    )
    assert data["options"]["level"] == "MUST,SHOULD"
    (topology,) = data["topologies"]
    assert {each["reason"] for each in topology["not_run"]} == {"left out by --level=MUST,SHOULD"}
    assert {"requirement": "TR-GRPC", "reason": "left out by --level=MUST,SHOULD"} in topology["not_run"]
    clean = next(each for each in topology["requirements"] if each["id"] == "CLEAN")
    assert (clean["verdict"], clean["reasons"]) == ("skipped", ["left out by --skip-requirement: not today"])
    assert data["partial"]


def test_junit_carries_ids_levels_and_causes(output: Path) -> None:
    suite = ET.parse(output / layout.JUNIT).getroot().find("testsuite")  # noqa: S314 - our own file
    assert suite is not None
    cases = {
        found["requirement"]: (case, found)
        for case in suite.iter("testcase")
        if (found := {each.get("name", ""): each.get("value", "") for each in case.iter("property")})
    }
    case, found = cases["GW-ADDRESS"]
    assert found["level"] == "MUST"
    assert found["verdict"] == "fail"
    assert found["cause"] == demo.FAULT
    failure = case.find("failure")
    assert failure is not None
    assert "expected an address" in (failure.get("message") or "") + (failure.text or "")
    blocked, found = cases["GW-REACHABLE"]
    assert found["cause"] == demo.FAULT
    skipped = blocked.find("skipped")
    assert skipped is not None
    assert "blocked by GW-ADDRESS" in (skipped.get("message") or "")
    assert cases["CERT-CHAIN"][1]["verdict"] == "pass"


def test_allure_has_requirements_and_the_procedure(output: Path) -> None:
    results: list[dict[str, Any]] = [json.loads(path.read_text()) for path in output.glob("allure/*-result.json")]
    named = {result["name"].partition(":")[0]: result for result in results}
    failed, blocked, passed = (named[name] for name in ("GW-ADDRESS", "GW-REACHABLE", "CERT-CHAIN"))
    assert (failed["status"], blocked["status"], passed["status"]) == ("failed", "skipped", "passed")
    assert "expected an address" in failed["statusDetails"]["message"]
    labels = {label["name"]: label["value"] for label in failed["labels"]}
    assert (labels["epic"], labels["feature"]) == ("primary-remote-multi-network", "gateways")
    assert labels["severity"] == "blocker"
    attached = {each["name"]: (output / "allure" / each["source"]).read_text() for each in failed["attachments"]}
    assert "expected an address" in attached["Findings"]
    assert any(name.startswith("Cause: ") and demo.FAULT in text for name, text in attached.items())
    procedure = named["The procedure, step by step"]
    phases = {phase["name"]: phase for phase in procedure["steps"]}
    assert {"certificates", "mesh", "workloads", "observe"} <= set(phases)
    assert any(step["stop"] - step["start"] > 1000 for step in phases["mesh"]["steps"])
    assert procedure["stop"] > procedure["start"]


def test_the_terminal_says_it_without_colours(output: Path) -> None:
    said = (output / "said.txt").read_text()
    assert "\x1b[" not in said
    lines = said.splitlines()
    areas = [line.split("  ")[0] for line in lines if line[:1].isalpha()]
    assert areas.index("certificates") < areas.index("gateways") < areas.index("traffic")
    for name in (layout.REPORT_HTML, layout.REPORT_JSON, layout.SUMMARY, layout.BADGE, layout.JUNIT, layout.ALLURE):
        assert str(output / name) in said
    assert "Cause: " in said
    assert any(line.startswith("eastwest ") and "Not conformant" in line for line in lines)


def test_the_job_summary_has_verdict_cause_and_tables(output: Path) -> None:
    text = (output / layout.SUMMARY).read_text()
    assert text.startswith("# ❌ Not conformant")
    assert "### Cause: " in text
    assert "| GW-ADDRESS | MUST |" in text
    assert text.count("<details") == text.count("</details>") >= 3
