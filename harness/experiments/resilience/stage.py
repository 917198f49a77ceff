"""What a scenario is given: a mesh that serves, the requests under way, and a place to note what it does and sees."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

from harness.base.errors import StepError
from harness.base.waiting import pause
from harness.experiments.resilience.load_generator import LoadGenerator
from harness.kube.access import ClusterAccess
from harness.kube.api import KubeApi, Object
from harness.mesh.context import Mesh, environment_faults
from harness.mesh.pki import Pki
from harness.mesh.readiness import await_deployment
from harness.mesh.settings import AVAILABLE_SECONDS, merged
from harness.model.expectations import unanswered, versions_apart
from harness.model.resilience import (
    WHOLE,
    EndpointReading,
    Moment,
    RevisionReading,
    Stream,
    SyncReading,
    TokenReading,
    TrustReading,
)
from harness.model.step import Phase
from harness.model.step_log import OpenStep
from harness.model.topology import Cluster

QUIET_SECONDS = 3.0
"""A mesh is whole from when on no request fails, and for so long every version answers every client."""
WHOLE_SECONDS = 90.0


@dataclass
class Certificates:
    """Those that the mesh has now; scenarios change them one after the other."""

    current: Pki


@dataclass
class Stage:
    """A mesh under requests."""

    mesh: Mesh
    certificates: Certificates
    accesses: Mapping[str, ClusterAccess]
    """Cluster → how it is reached, with its node containers where the suite made it."""
    load: LoadGenerator
    moments: list[Moment] = field(default_factory=list)
    trust: list[TrustReading] = field(default_factory=list)
    authorities: dict[str, str] = field(default_factory=dict)
    endpoints: list[EndpointReading] = field(default_factory=list)
    syncs: list[SyncReading] = field(default_factory=list)
    tokens: list[TokenReading] = field(default_factory=list)
    revisions: list[RevisionReading] = field(default_factory=list)

    @property
    def clusters(self) -> tuple[Cluster, ...]:
        """Every cluster of the mesh."""
        return self.mesh.topology.clusters

    @property
    def system_namespace(self) -> str:
        """Where the control plane and the gateways are."""
        return self.mesh.settings.system_namespace

    @property
    def sample_namespace(self) -> str:
        """Where the workloads are."""
        return self.mesh.settings.sample_namespace

    def kube(self, cluster: Cluster) -> KubeApi:
        """The API server of a cluster."""
        return self.mesh.kube(cluster)

    def seconds(self, seconds: float) -> float:
        """A deadline, scaled as the run's are."""
        return seconds * self.mesh.settings.timeout_scale

    def note(self, name: str, cluster: Cluster | None = None, detail: str = "", at: float | None = None) -> None:
        """Note what was just done, or has just happened; `at` where it was earlier."""
        when = self.load.now if at is None else at
        self.moments.append(Moment(name=name, at=when, cluster=cluster.name if cluster else "", detail=detail))

    @contextmanager
    def step(self, title: str, cluster: Cluster | None = None) -> Iterator[OpenStep]:
        """One step of a scenario."""
        name = cluster.name if cluster else None
        with self.mesh.log.step(Phase.RESILIENCE, title, name) as opened, environment_faults():
            yield opened

    def linger(self, seconds: float) -> None:
        """Let requests go on for a while."""
        pause(seconds)  # what is looked for is what does not happen meanwhile

    def await_whole(self, seconds: float = WHOLE_SECONDS) -> None:
        """Wait until no request fails and every version answers every client; note from when on it was so.

        A request that hangs is known to have failed only when its time is over, so one looks back for so long.

        Raises:
            StepError: the time is over; says what was last seen.
        """
        apart = {cluster.name: versions_apart(self.mesh.topology, cluster) for cluster in self.clusters}
        since, back, timeout = self.load.now, QUIET_SECONDS + self.load.limit, self.seconds(seconds)

        def holds(streams: tuple[Stream, ...], now: float) -> bool:
            return now - back >= since and not amiss(streams, apart, now - back)

        if not self.load.wait(holds, timeout):
            found = amiss(self.load.streams(), apart, max(since, self.load.now - back))
            raise StepError(f"not whole after {timeout:.0f} s: {found}")
        self.note(WHOLE, at=round(self.load.now - back, 3))

    def restart(self, cluster: Cluster, namespace: str, name: str, change: Object | None = None) -> None:
        """Restart a Deployment as `kubectl rollout restart` does, and wait until only new pods are left.

        Args:
            cluster: where it is.
            namespace: the Deployment's.
            name: its name.
            change: a merge patch that goes with it.

        Raises:
            StepError: the new pods did not become available.
        """
        stamp = {"kubectl.kubernetes.io/restartedAt": datetime.now(UTC).isoformat()}
        restarted = {"spec": {"template": {"metadata": {"annotations": stamp}}}}
        kube = self.kube(cluster)
        with self.step(f"Restart {name}", cluster) as opened:
            kube.merge("apps/v1", "Deployment", name, merged(change or {}, restarted), namespace)
            await_deployment(kube, namespace, name, self.seconds(AVAILABLE_SECONDS), opened)
            self._await_replaced(cluster, namespace, name, opened)
        self.note(f"{name} restarted", cluster)

    def await_gone(self, cluster: Cluster, namespace: str, pod: str, opened: OpenStep) -> None:
        """Wait until a pod is gone.

        Raises:
            StepError: it was not in time.
        """
        self.kube(cluster).wait(
            "v1",
            "Pod",
            pod,
            namespace,
            pending=lambda seen: f"pod {pod} is still there" if seen else "",
            timeout=self.seconds(AVAILABLE_SECONDS),
            step=opened,
        )

    def _await_replaced(self, cluster: Cluster, namespace: str, name: str, opened: OpenStep) -> None:
        """Wait until the pods of earlier ReplicaSets are gone."""
        kube = self.kube(cluster)
        deployment = kube.get("apps/v1", "Deployment", name, namespace) or {}
        labels = ((deployment.get("spec") or {}).get("selector") or {}).get("matchLabels") or {}
        selector = ",".join(f"{key}={value}" for key, value in labels.items())
        for pod in kube.list("v1", "Pod", namespace, label_selector=selector):
            if pod["metadata"].get("deletionTimestamp"):
                self.await_gone(cluster, namespace, pod["metadata"]["name"], opened)


def amiss(streams: tuple[Stream, ...], apart: Mapping[str, tuple[frozenset[str], ...]], begin: float) -> str:
    """Why a mesh was not whole from a time on; empty where it was. Pure.

    Args:
        streams: what has come so far.
        apart: client → groups of versions, one of each of which must answer it (`versions_apart`).
        begin: seconds on the scenario's clock; what was sent within `QUIET_SECONDS` of it has ended.
    """
    for stream in streams:
        sent = [each for each in stream.requests if each.sent >= begin]
        failed = [each.error or f"status {each.status}" for each in sent if not each.version]
        missing = unanswered(apart[stream.client], {r.version for r in sent if r.sent <= begin + QUIET_SECONDS})
        if failed:
            return f"{stream.client}: {failed[-1]}"
        if missing:
            return f"{stream.client}: {', '.join(sorted(missing))} did not answer within {QUIET_SECONDS:.0f} s"
    return ""
