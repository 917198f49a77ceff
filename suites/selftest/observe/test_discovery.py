"""What a mesh that is there was meant to be."""

from typing import Any

import pytest

from harness.base.errors import UserError
from harness.model import revisions
from harness.model.cluster import ClusterObservation
from harness.model.topology import ControlPlaneModel, NetworkModel, Topology, preset
from harness.observe import discovery
from harness.observe.discovery import Names
from suites.selftest.support.breakage import edit
from suites.selftest.support.certificates import pki
from suites.selftest.support.good import MIXED, TOPOLOGIES, good
from suites.selftest.support.good_cluster import cluster_of

NAMES = Names("istio-system", "sample")
PR = preset(ControlPlaneModel.PRIMARY_REMOTE, NetworkModel.MULTI)


def _clusters(topology: Topology = PR, **changes: dict[str, Any]) -> list[ClusterObservation]:
    """A good mesh's clusters, some with other fields."""
    return [seen.model_copy(update=changes.get(seen.name, {})) for seen in good(topology).clusters]


def _annotated(seen: ClusterObservation, annotations: dict[str, str], **labels: str) -> dict[str, Any]:
    """The field `namespaces` with other annotations and labels."""
    change = {"annotations": annotations, "labels": labels}
    return {"namespaces": tuple(found.model_copy(update=change) for found in seen.namespaces)}


@pytest.mark.parametrize("installer", ["istioctl", "sail"])
@pytest.mark.parametrize("name", [name for name, topology in TOPOLOGIES.items() if not topology.hosts])
def test_a_good_mesh_is_what_it_was_asked_to_be(name: str, installer: str) -> None:
    """Names, networks, roles, versions, mesh id and trust domain."""
    clusters = good(TOPOLOGIES[name], installer).clusters
    found = discovery.topology(clusters, NAMES)
    assert found.model_copy(update={"name": name}) == TOPOLOGIES[name]
    assert found.name == (name if name != MIXED.name else "mixed-3-clusters")
    assert discovery.cni(clusters)
    assert revisions.serving(clusters[0], "sample") == "default"


def test_an_external_control_plane_is_refused() -> None:
    """What it takes for its own cluster says so, or the Secret with that cluster's kubeconfig."""
    topology = preset(ControlPlaneModel.EXTERNAL, NetworkModel.SINGLE)
    host, east, west = (cluster_of(topology, cluster, pki(), "istioctl") for cluster in topology.every)
    (config,) = host.mesh_config
    told = config.model_copy(update={"values": {"global": {"configCluster": True}}})
    bare = host.model_copy(update={"remote_secrets": ()})
    for clusters in ([host, east, west], [bare, east.model_copy(update={"mesh_config": (told,)}), west]):
        with pytest.raises(UserError, match="external control plane can't be judged by --verify-only"):
            discovery.topology(clusters, NAMES)


def test_a_wrong_label_is_a_failure_and_no_expectation() -> None:
    """The network that the mesh was configured with is expected."""
    topology = preset(ControlPlaneModel.MULTI_PRIMARY, NetworkModel.MULTI)
    east = _clusters(topology)[0]
    changed = _clusters(topology, east=_annotated(east, {}, **{"topology.istio.io/network": "other"}))
    assert discovery.topology(changed, NAMES).networks == ("network1", "network2")


def test_what_does_not_run_is_expected_all_the_same() -> None:
    """A cluster without helloworld should have had the version of its place."""
    west = _clusters()[1]
    pods = tuple(pod for pod in west.pods if pod.labels.get("app") != "helloworld")
    assert discovery.topology(_clusters(west={"pods": pods}), NAMES) == PR


def test_a_remote_says_which_primary_serves_it() -> None:
    """Where there are several; a name that is none of them is refused."""
    north = good(MIXED)["north"]
    served = discovery.topology(
        _clusters(MIXED, north=_annotated(north, {"topology.istio.io/controlPlaneClusters": "cluster2"})), NAMES
    )
    assert served["north"].primary == "west"
    with pytest.raises(UserError, match="which control plane serves north"):
        discovery.topology(_clusters(MIXED, north=_annotated(north, {})), NAMES)


