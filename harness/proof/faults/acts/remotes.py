"""What ties a remote to its primary, broken."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from urllib.parse import urlsplit

from harness.base.errors import StepError
from harness.kube.api import Object
from harness.mesh.context import environment_faults
from harness.mesh.gateways import NAME as GATEWAY
from harness.mesh.gateways import address_pending, addresses
from harness.model import expectations
from harness.proof.faults.acts.control_plane import NOWHERE, cluster_name_taken, environment
from harness.proof.faults.acts.gateways import gateway_service
from harness.proof.live.changes import Reference, bare, changed, delete, existing, present, undo
from harness.proof.live.live_mesh import LiveMesh
from harness.proof.live.restarts import ISTIOD, await_connected, restart_gateways, restart_sample, run_istiod_as
from harness.proof.live.waits import await_true

NOBODY = "192.0.2.1"
"""RFC 5737: no host has it."""
INJECTOR = "istio-sidecar-injector"
PLACEHOLDER = "eastwest-placeholder"
_ADDRESS_SECONDS = 60.0


@contextmanager
def external_off(live: LiveMesh) -> Iterator[None]:
    """Take from the primary that it serves remotes."""
    deployment = Reference("apps/v1", "Deployment", ISTIOD, live.mesh.settings.system_namespace)
    before = existing(live, live.server, deployment)
    alone = environment(before, {"EXTERNAL_ISTIOD": "false"})
    try:
        run_istiod_as(live, live.signer, alone)
        yield
    finally:
        run_istiod_as(live, live.signer, undo(before, alone))


@contextmanager
def istiod_on_remote(live: LiveMesh) -> Iterator[None]:
    """Put a control plane on the remote. It never gets ready: one that serves would take the remote's proxies over."""
    found = existing(live, live.signer, Reference("apps/v1", "Deployment", ISTIOD, live.mesh.settings.system_namespace))
    template = found["spec"]["template"]
    container = next(each for each in template["spec"]["containers"] if each["name"] == "discovery")
    pod = {"containers": [{key: container[key] for key in ("name", "image", "readinessProbe")} | {"args": ["version"]}]}
    manifest: Object = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {key: found["metadata"][key] for key in ("name", "namespace")} | {"labels": {"app": ISTIOD}},
        "spec": {
            "selector": {"matchLabels": {"app": ISTIOD}},
            "template": {
                "metadata": {"labels": {"app": ISTIOD, "sidecar.istio.io/inject": "false"}},
                "spec": {**pod, "terminationGracePeriodSeconds": 0},
            },
        },
    }
    kube, system = live.kube(live.west), live.mesh.settings.system_namespace

    def pods(there: bool) -> str:
        seen = kube.list("v1", "Pod", system, label_selector=f"app={ISTIOD}")
        return "" if bool(seen) is there else f"{len(seen)} pods of istiod"

    with present(live, live.west, manifest):
        await_true(live, live.west, "Wait for a pod of istiod", lambda: pods(True))
        yield
    await_true(live, live.west, "Wait until istiod's pods are gone", lambda: pods(False))


@contextmanager
def injection_path(live: LiveMesh) -> Iterator[None]:
    """Inject the remote as if it were East, and restart its workloads."""
    with _sample_restarted(live, _injected_as_east(live)):
        yield


@contextmanager
def _sample_restarted(live: LiveMesh, *changes: AbstractContextManager[None]) -> Iterator[None]:
    """Make changes that keep the remote's sidecars from getting ready; restart the sample now and at the end."""
    with ExitStack() as made:
        for change in changes:
            made.enter_context(change)
        restart_sample(live, (live.west,), ready=False)
        await_true(live, live.west, "Wait until its sidecars have started", lambda: _sidecars_pending(live))
        yield
    restart_sample(live, (live.west,))


def _injected_as_east(live: LiveMesh) -> AbstractContextManager[None]:
    path = f"/inject/cluster/{live.east.cluster_name}/net/{live.west.network}"
    webhook = Reference("admissionregistration.k8s.io/v1", "MutatingWebhookConfiguration", INJECTOR)
    rules = existing(live, live.west, webhook)["webhooks"]
    wrong = [{**rule, "clientConfig": _at(rule["clientConfig"], path)} for rule in rules]
    return changed(live, live.west, webhook, {"webhooks": wrong})


def _at(client: Object, path: str) -> Object:
    """A webhook's client configuration with another path."""
    if "service" in client:
        return {**client, "service": {**client["service"], "path": path}}
    return {**client, "url": urlsplit(client["url"])._replace(path=path).geturl()}


