"""A badge, as SVG: the result and how many requirements passed."""

from html import escape

from reports.model import ConformanceReport, Result
from reports.summary import headline

COLOURS = {
    Result.CONFORMANT: "#2e7d4f",
    Result.NOT_CONFORMANT: "#c0362c",
    Result.UNKNOWN: "#8a5a00",
    Result.NOTHING_JUDGED: "#5f6670",
}
LABEL = "multi-cluster mesh"
CHARACTER = 6.6
"""Width of a character of 11 px Verdana, on average; textLength makes it exact."""


def render(report: ConformanceReport) -> str:
    """The badge of a report."""
    passed = sum(topology.counts.passed for topology in report.topologies)
    of = sum(topology.counts.total + len(topology.not_run) for topology in report.topologies)
    return draw(f"{headline(report.result, report.partial).lower()} · {passed}/{of}", report.result)


def draw(message: str, result: Result) -> str:
    """A badge that says something in the colour of a result."""
    left, right = round(len(LABEL) * CHARACTER) + 12, round(len(message) * CHARACTER) + 12
    title = escape(f"{LABEL}: {message}")
    size = f'width="{left + right}" height="20"'
    return f"""<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label="{title}">
<title>{title}</title>
<clipPath id="r"><rect {size} rx="3"/></clipPath>
<g clip-path="url(#r)"><rect width="{left}" height="20" fill="#444c56"/>
<rect x="{left}" width="{right}" height="20" fill="{COLOURS[result]}"/></g>
<g fill="#fff" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11" text-anchor="middle">
<text x="{left / 2}" y="14" textLength="{left - 12}">{escape(LABEL)}</text>
<text x="{left + right / 2}" y="14" textLength="{right - 12}">{escape(message)}</text></g>
</svg>
"""
