"""Recordings of valid meshes for the self-tests: one a variant, kept from a run that made the variants live.

`python -m suites.variants.record FROM TO` takes FROM/TOPOLOGY/VARIANT.json.gz, as `pytest suites/variants` writes them,
and writes TO/VARIANT.json.gz, and TO/TOPOLOGY.json.gz for the meshes before any change.
"""

from collections.abc import Collection
from pathlib import Path

from harness.base.errors import UserError
from harness.judge.diagnose import diagnose
from harness.judge.judgement import Judgement
from harness.judge.requirement import Requirement
from harness.model.observation import Observation, load
from harness.proof.live.whole import judged_while_it_stands
from harness.proof.recordings import SUFFIX, Kept, keep_command, topology_of, write
from harness.proof.variants.registry import variants
from harness.proof.variants.trial import VariantResult, VariantTrial, compare
from harness.proof.variants.variant import Variant

UNCHANGED = "none"
"""What a run calls the mesh before any change."""


def judged(
    variant: Variant, before: tuple[Judgement, ...], after: Observation, requirements: Collection[Requirement]
) -> VariantTrial:
    """What the suite says today of a variant that was recorded. Pure.

    Args:
        variant: what was changed.
        before: what it says of the same mesh before the change.
        after: with the change in force.
        requirements: all there are.
    """
    found = judged_while_it_stands(after, requirements)
    causes = diagnose(after, found)
    return compare(variant, after.topology.name, before, found, causes)


def keep(source: Path, target: Path, requirements: Collection[Requirement]) -> Kept:
    """Write a recording for each variant that was made and is green; others' recordings stay as they are.

    Args:
        source: has TOPOLOGY/VARIANT.json.gz, and TOPOLOGY/none.json.gz.
        target: directory of the recordings.
        requirements: all there are.

    Returns:
        Variant id → topology of what was written, and the recordings that were refused, with the reason.

    Raises:
        UserError: there is nothing to keep, or an observation can't be read.
    """
    written, refused = dict[str, str](), list[str]()
    for name, variant in variants().items():
        topology = topology_of(source, name)
        if not topology:
            continue
        before = load(source / topology / f"{UNCHANGED}{SUFFIX}")
        after = load(source / topology / f"{name}{SUFFIX}")
        trial = judged(variant, judged_while_it_stands(before, requirements), after, requirements)
        if trial.result is not VariantResult.GREEN:
            refused.append(f"{name} in {topology}: {'; '.join(trial.alarms)}")
            continue
        write(before, target / f"{topology}{SUFFIX}")
        write(after, target / f"{name}{SUFFIX}")
        written[name] = topology
    if not written and not refused:
        raise UserError(
            f"There is no observation of a variant in {source}.",
            "`pytest suites/variants` writes them to OUTPUT/variants/TOPOLOGY/VARIANT.json.gz",
            "name the output directory of such a run: make record-variants OUTPUT=DIR",
        )
    return written, refused


def main(arguments: list[str], requirements: Collection[Requirement]) -> int:
    """Keep what a run recorded; exit status 1 where one is not green, 4 for wrong usage."""
    return keep_command(arguments, requirements, keep, known=variants(), what="variants")
