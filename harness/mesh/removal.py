"""Chapter "Removing a multi-cluster topology from a development environment", and what it leaves behind.

What is removed is the difference from an inventory that was taken before the run: nothing that stood there is touched.
"""

from collections.abc import Mapping

from harness.base.errors import StepError
from harness.base.parallel import in_parallel
from harness.kube import inventory
from harness.kube.api import KubeApi
from harness.kube.inventory import Entry, Inventory
from harness.mesh.context import Mesh, step
from harness.mesh.distributions.model import OlmSubscription
from harness.mesh.external import REVISION
from harness.mesh.gone import await_gone
from harness.mesh.operator import forget_operator, remove_operator
from harness.mesh.ownership import namespace_of, own_namespaces, owned, restoring, summary
from harness.mesh.sail import API_GROUP, API_VERSIONS
from harness.mesh.sail import NAME as RESOURCE
from harness.model.step import Phase
from harness.model.step_log import OpenStep
from harness.model.topology import Cluster, Role

DRAIN_SECONDS = 1
"""Grace for the pods of a mesh that goes away as a whole: there is nothing left to drain for."""


def remove(mesh: Mesh, before: Mapping[str, Inventory]) -> None:
    """Remove the mesh and the sample from every cluster. Idempotent; a step that fails is recorded in the log.

    First the four deletions of the chapter; what they leave behind when no control plane runs any more, on any cluster,
    that would make it again.

    Args:
        mesh: the mesh. Steps that failed before do not shorten the waits: what they left is removed like the rest.
        before: inventories from before the run, by the cluster's name.
    """
    mesh = mesh.restarted(mesh.log)
    in_parallel(lambda cluster: _remove_mesh(mesh, cluster, before[cluster.name]), mesh.topology.every)
    in_parallel(lambda cluster: _remove_rest(mesh, cluster, before[cluster.name]), mesh.topology.every)


def _remove_mesh(mesh: Mesh, cluster: Cluster, before: Inventory) -> None:
    if mesh.settings.installer == "sail":
        delete_resources(mesh, cluster, before)
    if mesh.settings.brings_operator:
        remove_operator(mesh, cluster, before)
    delete_namespaces(mesh, cluster, before)


def _remove_rest(mesh: Mesh, cluster: Cluster, before: Inventory) -> None:
    remove_leftovers(mesh, cluster, before)
    if isinstance(mesh.settings.operator, OlmSubscription):
        forget_operator(mesh, cluster, mesh.settings.operator, before)
    if any(before.holds_namespace(name) for name in mesh.settings.namespaces):
        restore_namespaces(mesh, cluster, before)
    await_namespaces(mesh, cluster, before)


@step(Phase.CLEANUP)
def delete_resources(mesh: Mesh, cluster: Cluster, opened: OpenStep, before: Inventory) -> None:
    """Remove the Istio resource, and the IstioCNI resource that the chapter leaves behind."""
    kube = mesh.kube(cluster)
    version = next((version for version in API_VERSIONS if kube.serves(version, "Istio")), "")
    if not version:
        opened.skip("the operator is not installed")
        return
    # The operator still has to remove what it made for them: a revision outlives its Istio resource by that.
    revisions = [found["metadata"]["name"] for found in kube.list(version, "IstioRevision")]
    own = [("Istio", REVISION)] if cluster.role is Role.EXTERNAL else []
    of_istio = [("Istio", RESOURCE), *(("IstioRevision", name) for name in revisions), ("IstioCNI", RESOURCE)]
    doomed = [*own, *([("ZTunnel", RESOURCE)] if mesh.settings.ambient else []), *of_istio]
    for kind, name in doomed:
        if (f"{kind}.{API_GROUP}", "", name) not in before:
            if kind != "IstioRevision":
                kube.delete(version, kind, name)
            await_gone(mesh, cluster, opened, (version, kind, name, None))


