"""Puts the page together from what the other modules of this package make of the results."""

import base64
import hashlib
import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from harness.base.cache import cache_directory
from harness.judge.judgement import Judgement, Level, Verdict
from reports.conformance import count, requirement_link
from reports.html import certificates, conditions_chart, drawing, timeline, traffic
from reports.html.kept_templates import KeptTemplates
from reports.model import ConformanceReport, Counts, TopologyReport
from reports.result import RunInfo, TopologyResult
from reports.summary import ORDER, WORDS, counted, headline, in_order, lead, place, versions

FACTS = 60
"""Lines of evidence that a requirement unfolds; more are counted."""

CAUSES = 5
"""Causes that are named right under the result; all of them stand with their topologies."""

NAMES = {"mtls": "Mutual TLS"}
"""Areas whose name is not just a word."""


@dataclass(frozen=True)
class RequirementView:
    """A requirement as the page shows it."""

    judgement: Judgement
    paragraphs: tuple[str, ...]
    """Its documentation, without its title."""
    causes: tuple[int, ...]
    """Numbers of the causes that explain it, counted from 1."""
    link: str

    @property
    def why(self) -> str:
        """Why it did not pass, in a line: the first finding or reason."""
        reasons = [
            *(f"{f.cluster or 'mesh'}: {f.object} {f.field}: {f.found}" for f in self.judgement.findings),
            *dict.fromkeys(reservation.reason for reservation in self.judgement.reservations),
        ]
        more = f" (and {len(reasons) - 1} more)" if len(reasons) > 1 else ""
        return f"{reasons[0]}{more}" if reasons else ""

    @property
    def hidden_facts(self) -> int:
        """How many lines of evidence are left out."""
        return max(0, len(self.judgement.facts) - FACTS)


@dataclass(frozen=True)
class AreaView:
    """The requirements of one area."""

    name: str
    requirements: tuple[RequirementView, ...]
    counts: Counts
    folded: bool
    """Everything in it passed, and something else did not."""


@dataclass(frozen=True)
class TopologyView:
    """One topology as the page shows it."""

    report: TopologyReport
    anchor: str
    areas: tuple[AreaView, ...]
    drawing: drawing.Drawing
    clients: tuple[traffic.ClientView, ...]
    authorities: tuple[certificates.ClusterTree, ...]
    timeline: timeline.Timeline | None
    conditions: tuple[tuple[str, tuple[conditions_chart.Curve, ...]], ...]
    """What was done meanwhile, and what was measured; empty where nothing was."""


def render(report: ConformanceReport, results: Sequence[TopologyResult], run: RunInfo) -> str:
    """The page.

    Args:
        report: the run.
        results: what the report was made from, in the same order.
        run: what is known of the session; its `texts` are shown with the requirements.
    """
    return (
        templates()
        .get_template("page.html.j2")
        .render(
            report=report,
            topologies=[
                _topology(number, made, result, run)
                for number, (made, result) in enumerate(zip(report.topologies, results, strict=True), start=1)
            ],
            **assets(),
            levels=tuple(Level),
            lead=lead(report),
            most_causes=CAUSES,
            versions=versions(report.topologies),
            verdicts=ORDER,
            words=WORDS,
            counted=counted,
            segments=_segments,
            facts=FACTS,
            course=(conditions_chart.WIDTH, conditions_chart.HEIGHT),
        )
    )


@cache
def templates() -> Environment:
    """The templates of this package, with the filters that they use; compiled ones are kept between runs."""
    environment = Environment(
        loader=PackageLoader("reports.html"),
        bytecode_cache=KeptTemplates(cache_directory() / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "moment": _moment,
        "minute": _minute,
        "duration": _duration,
        "headline": headline,
        "place": place,
        "prose": _prose,
    }
    return environment


def assets() -> dict[str, Markup | str]:
    """Style and script, which stand in the page itself, and the digest by which the page allows its script."""
    script = _asset("script.js")
    return {
        "style": Markup(_asset("style.css")),  # noqa: S704 - our own file
        "script": Markup(script),  # noqa: S704 - our own file
        "script_digest": base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    }


def _topology(number: int, report: TopologyReport, result: TopologyResult, run: RunInfo) -> TopologyView:
    return TopologyView(
        report=report,
        anchor=f"t{number}",
        areas=_areas(result, run),
        drawing=drawing.draw(result),
        clients=traffic.clients(result.observation),
        authorities=certificates.trees(result.observation),
        timeline=timeline.lay_out(result.observation),
        conditions=(
            ("formed", conditions_chart.curves(result.observation.conditions_of_forming)),
            ("observed", conditions_chart.curves(result.observation.conditions)),
        ),
    )


def _areas(result: TopologyResult, run: RunInfo) -> tuple[AreaView, ...]:
    names = in_order(judgement.area for judgement in result.judgements)
    return tuple(_area(name, result, run) for name in names)


def _area(name: str, result: TopologyResult, run: RunInfo) -> AreaView:
    members = [judgement for judgement in result.judgements if judgement.area == name]
    title = NAMES.get(name, name[:1].upper() + name[1:])
    views = tuple(_requirement(judgement, result, run) for judgement in members)
    whole = all(judgement.verdict is Verdict.PASS for judgement in members)
    troubled = any(judgement.verdict is not Verdict.PASS for judgement in result.judgements)
    return AreaView(title, views, count(judgement.verdict for judgement in members), whole and troubled)


def _requirement(judgement: Judgement, result: TopologyResult, run: RunInfo) -> RequirementView:
    text = inspect.cleandoc(run.texts.get(judgement.id, ""))
    _, _, body = text.partition("\n")
    paragraphs = tuple(" ".join(part.split()) for part in body.split("\n\n") if part.strip())
    causes = tuple(n for n, cause in enumerate(result.causes, start=1) if judgement.id in cause.explains)
    return RequirementView(judgement, paragraphs, causes, requirement_link(judgement.id))


def _segments(counts: Counts) -> list[tuple[Verdict, float, float]]:
    """The counts as parts of a bar: verdict, start and width in per cent."""
    parts, start = [], 0.0
    for verdict in reversed(ORDER):
        width = 100 * counts.of(verdict) / (counts.total or 1)
        if width:
            parts.append((verdict, start, width))
        start += width
    return parts


def _prose(text: str) -> Markup:
    """Text with its `code` marked as such."""
    parts = text.split("`")
    if len(parts) % 2 == 0:
        return escape(text)
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if n % 2 else escape(part) for n, part in enumerate(parts)
    )


def _moment(when: datetime) -> str:
    return f"{_minute(when)} UTC"


def _minute(when: datetime) -> str:
    return f"{when:%Y-%m-%d %H:%M}"


def _duration(seconds: float) -> str:
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 100:  # noqa: PLR2004 - from here on minutes read better
        return f"{seconds:.1f} s"
    return f"{seconds // 60:.0f} min {seconds % 60:.0f} s"


def _asset(name: str) -> str:
    return files("reports.html").joinpath("templates", name).read_text()
