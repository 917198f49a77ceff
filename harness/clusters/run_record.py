"""A run's own record of what it makes, kept so that the next run finds what a crash left behind.

Every run has a directory of mode 0700 under the user's state directory: its record, a lock, kubeconfigs, logs. The
process holds the lock as long as it lives, and the kernel lets go of it however the process ends: a record with
clusters whose lock is free, and that was not kept on purpose, is a leftover.
"""

import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from platformdirs import user_state_path
from pydantic import ValidationError

from harness.base.container_engine import ENGINES, ContainerEngine
from harness.base.errors import UserError
from harness.base.locks import locked, try_lock
from harness.clusters import ranges
from harness.model.base import Model

PREFIX = "eastwest"
_RECORD = "run.json"


class ClusterRecord(Model):
    """A kind cluster that a run makes; written down before it is made."""

    name: str
    """The topology's name for it: east."""
    kind_name: str
    """kind's name for it: eastwest-RUN-east."""
    pods: str
    """Range of pod addresses."""
    services: str
    """Range of Service addresses."""
    addresses: dict[str, str] = {}  # noqa: RUF012 - pydantic copies defaults
    """Node container → its address, once it runs."""
    pool: str = ""
    """Load balancer addresses, `first-last`, where MetalLB gives them."""


class RunRecord(Model):
    """What a run has made, or is about to make, on this machine."""

    id: str
    started: datetime
    pid: int
    kept: bool = False
    """Kept on purpose: no leftover, and to be taken by --reuse."""
    node_image: str = ""
    nodes: int = 1
    """Of each cluster."""
    load_balancer: str = ""
    engine: str = "docker"
    """Name of the container engine."""
    images: dict[str, str] = {}  # noqa: RUF012 - pydantic copies defaults
    """Reference → digest of the images that the suite has offered to the nodes: they may hold them."""
    clusters: tuple[ClusterRecord, ...] = ()

    @property
    def container_engine(self) -> ContainerEngine:
        """The container engine in which the clusters are."""
        return ENGINES[self.engine]


@dataclass(frozen=True)
class Run:
    """A run under way; its lock is held."""

    id: str
    directory: Path
    started: datetime
    pid: int

    @property
    def record(self) -> RunRecord:
        """Its record as it is on disk."""
        return _read(self.directory)

    def update(self, change: Callable[[RunRecord, tuple[RunRecord, ...]], RunRecord]) -> RunRecord:
        """Change the record, while no other run of this user changes its own.

        Args:
            change: given the record and those of all other runs, returns the new one.
        """
        with locked(state_directory() / "lock"):
            others = tuple(record for record in records() if record.id != self.id)
            changed = change(self.record, others)
            _write(self.directory, changed)
        return changed

    def keep(self) -> None:
        """Mark what was made as kept on purpose."""
        self.update(lambda record, _: record.model_copy(update={"kept": True}))


def state_directory() -> Path:
    """The suite's directory under the user's state.

    On Linux $XDG_STATE_HOME/eastwest, by default ~/.local/state/eastwest.
    """
    return user_state_path(PREFIX, appauthor=False)


def runs_directory() -> Path:
    """Where the runs' directories are."""
    return state_directory() / "runs"


@contextmanager
def begin(id: str = "", reuse: Callable[[RunRecord], bool] | None = None) -> Iterator[Run]:  # noqa: A002
    """A new run, or one that was kept; its directory is removed at the end when it has no clusters any more.

    Args:
        id: a name of up to 12 letters, digits and dashes; default six random digits.
        reuse: says of a kept run whether it fits; the first that does, and that no other process uses, is taken.

    Raises:
        UserError: a run of that id is under way or has clusters, or the id can't be a name.
    """
    run, lock = (_take_kept(reuse) if reuse else None) or _new(id)
    try:
        yield run
    finally:
        if not run.record.clusters:
            shutil.rmtree(run.directory, ignore_errors=True)
        os.close(lock)