@step(Phase.CLEANUP)
def delete_namespaces(mesh: Mesh, cluster: Cluster, opened: OpenStep, before: Inventory) -> None:
    """Remove Istio and the sample applications: the namespaces of the control plane, the sample and the CNI plugin."""
    kube, settings = mesh.kube(cluster), mesh.settings
    doomed = own_namespaces(settings, before)
    kept = sorted(set(settings.namespaces) - set(doomed))
    if kept:
        opened.note(f"stood before, and stays: {', '.join(kept)}")
    there = [name for name in doomed if kube.delete("v1", "Namespace", name)]
    for name in there:
        if name != settings.cni_namespace:
            _end_pods(kube, name)
    for name in there:
        if name == settings.cni_namespace:
            _end_node_agent(kube, name)
        _await_no_pods(mesh, cluster, opened, name)


@step(Phase.CLEANUP)
def remove_leftovers(mesh: Mesh, cluster: Cluster, opened: OpenStep, before: Inventory) -> None:
    """Remove what the chapter leaves behind: cluster roles, webhooks, config maps, custom resource definitions."""
    kube, doomed = mesh.kube(cluster), own_namespaces(mesh.settings, before)
    found = [
        entry
        for entry in inventory.leftovers(before, inventory.take(kube))
        if owned(entry) and namespace_of(entry) not in doomed
    ]
    if not found:
        opened.skip("nothing is left")
        return
    opened.note(summary(found))
    stuck: list[str] = []
    # Custom resources go with their definitions: first what is made of a definition, then the definitions.
    for definitions in (False, True):
        batch = [entry for entry in found if (entry.kind.name == "CustomResourceDefinition") is definitions]
        deleted = in_parallel(lambda entry: kube.delete(*_reference(entry)), batch)
        there = [entry for entry, was_there in zip(batch, deleted, strict=True) if was_there]
        stuck += filter(None, in_parallel(lambda entry: _why_stuck(mesh, cluster, opened, entry), there))
    if stuck:
        raise StepError("; ".join(stuck))


@step(Phase.CLEANUP)
def restore_namespaces(mesh: Mesh, cluster: Cluster, opened: OpenStep, before: Inventory) -> None:
    """Give namespaces that stood before their former labels and annotations."""
    kube, restored = mesh.kube(cluster), []
    for name in mesh.settings.namespaces:
        former, now = before.entries.get(("Namespace", "", name)), kube.get("v1", "Namespace", name)
        if former and now and (change := restoring(former, now)):
            kube.merge("v1", "Namespace", name, {"metadata": change})
            restored.append(f"{name}: {', '.join(key for part in change.values() for key in part)}")
    opened.note("; ".join(restored) or "they have them")


@step(Phase.CLEANUP)
def await_namespaces(mesh: Mesh, cluster: Cluster, opened: OpenStep, before: Inventory) -> None:
    """Wait for the namespaces to be gone."""
    for name in own_namespaces(mesh.settings, before):
        await_gone(mesh, cluster, opened, ("v1", "Namespace", name, None))


def _end_pods(kube: KubeApi, namespace: str) -> None:
    """Shorten the grace of a namespace's pods: its deletion would wait for as long as they may take to drain."""
    kube.delete_pods(namespace, DRAIN_SECONDS)


def _end_node_agent(kube: KubeApi, namespace: str) -> None:
    """Let the CNI plugin's agent end by itself, while it may still read its DaemonSet: it then tidies up its node."""
    for daemon_set in kube.list("apps/v1", "DaemonSet", namespace):
        kube.delete("apps/v1", "DaemonSet", daemon_set["metadata"]["name"], namespace)


def _await_no_pods(mesh: Mesh, cluster: Cluster, opened: OpenStep, namespace: str) -> None:
    for pod in mesh.kube(cluster).list("v1", "Pod", namespace):
        await_gone(mesh, cluster, opened, ("v1", "Pod", pod["metadata"]["name"], namespace))


def _reference(entry: Entry) -> tuple[str, str, str, str | None]:
    return entry.kind.api_version, entry.kind.name, entry.name, entry.namespace or None


def _why_stuck(mesh: Mesh, cluster: Cluster, opened: OpenStep, entry: Entry) -> str:
    """What keeps a deleted object that does not go; the others are removed all the same."""
    try:
        await_gone(mesh, cluster, opened, _reference(entry))
    except StepError as failed:
        return str(failed)
    return ""
