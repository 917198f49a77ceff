"""Pods that are not ready and may only need more time: what an overloaded machine makes of a healthy mesh."""

from collections.abc import Iterable

from harness.model.cluster import ClusterObservation, Pod, Workload
from harness.model.kubernetes import Container

_ON_THE_WAY = frozenset({"", "ContainerCreating", "PodInitializing"})
"""Reasons of a waiting container that say nothing against it."""


def only_starting(pods: Iterable[Pod]) -> bool:
    """Whether some of these pods are not ready, and all of those are on a node and have not failed at anything yet."""
    unready = [pod for pod in pods if not pod.ready]
    return bool(unready) and all(map(_is_starting, unready))


def behind(observed: ClusterObservation, workload: Workload | None) -> tuple[Pod, ...]:
    """The pods of a workload, by the labels of its template; none where there is no workload."""
    wanted = workload.pod_labels.items() if workload else ()
    return tuple(
        pod
        for pod in observed.lasting_pods
        if workload and wanted and pod.namespace == workload.namespace and wanted <= pod.labels.items()
    )


def _is_starting(pod: Pod) -> bool:
    return bool(pod.node) and not pod.ended and all(map(_on_its_way, pod.containers))


def _on_its_way(container: Container) -> bool:
    ended_well = container.init and container.state == "terminated" and container.reason == "Completed"
    waits = container.state in {"", "waiting"} and container.reason in _ON_THE_WAY
    return container.restarts == 0 and (container.state == "running" or waits or ended_well)
