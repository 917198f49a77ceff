"""What carries the traffic of a mesh that is there."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from harness.base.errors import UserError
from harness.model.cluster import ClusterObservation
from harness.model.data_plane import DataPlane
from harness.model.topology import ControlPlaneModel, NetworkModel, preset
from harness.observe.data_plane import data_plane, require_known
from suites.selftest.support.ambient import ambient
from suites.selftest.support.breakage import edit
from suites.selftest.support.good import TOPOLOGIES, good

Clusters = Sequence[ClusterObservation]
SAMPLE = "sample"
SIDECARS = good(TOPOLOGIES["multi-primary-multi-network"]).clusters
AMBIENT = ambient().clusters


def _without_pods(clusters: Clusters) -> Clusters:
    return [
        seen.model_copy(update={"pods": tuple(pod for pod in seen.pods if pod.namespace != SAMPLE)})
        for seen in clusters
    ]


def without_sample(seen: ClusterObservation) -> ClusterObservation:
    """A cluster without the sample's namespace."""
    (gone,) = _without_pods([seen])
    return gone.model_copy(update={"namespaces": tuple(each for each in gone.namespaces if each.name != SAMPLE)})


def _without_sample(clusters: Clusters) -> Clusters:
    return list(map(without_sample, clusters))


def _labelled(clusters: Clusters, **labels: str) -> Clusters:
    own = {name.replace("__", "/").replace("_", "."): value for name, value in labels.items()}
    return [
        seen.model_copy(update={"namespaces": edit(seen.namespaces, lambda each: each.name == SAMPLE, labels=own)})
        for seen in _without_pods(clusters)
    ]


def _first(clusters: Clusters, **changes: Any) -> Clusters:
    return [clusters[0].model_copy(update=changes), *clusters[1:]]


def _not_captured(clusters: Clusters) -> Clusters:
    pods = edit(clusters[0].pods, lambda pod: pod.namespace == SAMPLE, annotations={})
    unlabelled = edit(clusters[0].namespaces, lambda each: each.name == SAMPLE, labels={})
    return _first(clusters, pods=pods, namespaces=unlabelled)


def _without_ztunnels(clusters: Clusters) -> Clusters:
    return [
        seen.model_copy(
            update={
                "pods": tuple(pod for pod in seen.pods if pod.labels.get("app") != "ztunnel"),
                "workloads": tuple(each for each in seen.workloads if each.name != "ztunnel"),
            }
        )
        for seen in clusters
    ]


def _beside_ztunnels(clusters: Clusters) -> Clusters:
    ztunnels = [pod for pod in AMBIENT[0].pods if pod.labels.get("app") == "ztunnel"]
    return _first(clusters, pods=(*clusters[0].pods, *ztunnels))


def _migrating(clusters: Clusters) -> Clusters:
    """East's pods have sidecars yet."""
    return [SIDECARS[0], *clusters[1:]]


def _two_gateways(clusters: Clusters) -> Clusters:
    """One for ztunnels and one for sidecars on East; no sample."""
    bare = _without_sample(clusters)
    return _first(bare, services=(*bare[0].services, *SIDECARS[0].services))


@pytest.mark.parametrize(
    ("clusters", "found"),
    [
        (SIDECARS, DataPlane.SIDECAR),
        (AMBIENT, DataPlane.AMBIENT),
        (_not_captured(AMBIENT), DataPlane.AMBIENT),
        (_without_ztunnels(AMBIENT), DataPlane.AMBIENT),
        (_without_pods(AMBIENT), DataPlane.AMBIENT),
        (_labelled(AMBIENT, istio_io__rev="1-31"), DataPlane.SIDECAR),
        (_without_sample(SIDECARS), DataPlane.SIDECAR),
        (_without_sample(AMBIENT), DataPlane.AMBIENT),
        (_without_sample(_without_ztunnels(AMBIENT)), DataPlane.SIDECAR),
        (_beside_ztunnels(SIDECARS), DataPlane.SIDECAR),
    ],
    ids=(
        "sidecars",
        "ztunnels",
        "pods of one cluster left out",
        "no ztunnel",
        "labels alone",
        "a revision alone",
        "no sample",
        "no sample, gateways for HBONE",
        "neither a sample nor ztunnels",
        "ztunnels for others",
    ),
)
def test_it_is_found(clusters: Clusters, found: DataPlane) -> None:
    assert data_plane(clusters, SAMPLE, None) is found


@pytest.mark.parametrize(
    ("change", "what", "why"),
    [
        (_migrating, "namespace sample", "east has pods with sidecars there; west has pods there that ztunnel"),
        (
            _two_gateways,
            "a sample",
            "east has a gateway for HBONE; west has a gateway for HBONE; east has one for mTLS",
        ),
    ],
)
def test_what_can_be_both_is_asked_for(change: Callable[[Clusters], Clusters], what: str, why: str) -> None:
    """Nobody is told by a guess; the option decides."""
    clusters = change(AMBIENT)
    with pytest.raises(UserError) as error:
        data_plane(clusters, SAMPLE, None)
    assert what in error.value.what
    assert error.value.why.startswith(why)
    for given in DataPlane:
        assert data_plane(clusters, SAMPLE, given) is given


@pytest.mark.parametrize(
    ("clusters", "given"),
    [
        (AMBIENT, DataPlane.SIDECAR),
        (SIDECARS, DataPlane.AMBIENT),
        (_without_sample(SIDECARS), DataPlane.AMBIENT),
    ],
    ids=("ztunnels", "sidecars", "no ztunnel anywhere"),
)
def test_an_option_that_the_mesh_contradicts_is_refused(clusters: Clusters, given: DataPlane) -> None:
    with pytest.raises(UserError, match=f"--data-plane={given} contradicts the mesh"):
        data_plane(clusters, SAMPLE, given)


def test_meshes_of_ztunnels_that_are_not_known_are_refused() -> None:
    """No requirement of ambient is about remotes, or about clusters that share a network."""
    for topology in (
        preset(ControlPlaneModel.PRIMARY_REMOTE, NetworkModel.MULTI),
        preset(ControlPlaneModel.MULTI_PRIMARY, NetworkModel.SINGLE),
    ):
        require_known(topology, DataPlane.SIDECAR)
        with pytest.raises(UserError, match="can't be judged by --verify-only"):
            require_known(topology, DataPlane.AMBIENT)
    require_known(ambient().topology, DataPlane.AMBIENT)
