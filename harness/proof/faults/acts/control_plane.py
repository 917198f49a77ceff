"""A control plane that does not run, does not serve, or is told that it is somebody else."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import yaml

from harness.experiments.testbed import ready_pods
from harness.kube.api import Object
from harness.mesh.context import environment_faults
from harness.mesh.injection import dry_run
from harness.mesh.readiness import pod_reasons
from harness.model import expectations
from harness.model.topology import Cluster
from harness.observe.istio_objects import is_injection_webhook
from harness.proof.live.changes import Reference, changed, existing, present, undo
from harness.proof.live.live_mesh import LiveMesh
from harness.proof.live.restarts import ISTIOD, await_connected, restart_gateways, restart_sample, run_istiod_as
from harness.proof.live.waits import await_rollout, await_true

CNI = "istio-cni-node"
NOWHERE = {"eastwest/nowhere": "true"}
"""A label that no node and no pod has."""
UNPULLABLE = "registry.invalid/pilot:none"
"""RFC 6761: no name under `invalid` resolves."""


@contextmanager
def control_plane_down(live: LiveMesh) -> Iterator[None]:
    """Give istiod an image that cannot be pulled."""
    system, primary = live.mesh.settings.system_namespace, live.signer
    deployment = Reference("apps/v1", "Deployment", ISTIOD, system)
    spec = existing(live, live.server, deployment)["spec"]
    containers = spec["template"]["spec"]["containers"]
    broken = [{**each, "image": UNPULLABLE} if each["name"] == "discovery" else each for each in containers]
    try:
        run_istiod_as(live, primary, _containers(spec, broken), ready=False)
        await_true(live, primary, "Wait until the image is found missing", lambda: _image_is_there(live, live.server))
        yield
    finally:
        run_istiod_as(live, primary, _containers(spec, containers))


def _containers(spec: Object, containers: list[Object]) -> Object:
    return {"spec": {"replicas": spec["replicas"], "template": {"spec": {"containers": containers}}}}


def _image_is_there(live: LiveMesh, cluster: Cluster) -> str:
    """Whether istiod's pods do not say yet that their image is missing."""
    system = live.mesh.settings.system_namespace
    pods = live.kube(cluster).list("v1", "Pod", system, label_selector=f"app={ISTIOD}")
    reasons = [reason for pod in pods for reason in pod_reasons(pod)]
    return "" if any("Image" in reason for reason in reasons) else f"{len(pods)} pods, which do not say so yet"


@contextmanager
def cni_uncovered_node(live: LiveMesh) -> Iterator[None]:
    """Keep Istio's CNI plugin from every node of West."""
    cluster, namespace = live.west, live.mesh.settings.cni_namespace
    daemon_set = Reference("apps/v1", "DaemonSet", CNI, namespace)
    change = {"spec": {"template": {"spec": {"nodeSelector": NOWHERE}}}}

    def pods(wanted: Callable[[int], bool]) -> str:
        status = existing(live, cluster, daemon_set)["status"]
        ready, there = status.get("numberReady") or 0, live.kube(cluster).list("v1", "Pod", namespace)
        return "" if wanted(ready) and len(there) == ready else f"{ready} of {len(there)} pods are ready"

    with changed(live, cluster, daemon_set, change):
        await_true(live, cluster, "Wait until the CNI plugin's pods are gone", lambda: pods(lambda ready: not ready))
        yield
    await_true(live, cluster, "Wait for the CNI plugin's pods", lambda: pods(bool))


@contextmanager
def webhook_not_serving(live: LiveMesh) -> Iterator[None]:
    """Let istiod's Service select nothing."""
    server, system = live.server, live.mesh.settings.system_namespace
    service = Reference("v1", "Service", ISTIOD, system)
    selector = existing(live, server, service)["spec"]["selector"]
    change = {"spec": {"selector": {**dict.fromkeys(selector), **NOWHERE}}}
    served = live.mesh.topology.served_by(live.signer)
    with changed(live, server, service, change), ExitStack() as stack:
        await_true(live, server, "Wait until istiod's Service has no endpoint", lambda: _serves(live, server, 0))
        for cluster in served:
            title = "Wait until nobody answers at istiod's Service"
            await_true(live, cluster, title, partial(_still_answers, live, cluster))
            stack.enter_context(_webhooks_reconnected(live, cluster))
        for cluster in served:
            await_true(live, cluster, "Wait until no pod is injected", partial(_injects, live, cluster))
        yield
    await_true(live, server, "Wait until istiod's Service has endpoints", lambda: _serves(live, server, 1))


