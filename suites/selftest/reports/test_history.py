"""Many reports as one table: the newest night first, nothing taken for a success that is none."""

from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree

import pytest

from reports.__main__ import main
from reports.history import NightlyRun, nights, page, read
from reports.model import ConformanceReport, Result, Suite

ISTIO, SAIL = "istio-1.31.0-primary-remote-multi", "sail-1.31.0-primary-remote-multi"


def _report(result: Result, summary: str = "eastwest 0.1.0: as it is") -> ConformanceReport:
    return ConformanceReport(
        suite=Suite(version="0.1.0", commit=""),
        date=datetime(2026, 11, 24, tzinfo=UTC),
        seconds=1,
        result=result,
        partial=False,
        fail_on="must",
        summary=summary,
        reproduce="pytest",
        options={},
        topologies=(),
        unobserved=(),
    )


def _put(directory: Path, night: str, cell: str, report: ConformanceReport | None) -> None:
    (directory / night / cell).mkdir(parents=True)
    if report:
        (directory / night / cell / "report.json").write_text(report.model_dump_json())


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Three nights of one or two runs."""
    _put(tmp_path, "2026-11-22", ISTIO, _report(Result.CONFORMANT))
    _put(tmp_path, "2026-11-23", ISTIO, _report(Result.CONFORMANT))
    _put(tmp_path, "2026-11-23", SAIL, _report(Result.NOT_CONFORMANT))
    _put(tmp_path, "2026-11-24", ISTIO, _report(Result.CONFORMANT, "<script>alert(1)</script>"))
    _put(tmp_path, "2026-11-24", SAIL, None)
    _put(tmp_path, ".git", "objects", None)
    return tmp_path


def test_nights_are_rows_and_runs_are_columns(directory: Path) -> None:
    columns, rows = nights(read(directory))
    assert columns == (ISTIO, SAIL)
    assert [row.name for row in rows] == ["2026-11-24", "2026-11-23", "2026-11-22"]
    assert [row.text for row in rows] == ["1 of 2 conformant", "1 of 2 conformant", "1 of 1 conformant"]
    assert rows[2].entries[1] is None


def test_a_run_without_a_report_is_unknown_and_a_failure_outweighs_it(directory: Path) -> None:
    _, rows = nights(read(directory))
    assert [row.result for row in rows] == [Result.UNKNOWN, Result.NOT_CONFORMANT, Result.CONFORMANT]
    mixed = (NightlyRun("n", "a", None, "why"), NightlyRun("n", "b", _report(Result.NOT_CONFORMANT)))
    assert nights(mixed)[1][0].result is Result.NOT_CONFORMANT


def test_the_page_is_one_file_with_links_to_the_reports(directory: Path) -> None:
    text = page(read(directory))
    assert f'href="2026-11-24/{ISTIO}/report.html"' in text
    assert f'href="2026-11-24/{SAIL}/report.html"' not in text
    assert "No report" in text and "not run" in text
    assert "<script" not in text
    assert "http-equiv" in text and "https://" not in text and "<link" not in text


def test_the_command_writes_page_and_badge(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["history", str(directory)]) == 0
    assert capsys.readouterr().out.strip() == str(directory / "index.html")
    badge = ElementTree.fromstring((directory / "badge.svg").read_text())  # noqa: S314 - our own
    assert "1 of 2 conformant, 2026-11-24" in (badge.get("aria-label") or "")


def test_a_directory_without_reports_is_wrong_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["history", str(tmp_path)]) == 4
    assert "fix: " in capsys.readouterr().err
    assert not (tmp_path / "index.html").exists()


def test_a_file_that_is_no_report_is_said_to_be_none(tmp_path: Path) -> None:
    _put(tmp_path, "2026-11-24", ISTIO, None)
    (tmp_path / "2026-11-24" / ISTIO / "report.json").write_text('{"kind": "other"}')
    (entry,) = read(tmp_path)
    assert entry.result is Result.UNKNOWN
    assert "kind: Input should be" in entry.detail and "kind: Input should be" in page((entry,))
