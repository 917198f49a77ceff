"""Writes everything a run leaves in its output directory."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.runs import output_layout as layout
from reports import allure, badge, conformance, html, markdown
from reports.model import ConformanceReport
from reports.result import RunInfo, TopologyResult


def publish(
    report: ConformanceReport, results: Sequence[TopologyResult], run: RunInfo, output: Path
) -> Mapping[str, Path]:
    """Write the reports; returns a word for each artefact and its path.

    Args:
        report: the run.
        results: what the report was made from.
        run: what is known of the session.
        output: the directory.
    """
    as_json, as_yaml = conformance.write(report, output)
    page, summary, shield = output / layout.REPORT_HTML, output / layout.SUMMARY, output / layout.BADGE
    page.write_text(html.render(report, results, run))
    summary.write_text(markdown.render(report))
    shield.write_text(badge.render(report))
    for result in results:
        allure.write_procedure(result.observation, result.name, output / layout.ALLURE)
    allure.write_environment(report, output / layout.ALLURE)
    written = {
        "report": page,
        "as data": as_json,
        "as YAML": as_yaml,
        "summary": summary,
        "badge": shield,
        "observations": output / layout.OBSERVATIONS,
        "JUnit": output / layout.JUNIT,
        "Allure": output / layout.ALLURE,
        "log": output / layout.LOG,
    }
    # pytest writes its JUnit report last of all.
    return {word: path for word, path in written.items() if path.exists() or path.name == layout.JUNIT}
