"""Installs Istio with the resources of the Sail operator, as the chapter writes them.

Source: chapter "Installing a multi-primary (primary-remote) multi-network mesh"; Sail operator, "Multi-cluster".
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from harness.base.errors import StepError, UserError
from harness.kube.api import KubeApi, Object, condition
from harness.kube.stuck_pods import StuckPods
from harness.mesh.context import Mesh
from harness.mesh.distributions.istio_versions import minor_of
from harness.mesh.namespaces import ensure_namespace
from harness.mesh.pull_secret import ensure_pull_secret
from harness.mesh.settings import AVAILABLE_SECONDS, CONTROL_PLANE_SECONDS, MeshSettings, merged
from harness.mesh.values import AMBIENT_PROFILE, image_values, primary_values, remote_values, ztunnel_values
from harness.model.ca import ROOT_KEY
from harness.model.ca import SECRET as CA_SECRET
from harness.model.step_log import OpenStep
from harness.model.topology import Cluster

API_GROUP = "sailoperator.io"
API_VERSIONS = (f"{API_GROUP}/v1", f"{API_GROUP}/v1alpha1")
"""Preferred first; the chapter's is v1alpha1."""
NAME = "default"
PROBE_ANNOTATION = "sailoperator.io/readinessProbe"


class Sail:
    """Installs Istio by resources that the operator acts on."""

    def install_cni(self, mesh: Mesh, cluster: Cluster) -> None:
        """Create the IstioCNI resource, and its project."""
        ensure_namespace(mesh, cluster, mesh.settings.cni_namespace)
        ensure_pull_secret(mesh, cluster, mesh.settings.cni_namespace)
        api, version = _versions(mesh, cluster, "IstioCNI")
        mesh.apply(cluster, cni_resource(api, version, mesh.settings))

    def await_cni(self, mesh: Mesh, cluster: Cluster, opened: OpenStep) -> None:
        """Wait until the IstioCNI resource is Ready."""
        _await(mesh, cluster, opened, "IstioCNI", AVAILABLE_SECONDS)

    def install_ztunnel(self, mesh: Mesh, cluster: Cluster) -> None:
        """Create the ZTunnel resource, and its project."""
        ensure_namespace(mesh, cluster, mesh.settings.ztunnel_namespace)
        ensure_pull_secret(mesh, cluster, mesh.settings.ztunnel_namespace)
        api, version = _versions(mesh, cluster, "ZTunnel")
        mesh.apply(cluster, ztunnel_resource(api, version, cluster, mesh.settings))

    def await_ztunnel(self, mesh: Mesh, cluster: Cluster, opened: OpenStep) -> None:
        """Wait until the ZTunnel resource is Ready."""
        _await(mesh, cluster, opened, "ZTunnel", AVAILABLE_SECONDS)

    def install_primary(self, mesh: Mesh, cluster: Cluster) -> None:
        """Create the Istio resource of a primary, on the host of its control plane where that is another cluster."""
        values, settings = primary_values(mesh.topology, cluster, mesh.settings), mesh.settings
        on = mesh.topology.home_of(cluster)
        if cluster.host:
            values = merged(values, _validated_by(mesh.kube(on), settings))
        profile = "empty" if cluster.host else AMBIENT_PROFILE if settings.ambient else settings.resource_profile
        api, version = _versions(mesh, on, "Istio")
        mesh.apply(on, istio_resource(api, version, settings, values, profile=profile))

    def install_remote(self, mesh: Mesh, cluster: Cluster, pilot_address: str) -> None:
        """Create the Istio resource of a remote."""
        api, version = _versions(mesh, cluster, "Istio")
        values = remote_values(cluster, pilot_address)
        mesh.apply(cluster, istio_resource(api, version, mesh.settings, values, profile="remote"))

    def await_ready(self, mesh: Mesh, cluster: Cluster, opened: OpenStep) -> None:
        """Wait until the Istio resource is Ready."""
        _await(mesh, cluster, opened, "Istio", CONTROL_PLANE_SECONDS)


def api_versions(settings: MeshSettings) -> tuple[str, ...]:
    """The API versions that may be used, the preferred first: pure."""
    return API_VERSIONS if settings.api_version == "auto" else (f"{API_GROUP}/{settings.api_version}",)


