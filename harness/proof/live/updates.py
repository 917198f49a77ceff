"""Waits until proxies have received what a change causes, and nothing more."""

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from harness.model import expectations
from harness.model.topology import Cluster
from harness.proof.live.live_mesh import LiveMesh
from harness.proof.live.waits import ask, await_each
from harness.proof.live.ztunnel_waits import Known, known

QUIET_SECONDS = 1.0
"""Istio, pilot/pkg/features, PILOT_DEBOUNCE_AFTER: a change is sent once nothing has followed it for 100 ms."""
DRAIN_SECONDS = 45.0
"""Istio, ProxyConfig, drainDuration."""
_COUNTERS = "stats?format=json&filter=_manager.[cl]ds.update_success"
Received = list[int] | Known
"""What tells that proxies have received something; ztunnels count nothing, and are asked what they know."""
_DRAINING = "stats?format=json&filter=listener_manager.total_.*_draining"


@contextmanager
def pushed(live: LiveMesh, change: AbstractContextManager[None]) -> Iterator[None]:
    """Make a change that sends proxies an update without effect; wait until they have received it.

    An update without effect does not show in ztunnels: there only time is given to it.

    Raises:
        StepError: they don't in time, or receive updates without end.
    """
    before = {cluster: _updates(live, cluster) for cluster in live.mesh.topology.clusters}

    def pending(cluster: Cluster) -> str:
        return "no update was received" if _updates(live, cluster) == before[cluster] else ""

    with change:
        if not live.mesh.settings.ambient:
            await_each(live, before, "Wait until proxies have received an update", pending)
        await_quiet(live)
        yield


@contextmanager
def quiet(live: LiveMesh, change: AbstractContextManager[None]) -> Iterator[None]:
    """Make a change, and wait until proxies receive nothing new; wait again after it was undone.

    Raises:
        StepError: proxies receive updates without end.
    """
    with change:
        await_quiet(live)
        yield
    await_quiet(live)


def await_quiet(live: LiveMesh) -> None:
    """Wait until proxies have received nothing for longer than istiod gathers changes before it sends them.

    Raises:
        StepError: they receive updates without end.
    """
    received = dict[Cluster, tuple[Received, float]]()

    def pending(cluster: Cluster) -> str:
        found, now = _updates(live, cluster), time.monotonic()
        latest, since = received.get(cluster, ([], now))
        if found != latest:
            since = now
        received[cluster] = (found, since)
        return "updates are still received" if now - since < QUIET_SECONDS else ""

    await_each(live, live.mesh.topology.clusters, "Wait until proxies receive no updates", pending)


def await_drained(live: LiveMesh) -> None:
    """Wait until proxies receive no updates, and helloworld's have drained the connections of former configurations.

    A ztunnel ends connections that a policy forbids, and no others.

    Raises:
        StepError: they receive updates without end, or connections are not drained in time.
    """
    await_quiet(live)
    if live.mesh.settings.ambient:
        return

    def pending(cluster: Cluster) -> str:
        answers = ask(live, cluster, live.mesh.settings.sample_namespace, expectations.HELLOWORLD, _DRAINING)
        return "filter chains are being drained" if any(map(counted, answers)) else ""

    clusters = live.mesh.topology.clusters
    await_each(
        live, clusters, "Wait until the connections of former configurations are drained", pending, 2 * DRAIN_SECONDS
    )


def _updates(live: LiveMesh, cluster: Cluster) -> Received:
    """The updates that each proxy of a cluster's client, server and gateway has received; what its ztunnels know.

    Raises:
        TransportError: one can't be asked.
    """
    settings = live.mesh.settings
    if settings.ambient:
        return known(live, cluster)
    apps = [(settings.sample_namespace, expectations.SLEEP), (settings.sample_namespace, expectations.HELLOWORLD)]
    if live.mesh.topology.has_gateway(cluster):
        apps.append((settings.system_namespace, expectations.GATEWAY))
    return [counted(answer) for app in apps for answer in ask(live, cluster, *app, _COUNTERS)]


def counted(answer: Any) -> int:
    """The sum of the counters in an answer of Envoy's `stats?format=json`. Pure."""
    return sum(int(stat.get("value") or 0) for stat in (answer or {}).get("stats") or ())
