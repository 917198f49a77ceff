"""`python -m reports verify`: a true report is confirmed, and everything that was changed in one is found."""

import gzip
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.judge.requirement import Verdict
from harness.model.observation import SuiteVersion, load
from harness.runs import output_layout as layout
from reports import verify as command
from reports.__main__ import main
from reports.judging import ROOT
from reports.model import ConformanceReport
from reports.verification import Verification, verify
from suites.selftest.support import sessions

NAME = "primary-remote-multi-network"
RECORDED = {name: ROOT / "reports" / "demo" / f"{name}.json.gz" for name in ("healthy", "broken")}
SUITE = SuiteVersion(version="0.1.0", commit="0123456789ab")
Document = dict[str, Any]


def _session(directory: Path, *arguments: str) -> Path:
    """The output of a session that judged the broken run, made by a suite without local changes."""
    given = [f"--observation={RECORDED['broken']}", f"--output={directory}", *arguments]
    status, said = sessions.run(given, directory / "said.txt")
    assert status == 1, said
    _rewrite(directory, lambda report: report.update(suite={"name": "eastwest", **SUITE.model_dump()}))
    _rewrite(directory, _quote)
    return directory


def _rewrite(directory: Path, change: Callable[[Document], object]) -> None:
    """Change a published report, in both of its forms."""
    path = directory / layout.REPORT_JSON
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))
    (directory / layout.REPORT_YAML).write_text(yaml.safe_dump(data))


def _quote(report: Document) -> None:
    """Let the line to quote name the suite that the report names."""
    _, _, rest = report["summary"].partition(":")
    report["summary"] = f"eastwest {SUITE.version} ({SUITE.commit[:8]}):{rest}"


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _session(tmp_path_factory.mktemp("published"))