def served_version(kube: KubeApi, kind: str, settings: MeshSettings) -> str:
    """The API version in which the operator's resources are written.

    Raises:
        StepError: this API server serves none of them.
    """
    wanted = api_versions(settings)
    for version in wanted:
        if kube.serves(version, kind):
            return version
    raise StepError(f"the API server does not serve {kind} of {' or '.join(wanted)}: is the operator installed?")


def require_operator(kubes: Iterable[KubeApi], settings: MeshSettings) -> None:
    """See that the operator is installed on every cluster, where the run is not to install it.

    Raises:
        UserError: it is not.
    """
    for kube in kubes:
        for kind in ("Istio", "IstioCNI", *(("ZTunnel",) if settings.ambient else ())):
            try:
                served_version(kube, kind, settings)
            except StepError as missing:
                raise UserError(
                    f"The Sail operator is not installed on {kube.name}.",
                    str(missing),
                    "install it, say in the distribution how it arrives, or use --installer=istioctl",
                ) from None


def offered_versions(definition: Object | None, api_version: str) -> tuple[str, ...]:
    """The versions of Istio that the operator offers: the values of `spec.version` in its definition. Pure."""
    for version in ((definition or {}).get("spec") or {}).get("versions") or []:
        if version["name"] == api_version.rpartition("/")[2]:
            schema = (version.get("schema") or {}).get("openAPIV3Schema") or {}
            for key in ("spec", "version"):
                schema = (schema.get("properties") or {}).get(key) or {}
            return tuple(schema.get("enum") or ())
    return ()


def choose_version(offered: Sequence[str], settings: MeshSettings) -> str:
    """`spec.version` of the operator's resources: pure.

    With images of one's own (hub, tag) the operator's charts of the same minor version do.

    Args:
        offered: by the operator, the newest first; empty where it does not say.
        settings: version of Istio, or of the resources, and images that are wanted.

    Raises:
        UserError: the operator does not offer it.
    """
    wanted = settings.resource_version or f"v{settings.istio_version}"
    if not offered or wanted in offered:
        return wanted
    if settings.hub or settings.tag:
        minor = f"v{'.'.join(map(str, minor_of(wanted)))}"
        for version in offered:
            if version.startswith((f"{minor}.", f"{minor}-")):
                return version
    raise UserError(
        f"The Sail operator does not offer Istio {wanted}.",
        f"it offers {', '.join(offered)}",
        "choose one of them with --istio-version, or an operator that offers it",
    )


def _validated_by(kube: KubeApi, settings: MeshSettings) -> dict[str, Any]:
    """What makes the API server trust a control plane outside of the mesh, which validates Istio's configuration.

    For an Istio resource called default the operator makes a default validator, a webhook that leads to this istiod.
    istiod gives its validator a CA, but writes to its config cluster only, which is another. Without one the API server
    refuses Istio's configuration as soon as the operator reconciles the resource. Source: Istio, chart base,
    defaultrevision-validatingwebhookconfiguration.yaml; Sail operator, pkg/reconcile/istiod.go.
    """
    secret = kube.get("v1", "Secret", CA_SECRET, settings.system_namespace)
    if secret is None:
        raise StepError(f"{kube.name} has no Secret {CA_SECRET}, whose root the API server is to trust")
    return {"base": {"validationCABundle": secret["data"][ROOT_KEY]}}


def istio_resource(
    api_version: str, version: str, settings: MeshSettings, values: Mapping[str, Any], profile: str = ""
) -> Object:
    """The chapter's Istio resource."""
    spec: dict[str, Any] = {"version": version, "namespace": settings.system_namespace}
    if profile:
        spec["profile"] = profile
    spec["values"] = dict(values)
    metadata = {"name": settings.revision or NAME}
    return {"apiVersion": api_version, "kind": "Istio", "metadata": metadata, "spec": spec}