@pytest.mark.parametrize("said", ["*", "cluster1,cluster2"])
def test_a_remote_that_names_several_is_served_by_the_one_it_calls(said: str) -> None:
    """The first one where its addresses tell nothing."""
    seen = good(MIXED)
    (address,) = seen["west"].service("istio-system", "istio-eastwestgateway").ingress  # type: ignore[union-attr]
    annotated = _annotated(seen["north"], {"topology.istio.io/controlPlaneClusters": said})
    for host, primary in ((address, "west"), ("istiod.example.com", "east")):
        hooks = tuple(
            hook.model_copy(
                update={
                    "webhooks": tuple(
                        rule.model_copy(update={"url": f"https://{host}:15017/inject/cluster/cluster3/net/network2"})
                        for rule in hook.webhooks
                    )
                }
            )
            for hook in seen["north"].webhooks
        )
        services = tuple(each for each in seen["north"].services if each.name != "istiod")
        north = {**annotated, "webhooks": hooks, "services": services}
        assert discovery.topology(_clusters(MIXED, north=north), NAMES)["north"].primary == primary


@pytest.mark.parametrize("name", ["istiod", "istiod-1-30", "istiod-remote", "istiod-1-30-remote"])
@pytest.mark.parametrize("by_name", [False, True], ids=["address", "external name"])
def test_the_service_of_a_remote_tells_the_primary_that_it_calls(name: str, by_name: bool) -> None:
    """With a revision it has its name; where remotePilotAddress is a host name it is of type ExternalName."""
    seen, host = good(MIXED), "a1.elb.example.com"
    (address,) = seen["west"].service("istio-system", "istio-eastwestgateway").ingress  # type: ignore[union-attr]
    called: dict[str, Any] = {"ready_endpoints": (address,)}
    if by_name:
        called = {"ready_endpoints": (), "type": "ExternalName", "external_name": host}
    front = {"name": name, **called}
    services = edit(seen["north"].services, lambda each: each.name == "istiod", **front)
    gateways = edit(seen["west"].services, lambda each: address in each.ingress, ingress=(host, address))
    north = {**_annotated(seen["north"], {"topology.istio.io/controlPlaneClusters": "*"}), "services": services}
    found = discovery.topology(_clusters(MIXED, north=north, west={"services": gateways}), NAMES)
    assert found["north"].primary == "west"


def test_a_remote_of_a_primary_that_is_not_among_the_contexts() -> None:
    """Where only its annotation or only its addresses are another's, it is a fault of this mesh, and is judged."""
    west = good(PR)["west"]
    elsewhere = _annotated(west, {"topology.istio.io/controlPlaneClusters": "cluster9"})
    there = {"ready_endpoints": ("192.0.2.9",)}
    away = {"services": tuple(each.model_copy(update=there) for each in west.services)}
    with pytest.raises(UserError, match="not among the contexts") as error:
        discovery.topology(_clusters(west=elsewhere | away), NAMES)
    assert "names cluster9" in error.value.why
    for fault in (elsewhere, away):
        assert discovery.topology(_clusters(west=fault), NAMES)["west"].primary == "east"


def test_no_control_plane() -> None:
    nothing = {"workloads": (), "mesh_config": (), "webhooks": (), "remote_secrets": ()}
    with pytest.raises(UserError, match="No cluster has a control plane"):
        discovery.topology(_clusters(east=nothing), NAMES)


def test_a_primary_that_lost_its_control_plane_is_no_remote() -> None:
    """Its configuration is there, and its webhook names no cluster."""
    topology = preset(ControlPlaneModel.MULTI_PRIMARY, NetworkModel.MULTI)
    lost = _clusters(topology, west={"workloads": ()})
    assert discovery.topology(lost, NAMES) == topology
    assert discovery.topology(_clusters(), NAMES)["west"].primary == "east"


