"""How the Sail operator arrives on a cluster, and leaves it again if the run has brought it.

Source: chapter "Installing a mesh", prerequisite "You have installed the OpenShift Service Mesh 3 Operator on all of
the clusters"; Sail operator, "Installation".
"""

import json
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

from kubernetes.client import ApiException

from harness.base import yaml_documents
from harness.base.errors import StepError
from harness.kube.api import KubeApi, Object
from harness.kube.inventory import Inventory
from harness.mesh import olm, olm_catalogue, olm_removal
from harness.mesh.context import Mesh, step
from harness.mesh.distributions.model import HelmChart, Manifests, OlmSubscription, Operator
from harness.mesh.namespaces import ensure_namespace
from harness.mesh.pull_secret import ensure_pull_secret
from harness.mesh.readiness import await_deployment, definition_pending
from harness.mesh.sail import API_GROUP, API_VERSIONS
from harness.mesh.settings import AVAILABLE_SECONDS, MeshSettings
from harness.model.step import Phase
from harness.model.step_log import OpenStep
from harness.model.topology import Cluster

HELM_SECONDS = 120.0
_CRD = "apiextensions.k8s.io/v1", "CustomResourceDefinition"
_DOWNLOAD_SECONDS = 30


@step(Phase.MESH)
def install_operator(mesh: Mesh, cluster: Cluster, opened: OpenStep) -> bool:
    """Install the operator."""
    kube, operator = mesh.kube(cluster), mesh.settings.operator
    if is_there(kube, operator):
        opened.skip(olm_catalogue.standing(kube, operator) if isinstance(operator, OlmSubscription) else "it is there")
        return False
    if isinstance(operator, HelmChart):
        opened.note(f"Helm chart {Path(operator.chart).name} {operator.version}".strip())
        _ensure_namespace(mesh, cluster, operator.namespace)
        _install_chart(mesh, cluster, operator)
    elif isinstance(operator, OlmSubscription):
        opened.note(f"package {operator.package}, channel {operator.channel}")
        olm.subscribe(mesh, cluster, operator)
    elif isinstance(operator, Manifests):
        opened.note(", ".join(Path(file).name for file in operator.files))
        _ensure_namespace(mesh, cluster, operator.namespace)
        for manifest in read_manifests(operator):
            mesh.apply(cluster, manifest)
    return True


def await_arrival(mesh: Mesh, cluster: Cluster) -> None:
    """Wait for an operator that arrives, and approve it before where that is the run's to do."""
    operator = mesh.settings.operator
    if isinstance(operator, OlmSubscription) and operator.approval == "Manual":
        approve_operator(mesh, cluster, operator)
    await_operator(mesh, cluster)


@step(Phase.MESH)
def approve_operator(mesh: Mesh, cluster: Cluster, opened: OpenStep, operator: OlmSubscription) -> None:
    """Approve the InstallPlan of the operator."""
    olm.approve(mesh, cluster, operator, opened)


@step(Phase.MESH)
def await_operator(mesh: Mesh, cluster: Cluster, opened: OpenStep) -> None:
    """Wait for the operator to be ready."""
    kube, operator = mesh.kube(cluster), mesh.settings.operator
    if isinstance(operator, OlmSubscription):
        olm.await_installed(mesh, cluster, operator, opened)
    for plural in ("istios", "istiocnis", *(("ztunnels",) if mesh.settings.ambient else ())):
        name = f"{plural}.{API_GROUP}"
        kube.wait(*_CRD, name, pending=definition_pending, timeout=mesh.deadline(cluster, 60), step=opened)
    if isinstance(operator, HelmChart | Manifests):
        for deployment in kube.list("apps/v1", "Deployment", operator.namespace):
            timeout = mesh.deadline(cluster, AVAILABLE_SECONDS)
            await_deployment(kube, operator.namespace, deployment["metadata"]["name"], timeout, opened)


@step(Phase.CLEANUP)
def remove_operator(mesh: Mesh, cluster: Cluster, opened: OpenStep, before: Inventory) -> None:
    """Remove the operator."""
    operator = mesh.settings.operator
    kube = mesh.kube(cluster)
    own = isinstance(operator, OlmSubscription) and olm_removal.subscribed(kube, operator, before)
    if not brought(before) and not own:
        opened.skip("it stood before, and stays")
        return
    if isinstance(operator, HelmChart):
        _helm(mesh, cluster, "uninstall", operator.release, "--namespace", operator.namespace, "--ignore-not-found")
    elif isinstance(operator, OlmSubscription):
        olm_removal.unsubscribe(mesh, cluster, operator, opened, before)
    elif isinstance(operator, Manifests):
        for manifest in reversed(read_manifests(operator)):
            _delete(mesh, cluster, manifest, before)


