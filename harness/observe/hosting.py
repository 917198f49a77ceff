"""A cluster's observation together with that of the cluster that runs its control plane. Pure."""

from harness.model import expectations
from harness.model.cluster import ClusterObservation, Reading, ReadOutcome, Subject

_OF_CONTROL_PLANE = (Subject.CA_SECRET, Subject.MESH_CONFIG, Subject.CONTROL_PLANE)
"""Read of the host instead."""
_OF_BOTH = (Subject.WORKLOADS, Subject.PODS)


def with_control_plane(own: ClusterObservation, host: ClusterObservation, system: str) -> ClusterObservation:
    """What was observed of a cluster, with the control plane that runs on another cluster outside of the mesh.

    Requirements then look at it where they look at any other primary's.

    Args:
        own: the cluster.
        host: where its control plane runs.
        system: the namespace of the control plane.
    """
    pods = expectations.istiod_pods(host, system)
    return own.model_copy(
        update={
            "readings": _readings(own, host),
            "ca_secret": host.ca_secret,
            "mesh_config": host.mesh_config,
            "control_planes": tuple(plane for plane in host.control_planes if plane.pod in {pod.name for pod in pods}),
            "pods": (*own.pods, *pods),
            "workloads": (
                *own.workloads,
                *(found for found in expectations.istiod_workloads(host) if found.namespace == system),
            ),
        }
    )


def _readings(own: ClusterObservation, host: ClusterObservation) -> tuple[Reading, ...]:
    kept = [_worse(own, host, reading) for reading in own.readings if reading.subject not in _OF_CONTROL_PLANE]
    return (*kept, *(reading for reading in host.readings if reading.subject in _OF_CONTROL_PLANE))


def _worse(own: ClusterObservation, host: ClusterObservation, reading: Reading) -> Reading:
    """Of what is read on both clusters, the reading that failed, if one did."""
    other = host.reading(reading.subject) if reading.subject in _OF_BOTH else None
    return other if other and own.was_read(reading.subject) and other.outcome is not ReadOutcome.READ else reading
