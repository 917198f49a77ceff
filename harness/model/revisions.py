"""Which control plane serves what: revisions, tags and the rules by which injection chooses among them. Pure.

Source: Istio, "Installing the Sidecar", "Canary Upgrades" (revision tags); the selectors in Istio's chart
istio-discovery, mutatingwebhook.yaml.
"""

from collections.abc import Iterable, Mapping

from harness.model.admission import calls, why_dead
from harness.model.cluster import ClusterObservation, InjectionWebhook, Pod, Workload
from harness.model.observation import Observation
from harness.model.proxy import ControlPlane
from harness.model.topology import Cluster
from harness.model.ztunnel import Ztunnel

DEFAULT = "default"
INJECTION_LABEL = "istio-injection"
REVISION_LABEL = "istio.io/rev"
INJECT_LABEL = "sidecar.istio.io/inject"
POD_LABELS = (INJECT_LABEL, REVISION_LABEL)
"""The labels of a pod that injection looks at."""


def revision(observation: Observation, cluster: Cluster | ClusterObservation) -> str:
    """The revision that serves the sample on a cluster: what was asked for, on a mesh of others what is found."""
    asked = observation.asked
    if asked.mode != "verify-only":
        return asked.revision
    return serving(observation[cluster.name], asked.sample_namespace)


def serving(observed: ClusterObservation, sample_namespace: str) -> str:
    """The revision that injects into the sample namespace.

    Decided as the API server does, by the selectors of the injection webhooks. Where these were not recorded or none of
    them selects the sample, Istio's rules for its own webhooks decide: `istio-injection` wins over `istio.io/rev`, the
    namespace over the pod. Without any label it is the revision that ztunnels follow, or the default one, where
    there is one.
    """
    namespace = labels_of(observed, sample_namespace)
    pod = pod_labels(observed, sample_namespace)
    if injecting := injecting_webhooks(observed, namespace, pod):
        return injecting[0].revision
    if INJECTION_LABEL in namespace:
        return of_tag(observed, DEFAULT)
    if label := namespace.get(REVISION_LABEL) or pod.get(REVISION_LABEL):
        return of_tag(observed, label)
    tagged = of_tag(observed, DEFAULT)
    known = {config.revision for config in observed.mesh_config} or {hook.revision for hook in observed.webhooks}
    if followed := next((each for each in map(_followed, observed.ztunnels) if each in known), ""):
        return followed
    return tagged if tagged != DEFAULT or DEFAULT in known or not known else max(known)


def _followed(ztunnel: Ztunnel) -> str:
    """The revision of the control plane that a ztunnel is configured with, as its Service is called."""
    name = ztunnel.connected_to.rpartition("://")[2].partition(".")[0]
    return DEFAULT if name == "istiod" else name.removeprefix("istiod-")


def asks_for_nothing(observation: Observation, cluster: Cluster) -> bool:
    """Whether a mesh of others has no sample, and no namespace for it that asks for injection, on this cluster."""
    asked, observed = observation.asked, observation[cluster]
    labels = labels_of(observed, asked.sample_namespace)
    pods = observed.pods_with(asked.sample_namespace)
    return asked.mode == "verify-only" and not pods and not {INJECTION_LABEL, REVISION_LABEL} & labels.keys()


def of_tag(observed: ClusterObservation, label: str) -> str:
    """The revision that a value of `istio.io/rev` stands for: that of the tag of this name, else itself."""
    return next((webhook.revision for webhook in observed.webhooks if webhook.tag == label), label)


def labels_of(observed: ClusterObservation, namespace: str) -> Mapping[str, str]:
    """The labels of a namespace; none where it is not there."""
    found = observed.namespace(namespace)
    return found.labels if found else {}


def pod_labels(observed: ClusterObservation, namespace: str) -> dict[str, str]:
    """The injection labels that the pods of a namespace carry."""
    return injection_labels(pod.labels for pod in observed.lasting_pods if pod.namespace == namespace)


