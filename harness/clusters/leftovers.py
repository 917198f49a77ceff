"""Finds what runs left on this machine, and removes exactly that."""

import os
import re
import shutil
from dataclasses import dataclass
from datetime import datetime

from harness.base.container_engine import DOCKER, ContainerEngine
from harness.clusters import containers
from harness.clusters.run_record import PREFIX, Run, RunRecord, records, runs_directory, try_lock_run
from harness.model.step import Phase
from harness.model.step_log import StepLog


@dataclass(frozen=True)
class Leftover:
    """Clusters of a run whose process is gone."""

    run_id: str
    started: datetime
    clusters: tuple[str, ...]
    """kind's names for them."""
    kept: bool
    """Kept on purpose."""
    engine: ContainerEngine = DOCKER

    def __str__(self) -> str:
        """One line."""
        what = "kept" if self.kept else "left behind"
        return (
            f"run {self.run_id} of {self.started:%Y-%m-%d %H:%M}: {what}: {', '.join(self.clusters) or 'no clusters'}"
        )


def leftovers() -> tuple[Leftover, ...]:
    """What runs that have ended left behind without meaning to."""
    return tuple(leftover for leftover in ended() if not leftover.kept)


def ended() -> tuple[Leftover, ...]:
    """What runs that have ended left, kept or not."""
    return tuple(_leftover(record) for record in records() if not _under_way(record))


def unrecorded(engine: ContainerEngine) -> tuple[str, ...]:
    """Clusters of kind that are named like the suite's but that no record of this user knows; never removed by it."""
    known = {cluster.kind_name for record in records() for cluster in record.clusters}
    nodes = containers.labelled(engine, containers.CLUSTER_LABEL)
    clusters = {re.sub(r"-(control-plane|worker\d*)$", "", name) for name in nodes if name.startswith(f"{PREFIX}-")}
    return tuple(sorted(clusters - known))


def remove(leftover: Leftover) -> bool:
    """Remove a leftover's containers, then its record; False where another process has taken it meanwhile.

    Raises:
        UserError: a container could not be removed.
    """
    lock = try_lock_run(leftover.run_id)
    if lock is None:
        return False
    try:
        containers.remove(leftover.engine, cluster_containers(leftover.engine, leftover.clusters))
        shutil.rmtree(runs_directory() / leftover.run_id, ignore_errors=True)
    finally:
        os.close(lock)
    return True


def remove_clusters(run: Run, log: StepLog) -> None:
    """Remove the clusters of a run, and the load balancer containers that belong to them.

    Raises:
        UserError: a container could not be removed; what is left stays in the record.
    """
    record = run.record
    clusters, engine = tuple(cluster.kind_name for cluster in record.clusters), record.container_engine
    if not clusters:
        return
    with log.step(Phase.CLEANUP, "Remove the clusters") as step:
        gone = cluster_containers(engine, clusters)
        step.waiting(f"{len(gone)} containers to be removed")
        containers.remove(engine, gone)
        run.update(lambda record, _: record.model_copy(update={"clusters": (), "kept": False}))


def cluster_containers(engine: ContainerEngine, clusters: tuple[str, ...]) -> tuple[str, ...]:
    """Names of the node and load balancer containers of kind clusters."""
    return tuple(
        name
        for cluster in clusters
        for label in (containers.CLUSTER_LABEL, containers.LOAD_BALANCER_LABEL)
        for name in containers.labelled(engine, label, cluster)
    )


def _under_way(record: RunRecord) -> bool:
    lock = try_lock_run(record.id)
    if lock is None:
        return True
    os.close(lock)
    return False


def _leftover(record: RunRecord) -> Leftover:
    clusters = tuple(cluster.kind_name for cluster in record.clusters)
    return Leftover(record.id, record.started, clusters, record.kept, record.container_engine)
