"""What of a cluster is the run's, and so may be removed or restored. Pure.

On a shared cluster others work, too: an object is the run's only where its writer or its namespace says so.
"""

import shlex
from collections.abc import Sequence
from pathlib import Path

from harness.kube.api import Object
from harness.kube.inventory import Entry, Inventory
from harness.mesh.distributions.model import OlmSubscription
from harness.mesh.external import REVISION
from harness.mesh.gateway_api import GATEWAYS
from harness.mesh.operator import brought, operator_namespace
from harness.mesh.procedure import CONTROL_PLANE_ANNOTATION
from harness.mesh.sail import API_GROUP
from harness.mesh.sail import NAME as RESOURCE
from harness.mesh.settings import MeshSettings
from harness.mesh.workloads import DATA_PLANE_LABEL
from harness.model.gateways import NETWORK_LABEL

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
    "labels": ("istio-injection", "istio.io/rev", DATA_PLANE_LABEL, NETWORK_LABEL),
    "annotations": (CONTROL_PLANE_ANNOTATION,),
}
"""What the procedure, and a change of the revision, set on a namespace whether it stood before or not."""
_CLUSTER_WIDE = "clusterrole,clusterrolebinding,mutatingwebhookconfiguration,validatingwebhookconfiguration"


def owned(entry: Entry) -> bool:
    """Whether an object that was not there before the run is the run's: on a shared cluster others work, too.

    Its kind or its namespace say nothing of that: routes and policies may be anybody's, and so may what comes into a
    namespace that stays. A namespace that the run has made takes what is in it along, and so does a definition.
    """
    definition = entry.kind.name == "CustomResourceDefinition" and entry.name.endswith(OWN_GROUPS)
    return definition or any(manager in OWN_MANAGERS for manager in entry.managers)


def restoring(former: Entry, now: Object) -> dict[str, dict[str, str | None]]:
    """What to merge into a namespace's metadata so that the run's keys are as they were; None takes one away."""
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
    """The commands that remove the mesh from a cluster of which the suite keeps no record.

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
        kinds = [*(["ztunnel"] if settings.ambient else []), "istio", *(["istiocni"] if settings.cni else [])]
        resources = [f"{kind}.{API_GROUP}/{RESOURCE}" for kind in kinds]
        resources += [f"istio.{API_GROUP}/{REVISION}"] if settings.ingress_namespace else []
        commands.append(f"{delete} {' '.join(resources)}")
    olm = settings.operator
    if isinstance(olm, OlmSubscription) and brought(before):
        commands += _unsubscribing(delete, olm)
    if names := own_namespaces(settings, before):
        commands.append(f"{delete} namespace {' '.join(map(shlex.quote, names))}")
    if settings.ambient and ("CustomResourceDefinition.apiextensions.k8s.io", "", GATEWAYS) not in before:
        commands.append(f"{delete} crd $({start} get crd --output=name | grep {GATEWAYS.partition('.')[2]})")
    return "; ".join([*commands, f"then what `{start} get {_CLUSTER_WIDE}` shows of this mesh"])


def _unsubscribing(delete: str, operator: OlmSubscription) -> list[str]:
    """The commands that remove an operator from OLM, which keeps the version of a Subscription that is gone."""
    within = f"{delete} --namespace={shlex.quote(operator.namespace)}"
    component = f"operators.coreos.com/{operator.package}.{operator.namespace}"
    return [
        f"{within} subscription.operators.coreos.com/{shlex.quote(operator.package)}",
        f"{within} clusterserviceversion --selector={shlex.quote(component)}",
    ]


def summary(entries: Sequence[Entry]) -> str:
    """What was removed, counted by kind."""
    kinds = [entry.kind.name for entry in entries]
    return ", ".join(f"{kinds.count(kind)} {kind}" for kind in sorted(set(kinds)))


def own_namespaces(settings: MeshSettings, before: Inventory) -> list[str]:
    """The namespaces that the run has made."""
    names = (*settings.namespaces, *operator_namespace(settings.operator))
    return [name for name in names if not before.holds_namespace(name)]


def namespace_of(entry: Entry) -> str:
    """The namespace it goes with; a namespace goes with itself."""
    return entry.name if entry.kind.group_kind == "Namespace" else entry.namespace
