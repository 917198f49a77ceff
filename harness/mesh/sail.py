"""Installs Istio with the resources of the Sail operator, as the chapter writes them.

Source: chapter "Installing a multi-primary (primary-remote) multi-network mesh"; Sail operator, "Multi-cluster".
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.command import run
from harness.errors import UserError
from harness.kube import Kube, Object, condition
from harness.mesh.certificates import ensure_namespace
from harness.mesh.context import Mesh
from harness.mesh.settings import AVAILABLE_SECONDS, CONTROL_PLANE_SECONDS, MeshSettings
from harness.mesh.values import primary_values, remote_values
from harness.steps import OpenStep
from harness.topology import Cluster

API_VERSIONS = ("sailoperator.io/v1", "sailoperator.io/v1alpha1")
"""Preferred first; the chapter's is v1alpha1."""
NAME = "default"
PROBE_ANNOTATION = "sailoperator.io/readinessProbe"


class Sail:
    """Installs Istio by resources that the operator acts on."""

    def install_cni(self, mesh: Mesh, cluster: Cluster) -> None:
        """Create the IstioCNI resource, and its project."""
        ensure_namespace(mesh, cluster, mesh.settings.cni_namespace)
        mesh.apply(cluster, cni_resource(served_version(mesh.kube(cluster), "IstioCNI"), mesh.settings))

    def await_cni(self, mesh: Mesh, cluster: Cluster, opened: OpenStep) -> None:
        """Wait until the IstioCNI resource is Ready."""
        _await(mesh, cluster, opened, "IstioCNI", AVAILABLE_SECONDS)

    def install_primary(self, mesh: Mesh, cluster: Cluster) -> None:
        """Create the Istio resource of a primary."""
        values = primary_values(mesh.topology, cluster, mesh.settings)
        mesh.apply(cluster, istio_resource(served_version(mesh.kube(cluster), "Istio"), mesh.settings, values))

    def install_remote(self, mesh: Mesh, cluster: Cluster, pilot_address: str) -> None:
        """Create the Istio resource of a remote."""
        version = served_version(mesh.kube(cluster), "Istio")
        values = remote_values(cluster, pilot_address)
        mesh.apply(cluster, istio_resource(version, mesh.settings, values, profile="remote"))

    def await_ready(self, mesh: Mesh, cluster: Cluster, opened: OpenStep) -> None:
        """Wait until the Istio resource is Ready."""
        _await(mesh, cluster, opened, "Istio", CONTROL_PLANE_SECONDS)


def served_version(kube: Kube, kind: str) -> str:
    """The newest API version of the operator's resources that this API server serves.

    Raises:
        UserError: none: the operator is not installed.
    """
    for version in API_VERSIONS:
        if kube.serves(version, kind):
            return version
    raise UserError(
        f"The Sail operator is not installed on {kube.name}.",
        f"its API server does not serve the kind {kind} of sailoperator.io",
        "install the operator first, or use --installer=istioctl",
    )


def require_operator(kubes: Iterable[Kube]) -> None:
    """See that the operator is installed on every cluster.

    Raises:
        UserError: it is not.
    """
    for kube in kubes:
        for kind in ("Istio", "IstioCNI"):
            served_version(kube, kind)


def istio_resource(api_version: str, settings: MeshSettings, values: Mapping[str, Any], profile: str = "") -> Object:
    """The chapter's Istio resource."""
    spec: dict[str, Any] = {"version": f"v{settings.istio_version}", "namespace": settings.system_namespace}
    if profile:
        spec["profile"] = profile
    spec["values"] = dict(values)
    return {"apiVersion": api_version, "kind": "Istio", "metadata": {"name": NAME}, "spec": spec}


def cni_resource(api_version: str, settings: MeshSettings) -> Object:
    """The IstioCNI resource that the chapter presupposes."""
    spec = {"version": f"v{settings.istio_version}", "namespace": settings.cni_namespace}
    return {"apiVersion": api_version, "kind": "IstioCNI", "metadata": {"name": NAME}, "spec": spec}


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


def install_operator(
    kube: Kube, helm: Path, chart: str, *, namespace: str = "sail-operator", version: str = "", **values: str
) -> None:
    """Install the operator with its Helm chart.

    Args:
        kube: the cluster.
        helm: the program.
        chart: a path, or a chart's reference (repository/name, oci://…).
        namespace: for the operator; created if needed.
        version: of the chart; default its newest.
        values: of the chart; a double underscore in a name stands for a dot.

    Raises:
        CommandError: helm failed.
    """
    access = kube.access
    command: list[str | Path] = [helm, "upgrade", "--install", "sail-operator", chart, "--namespace", namespace]
    command += ["--create-namespace", "--wait", "--kubeconfig", access.kubeconfig, "--kube-context", access.context]
    if version:
        command += ["--version", version]
    for key, value in values.items():
        command += ["--set", f"{key.replace('__', '.')}={value}"]
    run(command, timeout=300)


def _await(mesh: Mesh, cluster: Cluster, opened: OpenStep, kind: str, seconds: float) -> None:
    kube = mesh.kube(cluster)
    kube.wait(
        served_version(kube, kind),
        kind,
        NAME,
        pending=ready_pending,
        timeout=mesh.deadline(cluster, seconds),
        step=opened,
        explain=lambda: "; ".join(
            probe_reasons(kube.list("admissionregistration.k8s.io/v1", "MutatingWebhookConfiguration"))
        ),
    )
