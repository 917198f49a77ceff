"""The sample on a mesh that somebody else installed: in a namespace of its own, which is removed again.

Nothing outside of that namespace is created, changed or removed.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from kubernetes.client import ApiException

from harness.base.errors import StepError
from harness.base.parallel import in_parallel
from harness.kube.api import KubeApi, Object
from harness.mesh import manifests, workloads
from harness.mesh.context import RUN_LABEL, Mesh, step
from harness.mesh.gone import still_there
from harness.mesh.injection import await_injection
from harness.mesh.pull_secret import ensure_pull_secret
from harness.mesh.removal import DRAIN_SECONDS
from harness.mesh.settings import INJECTION_SECONDS, REMOVAL_SECONDS, MeshSettings
from harness.model.sample_labels import SampleLabels
from harness.model.step import Phase
from harness.model.step_log import OpenStep
from harness.model.topology import Cluster, Topology

PREFIX = "eastwest-sample"
_USER = 1000
"""Of the sample's containers: not root, and not 1337, whose traffic the sidecar ignores."""
_OPENSHIFT = ("security.openshift.io/v1", "SecurityContextConstraints")
CONFLICT = 409
SMALL_SIDECAR = {"sidecar.istio.io/proxyCPU": "10m", "sidecar.istio.io/proxyMemory": "64Mi"}
"""What the sample's sidecars ask of nodes that are there for something else. Source: Istio, "Resource Annotations"."""
Labels = Mapping[str, SampleLabels]
"""By the cluster's name."""


def namespace_of(run_id: str) -> str:
    """The namespace of a run's sample."""
    return f"{PREFIX}-{run_id}"


def deploy(mesh: Mesh, labels: Labels) -> None:
    """Create the namespace on every cluster and deploy the sample into it, side by side.

    A step that fails is recorded in the log. Where the namespace can't be created, or its pods get no sidecar, nothing
    more is created on that cluster.
    """
    in_parallel(lambda cluster: _deploy(mesh, cluster, labels[cluster.name]), mesh.topology.clusters)


def _deploy(mesh: Mesh, cluster: Cluster, labels: SampleLabels) -> None:
    settings = replace(mesh.settings, global_labels=labels.service)
    mesh = replace(mesh, settings=settings, adapt=adapting(mesh.kube(cluster), settings, labels.pod))
    if create_namespace(mesh, cluster, labels) and (mesh.settings.ambient or await_sidecars(mesh, cluster, labels)):
        workloads.deploy_sample(mesh, cluster)


@step(Phase.WORKLOADS)
def create_namespace(mesh: Mesh, cluster: Cluster, opened: OpenStep, labels: SampleLabels) -> bool:
    """Create a namespace for the sample, labelled as this mesh takes workloads in."""
    name = mesh.settings.sample_namespace
    manifest: Object = {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": name, "labels": dict(labels.namespace)},
    }
    try:
        mesh.kube(cluster).create(mesh.labelled(manifest))
    except ApiException as refused:
        if refused.status != CONFLICT:
            raise
        raise StepError(f"namespace {name} exists already, and is left alone") from None
    shown = [("", labels.namespace), ("pods: ", labels.pod), ("Services: ", labels.service)]
    told = ", ".join(f"{of}{key}={value}" for of, found in shown for key, value in found.items()) or "no label needed"
    opened.note(f"{name}: {told} (revision {labels.revision})")
    ensure_pull_secret(mesh, cluster, name)
    return True


@step(Phase.WORKLOADS)
def await_sidecars(mesh: Mesh, cluster: Cluster, opened: OpenStep, labels: SampleLabels) -> bool:
    """Wait until a pod in the sample's namespace would get a sidecar."""
    timeout = mesh.deadline(cluster, INJECTION_SECONDS)
    await_injection(mesh.kube(cluster), mesh.settings.sample_namespace, timeout, opened, labels.pod)
    return True


