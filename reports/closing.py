"""The closing summary of a run on the terminal: verdicts by area, causes, where the time went, artefacts."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.judge.judgement import Verdict
from harness.model.step import Step
from harness.model.timeline import critical_path, phase_seconds
from reports.model import ConformanceReport, ReportedCause, RequirementResult, Result, TopologyReport
from reports.result import TopologyResult
from reports.summary import ORDER, WORDS, counted, headline, in_order, place
from reports.terminal import Verbosity

STYLES = {
    Verdict.PASS: "green",
    Verdict.FAIL: "bold red",
    Verdict.BLOCKED: "yellow",
    Verdict.SKIPPED: "dim",
    Verdict.UNKNOWN: "bold magenta",
}
RESULT_STYLES = {
    Result.CONFORMANT: "bold green",
    Result.NOT_CONFORMANT: "bold red",
    Result.UNKNOWN: "bold magenta",
    Result.NOTHING_JUDGED: "bold magenta",
}
SLOWEST = 5
REASONS = 3


def show(
    output: Console,
    report: ConformanceReport,
    results: Sequence[TopologyResult],
    artefacts: Mapping[str, Path],
    verbosity: Verbosity = Verbosity.NORMAL,
) -> None:
    """Print the closing summary.

    Args:
        output: where to.
        report: the run.
        results: what the report was made from, in the same order.
        artefacts: what was written: a word for it → its path.
        verbosity: QUIET leaves out verdicts and times; VERBOSE gives each requirement a row of its own.
    """
    quiet = verbosity is Verbosity.QUIET
    for topology, result in zip(report.topologies, results, strict=True):
        _heading(output, topology)
        if not quiet or topology.result is not Result.CONFORMANT:
            output.print(Text("─" * min(output.width, 100) if not output.options.ascii_only else "-" * 80, "dim"))
            _verdicts(output, topology, verbosity)
        _causes(output, topology.causes)
        if not quiet:
            _times(output, result.observation.steps)
    for each in report.unobserved:
        output.print(Text(f"\n{each.name}: not observed\n", "bold magenta").append(each.reason, "default"))
    output.print()
    for word, path in artefacts.items():
        output.print(Text(f"{word:<14}", "dim").append(str(path), "default"), soft_wrap=True)
    output.print(Text("\n" + report.summary, RESULT_STYLES[report.result]), soft_wrap=True)


def _heading(output: Console, topology: TopologyReport) -> None:
    line = Text("\n").append(topology.name, "bold").append("  ")
    line.append(headline(topology.result, topology.partial), RESULT_STYLES[topology.result])
    output.print(line.append(f"  {counted(topology.counts)}", "dim"))


def _verdicts(output: Console, topology: TopologyReport, verbosity: Verbosity) -> None:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for area in in_order(requirement.area for requirement in topology.requirements):
        members = [requirement for requirement in topology.requirements if requirement.area == area]
        passed = [requirement for requirement in members if requirement.verdict is Verdict.PASS]
        label = area
        for requirement in members if verbosity is Verbosity.VERBOSE else _wanting(members):
            table.add_row(label, _verdict(requirement.verdict), _row(requirement, verbosity))
            label = ""
        if passed and verbosity is Verbosity.NORMAL:
            ids = Text(", ".join(requirement.id for requirement in passed), "dim")
            table.add_row(label, Text(f"{len(passed)} passed", "green"), ids)
    if topology.strain:
        table.add_row("conditions", Text("overloaded", "yellow"), Text(topology.strain))
    if topology.not_run and verbosity > Verbosity.QUIET:
        left = Text(", ".join(f"{each.requirement} ({each.reason})" for each in topology.not_run), "dim")
        table.add_row("not run", Text(str(len(topology.not_run)), "dim"), left)
    if topology.not_applicable and verbosity > Verbosity.QUIET:
        ids = Text(", ".join(f"{each.requirement} ({each.reason})" for each in topology.not_applicable), "dim")
        table.add_row("not applicable", Text(str(len(topology.not_applicable)), "dim"), ids)
    _print(output, table)


def _print(output: Console, table: Table) -> None:
    """Print a table without the blanks that fill its last column: logs keep them."""
    with output.capture() as captured:
        output.print(table)
    for line in Text.from_ansi(captured.get().rstrip("\n")).split("\n"):
        line.rstrip()
        output.print(line, soft_wrap=True)


def _wanting(members: Sequence[RequirementResult]) -> list[RequirementResult]:
    wanting = [requirement for requirement in members if requirement.verdict is not Verdict.PASS]
    return sorted(wanting, key=lambda requirement: ORDER.index(requirement.verdict))


def _verdict(verdict: Verdict) -> Text:
    return Text(WORDS[verdict], STYLES[verdict])


def _row(requirement: RequirementResult, verbosity: Verbosity) -> Text:
    text = Text(requirement.id, "bold").append(f"  {requirement.level}", "dim not bold")
    text.append(f"  {requirement.title}", "not bold")
    findings = [
        f"{f'{each.cluster}: ' if each.cluster else ''}{each.object} {each.field}: expected {each.expected}, "
        f"found {each.found}"
        for each in requirement.findings
    ]
    lines = [*findings, *dict.fromkeys(requirement.reasons)]
    if verbosity is Verbosity.VERBOSE:
        lines += requirement.evidence
    most = len(lines) if verbosity is Verbosity.VERBOSE else REASONS
    for line in lines[:most]:
        text.append(f"\n{line}", "dim not bold")
    if len(lines) > most:
        text.append(f"\n… and {len(lines) - most} more", "dim not bold")
    return text


def _causes(output: Console, causes: Sequence[ReportedCause]) -> None:
    for number, cause in enumerate(causes, start=1):
        table = Table.grid(padding=(0, 2))
        table.add_column(style="dim", no_wrap=True)
        table.add_column(overflow="fold")
        title = Text(f"Cause {number}: " if len(causes) > 1 else "Cause: ", "bold red").append(cause.title, "bold")
        output.print(Text("\n").append_text(title).append(f"  {cause.id}", "dim"), soft_wrap=True)
        table.add_row("  where", Text(f"{place(cause.cluster)}: {cause.object} {cause.field}".rstrip()))
        table.add_row("  expected", Text(cause.expected))
        table.add_row("  found", Text(cause.found))
        if cause.change:
            table.add_row("  change", Text(cause.change, "bold"))
        table.add_row("  look" if cause.change else "  repair", Text(cause.repair, "" if cause.change else "bold"))
        for line in cause.evidence[:REASONS]:
            table.add_row("  evidence", Text(line, "dim"))
        if cause.explains:
            table.add_row("  explains", Text(", ".join(cause.explains), "dim"))
        _print(output, table)


def _times(output: Console, steps: Sequence[Step]) -> None:
    if not steps:
        return
    phases = phase_seconds(steps)
    first = min(step.started for step in steps)
    total = max((step.started - first).total_seconds() + step.seconds for step in steps)
    said = ", ".join(f"{phase} {seconds:.1f} s" for phase, seconds in phases.items())
    output.print(Text("\ntime  ", "bold").append(f"{total:.1f} s in all: ").append(said), soft_wrap=True)
    slowest = sorted(critical_path(steps), key=lambda step: -step.seconds)[:SLOWEST]
    for step in slowest:
        where = f"{step.cluster}: " if step.cluster else ""
        output.print(Text(f"  {step.seconds:6.1f} s  {where}{step.title}", "dim"), soft_wrap=True)
