"""What a published report says, against what its observations come to when they are judged again. Pure."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from harness.base.errors import UserError
from harness.judge.judgement import Level, Verdict
from harness.model.observation import SuiteVersion
from harness.runs.options import OPTIONS
from reports.conformance import count, overall, result_of, weighed
from reports.model import ConformanceReport, RequirementResult, Result, TopologyReport
from reports.result import FailOn
from reports.summary import headline, summary_line

BY_OPTION = "left out by --skip-requirement"
"""The beginning of the reason where an option has a requirement skipped."""
OBSERVED = ("clusters", "distribution", "environment", "images", "observed", "run_id", "deviations", "errors")
"""Fields of a topology that tell what was observed, and where."""
JUDGED = (
    "result",
    "partial",
    "counts",
    "counts_by_level",
    "causes",
    "not_run",
    "not_applicable",
    "conditions",
    "strain",
)
"""Fields of a topology that follow from its observation and its verdicts."""


@dataclass(frozen=True)
class Verification:
    """What does not agree, one line each; the report is confirmed where nothing is in it.

    Notes say what a reader should know and what contradicts nothing.
    """

    judged: int
    """Requirements that were judged again and are in the report."""
    verdicts: tuple[str, ...]
    left_out: tuple[str, ...]
    observed: tuple[str, ...]
    """Images, versions, and what else was observed."""
    content: tuple[str, ...]
    """Results, counts, causes, evidence, and who judged."""
    notes: tuple[str, ...] = ()

    @property
    def differences(self) -> int:
        """How many there are."""
        return len(self.verdicts) + len(self.left_out) + len(self.observed) + len(self.content)


def require_same_suite(claimed: ConformanceReport, own: SuiteVersion) -> None:
    """See that the report was made by this version of the suite: another one may judge differently.

    Raises:
        UserError: it was made by another one.
    """
    theirs = SuiteVersion(version=claimed.suite.version, commit=claimed.suite.commit)
    if theirs != own:
        raise UserError(
            f"The report was made by {named(theirs)}, and this is {named(own)}.",
            "another version of the suite may judge the same observation differently",
            f"check out {theirs.commit.rstrip('+') or f'version {theirs.version}'} of the suite, and verify with that",
        )


def named(suite: SuiteVersion) -> str:
    """A version of the suite, as a reader would name it."""
    return f"eastwest {suite.version} at commit {suite.commit or 'unknown'}"


def verify(claimed: ConformanceReport, again: Sequence[TopologyReport], beside: Iterable[str] = ()) -> Verification:
    """Hold a report against its observations, judged again by every requirement that applies.

    Args:
        claimed: the report.
        again: what each of its topologies comes to, in the same order.
        beside: what lies beside the report and is not what it says, one line each.
    """
    pairs = list(zip(claimed.topologies, again, strict=True))
    return Verification(
        judged=sum(len(_by_id(topology.requirements).keys() & _by_id(new.requirements)) for topology, new in pairs),
        verdicts=_lines(pairs, _verdicts),
        left_out=(*_topologies_left_out(claimed), *beside, *_lines(pairs, _left_out)),
        observed=_lines(pairs, _observed),
        content=(
            *_suite(claimed),
            *_lines(pairs, lambda old, new: _content(old, _expected(old, new, claimed.fail_on))),
            *_whole(claimed, [_expected(old, new, claimed.fail_on) for old, new in pairs]),
        ),
        notes=_lines(pairs, _skipped),
    )


def _expected(claimed: TopologyReport, again: TopologyReport, fail_on: FailOn) -> TopologyReport:
    """What a report says of a topology that leaves out what the claimed one leaves out, and is true otherwise."""
    omitted, skipped = {each.requirement for each in claimed.not_run}, _skipped_by_option(claimed)
    judged = [skipped.get(each.id, each) for each in again.requirements if each.id not in omitted]
    known = {*_by_id(again.requirements), *(each.requirement for each in again.not_applicable)}
    found = {
        "requirements": tuple(judged),
        "result": result_of(weighed(judged), fail_on),
        "partial": bool(omitted) or any(each.verdict is Verdict.SKIPPED for each in judged),
        "counts": count(each.verdict for each in judged),
        "counts_by_level": {level: count(each.verdict for each in judged if each.level is level) for level in Level},
        "not_run": tuple(each for each in claimed.not_run if each.requirement in known),
    }
    if omitted or skipped:
        # Causes are found among what was judged, and what options leave out is not listed as not applicable.
        found["causes"] = claimed.causes
        if set(claimed.not_applicable) <= set(again.not_applicable):
            found["not_applicable"] = claimed.not_applicable
    return again.model_copy(update=found)


def _lines(
    pairs: Iterable[tuple[TopologyReport, TopologyReport]],
    find: Callable[[TopologyReport, TopologyReport], Iterable[str]],
) -> tuple[str, ...]:
    return tuple(f"{old.name}: {line}" for old, new in pairs for line in find(old, new))


def _by_id(requirements: Iterable[RequirementResult]) -> dict[str, RequirementResult]:
    return {each.id: each for each in requirements}


def _skipped_by_option(topology: TopologyReport) -> dict[str, RequirementResult]:
    return {
        each.id: each
        for each in topology.requirements
        if each.verdict is Verdict.SKIPPED and any(why.startswith(BY_OPTION) for why in each.reasons)
    }


def _verdicts(claimed: TopologyReport, again: TopologyReport) -> Iterator[str]:
    judged, skipped = _by_id(again.requirements), _skipped_by_option(claimed)
    lacking = {each.requirement: each.reason for each in again.not_applicable}
    for each in claimed.requirements:
        found = judged.get(each.id)
        if each.id in skipped:
            continue
        if found is None:
            why = f"it is not applicable: {lacking[each.id]}" if each.id in lacking else "there is no such requirement"
            yield f"{each.id}: the report says {each.verdict}, and {why}"
        elif (found.verdict, found.level) != (each.verdict, each.level):
            yield f"{each.id}: the report says {each.level} {each.verdict}, judged again {found.level} {found.verdict}"


def _left_out(claimed: TopologyReport, again: TopologyReport) -> Iterator[str]:
    judged, there = _by_id(again.requirements), _by_id(claimed.requirements)
    reasons = {each.requirement: each.reason for each in claimed.not_run}
    reasons |= {name: "; ".join(each.reasons) for name, each in _skipped_by_option(claimed).items()}
    for name, found in judged.items():
        if name in reasons:
            yield f"{name}: {reasons[name]}; judged now {found.verdict}"
        elif name not in there:
            yield f"{name}: missing from the report; judged now {found.verdict}"


def _skipped(claimed: TopologyReport, again: TopologyReport) -> Iterator[str]:
    for each in again.requirements:
        if each.verdict is Verdict.SKIPPED and each.id in _by_id(claimed.requirements):
            yield f"{each.id} was skipped: {'; '.join(each.reasons)}"


def _observed(claimed: TopologyReport, again: TopologyReport) -> Iterator[str]:
    if _topology(claimed.name) != _topology(again.name):
        yield f"its observation is of {again.name}"
    old, new = (topology.model_dump(mode="json", include=set(OBSERVED)) for topology in (claimed, again))
    said, seen = dict(_flat(old)), dict(_flat(new))
    for name in dict.fromkeys([*said, *seen]):
        if said.get(name) != seen.get(name):
            yield f"{name}: the report says {said.get(name, 'nothing')}, observed {seen.get(name, 'nothing')}"


def _topology(name: str) -> str:
    """The topology's name, without the number that tells two observations of it apart."""
    return re.sub(r"-\d+$", "", name)