def _new(id: str) -> tuple[Run, int]:  # noqa: A002
    id = id or secrets.token_hex(3)  # noqa: A001
    if not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?", id):
        raise UserError(
            f"A run can't be named {id}.", "the name becomes part of container names", "use 1 to 12 of a-z, 0-9 and -"
        )
    directory = runs_directory() / id
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = try_lock_run(id)
    if lock is None:
        raise UserError(f"The run {id} is under way.", "another process holds its lock", "choose another name")
    if (directory / _RECORD).exists() and _read(directory).clusters:
        os.close(lock)
        raise UserError(
            f"The name {id} is taken.", "an earlier run of that name left clusters, or kept them", "make clean"
        )
    record = RunRecord(id=id, started=datetime.now(UTC), pid=os.getpid())
    _write(directory, record)
    return Run(id, directory, record.started, record.pid), lock


def _take_kept(fits: Callable[[RunRecord], bool]) -> tuple[Run, int] | None:
    for record in records():
        if not (record.kept and fits(record)) or (lock := try_lock_run(record.id)) is None:
            continue
        directory = runs_directory() / record.id
        taken = record.model_copy(update={"pid": os.getpid()})
        _write(directory, taken)
        return Run(record.id, directory, record.started, taken.pid), lock
    return None


def records() -> tuple[RunRecord, ...]:
    """The records of all runs of this user, under way or not, the oldest first."""
    found = []
    for path in runs_directory().glob(f"*/{_RECORD}"):
        try:
            found.append(_read(path.parent))
        except FileNotFoundError:
            continue
    return tuple(sorted(found, key=lambda record: record.started))


def try_lock_run(id: str) -> int | None:  # noqa: A002
    """Take a run's lock without waiting: a file descriptor that holds it, None where a process has it or it is gone."""
    try:
        return try_lock(runs_directory() / id / "lock")
    except FileNotFoundError:
        return None


def kind_name(run_id: str, name: str) -> str:
    """The name of a run's cluster for kind; every container and context of it begins with this or ends in it."""
    return f"{PREFIX}-{run_id}-{name}"


def reserve(
    run: Run,
    names: tuple[str, ...],
    node_image: str,
    taken: tuple[str, ...],
    nodes: int = 1,
    *,
    engine: str = "docker",
) -> tuple[ClusterRecord, ...]:
    """Write clusters into a run's record, with address ranges that no other run has.

    Args:
        run: the run.
        names: the topology's names.
        node_image: what their nodes are made of.
        taken: subnets that are used on this machine by others than runs of the suite.
        nodes: how many each of them has.
        engine: container engine in which they are made.

    Raises:
        UserError: no ranges are free.
    """

    def change(record: RunRecord, others: tuple[RunRecord, ...]) -> RunRecord:
        used = [cluster for other in (record, *others) for cluster in other.clusters]
        found = ranges.cluster_ranges(
            len(names), [*taken, *(subnet for cluster in used for subnet in (cluster.pods, cluster.services))]
        )
        made = [
            ClusterRecord(name=name, kind_name=kind_name(run.id, name), pods=own.pods, services=own.services)
            for name, own in zip(names, found, strict=True)
        ]
        return record.model_copy(
            update={
                "clusters": (*record.clusters, *made),
                "node_image": node_image,
                "nodes": nodes,
                "engine": engine,
            }
        )

    return tuple(cluster for cluster in run.update(change).clusters if cluster.name in names)


def add_images(run: Run, images: Mapping[str, str]) -> None:
    """Write down which images the nodes are offered, by reference their digests, beside those of before."""
    run.update(lambda record, _: record.model_copy(update={"images": {**record.images, **images}}))


def update_cluster(run: Run, name: str, **values: object) -> None:
    """Change one cluster's entry in the record."""
    run.update(
        lambda record, _: record.model_copy(
            update={
                "clusters": tuple(
                    cluster.model_copy(update=values) if cluster.name == name else cluster
                    for cluster in record.clusters
                )
            }
        )
    )


def _read(directory: Path) -> RunRecord:
    path = directory / _RECORD
    try:
        return RunRecord.model_validate_json(path.read_text())
    except ValidationError:
        raise UserError(
            f"{path} can't be read.",
            "it was written by another version of the suite, or is damaged",
            f"remove the containers {PREFIX}-{directory.name}-*, then {directory}",
        ) from None


def _write(directory: Path, record: RunRecord) -> None:
    unfinished = directory / f"{_RECORD}.new"
    unfinished.write_text(record.model_dump_json(indent=1) + "\n")
    unfinished.replace(directory / _RECORD)