def injection_labels(pods: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """The labels by which pods ask for injection, or for a revision: those of the first that has any.

    A pod that asks for no sidecar tells nothing of the others.

    Args:
        pods: the labels of each pod.
    """
    found = ({key: labels[key] for key in POD_LABELS if key in labels} for labels in pods)
    return next((labels for labels in found if labels and labels.get(INJECT_LABEL) != "false"), {})


def injecting_webhooks(
    observed: ClusterObservation, namespace: Mapping[str, str], pod: Mapping[str, str]
) -> tuple[InjectionWebhook, ...]:
    """The webhooks that the API server calls for a pod, by their selectors; none where these were not recorded.

    One that leads nowhere, left of a control plane that is gone, comes last.
    """
    found = [
        (webhook, rule) for webhook in observed.webhooks for rule in webhook.webhooks if calls(rule, namespace, pod)
    ]
    found.sort(key=lambda pair: bool(why_dead(observed, pair[1])))
    return tuple(webhook for webhook, _ in found)


def in_use(observation: Observation, primary: Cluster) -> frozenset[str]:
    """The revisions of a primary that serve the mesh's workloads: the sample, and every proxy that is known."""
    served = observation.topology.served_by(primary)
    found = {revision(observation, cluster) for cluster in served}
    if observation.asked.mode == "verify-only":
        pods = (pod for cluster in served for pod in observation[cluster].lasting_pods if pod.proxy)
        found.update(pod.annotations[REVISION_LABEL] for pod in pods if REVISION_LABEL in pod.annotations)
        found.update(plane.revision for plane in observation[primary].control_planes if plane.proxies)
    return frozenset(found)


def control_planes(observation: Observation, primary: Cluster) -> tuple[ControlPlane, ...]:
    """The control planes of a primary that serve the mesh; all of them where the revisions in use have none.

    On a mesh of others a replica that is not ready (just started, by an autoscaler) serves nobody while another is.
    """
    planes, wanted = observation[primary].control_planes, in_use(observation, primary)
    if observation.asked.mode != "verify-only":
        return planes
    found = tuple(plane for plane in planes if plane.revision in wanted) or planes
    waiting = {pod.name for pod in observation[primary].lasting_pods if not pod.ready}
    return tuple(plane for plane in found if plane.pod not in waiting) or found


def workloads(observation: Observation, primary: Cluster, found: tuple[Workload, ...]) -> tuple[Workload, ...]:
    """Those of a primary's istiod Deployments that serve the mesh; all of them where the revisions in use have none."""
    if observation.asked.mode != "verify-only":
        return found
    wanted = in_use(observation, primary)
    return tuple(each for each in found if each.labels.get(REVISION_LABEL, DEFAULT) in wanted) or found


def pods(observation: Observation, primary: Cluster, found: tuple[Pod, ...]) -> tuple[Pod, ...]:
    """The same of a primary's istiod pods."""
    if observation.asked.mode != "verify-only":
        return found
    wanted = in_use(observation, primary)
    return tuple(each for each in found if each.labels.get(REVISION_LABEL, DEFAULT) in wanted) or found


def without_effect(labels: Mapping[str, str]) -> str:
    """A label of a namespace that another one overrides, in words; empty where there is none."""
    if INJECTION_LABEL in labels and REVISION_LABEL in labels:
        return (
            f"label {REVISION_LABEL}={labels[REVISION_LABEL]} has no effect: "
            f"{INJECTION_LABEL}={labels[INJECTION_LABEL]} wins"
        )
    return ""


def selecting_labels(observed: ClusterObservation, revision: str) -> tuple[str, ...]:
    """The values of `istio.io/rev` that select a revision: its own name and its tags."""
    return tuple(dict.fromkeys((revision, *_tags(observed.webhooks, revision))))


def _tags(webhooks: Iterable[InjectionWebhook], revision: str) -> Iterable[str]:
    return (webhook.tag for webhook in webhooks if webhook.tag and webhook.revision == revision)