@pytest.fixture(scope="module")
def partial(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _session(tmp_path_factory.mktemp("partial"), "--level=MUST", "--skip-requirement=CERT-CHAIN:not today")


@pytest.fixture
def copied(published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the published report, verified by the suite that made it."""
    monkeypatch.setattr(command, "suite_version", lambda: SUITE)
    return shutil.copytree(published, tmp_path / "copy")


def _document(directory: Path) -> Document:
    return dict(json.loads((directory / layout.REPORT_JSON).read_text()))


def _held(published: Path, claimed: Document) -> Verification:
    """What is found where a report says this, and its observations come to what the published one says."""
    return verify(
        ConformanceReport.model_validate(claimed), ConformanceReport.model_validate(_document(published)).topologies
    )


def _requirement(report: Document, name: str) -> Document:
    return next(each for each in report["topologies"][0]["requirements"] if each["id"] == name)


def test_a_true_report_is_confirmed(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(copied)]) == 0
    said = capsys.readouterr().out
    assert said.startswith("Not conformant")
    assert "Verdicts: the same" in said
    assert "Left out: nothing" in said
    assert said.rstrip().endswith("agrees with its observations.")


def test_an_observation_that_was_replaced_is_found(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    load(RECORDED["healthy"]).save(layout.observation(copied, NAME))
    assert main(["verify", str(copied)]) == 1
    said = capsys.readouterr().out
    assert f"{NAME}: GW-ADDRESS: the report says MUST fail, judged again MUST pass" in said
    assert "Not confirmed" in said


def test_a_partial_report_is_not_confirmed(
    partial: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "suite_version", lambda: SUITE)
    assert main(["verify", str(partial)]) == 1
    said = capsys.readouterr().out
    assert f"{NAME}: TR-GRPC: left out by --level=MUST" in said
    assert f"{NAME}: CERT-CHAIN: left out by --skip-requirement: not today; judged now pass" in said
    assert "Verdicts: the same" in said
    assert "What the report makes of it: as it comes out" in said


def test_the_environment_does_not_change_what_is_judged(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EASTWEST_LEVEL", "MUST")
    monkeypatch.setenv("PYTEST_ADDOPTS", "-k GW")
    assert main(["verify", str(copied)]) == 0


def test_a_verdict_that_was_changed_is_found_with_all_that_follows(published: Path) -> None:
    claimed = _document(published)
    _requirement(claimed, "GW-ADDRESS")["verdict"] = "pass"
    found = _held(published, claimed)
    assert found.verdicts == (f"{NAME}: GW-ADDRESS: the report says MUST pass, judged again MUST fail",)
    _requirement(claimed, "GW-ADDRESS").update(verdict="fail", level="EXTENDED")
    assert _held(published, claimed).verdicts


def test_a_result_that_was_changed_is_found(published: Path) -> None:
    claimed = _document(published) | {"result": "conformant"}
    assert any("it comes to Not conformant" in line for line in _held(published, claimed).content)
    claimed = _document(published)
    claimed["topologies"][0]["result"] = "conformant"
    claimed["topologies"][0]["counts"]["failed"] = 0
    assert _held(published, claimed).content == tuple(
        f"{NAME}: {field} is not as it comes out of the verdicts and the observation" for field in ("result", "counts")
    )
    assert _held(published, _document(published) | {"summary": "all is well"}).content
    assert _held(published, _document(published) | {"fail_on": "any", "partial": False}).content


def test_a_requirement_that_was_removed_is_found(published: Path) -> None:
    claimed = _document(published)
    claimed["topologies"][0]["requirements"].remove(_requirement(claimed, "GW-ADDRESS"))
    assert _held(published, claimed).left_out == (f"{NAME}: GW-ADDRESS: missing from the report; judged now fail",)
    claimed["topologies"][0]["not_run"] = [{"requirement": "GW-ADDRESS", "reason": "left out by --area=traffic"}]
    assert _held(published, claimed).left_out == (f"{NAME}: GW-ADDRESS: left out by --area=traffic; judged now fail",)
    claimed["topologies"][0]["not_run"] = []
    claimed["topologies"][0]["not_applicable"] += [{"requirement": "GW-ADDRESS", "reason": "needs a gateway"}]
    found = _held(published, claimed)
    assert found.left_out
    assert any("not_applicable" in line for line in found.content)


def test_a_requirement_that_does_not_exist_is_found(published: Path) -> None:
    claimed = _document(published)
    invented = _requirement(claimed, "CERT-CHAIN") | {"id": "CERT-BEAUTIFUL"}
    claimed["topologies"][0]["requirements"].append(invented)
    assert _held(published, claimed).verdicts == (
        f"{NAME}: CERT-BEAUTIFUL: the report says pass, and there is no such requirement",
    )


def test_images_and_versions_that_were_changed_are_found(published: Path) -> None:
    claimed = _document(published)
    topology = claimed["topologies"][0]
    image = next(iter(topology["images"]))
    topology["images"][image] = "sha256:0"
    topology["clusters"][1]["control_planes"] = ["9.9.9"]
    topology["distribution"]["name"] = "acme"
    found = _held(published, claimed).observed
    assert any(line.startswith(f"{NAME}: images {image}: the report says sha256:0, observed ") for line in found)
    assert any(line.startswith(f"{NAME}: clusters west control_planes: the report says 9.9.9, ") for line in found)
    assert any("distribution name: the report says acme, observed istio" in line for line in found)
    assert len(found) == 3


def test_evidence_and_causes_that_were_changed_are_found(published: Path) -> None:
    claimed = _document(published)
    claimed["topologies"][0]["causes"] = []
    _requirement(claimed, "CERT-CHAIN")["evidence"] = ["it is so"]
    found = _held(published, claimed).content
    assert any("causes is not as" in line for line in found)
    assert any("CERT-CHAIN: evidence" in line for line in found)


def test_topologies_that_are_not_in_the_report_are_found(published: Path) -> None:
    claimed = _document(published)
    claimed["options"] = {"topology": "all"}
    assert _held(published, claimed).left_out == ("multi-primary-multi-network: asked for, and not in the report",)
    claimed["unobserved"] = [{"name": "multi-primary-multi-network", "reason": "no memory"}]
    assert _held(published, claimed).left_out == ("multi-primary-multi-network: not observed: no memory",)
    claimed = _document(published)
    claimed["topologies"][0]["name"] = "multi-primary-multi-network"
    assert _held(published, claimed).observed


def test_what_lies_beside_the_report_and_says_something_else_is_found(
    copied: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    again = ConformanceReport.model_validate(_document(copied)).topologies
    monkeypatch.setattr(command, "_judged_again", lambda _: again)
    load(RECORDED["healthy"]).save(copied / layout.OBSERVATIONS / "other.json.gz")
    text = (copied / layout.REPORT_YAML).read_text()
    (copied / layout.REPORT_YAML).write_text(text.replace("verdict: fail", "verdict: pass"))
    assert main(["verify", str(copied)]) == 1
    said = capsys.readouterr().out
    assert "other.json.gz: observed, and in no topology of the report" in said
    assert "report.yaml: it says something else than report.json" in said


def test_local_changes_of_the_suite_are_no_published_version(published: Path) -> None:
    claimed = _document(published)
    claimed["suite"]["commit"] = "0123456789ab+"
    assert any("local changes" in line for line in _held(published, claimed).content)
    claimed["suite"]["commit"] = ""
    assert any("is not known" in line for line in _held(published, claimed).content)


def _another_suite(directory: Path) -> None:
    _rewrite(directory, lambda report: report["suite"].update(commit="ba9876543210"))


def _another_version(directory: Path) -> None:
    _rewrite(directory, lambda report: report["suite"].update(version="0.2.0"))


def _another_schema(directory: Path) -> None:
    _rewrite(directory, lambda report: report.update(schema_version=2))


def _no_report(directory: Path) -> None:
    (directory / layout.REPORT_JSON).unlink()


def _no_observation(directory: Path) -> None:
    shutil.rmtree(directory / layout.OBSERVATIONS)


def _truncated(directory: Path) -> None:
    path = layout.observation(directory, NAME)
    path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes())[:-100])
    path.unlink()


def _damaged(directory: Path) -> None:
    path = layout.observation(directory, NAME)
    data = bytearray(gzip.compress(path.read_bytes()))
    data[2000:2100] = bytes(100)
    path.with_name(f"{path.name}.gz").write_bytes(data)
    path.unlink()


def _no_observation_at_all(directory: Path) -> None:
    layout.observation(directory, NAME).write_text('{"kind": "another document"}')


def _outside(directory: Path) -> None:
    layout.observation(directory, NAME).rename(directory / f"{NAME}.json")
    _rewrite(directory, lambda report: report["topologies"][0].update(name=f"../{NAME}"))


@pytest.mark.parametrize(
    ("spoil", "what"),
    [
        (_another_suite, "made by eastwest 0.1.0 at commit ba9876543210, and this is eastwest 0.1.0 at commit"),
        (_another_version, "made by eastwest 0.2.0"),
        (_another_schema, "schema_version"),
        (_no_report, "can't be read"),
        (_no_observation, "its observation is not there"),
        (_truncated, "can't be read"),
        (_damaged, "can't be read"),
        (_no_observation_at_all, "is not an observation of this suite"),
        (_outside, "its observation is not there"),
    ],
)
def test_what_can_not_be_verified_is_refused_in_three_lines(
    spoil: Callable[[Path], None], what: str, copied: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil(copied)
    assert main(["verify", str(copied)]) == 4
    printed = capsys.readouterr()
    lines = printed.err.splitlines()
    assert [line.split(":")[0] for line in lines[1:]] == ["  why", "  fix"]
    assert what in printed.err
    assert not printed.out


def test_a_session_that_fails_is_told_and_no_verdict(
    copied: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def failing(_paths: object, _output: Path, log: Path) -> int:
        log.write_text("the disk is full\n")
        return 4

    monkeypatch.setattr(command, "judge_recorded", failing)
    assert main(["verify", str(copied)]) == 4
    assert "ended with status 4: the disk is full" in capsys.readouterr().err


def test_skipped_requirements_are_noted(published: Path) -> None:
    report = ConformanceReport.model_validate(_document(published))
    skipped = [each for each in report.topologies[0].requirements if each.verdict is Verdict.SKIPPED]
    assert skipped
    assert len(_held(published, _document(published)).notes) == len(skipped)
