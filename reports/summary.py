"""The words that all reports share: the line one can quote, and what verdicts look like. Pure."""

from collections.abc import Iterable, Sequence

from harness.model.observation import SuiteVersion
from harness.requirement import Level, Verdict
from reports.model import Counts, ReportedCause, Result, TopologyReport, Unobserved

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


def headline(result: Result, partial: bool) -> str:
    """The result in a word or two."""
    return HEADLINES[result] + (", partial" if partial and result is not Result.NOTHING_JUDGED else "")


def counted(counts: Counts, verdicts: Iterable[Verdict] = ORDER) -> str:
    """The verdicts that occur, for instance `2 failed, 3 blocked, 40 passed`."""
    return ", ".join(f"{counts.of(verdict)} {WORDS[verdict]}" for verdict in verdicts if counts.of(verdict))


def place(cluster: str) -> str:
    """Where a cause is, as a reader would say it."""
    return cluster or "the mesh"


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
    if versions := _versions(topologies):
        parts.append(versions)
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


def _versions(topologies: Sequence[TopologyReport]) -> str:
    clusters = [cluster for topology in topologies for cluster in topology.clusters]
    seen = {
        "Istio": sorted({version for cluster in clusters for version in cluster.control_planes}),
        "Kubernetes": sorted({cluster.kubernetes.removeprefix("v") for cluster in clusters if cluster.kubernetes}),
        "Envoy": sorted({version for cluster in clusters for version in cluster.envoys}),
    }
    return ", ".join(f"{what} {'/'.join(versions)}" for what, versions in seen.items() if versions)


def _cause(cause: ReportedCause) -> str:
    return f"{cause.title} ({place(cause.cluster)}, {cause.id})"
