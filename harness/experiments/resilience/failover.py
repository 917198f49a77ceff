"""The local helloworld goes away and comes back: the other clusters' answers stand in for it."""

from functools import partial

from harness.experiments.resilience.stage import Stage
from harness.mesh.readiness import await_deployment
from harness.mesh.settings import AVAILABLE_SECONDS
from harness.model.resilience import ACTED, MENDED, Stream
from harness.model.topology import Cluster

AWAY_SECONDS = 6.0
"""How long the other clusters are watched answering alone."""
SILENT_SECONDS = 2.0
GRACE_SECONDS = 60.0
"""Twice a pod's default grace period: by then no pod answers any more."""


def local_out(stage: Stage) -> None:
    """Scale helloworld to 0 and back, on one cluster after the other."""
    for cluster in stage.clusters:
        gone = partial(silent, version=cluster.version)
        try:
            stage.note(ACTED, cluster)
            _scale(stage, cluster, 0)
            with stage.step("Wait until only other clusters answer", cluster):
                stage.load.wait(gone, stage.seconds(GRACE_SECONDS))
            stage.linger(AWAY_SECONDS)
        finally:
            stage.note(MENDED, cluster)
            _scale(stage, cluster, 1)
        with stage.step("Wait for the helloworld application to be available", cluster) as opened:
            timeout = stage.seconds(AVAILABLE_SECONDS)
            name = f"helloworld-{cluster.version}"
            await_deployment(stage.kube(cluster), stage.sample_namespace, name, timeout, opened)
        stage.note("available", cluster)
        stage.await_whole()


def silent(streams: tuple[Stream, ...], now: float, version: str) -> bool:
    """Whether a version has not answered for a while. Pure."""
    return not any(
        request.version == version and request.sent > now - SILENT_SECONDS
        for stream in streams
        for request in stream.requests
    )


def _scale(stage: Stage, cluster: Cluster, replicas: int) -> None:
    with stage.step(f"Scale helloworld-{cluster.version} to {replicas}", cluster):
        change = {"spec": {"replicas": replicas}}
        name = f"helloworld-{cluster.version}"
        stage.kube(cluster).merge("apps/v1", "Deployment", name, change, stage.sample_namespace)
