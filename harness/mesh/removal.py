"""Chapter "Removing a multi-cluster topology from a development environment", and what it leaves behind.

What is removed is the difference from an inventory that was taken before the run: nothing that stood there is touched.
"""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from kubernetes.client import ApiException
from urllib3.exceptions import HTTPError

from harness.base.errors import StepError
from harness.base.parallel import in_parallel
from harness.kube import inventory
from harness.kube.api import KubeApi, Object, explain_api_error
from harness.kube.inventory import Entry, Inventory
from harness.mesh.certificates import NETWORK_LABEL
from harness.mesh.context import Mesh, step
from harness.mesh.operator import operator_namespace, remove_operator
from harness.mesh.procedure import CONTROL_PLANE_ANNOTATION
from harness.mesh.sail import API_GROUP, API_VERSIONS
from harness.mesh.sail import NAME as RESOURCE
from harness.mesh.settings import REMOVAL_SECONDS, MeshSettings
from harness.model.observation import Cleanup, InventoryChange
from harness.model.step import Phase
from harness.model.step_log import OpenStep
from harness.model.topology import Cluster

OWN_MANAGERS = (
    "eastwest",
    "istioctl",
    "istio-ci",
    "istio-operator",
    "pilot-discovery",
    "istiod",
    "sail-operator",
    "install-cni",
)
"""Field managers of what the suite, istioctl, istiod and the operator write. `istio-ci` is what create-remote-secret
calls itself where it makes the service account and its roles, because the installation did not (yet)."""
OWN_GROUPS = (".istio.io", ".sailoperator.io")
"""Of the custom resource definitions that come with Istio and the operator, whoever applies them: Helm and OLM, too."""
NAMESPACE_KEYS = {
    "labels": ("istio-injection", "istio.io/rev", NETWORK_LABEL),
    "annotations": (CONTROL_PLANE_ANNOTATION,),
}
"""What the procedure, and a change of the revision, set on a namespace whether it stood before or not."""
_CLUSTER_WIDE = "clusterrole,clusterrolebinding,mutatingwebhookconfiguration,validatingwebhookconfiguration"
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
    in_parallel(lambda cluster: _remove_mesh(mesh, cluster, before[cluster.name]), mesh.topology.clusters)
    in_parallel(lambda cluster: _remove_rest(mesh, cluster, before[cluster.name]), mesh.topology.clusters)


def observe_cleanup(
    kubes: Mapping[str, KubeApi], before: Mapping[str, Inventory], containers_left: Sequence[str] = ()
) -> Cleanup:
    """Compare every cluster with its inventory from before the run.

    Args:
        kubes: the API servers, by the cluster's name.
        before: the inventories, likewise.
        containers_left: names of load balancer containers that are still there.
    """
    changes: list[InventoryChange] = []
    unread: list[str] = []

    def compare(kube: KubeApi) -> str | None:
        old = before[kube.name]
        try:
            new = inventory.take(kube)
        except (ApiException, HTTPError) as failed:
            unread.append(f"{kube.name}: {explain_api_error(failed) if isinstance(failed, ApiException) else failed}")
            return None
        unread.extend(f"{kube.name}: {kind}: {why}" for kind, why in {**old.unread, **new.unread}.items())
        changes.extend(inventory.changes(old, new))
        return kube.name

    compared = in_parallel(compare, kubes.values())
    return Cleanup(
        clusters=tuple(name for name in compared if name),
        objects_before={name: len(before[name].entries) for name in kubes},
        changes=tuple(sorted(changes, key=lambda change: change.cluster)),
        containers_left=tuple(containers_left),
        unread=tuple(sorted(unread)),
    )


def _remove_mesh(mesh: Mesh, cluster: Cluster, before: Inventory) -> None:
    if mesh.settings.installer == "sail":
        delete_resources(mesh, cluster, before)
    if mesh.settings.brings_operator:
        remove_operator(mesh, cluster, before)
    delete_namespaces(mesh, cluster, before)


def _remove_rest(mesh: Mesh, cluster: Cluster, before: Inventory) -> None:
    remove_leftovers(mesh, cluster, before)
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
    doomed = [("Istio", RESOURCE), *(("IstioRevision", name) for name in revisions), ("IstioCNI", RESOURCE)]
    for kind, name in doomed:
        if (f"{kind}.{API_GROUP}", "", name) not in before:
            if kind != "IstioRevision":
                kube.delete(version, kind, name)
            _await_gone(mesh, cluster, opened, (version, kind, name, None))


@step(Phase.CLEANUP)
def delete_namespaces(mesh: Mesh, cluster: Cluster, opened: OpenStep, before: Inventory) -> None:
    """Remove Istio and the sample applications: the namespaces of the control plane, the sample and the CNI plugin."""
    kube, settings = mesh.kube(cluster), mesh.settings
    doomed = _doomed(settings, before)
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
    kube, doomed = mesh.kube(cluster), _doomed(mesh.settings, before)
    found = [
        entry
        for entry in inventory.leftovers(before, inventory.take(kube))
        if owned(entry) and _namespace_of(entry) not in doomed
    ]
    if not found:
        opened.skip("nothing is left")
        return
    opened.note(summary(found))
    stuck: list[str] = []
    # Custom resources go with their definitions: first what is made of a definition, then the definitions.
    for definitions in (False, True):
        batch = [entry for entry in found if (entry.kind.name == "CustomResourceDefinition") is definitions]
        there = [entry for entry in batch if kube.delete(*_reference(entry))]
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
    for name in _doomed(mesh.settings, before):
        _await_gone(mesh, cluster, opened, ("v1", "Namespace", name, None))


