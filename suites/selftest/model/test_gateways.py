"""The gateways of a mesh are found whatever they are called, and at the port that clients use."""

from collections.abc import Mapping

import pytest

from harness.model import expectations, gateways
from harness.model.cluster import Service, ServicePort
from harness.model.gateways import Entrance
from harness.model.observation import Observation
from harness.model.proxy import NetworkGateway
from suites.selftest.support.breakage import edit, on

TOPOLOGY = "multi-primary-multi-network"
TLS = ServicePort(name="tls", port=15443, target_port="15443")
PLAIN = Service(
    namespace="edge",
    name="cross",
    type="LoadBalancer",
    labels={gateways.NETWORK_LABEL: "network2"},
    selector={"app": "cross"},
    cluster_ip="",
    ports=(TLS,),
    ingress=("192.0.2.1",),
    resolved=("192.0.2.1",),
)


def _with(observation: Observation, *services: Service) -> Observation:
    """West has these Services in place of its gateway's."""
    west = observation.topology["west"]
    own = expectations.gateway_service(observation[west])
    others = tuple(service for service in observation[west].services if service != own)
    return on(observation, west, services=(*others, *services))


def _entrances(observation: Observation, *services: Service) -> tuple[Entrance, ...]:
    seen = _with(observation, *services)
    return gateways.entrances(seen.topology, seen, seen.topology["west"])


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, Entrance("192.0.2.1", 15443, 15443)),
        ({"ports": (TLS.model_copy(update={"target_port": "8443"}),)}, Entrance("192.0.2.1", 15443, 8443)),
        (
            {
                "labels": {**PLAIN.labels, gateways.PORT_LABEL: "443"},
                "ports": (TLS.model_copy(update={"port": 443}),),
            },
            Entrance("192.0.2.1", 443, 15443),
        ),
        (
            {"type": "ClusterIP", "ingress": (), "resolved": (), "external_ips": ("192.0.2.8",)},
            Entrance("192.0.2.8", 15443, 15443),
        ),
        (
            {
                "type": "NodePort",
                "node_addresses": ("192.0.2.9",),
                "ports": (TLS.model_copy(update={"node_port": 31443}),),
            },
            Entrance("192.0.2.9", 31443, 15443),
        ),
    ],
    ids=["any-name", "target-port", "port-label", "external-ip", "node-port"],
)
def test_entrances_are_what_istiod_makes_of_a_service(
    changes: dict[str, object], expected: Entrance, made_observations: Mapping[str, Observation]
) -> None:
    """Istio, pilot's controller of networks."""
    assert _entrances(made_observations[TOPOLOGY], PLAIN.model_copy(update=changes)) == (expected,)


def test_a_pending_service_beside_another_is_none(made_observations: Mapping[str, Observation]) -> None:
    pending = PLAIN.model_copy(update={"name": "old", "ingress": (), "resolved": ()})
    seen = _with(made_observations[TOPOLOGY], PLAIN, pending)
    assert [service.name for service in gateways.services(seen["west"], "network2")] == ["cross"]


def test_a_gateway_that_lost_its_label_is_found_by_its_name(made_observations: Mapping[str, Observation]) -> None:
    unlabelled = PLAIN.model_copy(update={"labels": {}, "name": gateways.GATEWAY})
    assert _entrances(made_observations[TOPOLOGY], unlabelled) == (Entrance("192.0.2.1", 15443, 15443),)


def test_what_only_istiod_reports_is_a_gateway(made_observations: Mapping[str, Observation]) -> None:
    """One of meshNetworks, or of a Gateway resource that stands elsewhere."""
    observation = made_observations[TOPOLOGY]
    row = NetworkGateway(network="network2", cluster="", address="198.51.100.1", port=443)
    planes = edit(observation["east"].control_planes, lambda _: True, network_gateways=(row,))
    reported = on(observation, observation.topology["east"], control_planes=planes)
    assert _entrances(reported) == (Entrance("198.51.100.1", 443, 15443),)


def test_one_gateway_serves_the_other_clusters_of_its_network(made_observations: Mapping[str, Observation]) -> None:
    """Istio chooses gateways by network and cluster, and by network where that finds none."""
    observation = made_observations[TOPOLOGY]
    east, west = observation.topology.clusters
    shared = observation.topology.model_copy(
        update={"clusters": (east, west.model_copy(update={"network": east.network}))}
    )
    seen = _with(observation)
    entrances = gateways.entrances(shared, seen, shared["west"])
    assert entrances and entrances == gateways.entrances(shared, seen, shared["east"])
    assert gateways.is_shared(shared, seen, shared["west"]) and not gateways.is_shared(shared, seen, shared["east"])


def test_behind_a_service_stands_what_it_selects(made_observations: Mapping[str, Observation]) -> None:
    """By its selector, not by its name; pods without a proxy are no gateway."""
    observation = made_observations[TOPOLOGY]
    service = expectations.gateway_service(observation["west"])
    assert service
    renamed = service.model_copy(update={"name": "cross"})
    workload = gateways.workload(observation["west"], renamed)
    assert workload and workload.name == gateways.GATEWAY
    assert [proxy.role for proxy in gateways.proxies(observation["west"], renamed)] == [gateways.GATEWAY]
    assert gateways.pods(observation["west"], renamed.model_copy(update={"selector": {"app": "istiod"}})) == ()