def _still_answers(live: LiveMesh, cluster: Cluster) -> str:
    """Whether a new connection to istiod's webhook succeeds: kube-proxy and gateways hear later that nobody is there.

    An API server that connected in the meantime would keep the connection.
    """
    kube, sample = live.kube(cluster), live.mesh.settings.sample_namespace
    url = f"https://{ISTIOD}.{live.mesh.settings.system_namespace}.svc:443/"
    command = ("curl", "-sk", "--max-time", "2", "-o", "/dev/null", url)
    pods = [pod["metadata"]["name"] for pod in ready_pods(kube, sample, expectations.SLEEP)]
    # What the proxy's container sends is not redirected to Envoy.
    ended = [kube.exec(sample, pod, expectations.PROXY, command) for pod in pods]
    return "istiod's webhook answers" if any(each.status == 0 for each in ended) else ""


@contextmanager
def _webhooks_reconnected(live: LiveMesh, cluster: Cluster) -> Iterator[None]:
    """Make an API server open new connections to its injection webhooks.

    It keeps connections for 90 s after their last use, and a connection outlives the endpoint that it was made to. One
    is kept for each configuration of a webhook: a path with another spelling gets one of its own.
    """
    version, kind = "admissionregistration.k8s.io/v1", "MutatingWebhookConfiguration"
    with ExitStack() as stack:
        for found in filter(is_injection_webhook, live.kube(cluster).list(version, kind)):
            rules = [{**rule, "clientConfig": respelt(rule["clientConfig"])} for rule in found["webhooks"]]
            reference = Reference(version, kind, found["metadata"]["name"])
            stack.enter_context(changed(live, cluster, reference, {"webhooks": rules}))
        yield


def respelt(webhook: Object) -> Object:
    """A webhook's client configuration that leads to the same place, spelt otherwise. Pure."""
    if "service" in webhook:
        service = webhook["service"]
        return {**webhook, "service": {**service, "path": f"{service.get('path') or ''}/"}}
    return {**webhook, "url": f"{webhook['url']}/"}


def _injects(live: LiveMesh, cluster: Cluster) -> str:
    found = dry_run(live.kube(cluster), live.mesh.settings.sample_namespace)
    return "pods are still injected" if found.injected else ""


def _serves(live: LiveMesh, cluster: Cluster, wanted: int) -> str:
    slices = live.kube(cluster).list(
        "discovery.k8s.io/v1",
        "EndpointSlice",
        live.mesh.settings.system_namespace,
        label_selector=f"kubernetes.io/service-name={ISTIOD}",
    )
    found = sum(len(each.get("endpoints") or ()) for each in slices)
    return "" if bool(found) is bool(wanted) else f"the Service has {found} endpoints"


@contextmanager
def proxy_rejects_config(live: LiveMesh) -> Iterator[None]:
    """Apply an EnvoyFilter to the sample, on every primary, that is well formed and that no Envoy accepts."""
    sample = live.mesh.settings.sample_namespace
    manifest: Object = {
        "apiVersion": "networking.istio.io/v1alpha3",
        "kind": "EnvoyFilter",
        "metadata": {"name": "refused", "namespace": sample},
        "spec": {
            "configPatches": [
                {
                    "applyTo": "CLUSTER",
                    "match": {
                        "context": "SIDECAR_OUTBOUND",
                        "cluster": {"service": f"{expectations.HELLOWORLD}.{sample}.svc.cluster.local"},
                    },
                    # Envoy, "Cluster.LbPolicy": only for clusters that bring a load balancer of their own.
                    "patch": {"operation": "MERGE", "value": {"lb_policy": "CLUSTER_PROVIDED"}},
                }
            ]
        },
    }
    with _on_primaries(live, manifest):
        yield


