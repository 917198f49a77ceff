"""Which features a mesh has. Pure.

Features are found in what was observed. A feature counts as absent only where everything that would show it was read:
what could not be read is the business of the requirement that reads it.
"""

from collections.abc import Callable
from enum import StrEnum

from harness.model import ca, clients, expectations
from harness.model.cluster import ClusterObservation, Subject
from harness.model.observation import Observation
from harness.model.topology import Feature


class MeshFeature(StrEnum):
    """What a mesh may or may not have; the value says it in words, after "needs"."""

    PLUGGED_IN_CA = "a CA from the secret cacerts"
    GATEWAY_FOR_NETWORK = "an east-west gateway"
    OPERATOR = "an operator's Istio resource"
    CNI = "Istio's CNI plugin"
    NAMESPACE_INJECTION = "an injection label on the sample's namespace"
    SAMPLE = "the sample: helloworld, not every version on every cluster, and a client (--deploy-sample brings it)"
    SIDECARS = "sidecars (--data-plane=sidecar)"
    AMBIENT = "ztunnels that carry the traffic (--data-plane=ambient)"
    TRAFFIC = (
        "the sample, not every version on every cluster, or a service (--deploy-sample brings the one, --service and "
        "--client name the other)"
    )


def has_feature(observation: Observation, feature: MeshFeature) -> bool:
    """Whether the mesh that was observed has a feature.

    On a mesh that the run installed every feature counts as present: one that is missing there is a fault. What
    carries the traffic was asked for, on a mesh of either kind.
    """
    if feature in {MeshFeature.SIDECARS, MeshFeature.AMBIENT}:
        return observation.asked.ambient is (feature is MeshFeature.AMBIENT)
    return observation.asked.mode == "install" or _FOUND[feature](observation)


def _anywhere(subject: Subject, shows: Callable[[Observation, ClusterObservation], object]) -> "_Test":
    """Whether some cluster shows it, or may show it because the subject was not read there."""

    def test(observation: Observation) -> bool:
        return any(
            not observed.was_read(subject) or bool(shows(observation, observed)) for observed in observation.clusters
        )

    return test


def _has_gateway(observation: Observation) -> bool:
    # Several networks need gateways between them: a missing one is a fault.
    if Feature.MULTI_NETWORK in observation.topology.features:
        return True
    return _anywhere(Subject.SERVICES, lambda _, observed: expectations.gateway_service(observed))(observation)


def _injects_by_namespace(observation: Observation, observed: ClusterObservation) -> bool:
    namespace = observed.namespace(observation.asked.sample_namespace)
    return namespace is not None and bool({"istio-injection", "istio.io/rev"} & namespace.labels.keys())


def _has_sample(observation: Observation, observed: ClusterObservation) -> bool:
    namespace = observation.asked.sample_namespace
    helloworld = any(w.namespace == namespace and expectations.is_helloworld(w) for w in observed.workloads)
    return helloworld or clients.client_workload(observed, observation.asked) is not None


def _tells_clusters_apart(observation: Observation) -> bool:
    """Whether who answered tells the cluster; not where helloworld.yaml was applied whole, all versions on each."""
    namespace = observation.asked.sample_namespace
    found = [
        {pod.labels.get("version", "") for pod in observed.pods_with(namespace, app=expectations.HELLOWORLD)}
        for observed in observation.clusters
    ]
    return not (len(found[0]) > 1 and all(each == found[0] for each in found))


def _sample(observation: Observation) -> bool:
    return _anywhere(Subject.WORKLOADS, _has_sample)(observation) and _tells_clusters_apart(observation)


_Test = Callable[[Observation], bool]

_FOUND: dict[MeshFeature, _Test] = {
    MeshFeature.PLUGGED_IN_CA: ca.may_be_plugged_in,
    MeshFeature.GATEWAY_FOR_NETWORK: _has_gateway,
    MeshFeature.OPERATOR: _anywhere(Subject.SAIL, lambda _, observed: observed.sail),
    MeshFeature.CNI: _anywhere(
        Subject.WORKLOADS, lambda seen, observed: seen.asked.ambient or expectations.needs_cni(observed)
    ),
    MeshFeature.NAMESPACE_INJECTION: _anywhere(Subject.NAMESPACES, _injects_by_namespace),
    MeshFeature.SAMPLE: lambda seen: seen.asked.service is None and _sample(seen),
    MeshFeature.TRAFFIC: lambda seen: seen.asked.service is not None or _sample(seen),
}
