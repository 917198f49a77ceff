"""What recordings of faults and of variants have in common: where one is found, how it is written, and the command."""

import gzip
import sys
from collections.abc import Callable, Collection
from pathlib import Path

from harness.base.errors import UserError
from harness.judge.requirement import Requirement
from harness.model.observation import Observation

SUFFIX = ".json.gz"
PREFERRED = (
    "primary-remote-multi-network",
    "multi-primary-multi-network",
    "primary-remote-single-network",
    "multi-primary-single-network",
    "external-multi-network",
    "external-single-network",
)
"""The topology of which a recording is kept: the first in which it was made."""
Kept = tuple[dict[str, str], list[str]]
"""Id → topology of what was written, and the recordings that were refused, with the reason."""
Keep = Callable[[Path, Path, Collection[Requirement]], Kept]


def topology_of(source: Path, name: str) -> str:
    """The topology whose recording of this id is kept; empty where a run has recorded none.

    Args:
        source: has TOPOLOGY/NAME.json.gz.
        name: id of what was recorded.
    """
    return next((each for each in PREFERRED if (source / each / f"{name}{SUFFIX}").exists()), "")


def write(observation: Observation, path: Path) -> None:
    """Write an observation without indentation, compressed: about 45 KB; the same bytes for the same observation."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(observation.model_dump_json().encode(), compresslevel=9, mtime=0))


def keep_command(
    arguments: list[str], requirements: Collection[Requirement], keep: Keep, *, known: Collection[str], what: str
) -> int:
    """Keep what a run recorded; exit status 1 where something was refused, 4 for wrong usage.

    Args:
        arguments: of `python -m suites.WHAT.record FROM TO`.
        requirements: all there are.
        keep: writes the recordings.
        known: ids of all that can be recorded.
        what: faults or variants.
    """
    try:
        source, target = map(Path, arguments)
        written, refused = keep(source, target, requirements)
    except ValueError:
        sys.stderr.write(f"usage: python -m suites.{what}.record FROM TO\n")
        return 4
    except UserError as error:
        sys.stderr.write(f"{error}\n")
        return 4
    lines = [f"{len(written)} of {len(known)} {what} recorded", *(f"refused: {line}" for line in refused)]
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    return 1 if refused else 0
