"""Cleanup: what the chapter takes away, and what it leaves."""

from harness.judge.evidence import Evidence
from harness.judge.judgement import Level
from harness.judge.requirement import requirement
from harness.model.observation import Observation
from harness.model.step import Phase

AREA = "cleanup"


@requirement("CLEAN", Level.MUST, area=AREA)
def test_clean(observation: Observation, evidence: Evidence) -> None:
    """After cleanup every cluster holds what it held before the run.

    The chapter deletes the resource `Istio` and the namespaces of mesh, sample and CNI plugin. It leaves behind
    IstioCNI, cluster roles, webhooks and load balancer containers, which the suite removes in addition, each a step
    with a name. Compared are the inventories of all objects before the run and after cleanup. Judged where the run
    cleaned up: not where what it made is kept, and under verify-only of the sample's own namespace only, where
    --deploy-sample created one.

    Source: chapter, "remove the multi-cluster topology from all the clusters".
    """
    cleanup = observation.cleanup
    if cleanup is None:
        kept = "--keep left the mesh in place" if observation.asked.kept else "nothing was cleaned up"
        evidence.skipped("verify-only changes nothing" if observation.asked.mode == "verify-only" else kept)
        return
    deployed = observation.asked.sample == "deployed"
    scope = f"in namespace {observation.asked.sample_namespace}" if deployed else ""
    for reason in cleanup.unread:
        evidence.unknown(f"no inventory: {reason}")
    unread = {reason.partition(":")[0] for reason in cleanup.unread}
    for cluster in observation.topology.clusters:
        before = cleanup.objects_before.get(cluster.name, 0)
        if cluster.name in unread:
            continue
        if cluster.name not in cleanup.clusters or not (before or deployed):
            evidence.unknown(f"{cluster.name}: no inventory was taken")
            continue
        changes = [change for change in cleanup.changes if change.cluster == cluster.name]
        for change in changes:
            namespaced = f"{change.namespace}/{change.name}" if change.namespace else change.name
            evidence.expect(
                False,
                cluster=cluster,
                object=f"{change.kind} {namespaced}",
                field="after cleanup",
                expected="as before the run",
                found=f"{change.change}: {change.detail}" if change.detail else change.change,
            )
        if not changes:
            evidence.fact(f"{cluster.name}: the same {before} objects as before the run {scope}".rstrip())
    for container in cleanup.containers_left:
        evidence.expect(
            False, object=f"container {container}", field="after cleanup", expected="removed", found="left behind"
        )
    for step in observation.steps:
        if step.phase is Phase.CLEANUP:
            evidence.fact(f"{step.cluster or 'all'}: {step.title}: {step.outcome}")
