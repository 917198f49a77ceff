"""Causes in what a run leaves behind."""

from collections.abc import Iterator

from harness.judge.diagnose.facts import few
from harness.judge.diagnose.graph import Layer
from harness.judge.diagnose.registry import Found, cause
from harness.judge.diagnose.repair import kubectl
from harness.model.observation import InventoryChange, Observation


@cause("left-behind", Layer.RUN, "CLEAN", breaks=None)
def left_behind(observation: Observation) -> Iterator[Found]:
    """Something is still there after cleanup.

    A finalizer holds it, or an object was made that nobody deletes.
    """
    cleanup = observation.cleanup
    for change in cleanup.changes if cleanup else ():
        left = change.change == "left behind"
        yield Found(
            cluster=change.cluster,
            object=f"{change.kind} {change.namespace}/{change.name}"
            if change.namespace
            else f"{change.kind} {change.name}",
            field="exists",
            expected="as before the run",
            found=change.change,
            repair=_remove(observation, change) if left else "# create it again as it was before the run",
            evidence=few([change.detail]),
            title="" if left else "Something that stood before the run is gone after cleanup",
        )
    engine = (observation.environment.container_engine or "docker").split()[0]
    for container in cleanup.containers_left if cleanup else ():
        yield Found(
            cluster="",
            object=f"container {container}",
            field="exists",
            expected="removed with its Service",
            found="left behind",
            repair=f"{engine} rm -f {container}",
        )


def _remove(observation: Observation, change: InventoryChange) -> str:
    observed = observation[change.cluster]
    where = ("-n", change.namespace) if change.namespace else ()
    if "finalizer" in change.detail:
        patch = '\'{"metadata":{"finalizers":null}}\''
        return kubectl(observed, *where, f"patch {change.kind.lower()} {change.name} --type=merge -p {patch}")
    return kubectl(observed, *where, f"delete {change.kind.lower()} {change.name}")
