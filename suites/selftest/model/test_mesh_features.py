"""Which features are found in a mesh that somebody else installed."""

from collections.abc import Callable, Mapping

import pytest

from harness.model import expectations
from harness.model.cluster import ClusterObservation, Reading, ReadOutcome, Subject
from harness.model.data_plane import DataPlane
from harness.model.mesh_features import MeshFeature, has_feature
from harness.model.observation import Observation
from harness.model.topology import Feature

Change = Callable[[ClusterObservation], Mapping[str, object]]

WITHOUT: dict[MeshFeature, tuple[Subject, Change]] = {
    MeshFeature.PLUGGED_IN_CA: (Subject.CA_SECRET, lambda _: {"ca_secret": None}),
    MeshFeature.GATEWAY_FOR_NETWORK: (Subject.SERVICES, lambda _: {"services": ()}),
    MeshFeature.OPERATOR: (Subject.SAIL, lambda _: {"sail": ()}),
    MeshFeature.CNI: (Subject.WORKLOADS, lambda _: {"workloads": (), "pods": (), "mesh_config": ()}),
    MeshFeature.NAMESPACE_INJECTION: (
        Subject.NAMESPACES,
        lambda observed: {"namespaces": tuple(n.model_copy(update={"labels": {}}) for n in observed.namespaces)},
    ),
    MeshFeature.SAMPLE: (Subject.WORKLOADS, lambda _: {"workloads": ()}),
    MeshFeature.TRAFFIC: (Subject.WORKLOADS, lambda _: {"workloads": ()}),
}

ABSENT: dict[MeshFeature, Callable[[Observation], bool]] = {
    MeshFeature.OPERATOR: lambda good: good.asked.installer != "sail",
    MeshFeature.GATEWAY_FOR_NETWORK: lambda good: not expectations.gateways(good.topology),
}
"""What some of the good meshes do not have."""


@pytest.fixture
def foreign(good_observations: Mapping[str, Observation]) -> dict[str, Observation]:
    """Good meshes that the suite found; it refuses those with a control plane outside of the mesh."""
    return {
        name: each.model_copy(update={"asked": each.asked.model_copy(update={"mode": "verify-only"})})
        for name, each in good_observations.items()
        if not each.topology.hosts
    }


def _changed(observation: Observation, change: Change) -> Observation:
    clusters = tuple(each.model_copy(update=dict(change(each))) for each in observation.clusters)
    return observation.model_copy(update={"clusters": clusters})


def _unread(observed: ClusterObservation, subject: Subject) -> Mapping[str, object]:
    kept = tuple(each for each in observed.readings if each.subject != subject)
    return {"readings": (*kept, Reading(subject=subject, outcome=ReadOutcome.FORBIDDEN))}


def test_what_carries_the_traffic_was_asked_for(foreign: dict[str, Observation]) -> None:
    """On a mesh of either kind: an installed one has sidecars or ztunnels, and not both."""
    observation = next(iter(foreign.values()))
    for mode in ("install", "verify-only"):
        for plane in DataPlane:
            asked = observation.asked.model_copy(update={"mode": mode, "data_plane": plane})
            found = observation.model_copy(update={"asked": asked})
            assert has_feature(found, MeshFeature.AMBIENT) is (plane is DataPlane.AMBIENT)
            assert has_feature(found, MeshFeature.SIDECARS) is (plane is DataPlane.SIDECAR)


@pytest.mark.parametrize("feature", [each for each in MeshFeature if each in WITHOUT])
def test_absent_only_where_it_was_looked_for(feature: MeshFeature, foreign: dict[str, Observation]) -> None:
    """What was read and is nowhere is absent; what was not read counts as present, as does all of an installed mesh."""
    subject, change = WITHOUT[feature]
    for name, observation in foreign.items():
        there = feature not in ABSENT or not ABSENT[feature](observation)
        assert has_feature(observation, feature) is there, name
        without = _changed(observation, change)
        needed = feature is MeshFeature.GATEWAY_FOR_NETWORK and Feature.MULTI_NETWORK in observation.topology.features
        assert has_feature(without, feature) is needed, name
        assert has_feature(_changed(without, lambda observed: _unread(observed, subject)), feature), name
        installed = without.model_copy(update={"asked": without.asked.model_copy(update={"mode": "install"})})
        assert has_feature(installed, feature), name
