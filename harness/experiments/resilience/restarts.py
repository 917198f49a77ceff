"""Parts of the mesh are restarted: the east-west gateways, and the control planes."""

from harness.base.errors import StepError
from harness.base.waiting import WaitError, wait_until
from harness.experiments.resilience import readings
from harness.experiments.resilience.stage import Stage
from harness.mesh.gateways import NAME
from harness.mesh.readiness import await_deployment
from harness.mesh.restart import end_pods
from harness.mesh.settings import AVAILABLE_SECONDS
from harness.model.resilience import ACTED, MENDED
from harness.model.topology import Cluster

RECONNECT_SECONDS = 90.0
"""Envoy's backoff for its control plane ends at 30 s, and it may meet a control plane that is not ready."""
LINGER_SECONDS = 5.0
_PAUSE = 0.5


def gateways(stage: Stage) -> None:
    """Restart every east-west gateway, one after the other."""
    for cluster in stage.clusters:
        if stage.mesh.topology.has_gateway(cluster):
            stage.note(ACTED, cluster)
            stage.restart(cluster, stage.system_namespace, NAME)
            stage.note(MENDED, cluster)
            stage.await_whole()


def control_planes(stage: Stage) -> None:
    """End every istiod pod at once, one primary after the other, and wait until its proxies are connected again.

    Harsher than a rollout: for some seconds there is no control plane.
    """
    for primary in stage.mesh.topology.primaries:
        kube, namespace = stage.kube(primary), stage.system_namespace
        before = readings.proxies(stage, primary)
        if not before:
            raise StepError(f"istiod on {primary.name} does not tell of any proxy that is connected to it")
        stage.note(ACTED, primary, f"{len(before)} proxies connected")
        with stage.step("End every istiod pod", primary) as opened:
            # istiod would serve on for the 30 s of its grace, beside the pod that takes its place.
            end_pods(kube, namespace, "app=istiod", stage.seconds(AVAILABLE_SECONDS), opened)
        with stage.step("Wait for istiod to be available", primary) as opened:
            for deployment in kube.list("apps/v1", "Deployment", namespace, label_selector="app=istiod"):
                name, timeout = deployment["metadata"]["name"], stage.seconds(AVAILABLE_SECONDS)
                await_deployment(kube, namespace, name, timeout, opened)
        stage.note("available", primary)
        _await_proxies(stage, primary, before)
        stage.note(MENDED, primary)
        stage.linger(LINGER_SECONDS)
        stage.await_whole()


def _await_proxies(stage: Stage, primary: Cluster, before: frozenset[str]) -> None:
    with stage.step("Wait until every proxy is connected again", primary) as opened:
        try:
            wait_until(
                lambda: ", ".join(sorted(before - readings.proxies(stage, primary))),
                stage.seconds(RECONNECT_SECONDS),
                pause_seconds=_PAUSE,
                waiting=lambda missing: opened.waiting(f"not connected: {missing}"),
            )
        except WaitError as expired:
            stage.note("not connected", primary, expired.last)
            return
    stage.note("connected", primary)
