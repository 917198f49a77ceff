"""Workloads of the sample misplaced, bare or half broken, their Service taken away; what a cleanup leaves behind."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from kubernetes.dynamic.exceptions import NotFoundError

from harness.kube.client import Object, condition
from harness.mesh import workloads
from harness.mesh.context import environment_faults
from harness.mesh.removal import still_there
from harness.mesh.settings import AVAILABLE_SECONDS
from harness.model import expectations
from harness.model.step import Phase
from harness.proof.faults.act import Stage
from harness.proof.faults.acts.changes import Reference, absent, changed, present
from harness.proof.faults.acts.waits import await_rollout, felt, selector

FINALIZER = "eastwest.example.com/held"
INJECT = "sidecar.istio.io/inject"
EXCLUDED_PORTS = "traffic.sidecar.istio.io/excludeInboundPorts"


@contextmanager
def misplaced(stage: Stage) -> Iterator[None]:
    """Deploy West's version of helloworld on East too."""
    settings, version = stage.mesh.settings, stage.west.version
    (deployment,) = workloads.helloworld(settings, version)
    clients = stage.mesh.topology.clusters
    with felt(stage, clients, _deployed(stage, deployment)):
        yield


@contextmanager
def _deployed(stage: Stage, deployment: Object) -> Iterator[None]:
    name, namespace = deployment["metadata"]["name"], stage.mesh.settings.sample_namespace
    with present(stage, stage.east, deployment):
        await_rollout(stage, stage.east, namespace, name)
        yield
    kube = stage.kube(stage.east)
    with stage.mesh.log.step(Phase.FAULTS, f"Wait until the pods of {name} are gone", stage.east.name) as opened:
        timeout = AVAILABLE_SECONDS * stage.mesh.settings.timeout_scale
        for pod in kube.list("v1", "Pod", namespace, label_selector=selector(deployment)):
            reference = Reference("v1", "Pod", pod["metadata"]["name"], namespace)
            kube.wait(*reference, pending=still_there, timeout=timeout, step=opened)


def service_missing(stage: Stage) -> AbstractContextManager[None]:
    """Delete helloworld's Service on West."""
    service = Reference("v1", "Service", expectations.HELLOWORLD, stage.mesh.settings.sample_namespace)
    return felt(stage, stage.mesh.topology.clusters, absent(stage, stage.west, service))


@contextmanager
def sidecar_missing(stage: Stage) -> Iterator[None]:
    """Let West's helloworld say that it wants no sidecar."""
    name, namespace = f"{expectations.HELLOWORLD}-{stage.west.version}", stage.mesh.settings.sample_namespace
    change = {"spec": {"template": {"metadata": {"labels": {INJECT: "false"}}}}}
    try:
        with changed(stage, stage.west, Reference("apps/v1", "Deployment", name, namespace), change):
            await_rollout(stage, stage.west, namespace, name)
            yield
    finally:
        await_rollout(stage, stage.west, namespace, name)


def half_broken(stage: Stage) -> AbstractContextManager[None]:
    """Put a second pod behind helloworld's Service on West, on which nobody listens at its port."""
    return felt(stage, stage.mesh.topology.clusters, _running(stage, _refusing_pod(stage)))


def _refusing_pod(stage: Stage) -> Object:
    """A pod of helloworld that is ready, injected, and refuses connections: its port goes past the sidecar. Pure."""
    settings, version = stage.mesh.settings, stage.west.version
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
def _running(stage: Stage, pod: Object) -> Iterator[None]:
    metadata = pod["metadata"]
    reference = Reference("v1", "Pod", metadata["name"], metadata["namespace"])

    def pending(seen: Object | None) -> str:
        ready = condition(seen, "Ready")
        return "" if ready.get("status") == "True" else f"{reference.name} is not ready: {ready.get('message', '')}"

    with present(stage, stage.west, pod):
        with stage.mesh.log.step(Phase.FAULTS, f"Wait for pod {reference.name}", stage.west.name) as opened:
            timeout = AVAILABLE_SECONDS * stage.mesh.settings.timeout_scale
            stage.kube(stage.west).wait(*reference, pending=pending, timeout=timeout, step=opened)
        yield


@contextmanager
def left_behind(stage: Stage) -> Iterator[None]:
    """Let a finalizer that nobody serves hold West's injection webhook, for a cleanup to run into."""
    kube, name = stage.kube(stage.west), stage.good[stage.west].webhooks[0].name
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
            with stage.mesh.log.step(Phase.FAULTS, f"Wait until {kind} {name} is gone", stage.west.name) as opened:
                kube.wait(*webhook, pending=still_there, timeout=30, step=opened)
