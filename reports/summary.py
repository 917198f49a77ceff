"""The words that all reports share: the line one can quote, and what verdicts look like. Pure."""

from collections.abc import Iterable, Mapping, Sequence

from harness.judge.judgement import Level, Verdict
from harness.model.observation import SuiteVersion
from reports.model import ConformanceReport, Counts, ReportedCause, Result, TopologyReport, Unobserved

ORDER = (Verdict.FAIL, Verdict.UNKNOWN, Verdict.BLOCKED, Verdict.SKIPPED, Verdict.PASS)
"""Verdicts, what needs attention first."""

WORDS = {
    Verdict.PASS: "passed",
    Verdict.FAIL: "failed",
    Verdict.BLOCKED: "blocked",
    Verdict.SKIPPED: "skipped",
    Verdict.UNKNOWN: "unknown",
}

HEADLINES = {
    Result.CONFORMANT: "Conformant",
    Result.NOT_CONFORMANT: "Not conformant",
    Result.UNKNOWN: "Unknown",
    Result.NOTHING_JUDGED: "Nothing judged",
}


AREAS = (
    "certificates",
    "control plane",
    "network",
    "gateways",
    "remote secrets",
    "workloads",
    "proxies",
    "endpoints",
    "traffic",
    "mtls",
    "procedure",
    "cleanup",
)
"""Areas in the order of what depends on what, as people read them."""


def in_order(areas: Iterable[str]) -> tuple[str, ...]:
    """Areas, each once, in the order in which they are read; unknown ones last."""
    found = dict.fromkeys(areas)
    return (*(area for area in AREAS if area in found), *(area for area in found if area not in AREAS))


def headline(result: Result, partial: bool) -> str:
    """The result in a word or two."""
    return HEADLINES[result] + (", partial" if partial and result is not Result.NOTHING_JUDGED else "")


def counted(counts: Counts, verdicts: Iterable[Verdict] = ORDER) -> str:
    """The verdicts that occur, for instance `2 failed, 3 blocked, 40 passed`."""
    return ", ".join(f"{counts.of(verdict)} {WORDS[verdict]}" for verdict in verdicts if counts.of(verdict))


def place(cluster: str) -> str:
    """Where a cause is, as a reader would say it."""
    return cluster or "the mesh"


def lead(report: ConformanceReport) -> str:
    """What the result means, in a sentence or two for somebody who has to decide."""
    total = sum_of(topology.counts for topology in report.topologies)
    left = sum(len(topology.not_run) for topology in report.topologies)
    where = _where(report)
    said = []
    if total.failed:
        must = sum(topology.counts_by_level[Level.MUST].failed for topology in report.topologies)
        of_them = "all of them" if must == total.failed else f"{must or 'none'} of them"
        said.append(f"{total.failed} of {_requirements(total.total + left)} failed{where}, {of_them} MUST.")
    if total.blocked:
        said.append(f"{total.blocked} could not be judged because something they depend on is broken.")
    if total.unknown:
        said.append(f"{total.unknown} are unknown: the suite itself failed to find out, which is never success.")
    if total.skipped or left:
        said.append(f"{total.skipped + left} were left out, which is never counted as passed.")
    if report.unobserved:
        said.append(f"{len(report.unobserved)} of the topologies asked for could not be observed.")
    if total.passed and not total.failed:
        said.insert(0, f"{total.passed} of {_requirements(total.total + left)} passed{where}.")
    return " ".join(said) or "No requirement was judged. That is never a success."


def sum_of(counts: Iterable[Counts]) -> Counts:
    """All of them together."""
    each = [one.model_dump() for one in counts]
    return Counts(**{name: sum(one[name] for one in each) for name in Counts.model_fields})


def _where(report: ConformanceReport) -> str:
    affected = [topology.name for topology in report.topologies if topology.result is report.result]
    if len(report.topologies) == 1:
        return f" in {report.topologies[0].name}"
    return f" in {len(affected)} of {len(report.topologies)} topologies"


def _requirements(number: int) -> str:
    return f"{number} requirement{'s' if number != 1 else ''}"


def summary_line(
    suite: SuiteVersion, said: str, topologies: Sequence[TopologyReport], unobserved: Sequence[Unobserved]
) -> str:
    """One line that can be quoted: the result, where, on which versions, and the counts.

    Args:
        suite: who judged.
        said: what the run comes to, in a word or two.
        topologies: what each topology comes to.
        unobserved: those that could not be observed.
    """
    start = f"eastwest {suite.version}{f' ({suite.commit[:8]})' if suite.commit else ''}"
    parts = [f"{start}: {said}"]
    parts += [_topology(topology) for topology in topologies]
    parts += [f"{each.name}: not observed" for each in unobserved]
    if seen := versions(topologies):
        parts.append(", ".join(f"{what} {said}" for what, said in seen.items()))
    if causes := [cause for topology in topologies for cause in topology.causes]:
        more = f" and {len(causes) - 1} more" if len(causes) > 1 else ""
        parts.append(f"cause: {_cause(causes[0])}{more}")
    return "; ".join(parts)


def _topology(topology: TopologyReport) -> str:
    counts = topology.counts
    applicable = counts.total + len(topology.not_run)
    if counts.passed == applicable:
        levels = ", ".join(f"{by.total} {level}" for level in Level if (by := topology.counts_by_level[level]).total)
        return f"{topology.name}: all {applicable} passed ({levels})" if applicable else f"{topology.name}: none"
    must = topology.counts_by_level[Level.MUST]
    failing = f" ({must.failed} of them MUST)" if counts.failed else ""
    said = counted(counts).replace(f"{counts.failed} failed", f"{counts.failed} failed{failing}", 1)
    left = f", {len(topology.not_run)} not run" if topology.not_run else ""
    return f"{topology.name}: {said or '0 judged'}{left} of {applicable}"


def versions(topologies: Sequence[TopologyReport]) -> Mapping[str, str]:
    """The versions that were observed, by whose they are: `Istio`, `Kubernetes`, `Envoy`."""
    clusters = [cluster for topology in topologies for cluster in topology.clusters]
    seen = {
        "Istio": sorted({version for cluster in clusters for version in cluster.control_planes}),
        "Kubernetes": sorted({cluster.kubernetes.removeprefix("v") for cluster in clusters if cluster.kubernetes}),
        "Envoy": sorted({version for cluster in clusters for version in cluster.envoys}),
    }
    return {what: "/".join(found) for what, found in seen.items() if found}


def _cause(cause: ReportedCause) -> str:
    return f"{cause.title} ({place(cause.cluster)}, {cause.id})"
