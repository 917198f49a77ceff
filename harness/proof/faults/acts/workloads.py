"""Workloads of the sample misplaced, bare or half broken, their Service taken away; what a cleanup leaves behind."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from kubernetes.dynamic.exceptions import NotFoundError

from harness.kube.api import Object, condition
from harness.mesh import workloads
from harness.mesh.context import environment_faults
from harness.mesh.gone import still_there
from harness.mesh.settings import AVAILABLE_SECONDS
from harness.model import expectations
from harness.model.step import Phase
from harness.model.topology import Cluster
from harness.proof.live.changes import Reference, absent, changed, present
from harness.proof.live.live_mesh import LiveMesh
from harness.proof.live.waits import await_rollout, felt, selector

FINALIZER = "eastwest.example.com/held"
INJECT = "sidecar.istio.io/inject"
EXCLUDED_PORTS = "traffic.sidecar.istio.io/excludeInboundPorts"


@contextmanager
def misplaced(live: LiveMesh) -> Iterator[None]:
    """Deploy West's version of helloworld on East too."""
    settings, version = live.mesh.settings, live.west.version
    (deployment,) = workloads.helloworld(settings, version)
    clients = live.mesh.topology.clusters
    with felt(live, clients, deployed(live, live.east, deployment)):
        yield


@contextmanager
def deployed(live: LiveMesh, cluster: Cluster, deployment: Object) -> Iterator[None]:
    """Create a Deployment in the sample namespace and wait for its pods; delete it, and wait until they are gone."""
    name, namespace = deployment["metadata"]["name"], live.mesh.settings.sample_namespace
    with present(live, cluster, deployment):
        await_rollout(live, cluster, namespace, name)
        yield
    kube = live.kube(cluster)
    with live.mesh.log.step(Phase.FAULTS, f"Wait until the pods of {name} are gone", cluster.name) as opened:
        timeout = AVAILABLE_SECONDS * live.mesh.settings.timeout_scale
        for pod in kube.list("v1", "Pod", namespace, label_selector=selector(deployment)):
            reference = Reference("v1", "Pod", pod["metadata"]["name"], namespace)
            kube.wait(*reference, pending=still_there, timeout=timeout, step=opened)


def service_missing(live: LiveMesh) -> AbstractContextManager[None]:
    """Delete helloworld's Service on West."""
    service = Reference("v1", "Service", expectations.HELLOWORLD, live.mesh.settings.sample_namespace)
    return felt(live, live.mesh.topology.clusters, absent(live, live.west, service))


@contextmanager
def sidecar_missing(live: LiveMesh) -> Iterator[None]:
    """Let West's helloworld say that it wants no sidecar."""
    name, namespace = f"{expectations.HELLOWORLD}-{live.west.version}", live.mesh.settings.sample_namespace
    change = {"spec": {"template": {"metadata": {"labels": {INJECT: "false"}}}}}
    try:
        with changed(live, live.west, Reference("apps/v1", "Deployment", name, namespace), change):
            await_rollout(live, live.west, namespace, name)
            yield
    finally:
        await_rollout(live, live.west, namespace, name)


def half_broken(live: LiveMesh) -> AbstractContextManager[None]:
    """Put a second pod behind helloworld's Service on West, on which nobody listens at its port."""
    return felt(live, live.mesh.topology.clusters, _running(live, _refusing_pod(live)))


def _refusing_pod(live: LiveMesh) -> Object:
    """A pod of helloworld that is ready, injected, and refuses connections: its port goes past the sidecar. Pure."""
    settings, version = live.mesh.settings, live.west.version
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": f"{expectations.HELLOWORLD}-{version}-refusing",
            "namespace": settings.sample_namespace,
            "labels": {"app": expectations.HELLOWORLD, "version": version},
            "annotations": {EXCLUDED_PORTS: str(expectations.HELLOWORLD_PORT)},
        },
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "containers": [
                {
                    "name": expectations.HELLOWORLD,
                    "image": settings.sleep_image,
                    "imagePullPolicy": "IfNotPresent",
                    "command": ["/bin/sleep", "infinity"],
                    "ports": [{"containerPort": expectations.HELLOWORLD_PORT}],
                }
            ],
        },
    }


@contextmanager
def _running(live: LiveMesh, pod: Object) -> Iterator[None]:
    metadata = pod["metadata"]
    reference = Reference("v1", "Pod", metadata["name"], metadata["namespace"])

    def pending(seen: Object | None) -> str:
        ready = condition(seen, "Ready")
        return "" if ready.get("status") == "True" else f"{reference.name} is not ready: {ready.get('message', '')}"

    with present(live, live.west, pod):
        with live.mesh.log.step(Phase.FAULTS, f"Wait for pod {reference.name}", live.west.name) as opened:
            timeout = AVAILABLE_SECONDS * live.mesh.settings.timeout_scale
            live.kube(live.west).wait(*reference, pending=pending, timeout=timeout, step=opened)
        yield


@contextmanager
def left_behind(live: LiveMesh) -> Iterator[None]:
    """Let a finalizer that nobody serves hold West's injection webhook, for a cleanup to run into."""
    kube, name = live.kube(live.west), live.good[live.west].webhooks[0].name
    webhook = Reference("admissionregistration.k8s.io/v1", "MutatingWebhookConfiguration", name)
    api_version, kind, _, _ = webhook
    with environment_faults():
        kube.merge(api_version, kind, name, {"metadata": {"finalizers": [FINALIZER]}})
    try:
        yield
    finally:
        with environment_faults():
            try:
                found = kube.merge(api_version, kind, name, {"metadata": {"finalizers": None}})
            except NotFoundError:
                found = {"metadata": {}}
        if found["metadata"].get("deletionTimestamp"):
            with live.mesh.log.step(Phase.FAULTS, f"Wait until {kind} {name} is gone", live.west.name) as opened:
                kube.wait(*webhook, pending=still_there, timeout=30, step=opened)
