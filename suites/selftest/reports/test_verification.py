"""What a published report says, against its observations judged again: everything that was changed is found."""

import copy
import json
from typing import Any

import pytest

from harness.judge.judgement import Verdict
from harness.model.observation import load
from reports import conformance
from reports.judging import ROOT
from reports.model import ConformanceReport
from reports.verification import Verification, verify
from suites.selftest.support.results import judged, run_info

NAME = "primary-remote-multi-network"
Document = dict[str, Any]


@pytest.fixture(scope="module")
def true() -> Document:
    """A true report of a broken run, as its JSON."""
    result = judged(load(ROOT / "reports" / "demo" / "broken.json.gz"))
    report = json.loads(conformance.build([result], run_info()).model_dump_json())
    return {**report, "options": {"topology": "primary-remote"}}


def test_a_true_report_is_confirmed(true: Document) -> None:
    assert _held(true, true).differences == 0


def _held(true: Document, claimed: Document) -> Verification:
    """What is found where a report says this, and its observations come to what the published one says."""
    return verify(ConformanceReport.model_validate(claimed), ConformanceReport.model_validate(true).topologies)


def _requirement(report: Document, name: str) -> Document:
    return next(each for each in report["topologies"][0]["requirements"] if each["id"] == name)


def test_a_verdict_that_was_changed_is_found_with_all_that_follows(true: Document) -> None:
    claimed = copy.deepcopy(true)
    _requirement(claimed, "GW-ADDRESS")["verdict"] = "pass"
    found = _held(true, claimed)
    assert found.verdicts == (f"{NAME}: GW-ADDRESS: the report says MUST pass, judged again MUST fail",)
    _requirement(claimed, "GW-ADDRESS").update(verdict="fail", level="EXTENDED")
    assert _held(true, claimed).verdicts


def test_a_result_that_was_changed_is_found(true: Document) -> None:
    claimed = copy.deepcopy(true) | {"result": "conformant"}
    assert any("it comes to Not conformant" in line for line in _held(true, claimed).content)
    claimed = copy.deepcopy(true)
    claimed["topologies"][0]["result"] = "conformant"
    claimed["topologies"][0]["counts"]["failed"] = 0
    assert _held(true, claimed).content == tuple(
        f"{NAME}: {field} is not as it comes out of the verdicts and the observation" for field in ("result", "counts")
    )
    assert _held(true, copy.deepcopy(true) | {"summary": "all is well"}).content
    assert _held(true, copy.deepcopy(true) | {"fail_on": "any", "partial": False}).content


def test_a_requirement_that_was_removed_is_found(true: Document) -> None:
    claimed = copy.deepcopy(true)
    claimed["topologies"][0]["requirements"].remove(_requirement(claimed, "GW-ADDRESS"))
    assert _held(true, claimed).left_out == (f"{NAME}: GW-ADDRESS: missing from the report; judged now fail",)
    claimed["topologies"][0]["not_run"] = [{"requirement": "GW-ADDRESS", "reason": "left out by --area=traffic"}]
    assert _held(true, claimed).left_out == (f"{NAME}: GW-ADDRESS: left out by --area=traffic; judged now fail",)
    claimed["topologies"][0]["not_run"] = []
    claimed["topologies"][0]["not_applicable"] += [{"requirement": "GW-ADDRESS", "reason": "needs a gateway"}]
    found = _held(true, claimed)
    assert found.left_out
    assert any("not_applicable" in line for line in found.content)


def test_a_requirement_that_does_not_exist_is_found(true: Document) -> None:
    claimed = copy.deepcopy(true)
    invented = _requirement(claimed, "CERT-CHAIN") | {"id": "CERT-BEAUTIFUL"}
    claimed["topologies"][0]["requirements"].append(invented)
    assert _held(true, claimed).verdicts == (
        f"{NAME}: CERT-BEAUTIFUL: the report says pass, and there is no such requirement",
    )


def test_images_and_versions_that_were_changed_are_found(true: Document) -> None:
    claimed = copy.deepcopy(true)
    topology = claimed["topologies"][0]
    image = next(iter(topology["images"]))
    topology["images"][image] = "sha256:0"
    topology["clusters"][1]["control_planes"] = ["9.9.9"]
    topology["distribution"]["name"] = "acme"
    found = _held(true, claimed).observed
    assert any(line.startswith(f"{NAME}: images {image}: the report says sha256:0, observed ") for line in found)
    assert any(line.startswith(f"{NAME}: clusters west control_planes: the report says 9.9.9, ") for line in found)
    assert any("distribution name: the report says acme, observed istio" in line for line in found)
    assert len(found) == 3


def test_evidence_and_causes_that_were_changed_are_found(true: Document) -> None:
    claimed = copy.deepcopy(true)
    claimed["topologies"][0]["causes"] = []
    _requirement(claimed, "CERT-CHAIN")["evidence"] = ["it is so"]
    found = _held(true, claimed).content
    assert any("causes is not as" in line for line in found)
    assert any("CERT-CHAIN: evidence" in line for line in found)


def test_topologies_that_are_not_in_the_report_are_found(true: Document) -> None:
    claimed = copy.deepcopy(true)
    claimed["options"] = {"topology": "all"}
    assert _held(true, claimed).left_out == ("multi-primary-multi-network: asked for, and not in the report",)
    claimed["unobserved"] = [{"name": "multi-primary-multi-network", "reason": "no memory"}]
    assert _held(true, claimed).left_out == ("multi-primary-multi-network: not observed: no memory",)
    claimed = copy.deepcopy(true)
    claimed["topologies"][0]["name"] = "multi-primary-multi-network"
    assert _held(true, claimed).observed


def test_local_changes_of_the_suite_are_no_published_version(true: Document) -> None:
    claimed = copy.deepcopy(true)
    claimed["suite"]["commit"] = "0123456789ab+"
    assert any("local changes" in line for line in _held(true, claimed).content)
    claimed["suite"]["commit"] = ""
    assert any("is not known" in line for line in _held(true, claimed).content)


def test_skipped_requirements_are_noted(true: Document) -> None:
    report = ConformanceReport.model_validate(true)
    skipped = [each for each in report.topologies[0].requirements if each.verdict is Verdict.SKIPPED]
    assert skipped
    assert len(_held(true, true).notes) == len(skipped)