@contextmanager
def _on_primaries(live: LiveMesh, manifest: Object) -> Iterator[None]:
    with ExitStack() as mending:
        for primary in live.mesh.topology.primaries:
            mending.enter_context(present(live, primary, manifest))
        yield


@contextmanager
def trust_domains_differ(live: LiveMesh) -> Iterator[None]:
    """Give West another trust domain; restart its control plane, gateway and workloads."""

    def change(mesh: dict[str, Any]) -> None:
        mesh["trustDomain"] = "west.local"

    with _reconfigured(live, live.west, mesh=change):
        yield


@contextmanager
def mesh_ids_differ(live: LiveMesh) -> Iterator[None]:
    """Give West another mesh id; restart its control plane, gateway and workloads."""

    def of_mesh(mesh: dict[str, Any]) -> None:
        mesh.setdefault("defaultConfig", {})["meshId"] = "mesh2"

    def of_values(values: dict[str, Any]) -> None:
        values["global"]["meshID"] = "mesh2"

    with _reconfigured(live, live.west, mesh=of_mesh, values=of_values):
        yield


@contextmanager
def cluster_name_taken(live: LiveMesh) -> Iterator[None]:
    """Give the primary West the name of East; restart its control plane, gateway and workloads."""
    name = live.east.cluster_name

    def of_values(values: dict[str, Any]) -> None:
        values["global"]["multiCluster"]["clusterName"] = name

    with _reconfigured(live, live.west, values=of_values, variables={"CLUSTER_ID": name}):
        yield


def environment(deployment: Object, variables: Mapping[str, str]) -> Object:
    """The merge patch that sets environment variables of a Deployment's containers. Pure."""
    added = [{"name": name, "value": value} for name, value in variables.items()]
    containers = [
        {**each, "env": [*(found for found in each.get("env") or () if found["name"] not in variables), *added]}
        for each in deployment["spec"]["template"]["spec"]["containers"]
    ]
    return _containers(deployment["spec"], containers)


@contextmanager
def _reconfigured(
    live: LiveMesh,
    primary: Cluster,
    *,
    mesh: Callable[[dict[str, Any]], None] | None = None,
    values: Callable[[dict[str, Any]], None] | None = None,
    variables: Mapping[str, str] | None = None,
) -> Iterator[None]:
    """Change a primary's mesh configuration, what it injects with, and its environment; restart everything."""
    edits = list(_edits(live, primary, mesh, values, variables))
    before = [(reference, undo(existing(live, primary, reference), change)) for reference, change in edits]
    try:
        _edit(live, primary, edits)
        yield
    finally:
        _edit(live, primary, before)


def _edits(
    live: LiveMesh,
    primary: Cluster,
    mesh: Callable[[dict[str, Any]], None] | None,
    values: Callable[[dict[str, Any]], None] | None,
    variables: Mapping[str, str] | None,
) -> Iterator[tuple[Reference, Object]]:
    """What to merge into which object: the control plane's Deployment is the last."""
    system = live.mesh.settings.system_namespace
    if mesh:
        reference = Reference("v1", "ConfigMap", "istio", system)
        found = yaml.safe_load(existing(live, primary, reference)["data"]["mesh"])
        mesh(found)
        yield reference, {"data": {"mesh": yaml.safe_dump(found)}}
    if values:
        reference = Reference("v1", "ConfigMap", "istio-sidecar-injector", system)
        found = json.loads(existing(live, primary, reference)["data"]["values"])
        values(found)
        yield reference, {"data": {"values": json.dumps(found)}}
    reference = Reference("apps/v1", "Deployment", ISTIOD, system)
    yield reference, environment(existing(live, primary, reference), variables or {})


def _edit(live: LiveMesh, primary: Cluster, edits: Sequence[tuple[Reference, Object]]) -> None:
    *settings, (_, deployment) = edits
    for (api_version, kind, name, namespace), change in settings:
        with environment_faults():
            live.kube(primary).merge(api_version, kind, name, change, namespace)
    # Proxies that it still serves by their former name need not come back: they are restarted.
    run_istiod_as(live, primary, deployment, ready=False)
    await_rollout(live, primary, live.mesh.settings.system_namespace, ISTIOD)
    restart_gateways(live, (primary,))
    restart_sample(live, (primary,))
    await_connected(live, primary)