def _sidecars_pending(live: LiveMesh) -> str:
    pods = live.kube(live.west).list("v1", "Pod", live.mesh.settings.sample_namespace)
    waiting = [pod["metadata"]["name"] for pod in pods if not _sidecar_runs(pod)]
    return f"not started: {', '.join(waiting)}" if waiting or not pods else ""


def _sidecar_runs(pod: Object) -> bool:
    status = pod.get("status") or {}
    containers = [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]
    return any(each["name"] == expectations.PROXY and "running" in (each.get("state") or {}) for each in containers)


@contextmanager
def cluster_names_equal(live: LiveMesh) -> Iterator[None]:
    """Call West what East is called: a primary itself, a remote in its injection path and its remote secret."""
    if live.west.is_primary:
        with cluster_name_taken(live):
            yield
        return
    with _sample_restarted(live, _secret_renamed(live), _injected_as_east(live)):
        yield


def _secret_renamed(live: LiveMesh) -> AbstractContextManager[None]:
    """Key the remote's secret by the name of its primary's own cluster."""
    system, label = live.mesh.settings.system_namespace, "istio/multiCluster"
    secrets = live.kube(live.signer).list("v1", "Secret", system, label_selector=f"{label}=true")
    before = next(secret for secret in secrets if live.west.cluster_name in (secret.get("data") or {}))
    token = before["data"][live.west.cluster_name]
    change = {"data": {live.west.cluster_name: None, live.east.cluster_name: token}}
    name = Reference("v1", "Secret", before["metadata"]["name"], system)
    return changed(live, live.signer, name, change)


@contextmanager
def discovery_address(live: LiveMesh) -> Iterator[None]:
    """Give the remote an address of its control plane at which nobody is; its connections end, and are made again."""
    system = live.mesh.settings.system_namespace
    name = Reference("discovery.k8s.io/v1", "EndpointSlice", ISTIOD, system)
    with changed(live, live.west, name, {"endpoints": [{"addresses": [NOBODY]}]}):
        _cut(live)
        yield
    await_connected(live, live.signer)


def _cut(live: LiveMesh) -> None:
    """End the connections of the remotes' proxies, which go through the gateway beside their control plane."""
    restart_gateways(live, (live.server,))


@contextmanager
def discovery_address_stale(live: LiveMesh) -> Iterator[None]:
    """Create the Service of the control plane's gateway again, with another address; nobody has the former one.

    The connections through it end before it has the new one: a cloud's load balancer goes with the Service, while
    MetalLB's lets connections that stand go on.
    """
    place, reference = live.server, gateway_service(live, live.server)
    before = existing(live, place, reference)
    former = addresses(before)[0]
    again = {**bare(before), "spec": {key: before["spec"][key] for key in ("type", "selector")}}
    again["spec"]["ports"] = [{key: each[key] for key in ("name", "port")} for each in before["spec"]["ports"]]
    placeholder = {**again, "metadata": {"name": PLACEHOLDER, "namespace": reference.namespace}}
    placeholder["spec"] = {**again["spec"], "selector": NOWHERE, "loadBalancerIP": former}
    try:
        delete(live, place, reference)
        _cut(live)
        # Load balancers hand freed addresses out again: somebody else has to ask for it first.
        with present(live, place, placeholder):
            _await_address(live, PLACEHOLDER)
            _create(live, again)
            _await_address(live, GATEWAY)
        yield
    finally:
        delete(live, place, reference)
        _create(live, {**again, "spec": {**again["spec"], "loadBalancerIP": former}})
        _await_address(live, GATEWAY)
        _require_address(live, former)
        await_connected(live, live.signer)


def _create(live: LiveMesh, manifest: Object) -> None:
    with environment_faults():
        live.kube(live.server).create(manifest)


def _await_address(live: LiveMesh, name: str) -> None:
    kube, namespace = live.kube(live.server), live.gateway_namespace(live.server)
    await_true(
        live,
        live.server,
        f"Wait until Service {name} has an address",
        lambda: address_pending(kube.get("v1", "Service", name, namespace)),
        _ADDRESS_SECONDS,
    )


def _require_address(live: LiveMesh, former: str) -> None:
    """See that the gateway has its former address again.

    Raises:
        StepError: it has another, and the remote has to be installed again.
    """
    found = addresses(existing(live, live.server, gateway_service(live, live.server)))
    if found != [former]:
        raise StepError(f"the gateway of {live.server.name} had the address {former}, and now has {', '.join(found)}")
