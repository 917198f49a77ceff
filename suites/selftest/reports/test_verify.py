"""`python -m reports verify`: a true report is confirmed, and everything that was changed in one is found."""

import gzip
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.model.observation import SuiteVersion, load
from harness.runs import output_layout as layout
from reports import verify as command
from reports.__main__ import main
from reports.judging import ROOT, judge_recorded
from reports.model import ConformanceReport
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


@pytest.fixture(autouse=True)
def verifying(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is verified by the suite that made it, in sessions that are forked: interpreters take seconds to begin."""

    def forked(observations: Sequence[Path], output: Path, log: Path) -> int | None:
        return sessions.run([*(f"--observation={path}" for path in observations), f"--output={output}"], log)[0]

    monkeypatch.setattr(command, "suite_version", lambda: SUITE)
    monkeypatch.setattr(command, "judge_recorded", forked)


@pytest.fixture
def copied(published: Path, tmp_path: Path) -> Path:
    """A copy of the published report."""
    return shutil.copytree(published, tmp_path / "copy")


def _document(directory: Path) -> Document:
    return dict(json.loads((directory / layout.REPORT_JSON).read_text()))


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


def test_a_partial_report_is_not_confirmed(partial: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(partial)]) == 1
    said = capsys.readouterr().out
    assert f"{NAME}: TR-GRPC: left out by --level=MUST" in said
    assert f"{NAME}: CERT-CHAIN: left out by --skip-requirement: not today; judged now pass" in said
    assert "Verdicts: the same" in said
    assert "What the report makes of it: as it comes out" in said


def test_the_environment_does_not_change_what_is_judged(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a process of its own, as it really is."""
    monkeypatch.setattr(command, "judge_recorded", judge_recorded)
    monkeypatch.setenv("EASTWEST_LEVEL", "MUST")
    monkeypatch.setenv("PYTEST_ADDOPTS", "-k GW")
    assert main(["verify", str(copied)]) == 0


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
