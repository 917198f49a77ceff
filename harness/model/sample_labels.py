"""The labels with which a new namespace, and the pods in it, become a part of a mesh that is there. Pure."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.model import label_selector, revisions, scopes
from harness.model.cluster import ClusterObservation
from harness.model.data_plane import DataPlane
from harness.model.expectations import GLOBAL_LABEL, MODE_LABEL
from harness.model.revisions import DEFAULT, INJECT_LABEL, INJECTION_LABEL, REVISION_LABEL

_ABSENT = ""
"""No namespace has this name: the labels that would serve it are those of a namespace without any."""
_NAME_LABEL = "kubernetes.io/metadata.name"


@dataclass(frozen=True)
class SampleLabels:
    """What a namespace, and what is in it, must carry."""

    revision: str
    """The control plane that then serves it."""
    namespace: Mapping[str, str] = field(default_factory=dict)
    pod: Mapping[str, str] = field(default_factory=dict)
    service: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _GlobalLabels:
    """With these a Service is one of all clusters."""

    namespace: Mapping[str, str] = field(default_factory=dict)
    service: Mapping[str, str] = field(default_factory=dict)

    def and_of(self, other: "_GlobalLabels") -> "_GlobalLabels":
        """Both; where they differ the other's."""
        return _GlobalLabels({**self.namespace, **other.namespace}, {**self.service, **other.service})


_OF_PROFILE_AMBIENT = _GlobalLabels(service={GLOBAL_LABEL: "true"})


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


def ambient_labels(
    primary: ClusterObservation,
    primaries: Sequence[ClusterObservation],
    name: str,
    services: Sequence[Mapping[str, str]],
) -> SampleLabels:
    """The labels with which ztunnel carries a namespace's traffic, and its Services are those of all clusters.

    Those of discoverySelectors are among them. Services are labelled `istio.io/global=true`, as profile ambient has it,
    unless serviceScopeConfigs of the mesh ask for something else.

    Args:
        primary: the cluster whose control plane serves it.
        primaries: all of the mesh: each decides for itself whether a Service is one of all clusters.
        name: of the namespace.
        services: the labels that each of its Services has of its own.

    Source: Istio, "Add workloads to an ambient mesh"; "Global Mesh Options", discoverySelectors, serviceScopeConfigs.
    """
    required, meshes = _required(primary), [config.mesh for config in primary.mesh_config]

    def namespace(labels: _GlobalLabels) -> dict[str, str]:
        return {**required, **labels.namespace, MODE_LABEL: DataPlane.AMBIENT.value}

    def suffice(labels: _GlobalLabels, asked: Sequence[scopes.Configs]) -> bool:
        found = {**namespace(labels), _NAME_LABEL: name}
        return label_selector.discovered(meshes, found) and all(
            scopes.is_global(each, found, {**own, **labels.service}) for each in asked for own in services
        )

    known = (scopes.configs(each, revisions.serving(each, _ABSENT)) for each in primaries)
    chosen = _global([each for each in known if each is not None], suffice)
    serving = revisions.serving(primary, _ABSENT)
    return SampleLabels(serving, namespace(chosen), service=chosen.service)


def _global(
    asked: Sequence[scopes.Configs], suffice: Callable[[_GlobalLabels, Sequence[scopes.Configs]], bool]
) -> _GlobalLabels:
    """The labels of profile ambient where they suffice, or where none do; else what each control plane adds in turn."""
    if not asked or suffice(_OF_PROFILE_AMBIENT, asked):
        return _OF_PROFILE_AMBIENT
    found = _GlobalLabels()
    for number, configs in enumerate(asked, 1):
        added = (found.and_of(_GlobalLabels(*each)) for each in scopes.labels_asked_for(configs))
        chosen = next((each for each in (found, *added) if suffice(each, asked[:number])), None)
        if chosen is None:
            return _OF_PROFILE_AMBIENT
        found = chosen
    return found


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
    return next(map(label_selector.asked_for, selectors), {})
