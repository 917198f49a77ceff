"""`python -m harness.clusters [list|clean]`: shows, or removes, the clusters that runs left or kept here."""

import argparse
import os
import sys
from collections.abc import Sequence

from harness.base.cache import cache_directory, in_use
from harness.base.command import CommandError
from harness.base.container_engine import answering
from harness.base.errors import UserError
from harness.base.locks import try_lock
from harness.clusters.leftovers import ended, remove, unrecorded
from harness.clusters.run_record import records
from harness.machine.engine import stop_engine
from harness.machine.images import stop_registry
from harness.model.step_log import StepLog, ignore


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status: 0, or 4 where something could not be removed."""
    parser = argparse.ArgumentParser(prog="python -m harness.clusters", description=__doc__)
    parser.add_argument("what", choices=("list", "clean"), nargs="?", default="list")
    try:
        return _clean() if parser.parse_args(arguments).what == "clean" else _list()
    except (UserError, CommandError) as failed:
        sys.stderr.write(f"{failed}\n")
        return 4


def _list() -> int:
    over = {leftover.run_id: leftover for leftover in ended()}
    for record in records():
        _say(str(over[record.id]) if record.id in over else f"run {record.id}: under way (process {record.pid})")
    return 0


def _clean() -> int:
    """Remove leftovers and kept clusters of this user, then the registry and the engine if the suite started them."""
    engines = answering()
    for leftover in ended():
        if (leftover.engine in engines or not leftover.clusters) and remove(leftover):
            _say(f"removed {leftover}")
    for engine in engines:
        for name in unrecorded(engine):
            by_hand = f"KIND_EXPERIMENTAL_PROVIDER={engine.name} kind delete cluster --name {name}"
            _say(f"not recorded here, so left alone: {name} ({by_hand})")
    if under_way := records():
        _say(f"left alone, under way or not removable: {', '.join(record.id for record in under_way)}")
        return 0
    cache_directory().mkdir(parents=True, exist_ok=True)
    lock = try_lock(in_use())
    if lock is None:
        _say("The local registry and the container engine stay.")
        _say("  why: another process uses them: a run that has not made its clusters yet, or one that builds images")
        _say("  fix: wait until it has ended, then make clean")
        return 0
    try:
        return _stop()
    finally:
        os.close(lock)


def _stop() -> int:
    for engine in answering():
        if stop_registry(engine, cache_directory()):
            _say("removed the local registry")
    if stop_engine(StepLog(ignore)):
        _say("stopped the container engine")
    return 0


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


if __name__ == "__main__":
    sys.exit(main())