def cni_resource(api_version: str, version: str, settings: MeshSettings) -> Object:
    """The IstioCNI resource that the chapter presupposes."""
    spec: dict[str, Any] = {"version": version, "namespace": settings.cni_namespace}
    if settings.ambient:
        spec["profile"] = AMBIENT_PROFILE
    if named := image_values(settings):
        spec["values"] = {"global": named}
    return {"apiVersion": api_version, "kind": "IstioCNI", "metadata": {"name": NAME}, "spec": spec}


def ztunnel_resource(api_version: str, version: str, cluster: Cluster, settings: MeshSettings) -> Object:
    """The ZTunnel resource of an ambient mesh."""
    spec: dict[str, Any] = {"version": version, "namespace": settings.ztunnel_namespace}
    spec["values"] = ztunnel_values(cluster, settings)
    return {"apiVersion": api_version, "kind": "ZTunnel", "metadata": {"name": NAME}, "spec": spec}


def ready_pending(seen: Object | None) -> str:
    """What keeps an Istio or IstioCNI resource from Ready=True, in the operator's words; empty when nothing."""
    if seen is None:
        return "the resource does not exist"
    name = f"{seen['kind']} {seen['metadata']['name']}"
    observed = (seen.get("status") or {}).get("observedGeneration") or 0
    if observed < seen["metadata"]["generation"]:
        return f"{name} is not yet observed by the operator"
    ready = condition(seen, "Ready")
    if ready.get("status") == "True":
        return ""
    reconciled = condition(seen, "Reconciled")
    told = reconciled if reconciled.get("status") == "False" else ready
    words = [str(told[part]) for part in ("reason", "message") if told.get(part)]
    return f"{name} is not Ready" + (f" ({': '.join(words)})" if words else "")


def probe_reasons(webhooks: Sequence[Object]) -> list[str]:
    """What the operator noted on injection webhooks about the control plane that does not answer them."""
    return [
        f"{webhook['metadata']['name']} {key.removeprefix(PROBE_ANNOTATION).lstrip('.')}: {value}"
        for webhook in webhooks
        for key, value in (webhook["metadata"].get("annotations") or {}).items()
        if key.startswith(PROBE_ANNOTATION)
    ]


def unready_reasons(resources: Sequence[Object]) -> list[str]:
    """Why resources are not Ready, in the operator's words; only those that are not. Pure."""
    return [pending for resource in resources if (pending := ready_pending(resource))]


def _versions(mesh: Mesh, cluster: Cluster, kind: str) -> tuple[str, str]:
    """API version and `spec.version` of a resource."""
    kube, settings = mesh.kube(cluster), mesh.settings
    api = served_version(kube, kind, settings)
    definition = kube.get("apiextensions.k8s.io/v1", "CustomResourceDefinition", f"{kind.lower()}s.{API_GROUP}")
    return api, choose_version(offered_versions(definition, api), settings)


def _pods(kube: KubeApi, kind: str, settings: MeshSettings) -> list[Object]:
    """The pods that the operator makes of a resource; none of a remote's Istio."""
    namespace, selector = {
        "Istio": (settings.system_namespace, "app=istiod"),
        "IstioCNI": (settings.cni_namespace, "k8s-app=istio-cni-node"),
        "ZTunnel": (settings.ztunnel_namespace, "app=ztunnel"),
    }[kind]
    return kube.list("v1", "Pod", namespace, label_selector=selector)


def _await(mesh: Mesh, cluster: Cluster, opened: OpenStep, kind: str, seconds: float) -> None:
    kube, timeout = mesh.kube(cluster), mesh.deadline(cluster, seconds)
    api = served_version(kube, kind, mesh.settings)

    def explain() -> str:
        revisions = kube.list(api, "IstioRevision") if kind == "Istio" else []
        webhooks = kube.list("admissionregistration.k8s.io/v1", "MutatingWebhookConfiguration")
        return "; ".join([*unready_reasons(revisions), *(probe_reasons(webhooks) if kind == "Istio" else ())])

    kube.wait(
        api,
        kind,
        (mesh.settings.revision if kind == "Istio" else "") or NAME,
        pending=ready_pending,
        timeout=timeout,
        step=opened,
        explain=explain,
        hopeless=StuckPods(kube, lambda: _pods(kube, kind, mesh.settings), timeout),
    )
