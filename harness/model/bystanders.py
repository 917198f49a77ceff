"""Pods that stand beside what is judged: in the namespaces of the mesh, and none that a request needs. Pure."""

from harness.model import clients, gateways, requested
from harness.model.kubernetes import Pod
from harness.model.observation import Observation
from harness.model.topology import Cluster


def waits_beside(observation: Observation, cluster: Cluster, pod: Pod) -> bool:
    """Whether a pod's proxy is not ready, and neither the requests nor a gateway of the mesh need it.

    Only on a mesh of others, and only where a proxy that is needed is ready on that cluster: else what keeps this one
    from being ready may be what is wrong with the mesh.
    """
    if observation.asked.mode != "verify-only" or pod.proxy is None or pod.proxy.ready:
        return False
    needed = _needed(observation, cluster)
    return pod not in needed and any(each.proxy and each.proxy.ready for each in needed)


def _needed(observation: Observation, cluster: Cluster) -> tuple[Pod, ...]:
    asked, observed = observation.asked, observation[cluster]
    entrances = (*gateways.serving(observation.topology, observation, cluster), *gateways.labelled(observed))
    behind = (pod for service in entrances for pod in gateways.pods(observed, service))
    return (*requested.pods(observed, asked), *clients.client_pods(observed, asked), *behind)
