"""A summary in Markdown, as GitHub shows it for a job."""

from collections.abc import Iterator, Sequence

from harness.judge.judgement import Level, Verdict
from reports.model import ConformanceReport, ReportedCause, RequirementResult, Result, TopologyReport
from reports.summary import ORDER, WORDS, counted, headline, place

MARKS = {
    Verdict.PASS: "✅",
    Verdict.FAIL: "❌",
    Verdict.BLOCKED: "🚧",
    Verdict.SKIPPED: "⏭️",
    Verdict.UNKNOWN: "❔",
}
RESULT_MARKS = {
    Result.CONFORMANT: "✅",
    Result.NOT_CONFORMANT: "❌",
    Result.UNKNOWN: "❔",
    Result.NOTHING_JUDGED: "❔",
}


def render(report: ConformanceReport) -> str:
    """The report as GitHub Markdown: result, a table of topologies, causes, and each requirement to unfold."""
    lines = [
        f"# {RESULT_MARKS[report.result]} {headline(report.result, report.partial)}",
        "",
        f"> {_escaped(report.summary)}",
        "",
        *_overview(report.topologies),
    ]
    lines += [f"\n**{_escaped(each.name)} was not observed**: {_escaped(each.reason)}" for each in report.unobserved]
    for topology in report.topologies:
        lines += ["", f"## {_escaped(topology.name)}", ""]
        for cause in topology.causes:
            lines += [*_cause(cause), ""]
        if topology.strain:
            lines += [f"**Overloaded**: {_escaped(topology.strain)}. What rested on time then was not judged.", ""]
        lines += _requirements(topology)
        if topology.not_run:
            lines += ["", "Not run: " + "; ".join(f"{n.requirement} ({_escaped(n.reason)})" for n in topology.not_run)]
        if topology.not_applicable:
            without = "; ".join(f"{each.requirement} ({_escaped(each.reason)})" for each in topology.not_applicable)
            lines += ["", f"Not applicable: {without}"]
    return "\n".join([*lines, "", "Reproduce:", "", *_code(report.reproduce), ""])


def _overview(topologies: Sequence[TopologyReport]) -> Iterator[str]:
    yield "| topology | result | " + " | ".join(Level) + " |"
    yield "|---|---|" + "---|" * len(Level)
    for topology in topologies:
        levels = [counted(topology.counts_by_level[level]) or "none" for level in Level]
        result = f"{RESULT_MARKS[topology.result]} {headline(topology.result, topology.partial)}"
        yield f"| {_escaped(topology.name)} | {result} | {' | '.join(levels)} |"


def _cause(cause: ReportedCause) -> Iterator[str]:
    yield f"### Cause: {_escaped(cause.title)}"
    yield ""
    yield "| | |"
    yield "|---|---|"
    yield f"| where | {_escaped(f'{place(cause.cluster)}: {cause.object} {cause.field}')} |"
    yield f"| expected | {_escaped(cause.expected)} |"
    yield f"| found | {_escaped(cause.found)} |"
    if cause.change:
        yield f"| change | {_escaped(cause.change)} |"
    yield f"| explains | {', '.join(cause.explains)} |"
    yield ""
    yield from _code(cause.repair)


def _requirements(topology: TopologyReport) -> Iterator[str]:
    for verdict in ORDER:
        members = [each for each in topology.requirements if each.verdict is verdict]
        if not members:
            continue
        opened = " open" if verdict in {Verdict.FAIL, Verdict.UNKNOWN} else ""
        yield f"<details{opened}><summary>{MARKS[verdict]} {len(members)} {WORDS[verdict]}</summary>"
        yield ""
        yield "| id | level | requirement |" + (" why |" if verdict is not Verdict.PASS else "")
        yield "|---|---|---|" + ("---|" if verdict is not Verdict.PASS else "")
        for each in members:
            why = f" {_why(each)} |" if verdict is not Verdict.PASS else ""
            yield f"| {each.id} | {each.level} | {_escaped(each.title)} |{why}"
        yield ""
        yield "</details>"
        yield ""


def _why(requirement: RequirementResult) -> str:
    findings = [
        f"{f'{f.cluster}: ' if f.cluster else ''}{f.object} {f.field}: expected {f.expected}, found {f.found}"
        for f in requirement.findings
    ]
    return "<br>".join(_escaped(line) for line in dict.fromkeys([*findings, *requirement.reasons]))


def _code(command: str) -> tuple[str, ...]:
    """A fenced block whose fence is longer than any run of backticks inside."""
    fence = "```"
    while fence in command:
        fence += "`"
    return (f"{fence}sh", command, fence)


def _escaped(text: str) -> str:
    """Text that stays text inside a table's cell."""
    for character in "\\`*_[]|":
        text = text.replace(character, "\\" + character)
    return " ".join(text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").split())
