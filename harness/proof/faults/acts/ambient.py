"""Ztunnels, what they carry, and Gateways of a mesh without sidecars: taken away, and put back."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from harness.kube.api import Object
from harness.mesh.gateway_api import API_VERSION as GATEWAY_API
from harness.mesh.gateways import NAME, await_address
from harness.mesh.settings import AVAILABLE_SECONDS
from harness.model import expectations
from harness.model.topology import Cluster
from harness.proof.live.changes import Reference, absent, changed
from harness.proof.live.live_mesh import LiveMesh
from harness.proof.live.waits import await_true
from harness.proof.live.ztunnel_waits import felt_by_ztunnels

NOWHERE = {"eastwest.example.com/none": "true"}
"""Labels that no node has."""


@contextmanager
def ztunnel_missing(live: LiveMesh) -> Iterator[None]:
    """Let ztunnel run on no node of West; afterwards on each again."""
    namespace = live.mesh.settings.ztunnel_namespace
    daemon_set = Reference("apps/v1", "DaemonSet", expectations.ZTUNNEL, namespace)
    selector = {"spec": {"template": {"spec": {"nodeSelector": NOWHERE}}}}
    try:
        with changed(live, live.west, daemon_set, selector):
            await_true(live, live.west, "Wait until no ztunnel is left", _left(live, namespace), AVAILABLE_SECONDS)
            yield
    finally:
        title = "Wait until a ztunnel is ready on every node"
        await_true(live, live.west, title, lambda: _unready(live, daemon_set), AVAILABLE_SECONDS)


def _left(live: LiveMesh, namespace: str) -> Callable[[], str]:
    def pending() -> str:
        found = live.kube(live.west).list("v1", "Pod", namespace, label_selector=f"app={expectations.ZTUNNEL}")
        return ", ".join(pod["metadata"]["name"] for pod in found)

    return pending


def _unready(live: LiveMesh, reference: Reference) -> str:
    found = live.kube(live.west).get(*reference) or {}
    status, generation = found.get("status") or {}, (found.get("metadata") or {}).get("generation")
    if status.get("observedGeneration") != generation:
        return "its change was not seen yet"
    wanted, ready = status.get("desiredNumberScheduled") or 0, status.get("numberReady") or 0
    updated = status.get("updatedNumberScheduled") or 0
    return "" if 0 < wanted == ready == updated else f"{ready} of {wanted} are ready"


@contextmanager
def ambient_off(live: LiveMesh) -> Iterator[None]:
    """Take the label from West's sample namespace, and wait until Istio's CNI plugin has let its pods go."""
    name = live.mesh.settings.sample_namespace
    change = {"metadata": {"labels": {expectations.MODE_LABEL: None}}}
    with changed(live, live.west, Reference("v1", "Namespace", name), change):
        await_true(live, live.west, "Wait until no pod is captured", lambda: _captured(live, wanted=False))
        yield
    await_true(live, live.west, "Wait until every pod is captured", lambda: _captured(live, wanted=True))


def _captured(live: LiveMesh, *, wanted: bool) -> str:
    """The pods of West's sample that are not as wanted."""

    def is_captured(pod: Object) -> bool:
        return (pod["metadata"].get("annotations") or {}).get(expectations.REDIRECTION) == "enabled"

    found = live.kube(live.west).list("v1", "Pod", live.mesh.settings.sample_namespace)
    return ", ".join(pod["metadata"]["name"] for pod in found if is_captured(pod) is not wanted)


def service_local(live: LiveMesh) -> AbstractContextManager[None]:
    """Take the label that makes it global from West's helloworld."""
    service = Reference("v1", "Service", expectations.HELLOWORLD, live.mesh.settings.sample_namespace)
    change = {"metadata": {"labels": {expectations.GLOBAL_LABEL: None}}}
    return felt_by_ztunnels(live, live.mesh.topology.clusters, changed(live, live.west, service, change))


def gateway_missing(live: LiveMesh) -> AbstractContextManager[None]:
    """Delete West's Gateway; afterwards it has an address again, which may be another one."""
    return felt_by_ztunnels(
        live, _strangers(live), _addressed(live, absent(live, live.west, _gateway(live))), same=False
    )


def gateway_unlabelled(live: LiveMesh) -> AbstractContextManager[None]:
    """Take the network's label from West's Gateway."""
    change = {"metadata": {"labels": {expectations.NETWORK_LABEL: None}}}
    return felt_by_ztunnels(live, _strangers(live), changed(live, live.west, _gateway(live), change))


@contextmanager
def _addressed(live: LiveMesh, change: AbstractContextManager[None]) -> Iterator[None]:
    """A change of West's Gateway, after which it is waited for until istiod has its address."""
    try:
        with change:
            yield
    finally:
        await_address(live.mesh, live.west)


def _gateway(live: LiveMesh) -> Reference:
    return Reference(GATEWAY_API, "Gateway", NAME, live.mesh.settings.system_namespace)


def _strangers(live: LiveMesh) -> tuple[Cluster, ...]:
    """The clusters on other networks than West."""
    return tuple(c for c in live.mesh.topology.others(live.west) if c.network != live.west.network)