GONE = {"workloads": (), "pods": (), "control_planes": ()}


@pytest.mark.parametrize(
    "also_gone",
    [
        {},
        {"webhooks": ()},
        {"mesh_config": ()},
        {"mesh_config": (), "webhooks": ()},
        {"mesh_config": (), "remote_secrets": ()},
    ],
    ids=["Deployment", "webhooks", "config map", "both", "config map and secrets"],
)
def test_what_is_left_tells_a_primary_without_istiod(also_gone: dict[str, Any]) -> None:
    """Each piece that a remote does not have is enough; the proxies tell the cluster's name."""
    topology = preset(ControlPlaneModel.MULTI_PRIMARY, NetworkModel.MULTI)
    west = _clusters(topology)[1]
    pods = tuple(pod for pod in west.pods if pod.labels.get("app") != "istiod")
    lost = _clusters(topology, west={**GONE, "pods": pods, **also_gone})
    assert [cluster.is_primary for cluster in discovery.topology(lost, NAMES).clusters] == [True, True]


def test_a_webhook_left_over_from_a_remote_tells_nothing() -> None:
    """Its Service selects istiod's pods: the cluster has become a primary since."""
    topology = preset(ControlPlaneModel.MULTI_PRIMARY, NetworkModel.MULTI)
    west, remote = _clusters(topology)[1], _clusters()[1]
    lost = _clusters(topology, west={"workloads": (), "webhooks": (*west.webhooks, *remote.webhooks)})
    assert discovery.topology(lost, NAMES)["west"].is_primary


@pytest.mark.parametrize("field", ["mesh_config", "remote_secrets"])
def test_a_remote_with_something_of_a_primary_stays_a_remote(field: str) -> None:
    """A config cluster has the config map; a former primary may have kept its secrets."""
    other = _clusters(preset(ControlPlaneModel.MULTI_PRIMARY, NetworkModel.MULTI))[1]
    changed = _clusters(west={field: getattr(other, field)})
    assert not discovery.topology(changed, NAMES)["west"].is_primary


@pytest.mark.parametrize(
    "change",
    [
        {"service": "", "url": "https://istiod.example:443/inject/cluster/cluster2/net/network2", "path": ""},
        {"path": "/inject/cluster/cluster2"},
    ],
    ids=["injectionURL", "no network in the path"],
)
def test_other_forms_of_a_remote(change: dict[str, str]) -> None:
    """The network may be named by the namespace."""
    west = _clusters()[1]
    (webhook,) = west.webhooks
    rules = tuple(rule.model_copy(update=change) for rule in webhook.webhooks)
    changed = _clusters(west={"webhooks": (webhook.model_copy(update={"webhooks": rules}),)})
    assert discovery.topology(changed, NAMES) == PR


def test_a_cluster_that_is_no_part_of_the_mesh() -> None:
    nothing = {"pods": (), "webhooks": (), "mesh_config": ()}
    with pytest.raises(UserError, match="name of west"):
        discovery.topology(_clusters(west=nothing), NAMES)


def test_two_clusters_of_one_name() -> None:
    clusters = _clusters(preset(ControlPlaneModel.MULTI_PRIMARY, NetworkModel.SINGLE))
    twin = clusters[1].model_copy(update={"mesh_config": clusters[0].mesh_config})
    with pytest.raises(UserError, match="can't be told apart"):
        discovery.topology([clusters[0], twin], NAMES)


def test_a_revision_is_found_through_its_tag() -> None:
    east = _clusters()[0]
    webhook = east.webhooks[0].model_copy(update={"tag": "prod", "revision": "1-31"})
    labelled = east.model_copy(update={"webhooks": (webhook,), **_annotated(east, {}, **{"istio.io/rev": "prod"})})
    assert revisions.serving(labelled, "sample") == "1-31"
