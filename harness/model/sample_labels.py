"""The labels with which a new namespace, and the pods in it, become a part of a mesh that is there. Pure."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from harness.model import revisions
from harness.model.cluster import ClusterObservation
from harness.model.data_plane import DataPlane
from harness.model.expectations import MODE_LABEL
from harness.model.revisions import DEFAULT, INJECT_LABEL, INJECTION_LABEL, REVISION_LABEL

_ABSENT = ""
"""No namespace has this name: the labels that would serve it are those of a namespace without any."""
_NAME_LABEL = "kubernetes.io/metadata.name"


@dataclass(frozen=True)
class SampleLabels:
    """What a namespace and its pods must carry."""

    revision: str
    """The control plane that then serves it."""
    namespace: Mapping[str, str] = field(default_factory=dict)
    pod: Mapping[str, str] = field(default_factory=dict)


def sample_labels(observed: ClusterObservation, primary: ClusterObservation, name: str) -> SampleLabels:
    """The labels that a cluster's injection webhooks ask for; preferred is the revision that most proxies have.

    Where the webhooks could not be read the labels follow Istio's own rules: `istio-injection=enabled` for the default
    revision, `istio.io/rev` for another one. The labels that discoverySelectors ask for are added: istiod ignores other
    namespaces.

    Args:
        observed: the cluster.
        primary: the cluster whose control plane serves it.
        name: of the namespace.

    Source: Istio, "Installing the Sidecar"; "Global Mesh Options", discoverySelectors.
    """
    revision = _preferred(observed)
    required = _required(primary)
    candidates = list(_candidates(observed, revision))
    for wanted in (revision, None):
        for namespace, pod in candidates:
            labels = {_NAME_LABEL: name, **required, **namespace}
            hooks = revisions.injecting_webhooks(observed, labels, pod)
            if hooks and wanted in {None, hooks[0].revision}:
                return SampleLabels(hooks[0].revision, {**required, **namespace}, pod)
    own = {INJECTION_LABEL: "enabled"} if revision == DEFAULT else {REVISION_LABEL: revision}
    return SampleLabels(revision, {**required, **own})


def ambient_labels(primary: ClusterObservation) -> SampleLabels:
    """The labels with which ztunnel carries the traffic of a namespace, those of discoverySelectors among them.

    Args:
        primary: the cluster whose control plane serves it.

    Source: Istio, "Add workloads to an ambient mesh"; "Global Mesh Options", discoverySelectors.
    """
    required = _required(primary)
    return SampleLabels(revisions.serving(primary, _ABSENT), {**required, MODE_LABEL: DataPlane.AMBIENT.value})


def _required(primary: ClusterObservation) -> dict[str, str]:
    return {key: value for config in primary.mesh_config for key, value in _discovered(config.mesh).items()}


def _preferred(observed: ClusterObservation) -> str:
    """The revision of most proxies; without any, the one that serves a namespace without labels."""
    pods = (pod for pod in observed.lasting_pods if pod.proxy)
    counted = Counter(pod.annotations[REVISION_LABEL] for pod in pods if REVISION_LABEL in pod.annotations)
    return counted.most_common(1)[0][0] if counted else revisions.serving(observed, _ABSENT)


def _candidates(observed: ClusterObservation, revision: str) -> Iterator[tuple[dict[str, str], dict[str, str]]]:
    """Labels of namespace and pod to try, the plainest first."""
    known = dict.fromkeys((revision, *(webhook.revision for webhook in observed.webhooks)))
    values = dict.fromkeys(value for each in known for value in revisions.selecting_labels(observed, each))
    namespaces = [{INJECTION_LABEL: "enabled"}, *({REVISION_LABEL: value} for value in values)]
    yield from ((namespace, {}) for namespace in namespaces)
    yield from ((namespace, {INJECT_LABEL: "true"}) for namespace in (*namespaces, {}))


def _discovered(mesh: Mapping[str, Any]) -> dict[str, str]:
    """Labels that one of a mesh's discoverySelectors selects; none where it has no selectors."""
    selectors: Iterable[Mapping[str, Any]] = mesh.get("discoverySelectors") or ()
    for selector in selectors:
        labels = dict(selector.get("matchLabels") or {})
        for expression in selector.get("matchExpressions") or ():
            if expression.get("operator") in {"In", "Exists"}:
                labels[expression["key"]] = next(iter(expression.get("values") or ()), "true")
        return labels
    return {}