def _flat(value: object, name: str = "") -> Iterator[tuple[str, str]]:
    """Every value of a document with the path that leads to it, in words."""
    if isinstance(value, dict):
        for key, each in value.items():
            yield from _flat(each, f"{name} {key}".strip())
    elif isinstance(value, list) and all(isinstance(each, dict) for each in value):
        for each in value:
            yield from _flat({key: inner for key, inner in each.items() if key != "name"}, f"{name} {each['name']}")
    else:
        yield name, ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _content(claimed: TopologyReport, expected: TopologyReport) -> Iterator[str]:
    """What the report says of a topology beside its verdicts, and should say otherwise."""
    for field in JUDGED:
        if getattr(claimed, field) != getattr(expected, field):
            yield f"{field} is not as it comes out of the verdicts and the observation"
    there, complete = _by_id(claimed.requirements), claimed.causes == expected.causes
    if len(there) != len(claimed.requirements):
        yield "a requirement is listed twice"
    for new in expected.requirements:
        old = there.get(new.id)
        if old is None or old.verdict is not new.verdict:
            continue
        fields = [
            field
            for field in RequirementResult.model_fields
            if field != "level" and (complete or field != "causes") and getattr(old, field) != getattr(new, field)
        ]
        if fields:
            yield f"{new.id}: {', '.join(fields)} not as judged again"


def _suite(claimed: ConformanceReport) -> Iterator[str]:
    if claimed.suite.commit.endswith("+"):
        yield f"the suite had local changes (commit {claimed.suite.commit}): nobody else has the code that judged"
    if not claimed.suite.commit:
        yield "the commit of the suite is not known: nobody can tell which code judged"


def _topologies_left_out(claimed: ConformanceReport) -> Iterator[str]:
    for each in claimed.unobserved:
        yield f"{each.name}: not observed: {each.reason.splitlines()[0] if each.reason else 'no reason given'}"
    names = [*(topology.name for topology in claimed.topologies), *(each.name for each in claimed.unobserved)]
    for name in _asked(claimed.options):
        if not any(each.startswith(name) for each in names):
            yield f"{name}: asked for, and not in the report"


def _asked(options: Mapping[str, str]) -> Iterator[str]:
    """The topologies that a run forms by these options; none where they come from elsewhere."""
    if any(name in options for name in ("topology-file", "verify-only", "observation")):
        return
    models, networks = (_chosen(name, options) for name in ("topology", "network"))
    yield from (f"{model}-{network}-network" for network in networks for model in models)


def _chosen(name: str, options: Mapping[str, str]) -> tuple[str, ...]:
    """The values of an option, all of them where it says all."""
    option = next(option for option in OPTIONS if option.name == name)
    return tuple(map(str, cast("tuple[str, ...]", option.convert(name, options.get(name, option.default)))))


def _whole(claimed: ConformanceReport, expected: Sequence[TopologyReport]) -> Iterator[str]:
    result = overall([*(each.result for each in expected), *(Result.UNKNOWN for _ in claimed.unobserved)])
    partial = bool(claimed.unobserved) or any(each.partial for each in expected)
    suite = SuiteVersion(version=claimed.suite.version, commit=claimed.suite.commit)
    summary = summary_line(suite, headline(result, partial), expected, claimed.unobserved)
    if (claimed.result, claimed.partial) != (result, partial):
        yield (
            f"the report says {headline(claimed.result, claimed.partial)}, and it comes to {headline(result, partial)}"
        )
    if claimed.summary != summary:
        yield f"summary is not as it comes out: {summary}"
