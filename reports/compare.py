"""What changed between two reports. Pure."""

from collections.abc import Hashable, Iterator, Mapping
from typing import TypeVar

from harness.judge.judgement import Verdict
from reports.model import ConformanceReport, ReportedCause, TopologyReport

Key = TypeVar("Key", bound=Hashable)


def differences(before: ConformanceReport, after: ConformanceReport) -> tuple[str, ...]:
    """What changed, one line each; none where both say the same.

    Results, verdicts, causes, versions, deviations and what was not run count. Dates, durations, addresses and the
    wording of evidence don't: they differ between any two runs.
    """
    lines = [*_changed("result", _result(before), _result(after))]
    lines += _changed("fail on", before.fail_on, after.fail_on)
    lines += _changed("suite version", before.suite.version, after.suite.version)
    lines += _mapping(
        {each.name: "not observed" for each in before.unobserved},
        {each.name: "not observed" for each in after.unobserved},
        "observed or not asked for",
    )
    old = {topology.name: topology for topology in before.topologies}
    new = {topology.name: topology for topology in after.topologies}
    for name in dict.fromkeys([*old, *new]):
        if name not in new:
            lines.append(f"{name}: no longer judged")
        elif name not in old:
            lines.append(f"{name}: newly judged: {new[name].result}")
        else:
            lines += [f"{name}: {line}" for line in _topology(old[name], new[name])]
    return tuple(lines)


def _result(report: ConformanceReport | TopologyReport) -> str:
    return f"{report.result}{', partial' if report.partial else ''}"


def _topology(old: TopologyReport, new: TopologyReport) -> Iterator[str]:
    yield from _changed("result", _result(old), _result(new))
    yield from _mapping(
        _verdicts(old),
        _verdicts(new),
        "not run",
    )
    yield from _mapping(_causes(old), _causes(new), "absent", "cause ")
    yield from _mapping(_versions(old), _versions(new), "none")
    yield from _mapping(old.images, new.images, "none", "image ")
    yield from _mapping(
        {each.requirement: each.reason for each in old.not_run},
        {each.requirement: each.reason for each in new.not_run},
        "run",
        "left out ",
    )
    yield from _mapping(dict.fromkeys(old.deviations, "yes"), dict.fromkeys(new.deviations, "yes"), "no", "deviation ")


def _verdicts(topology: TopologyReport) -> dict[str, str]:
    judged = {each.id: each.verdict.value for each in topology.requirements}
    return judged | {each.requirement: Verdict.NOT_APPLICABLE.value for each in topology.not_applicable}


def _causes(topology: TopologyReport) -> dict[tuple[str, str, str], str]:
    def key(cause: ReportedCause) -> tuple[str, str, str]:
        return cause.id, cause.cluster, cause.object

    return {key(cause): "present" for cause in topology.causes}


def _versions(topology: TopologyReport) -> dict[str, str]:
    distribution, environment = topology.distribution, topology.environment
    found = {
        "distribution": distribution.name,
        "installer": distribution.installer,
        "platform": environment.platform,
        "load balancer": environment.load_balancer,
    }
    for cluster in topology.clusters:
        found |= {
            f"{cluster.name} role": f"{cluster.role} of {cluster.primary} on {cluster.network}",
            f"{cluster.name} Kubernetes": cluster.kubernetes,
            f"{cluster.name} control plane": ", ".join(cluster.control_planes),
            f"{cluster.name} proxies": ", ".join(cluster.proxies),
            f"{cluster.name} Envoy": ", ".join(cluster.envoys),
        }
    return found


def _mapping(old: Mapping[Key, str], new: Mapping[Key, str], absent: str, prefix: str = "") -> Iterator[str]:
    for key in dict.fromkeys([*old, *new]):
        name = " ".join(part for part in key if part) if isinstance(key, tuple) else str(key)
        yield from _changed(f"{prefix}{name}", old.get(key, absent), new.get(key, absent))


def _changed(what: str, old: str, new: str) -> Iterator[str]:
    if old != new:
        yield f"{what}: {old or 'none'} → {new or 'none'}"
