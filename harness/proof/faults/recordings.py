"""Recordings of broken meshes for the self-tests: one a fault, kept from a run that made the faults live.

`python -m suites.faults.record FROM TO` takes FROM/TOPOLOGY/FAULT.json.gz, as `pytest suites/faults` writes
them, and writes TO/FAULT.json.gz. TO/missing.json says why a fault that can be made live has no recording.
"""

import json
from collections.abc import Collection, Mapping
from pathlib import Path

from harness.base.errors import UserError
from harness.judge.requirement import Requirement
from harness.model.observation import load
from harness.proof.faults.fault import Fault
from harness.proof.faults.mutations import faults
from harness.proof.faults.trial import TrialResult, noticed
from harness.proof.recordings import SUFFIX, Kept, keep_command, topology_of, write

MISSING = "missing.json"


def live_faults() -> dict[str, Fault]:
    """Every fault that can be made on live clusters, by its id."""
    return {name: fault for name, fault in faults().items() if fault.act}


def keep(source: Path, target: Path, requirements: Collection[Requirement]) -> Kept:
    """Write a recording for each live fault that was made and caught; others' recordings stay as they are.

    Args:
        source: has TOPOLOGY/FAULT.json.gz.
        target: directory of the recordings.
        requirements: all there are.

    Returns:
        Fault id → topology of what was written, and the recordings that were refused, with the reason.

    Raises:
        UserError: there is nothing to keep, or an observation can't be read.
    """
    written, refused = dict[str, str](), list[str]()
    for name, fault in live_faults().items():
        topology = topology_of(source, name)
        if not topology:
            continue
        observation = load(source / topology / f"{name}{SUFFIX}")
        trial = noticed(fault, observation, requirements)
        if trial.result is not TrialResult.CAUGHT:
            refused.append(f"{name} in {topology}: {'; '.join((*trial.problems, trial.error))}")
            continue
        write(observation, target / f"{name}{SUFFIX}")
        written[name] = topology
    if not written and not refused:
        raise UserError(
            f"There is no observation of a fault in {source}.",
            "`pytest suites/faults` writes them to OUTPUT/faults/TOPOLOGY/FAULT.json.gz",
            "name the output directory of such a run: make record-faults OUTPUT=DIR",
        )
    target.mkdir(parents=True, exist_ok=True)
    _update_missing(target, written)
    return written, refused


def missing(target: Path) -> dict[str, str]:
    """Fault id → why there is no recording of it."""
    path = target / MISSING
    found: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
    return found


def _update_missing(target: Path, written: Mapping[str, str]) -> None:
    left = {name: reason for name, reason in missing(target).items() if name not in written}
    (target / MISSING).write_text(json.dumps(left, indent=1) + "\n")


def main(arguments: list[str], requirements: Collection[Requirement]) -> int:
    """Keep what a run recorded; exit status 1 where one was not caught as declared, 4 for wrong usage."""
    return keep_command(arguments, requirements, keep, known=live_faults(), what="faults")
