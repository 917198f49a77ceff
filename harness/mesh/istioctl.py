"""Installs Istio with the charts that are embedded in istioctl.

istioctl renders, the suite applies: waits and their reasons are then the same whatever installs. Source: Istio,
"Install with Istioctl", "Install Primary-Remote".
"""

import json
from pathlib import Path
from typing import Any

from harness.base import yaml_documents
from harness.base.errors import StepError
from harness.base.parallel import in_parallel
from harness.kube.api import KubeApi, Object
from harness.mesh.context import Mesh
from harness.mesh.injection import INJECT, await_injection
from harness.mesh.namespaces import ensure_namespace
from harness.mesh.pull_secret import ensure_pull_secret
from harness.mesh.readiness import await_daemon_set, await_deployment
from harness.mesh.settings import AVAILABLE_SECONDS, CONTROL_PLANE_SECONDS, MeshSettings, merged
from harness.mesh.values import AMBIENT_PROFILE, image_values, primary_values, remote_values, ztunnel_values
from harness.model.step_log import OpenStep
from harness.model.topology import Cluster, Topology

LAST = ("Deployment", "DaemonSet", "HorizontalPodAutoscaler", "MutatingWebhookConfiguration")
"""Kinds that need the others there."""
WEBHOOK = "istio-sidecar-injector"
Operator = dict[str, Any]
"""An IstioOperator resource: the input file of istioctl."""


class Istioctl:
    """Installs Istio from istioctl's charts, without an operator."""

    def install_cni(self, mesh: Mesh, cluster: Cluster) -> None:
        """Apply the chart istio-cni, and create its project."""
        ensure_namespace(mesh, cluster, mesh.settings.cni_namespace)
        ensure_pull_secret(mesh, cluster, mesh.settings.cni_namespace)
        self._apply(mesh, cluster, cni_operator(mesh.settings))

    def await_cni(self, mesh: Mesh, cluster: Cluster, opened: OpenStep) -> None:
        """Wait until its DaemonSet is ready on every node."""
        timeout = mesh.deadline(cluster, AVAILABLE_SECONDS)
        await_daemon_set(mesh.kube(cluster), mesh.settings.cni_namespace, "istio-cni-node", timeout, opened)

    def install_ztunnel(self, mesh: Mesh, cluster: Cluster) -> None:
        """Apply the chart ztunnel."""
        self._apply(mesh, cluster, ztunnel_operator(cluster, mesh.settings))

    def await_ztunnel(self, mesh: Mesh, cluster: Cluster, opened: OpenStep) -> None:
        """Wait until its DaemonSet is ready on every node."""
        timeout = mesh.deadline(cluster, AVAILABLE_SECONDS)
        await_daemon_set(mesh.kube(cluster), mesh.settings.ztunnel_namespace, "ztunnel", timeout, opened)

    def install_primary(self, mesh: Mesh, cluster: Cluster) -> None:
        """Apply the charts base and istiod; on a host outside of the mesh istiod alone."""
        on = mesh.topology.home_of(cluster)
        self._apply(mesh, on, primary_operator(mesh.topology, cluster, mesh.settings))

    def install_remote(self, mesh: Mesh, cluster: Cluster, pilot_address: str) -> None:
        """Apply the charts base and istiod with profile remote: a webhook, and a Service that leads to the primary."""
        self._apply(mesh, cluster, remote_operator(cluster, pilot_address, mesh.settings))

    def await_ready(self, mesh: Mesh, cluster: Cluster, opened: OpenStep) -> None:
        """Wait for istiod on a primary, for injection by the primary's istiod on a remote."""
        kube, namespace = mesh.kube(cluster), mesh.settings.system_namespace
        timeout = mesh.deadline(cluster, CONTROL_PLANE_SECONDS)
        if cluster.runs_control_plane:
            revision = f"-{mesh.settings.revision}" if mesh.settings.revision else ""
            await_deployment(kube, namespace, f"istiod{revision}", timeout, opened)
            return
        kube.wait(
            "admissionregistration.k8s.io/v1",
            "MutatingWebhookConfiguration",
            WEBHOOK,
            pending=webhook_pending,
            timeout=timeout,
            step=opened,
            explain=lambda: f"the control plane of {cluster.primary} writes it when it reaches this API server",
        )
        await_injection(kube, namespace, timeout, opened, INJECT)

    def _apply(self, mesh: Mesh, cluster: Cluster, resource: Operator) -> None:
        objects = rendered(mesh.kube(cluster), mesh.settings, resource)
        for last in (False, True):
            batch = [found for found in objects if (found["kind"] in LAST) is last]
            in_parallel(lambda manifest: mesh.apply(cluster, manifest), batch)