def adapting(kube: KubeApi, settings: MeshSettings, pod_labels: Mapping[str, str]) -> Callable[[Object], Object]:
    """Changes the sample's Deployments so that a cluster's Pod Security admits them under any profile.

    OpenShift's SCC restricted-v2 gives each namespace users of its own: there no user is set.

    Source: Kubernetes, "Pod Security Standards", profile Restricted.
    """
    user = {} if kube.serves(*_OPENSHIFT) else {"runAsUser": _USER}

    def adapt(manifest: Object) -> Object:
        if manifest["kind"] != "Deployment":
            return manifest
        template = manifest["spec"]["template"]
        labels = {**pod_labels, **(template["metadata"].get("labels") or {})}
        spec = confined(template["spec"], user)
        if settings.pull_secret:
            spec["imagePullSecrets"] = [{"name": settings.pull_secret.name}]
        annotations = {**(template["metadata"].get("annotations") or {}), **SMALL_SIDECAR}
        metadata = {**template["metadata"], "labels": labels, "annotations": annotations}
        changed = {**template, "metadata": metadata, "spec": spec}
        return {**manifest, "spec": {**manifest["spec"], "template": changed}}

    return adapt


def confined(spec: Mapping[str, Any], user: Mapping[str, int]) -> dict[str, Any]:
    """A pod's specification that the profile Restricted admits."""
    own = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    return {
        **spec,
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}, **user},
        "containers": [{**container, "securityContext": own} for container in spec["containers"]],
    }


def service_labels(settings: MeshSettings) -> tuple[dict[str, str], ...]:
    """The labels that each kind of the sample's Services has of its own."""
    place = {"namespace": settings.sample_namespace}
    services = [
        *manifests.render("helloworld-service", **place),
        *manifests.render("echo-service", version="", **place),
    ]
    return tuple(service["metadata"]["labels"] for service in services)


def object_count(settings: MeshSettings, topology: Topology, cluster: Cluster) -> int:
    """How many objects `deploy` and the experiments create on a cluster."""
    place, version = {"namespace": settings.sample_namespace}, {"version": cluster.version, "image": ""}
    count = 1 + bool(settings.pull_secret) + len(manifests.render("helloworld-service", **place))
    count += len(workloads.helloworld(settings, cluster.version)) + len(manifests.render("sleep", image="", **place))
    if settings.experiments:
        each = len(manifests.render("echo-service", version="", **place))
        if cluster.is_primary:
            each += len(manifests.render("echo-connections", version="", **place))
            count += 2  # a policy each for the experiments on STRICT and on authorization
        count += each * len(topology.clusters) + len(manifests.render("echo", **place, **version))
        count += len(manifests.render("plain", image="", **place))
    return count


def remove(mesh: Mesh) -> None:
    """Remove the sample's namespace from every cluster, where this run created it, and wait until it is gone.

    Idempotent; a step that fails is recorded in the log.
    """
    mesh = mesh.restarted(mesh.log)
    in_parallel(lambda cluster: remove_namespace(mesh, cluster), mesh.topology.clusters)


@step(Phase.CLEANUP)
def remove_namespace(mesh: Mesh, cluster: Cluster, opened: OpenStep) -> None:
    """Remove the sample's namespace."""
    kube, name = mesh.kube(cluster), mesh.settings.sample_namespace
    found = kube.get("v1", "Namespace", name)
    if found is None:
        opened.skip(f"{name} is not there")
        return
    if (found["metadata"].get("labels") or {}).get(RUN_LABEL) != mesh.settings.run_id:
        opened.skip(f"{name} was not created by this run, and stays")
        return
    kube.delete("v1", "Namespace", name)
    kube.delete_pods(name, DRAIN_SECONDS)
    timeout = mesh.deadline(cluster, REMOVAL_SECONDS)
    try:
        kube.wait("v1", "Namespace", name, pending=still_there, timeout=timeout, step=opened)
    except StepError as failed:
        by_hand = f"{mesh.settings.cli} --context={kube.access.context} delete namespace {name}"
        raise StepError(f"{failed}; remove it by hand: {by_hand}") from None
