"""One variant made on a live mesh: what the suite says of a valid mesh, as if somebody else had installed it. Pure."""

import re
from collections.abc import Sequence
from enum import StrEnum

from harness.judge.diagnose.cause import Cause
from harness.judge.judgement import Judgement, Verdict
from harness.model.base import Model
from harness.proof.live.whole import broken
from harness.proof.variants.variant import Variant


class VariantResult(StrEnum):
    """What making a variant comes to."""

    GREEN = "green"
    """Nothing failed, was blocked or unknown, no cause was named, and nothing else was left unjudged."""
    FALSE_ALARM = "false alarm"
    UNKNOWN = "unknown"
    """The variant could not be made or observed, or the mesh did not recover: the suite itself failed."""


class VariantTrial(Model):
    """One variant, made on a live mesh in one topology."""

    variant: str
    """Id of the variant."""
    text: str
    """What was changed, one line."""
    topology: str
    """Name of the topology."""
    alarms: tuple[str, ...] = ()
    """Why the mesh was not green, one line each: a verdict, a cause, a requirement that was skipped."""
    causes: tuple[str, ...] = ()
    """Ids of the causes that were named."""
    news: tuple[str, ...] = ()
    """`REQUIREMENT: fact` that was not reported before the change, pods and numbers aside; at most `NEWS`."""
    error: str = ""
    """Why the variant could not be made or observed; empty where it was."""
    remarks: tuple[str, ...] = ()
    """What did not pass after the change was undone, and what was done about it."""
    recovered: bool = True
    """Every requirement passed after the change was undone."""
    seconds: float = 0.0
    """From the change until the verdicts."""

    @property
    def result(self) -> VariantResult:
        """What the trial comes to; a false alarm stays one if the mesh did not recover afterwards."""
        if self.alarms and not self.error:
            return VariantResult.FALSE_ALARM
        return VariantResult.GREEN if self.recovered and not self.error else VariantResult.UNKNOWN


NEWS = 12
_SAFE = "[bcdfghjklmnpqrstvwxz2456789]"
"""Of what Kubernetes generates names (apimachinery, util/rand)."""
_VARIES = re.compile(rf"(-{_SAFE}{{6,10}})?-{_SAFE}{{5}}\b|\d+(\.\d+)*(e-?\d+)?|(?<=refused): .*")
"""The generated part of a pod's name, every number, and in which words a connection was refused."""


def compare(
    variant: Variant, topology: str, before: Sequence[Judgement], after: Sequence[Judgement], causes: Sequence[Cause]
) -> VariantTrial:
    """Judge what the suite says of a variant.

    Args:
        variant: what was changed.
        topology: where.
        before: verdicts on the mesh as it was installed.
        after: verdicts with the change in force.
        causes: named with the change in force.
    """
    former = {judgement.id: judgement for judgement in before}
    skipped = [
        f"{each.id} {each.verdict}: {each.explanation.splitlines()[0]}"
        for each in after
        if each.verdict is Verdict.SKIPPED
        and each.id not in variant.reported
        and (each.id not in former or former[each.id].verdict is Verdict.PASS)
    ]
    known = {(each.id, _VARIES.sub("", fact)) for each in before for fact in each.facts}
    news = [
        f"{each.id}: {fact}" for each in after for fact in each.facts if (each.id, _VARIES.sub("", fact)) not in known
    ]
    return VariantTrial(
        variant=variant.id,
        text=variant.text,
        topology=topology,
        alarms=(*broken(after), *(f"cause named: {_in_words(cause)}" for cause in causes), *skipped),
        causes=tuple(dict.fromkeys(cause.id for cause in causes)),
        news=tuple(news[:NEWS]),
    )


def _in_words(cause: Cause) -> str:
    where = f"{cause.cluster}: " if cause.cluster else ""
    return f"{cause.id} ({where}{cause.object} {cause.field}: {cause.found})"