@step(Phase.CLEANUP)
def forget_operator(
    mesh: Mesh, cluster: Cluster, opened: OpenStep, operator: OlmSubscription, before: Inventory
) -> None:
    """Remove the record that OLM keeps of the operator."""
    olm_removal.forget(mesh, cluster, operator, opened, before)


def require_arrival(kube: KubeApi, settings: MeshSettings) -> None:
    """See that the operator can arrive on a cluster, before anything is created there.

    Raises:
        UserError: it can't.
    """
    operator = settings.operator
    if isinstance(operator, OlmSubscription) and not is_there(kube, operator):
        olm_catalogue.require_catalogue(kube, operator)


def is_there(kube: KubeApi, operator: Operator | None) -> bool:
    """Whether an operator stands there: its definitions do, and OLM has not merely left them."""
    served = any(kube.serves(version, "Istio") for version in API_VERSIONS)
    return served and not (isinstance(operator, OlmSubscription) and olm_catalogue.abandoned(kube))


def brought(before: Inventory) -> bool:
    """Whether the operator was not there before the run: pure."""
    return ("CustomResourceDefinition.apiextensions.k8s.io", "", f"istios.{API_GROUP}") not in before


def operator_namespace(operator: Operator | None) -> tuple[str, ...]:
    """The namespace that comes and goes with the operator, if any: pure."""
    return (operator.namespace,) if isinstance(operator, HelmChart | Manifests | OlmSubscription) else ()


def read_manifests(operator: Manifests) -> list[Object]:
    """The objects in the operator's manifests, in their order; custom resource definitions and namespaces first.

    Raises:
        StepError: a file can't be read.
    """
    found = [manifest for file in operator.files for manifest in _objects(file)]
    return sorted(found, key=lambda manifest: manifest["kind"] not in ("Namespace", "CustomResourceDefinition"))


def _objects(file: str) -> Iterator[Object]:
    try:
        if file.startswith("https://"):
            with urlopen(file, timeout=_DOWNLOAD_SECONDS) as answer:  # noqa: S310 - https only
                text = answer.read().decode()
        else:
            text = Path(file).read_text()
    except OSError as missing:
        raise StepError(f"{file} can't be read: {missing}") from None
    for manifest in yaml_documents.load_all(text):
        yield from manifest["items"] if manifest["kind"] == "List" else (manifest,)


def _ensure_namespace(mesh: Mesh, cluster: Cluster, namespace: str) -> None:
    ensure_namespace(mesh, cluster, namespace)
    ensure_pull_secret(mesh, cluster, namespace)


def _install_chart(mesh: Mesh, cluster: Cluster, operator: HelmChart) -> None:
    options = ["--namespace", operator.namespace, "--values", "-"]
    if operator.repository:
        options += ["--repo", operator.repository]
    if operator.version:
        options += ["--version", operator.version]
    values = json.dumps(operator.values)
    _helm(mesh, cluster, "upgrade", "--install", operator.release, operator.chart, *options, values=values)


def _helm(mesh: Mesh, cluster: Cluster, *arguments: str, values: str | None = None) -> None:
    kube = mesh.kube(cluster)
    access = kube.access
    command: list[str | Path] = [mesh.settings.helm or "helm", *arguments]
    command += ["--kubeconfig", access.kubeconfig, "--kube-context", access.context]
    kube.run(command, input=values, timeout=HELM_SECONDS)


def _delete(mesh: Mesh, cluster: Cluster, manifest: Object, before: Inventory) -> None:
    metadata, group = manifest["metadata"], manifest["apiVersion"].rpartition("/")[0]
    kind = f"{manifest['kind']}.{group}" if group else manifest["kind"]
    namespace = metadata.get("namespace") or ""
    if (kind, namespace, metadata["name"]) in before:
        return
    try:
        mesh.kube(cluster).delete(manifest["apiVersion"], manifest["kind"], metadata["name"], namespace or None)
    except ApiException as refused:
        raise StepError(f"{manifest['kind']} {metadata['name']} can't be deleted: {refused.reason}") from refused