def rendered(kube: KubeApi, settings: MeshSettings, resource: Operator) -> list[Object]:
    """What istioctl makes of an IstioOperator resource.

    Raises:
        CommandError: istioctl refuses it.
    """
    command: list[str | Path] = [settings.istioctl, "manifest", "generate", "--filename", "-"]
    text = kube.run(command, input=json.dumps(resource), timeout=60)
    found = list(yaml_documents.load_all(text))
    if not found:
        raise StepError("istioctl rendered no objects")
    return found


def operator(settings: MeshSettings, profile: str, values: dict[str, Any]) -> Operator:
    """An IstioOperator resource for a profile of istioctl."""
    spec: dict[str, Any] = {"profile": profile, "values": merged(values, _surroundings(settings))}
    if settings.revision:
        spec["revision"] = settings.revision
    if settings.hub:
        spec["hub"] = settings.hub
    if settings.tag:
        spec["tag"] = settings.tag
    metadata = {"namespace": settings.system_namespace}
    return {"apiVersion": "install.istio.io/v1alpha1", "kind": "IstioOperator", "metadata": metadata, "spec": spec}


def _surroundings(settings: MeshSettings) -> dict[str, Any]:
    """Settings of the cluster that istioctl must be given, and that an operator detects."""
    found: dict[str, Any] = {}
    if settings.platform == "openshift":
        found["platform"] = "openshift"
    if settings.system_namespace != "istio-system":
        found["istioNamespace"] = settings.system_namespace
    return {"global": found} if found else {}


def primary_operator(topology: Topology, cluster: Cluster, settings: MeshSettings) -> Operator:
    """An IstioOperator resource for a control plane.

    istioctl sets pilot.cni.enabled by the component alone, whatever the value says; the plugin is then rendered again.
    """
    profile = "empty" if cluster.host else AMBIENT_PROFILE if settings.ambient else "minimal"
    resource = operator(settings, profile, primary_values(topology, cluster, settings))
    components = _cni_component(settings) if settings.cni else {}
    if settings.ambient:
        components |= {"ztunnel": {"enabled": False}}  # it follows when istiod answers
    if cluster.host:
        components |= {"pilot": {"enabled": True}}
    if components:
        resource["spec"]["components"] = components
    return resource


def remote_operator(cluster: Cluster, pilot_address: str, settings: MeshSettings) -> Operator:
    """An IstioOperator resource for a cluster that is served by the control plane at that address."""
    return operator(settings, "remote", remote_values(cluster, pilot_address))


def cni_operator(settings: MeshSettings) -> Operator:
    """An IstioOperator resource for the CNI plugin alone."""
    images = image_values(settings)
    ambient = {"profile": AMBIENT_PROFILE, **({"global": images} if images else {})}
    resource = operator(settings, "empty", ambient if settings.ambient else {})
    resource["spec"]["components"] = _cni_component(settings)
    return resource


def ztunnel_operator(cluster: Cluster, settings: MeshSettings) -> Operator:
    """An IstioOperator resource for ztunnel alone."""
    resource = operator(settings, "empty", {"profile": AMBIENT_PROFILE, **ztunnel_values(cluster, settings)})
    resource["spec"]["components"] = {"ztunnel": {"enabled": True}}
    return resource


def _cni_component(settings: MeshSettings) -> dict[str, Any]:
    return {"cni": {"enabled": True, "namespace": settings.cni_namespace}}


def webhook_pending(seen: Object | None) -> str:
    """Whether the remote's webhook still lacks the CA of the control plane that is to answer it."""
    if seen is None:
        return f"MutatingWebhookConfiguration {WEBHOOK} does not exist"
    hooks = seen.get("webhooks") or []
    without = sum(not hook["clientConfig"].get("caBundle") for hook in hooks)
    return f"{without} of {len(hooks)} webhooks in {WEBHOOK} have no caBundle" if without else ""
