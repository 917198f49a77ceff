"""The reports of many nights as one table: a night a row, what was run a column. Pure, but for `read` and `write`."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.base.errors import UserError
from harness.runs.output_layout import BADGE, REPORT_HTML, REPORT_JSON
from reports import badge
from reports.document import read as read_document
from reports.html.page import assets, templates
from reports.model import ConformanceReport, Result
from reports.summary import headline

INDEX = "index.html"


@dataclass(frozen=True)
class NightlyRun:
    """One run of one night."""

    night: str
    """The directory's name, for instance 2026-11-24; nights are sorted by it."""
    cell: str
    """What was run, for instance sail-1.31.0-primary-remote-multi."""
    report: ConformanceReport | None
    """None where it can't be read, or where the run ended before there was one."""
    problem: str = ""

    @property
    def result(self) -> Result:
        """No report is no success."""
        return self.report.result if self.report else Result.UNKNOWN

    @property
    def link(self) -> str:
        """Of its page, from the table."""
        return f"{self.night}/{self.cell}/{REPORT_HTML}"

    @property
    def text(self) -> str:
        """Its result in a few words: the verdict, and how many requirements passed."""
        if self.report is None:
            return "No report"
        counts = [topology.counts for topology in self.report.topologies]
        left_out = sum(len(topology.not_run) for topology in self.report.topologies)
        passed, total = sum(each.passed for each in counts), sum(each.total for each in counts) + left_out
        return f"{headline(self.report.result, self.report.partial)} · {passed}/{total}"

    @property
    def detail(self) -> str:
        """One line more."""
        return self.report.summary if self.report else self.problem


@dataclass(frozen=True)
class Night:
    """A row of the table."""

    name: str
    entries: tuple[NightlyRun | None, ...]
    """In the columns' order; None where nothing was run."""

    @property
    def ran(self) -> tuple[NightlyRun, ...]:
        """What was run."""
        return tuple(entry for entry in self.entries if entry)

    @property
    def text(self) -> str:
        """How many runs were conformant."""
        conformant = sum(entry.result is Result.CONFORMANT for entry in self.ran)
        return f"{conformant} of {len(self.ran)} conformant"

    @property
    def result(self) -> Result:
        """The worst of its runs: not conformant before unknown."""
        worst = (Result.NOT_CONFORMANT, Result.UNKNOWN, Result.NOTHING_JUDGED, Result.CONFORMANT)
        return min((entry.result for entry in self.ran), key=worst.index)


def read(directory: Path) -> tuple[NightlyRun, ...]:
    """Every DIR/NIGHT/CELL; one without a readable report counts as unknown.

    Raises:
        UserError: there is none.
    """
    found = tuple(_entry(cell) for cell in sorted(directory.glob("[!.]*/*/")))
    if not found:
        raise UserError(
            f"There are no reports in {directory}.",
            f"no {directory}/NIGHT/CELL/ was found",
            f"put each run's output there: {directory}/2026-11-24/istio-1.31.0-primary-remote-multi/{REPORT_JSON}",
        )
    return found


def _entry(cell: Path) -> NightlyRun:
    night = cell.parent.name
    try:
        return NightlyRun(night, cell.name, read_document(cell / REPORT_JSON, ConformanceReport))
    except UserError as unreadable:
        return NightlyRun(night, cell.name, None, unreadable.why)


def nights(entries: Iterable[NightlyRun]) -> tuple[tuple[str, ...], tuple[Night, ...]]:
    """The columns, and the rows with the newest first."""
    by_night: dict[str, dict[str, NightlyRun]] = {}
    for entry in entries:
        by_night.setdefault(entry.night, {})[entry.cell] = entry
    columns = tuple(sorted({cell for row in by_night.values() for cell in row}))
    names = sorted(by_night, reverse=True)
    return columns, tuple(Night(name, tuple(by_night[name].get(cell) for cell in columns)) for name in names)


def page(entries: Sequence[NightlyRun]) -> str:
    """The table as one HTML page, in the look of the report."""
    columns, rows = nights(entries)
    return templates().get_template("history.html.j2").render(columns=columns, nights=rows, style=assets()["style"])


def write(directory: Path) -> Path:
    """Make the table of a directory, and the badge of its newest night; returns the page's path.

    Raises:
        UserError: no reports are there, or it can't be written to.
    """
    entries = read(directory)
    _, rows = nights(entries)
    index = directory / INDEX
    try:
        index.write_text(page(entries))
        (directory / BADGE).write_text(badge.draw(f"{rows[0].text}, {rows[0].name}", rows[0].result))
    except OSError as refused:
        raise UserError(f"{index} can't be written.", str(refused.strerror), "see that it may be") from None
    return index