def owned(entry: Entry) -> bool:
    """Whether an object that was not there before the run is the run's: on a shared cluster others work, too. Pure.

    Its kind or its namespace say nothing of that: routes and policies may be anybody's, and so may what comes into a
    namespace that stays. A namespace that the run has made takes what is in it along, and so does a definition.
    """
    definition = entry.kind.name == "CustomResourceDefinition" and entry.name.endswith(OWN_GROUPS)
    return definition or any(manager in OWN_MANAGERS for manager in entry.managers)


def restoring(former: Entry, now: Object) -> dict[str, dict[str, str | None]]:
    """What to merge into a namespace's metadata so that the run's keys are as they were; None takes one away. Pure."""
    then = {"labels": former.labels, "annotations": former.annotations}
    changes = {
        part: {
            key: then[part].get(key)
            for key in keys
            if then[part].get(key) != (now["metadata"].get(part) or {}).get(key)
        }
        for part, keys in NAMESPACE_KEYS.items()
    }
    return {part: change for part, change in changes.items() if change}


def by_hand(context: str, kubeconfigs: Sequence[Path], settings: MeshSettings, before: Inventory) -> str:
    """The commands that remove the mesh from a cluster of which the suite keeps no record. Pure.

    Args:
        context: the cluster's.
        kubeconfigs: the files that were given; where none was, the shell's own are right.
        settings: those the mesh was installed with.
        before: what stood there before it.
    """
    files = [f"KUBECONFIG={shlex.quote(':'.join(map(str, kubeconfigs)))}"] if kubeconfigs else []
    start = " ".join([*files, settings.cli, f"--context={shlex.quote(context)}"])
    delete = f"{start} delete --ignore-not-found"
    commands = []
    if settings.installer == "sail":  # while the operator runs, which removes what it has made of them
        kinds = ("istio", "istiocni") if settings.cni else ("istio",)
        commands.append(f"{delete} {' '.join(f'{kind}.{API_GROUP}/{RESOURCE}' for kind in kinds)}")
    if names := _doomed(settings, before):
        commands.append(f"{delete} namespace {' '.join(map(shlex.quote, names))}")
    return "; ".join([*commands, f"then what `{start} get {_CLUSTER_WIDE}` shows of this mesh"])


def summary(entries: Sequence[Entry]) -> str:
    """What was removed, counted by kind. Pure."""
    kinds = [entry.kind.name for entry in entries]
    return ", ".join(f"{kinds.count(kind)} {kind}" for kind in sorted(set(kinds)))


def _doomed(settings: MeshSettings, before: Inventory) -> list[str]:
    names = (*settings.namespaces, *operator_namespace(settings.operator))
    return [name for name in names if not before.holds_namespace(name)]


def _namespace_of(entry: Entry) -> str:
    """The namespace it goes with; a namespace goes with itself."""
    return entry.name if entry.kind.group_kind == "Namespace" else entry.namespace


def _end_pods(kube: KubeApi, namespace: str) -> None:
    """Shorten the grace of a namespace's pods: its deletion would wait for as long as they may take to drain."""
    kube.delete_pods(namespace, DRAIN_SECONDS)


def _end_node_agent(kube: KubeApi, namespace: str) -> None:
    """Let the CNI plugin's agent end by itself, while it may still read its DaemonSet: it then tidies up its node."""
    for daemon_set in kube.list("apps/v1", "DaemonSet", namespace):
        kube.delete("apps/v1", "DaemonSet", daemon_set["metadata"]["name"], namespace)


def _await_no_pods(mesh: Mesh, cluster: Cluster, opened: OpenStep, namespace: str) -> None:
    for pod in mesh.kube(cluster).list("v1", "Pod", namespace):
        _await_gone(mesh, cluster, opened, ("v1", "Pod", pod["metadata"]["name"], namespace))


def _reference(entry: Entry) -> tuple[str, str, str, str | None]:
    return entry.kind.api_version, entry.kind.name, entry.name, entry.namespace or None


def _await_gone(mesh: Mesh, cluster: Cluster, opened: OpenStep, which: tuple[str, str, str, str | None]) -> None:
    timeout = mesh.deadline(cluster, REMOVAL_SECONDS)
    mesh.kube(cluster).wait(*which, pending=still_there, timeout=timeout, step=opened)


def _why_stuck(mesh: Mesh, cluster: Cluster, opened: OpenStep, entry: Entry) -> str:
    """What keeps a deleted object that does not go; the others are removed all the same."""
    try:
        _await_gone(mesh, cluster, opened, _reference(entry))
    except StepError as failed:
        return str(failed)
    return ""


def still_there(seen: Object | None) -> str:
    """What keeps an object that is being deleted, as far as it says so; empty when it is gone. Pure."""
    if seen is None:
        return ""
    metadata, status = seen["metadata"], seen.get("status") or {}
    told = [
        str(found.get("message"))
        for found in status.get("conditions") or []
        if seen["kind"] == "Namespace" and found.get("status") == "True" and found.get("message")
    ]
    if metadata.get("finalizers"):
        told.append(f"finalizers {', '.join(metadata['finalizers'])}")
    return f"{seen['kind']} {metadata['name']} is still there" + (f": {'; '.join(told)}" if told else "")
