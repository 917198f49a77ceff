"""Which policies concern traffic between clusters, and what Istio takes a port for."""

from collections.abc import Mapping

import pytest

from harness.model import policies
from harness.model.cluster import ConfigObject, ServicePort
from harness.model.observation import Observation

GROUP = {"DestinationRule": "networking.istio.io/v1", "VirtualService": "networking.istio.io/v1"}


def policy(kind: str, namespace: str, **spec: object) -> ConfigObject:
    """A policy called x."""
    group = GROUP.get(kind, "security.istio.io/v1")
    return ConfigObject(api_version=group, kind=kind, namespace=namespace, name="x", spec=spec)


@pytest.mark.parametrize(
    ("name", "app_protocol", "number", "protocol"),
    [
        ("http", "", 5000, "http"),
        ("HTTP-web", "", 5000, "http"),
        ("web", "http", 5000, "http"),
        ("web", "kubernetes.io/h2c", 5000, "http2"),
        ("grpc-web-x", "", 5000, "grpc-web"),
        ("http", "tcp", 5000, "tcp"),
        ("web", "", 5000, "detected"),
        ("web", "", 3306, "tcp"),
        ("http", "kubernetes.io/wss", 5000, "https"),
    ],
)
def test_protocols(name: str, app_protocol: str, number: int, protocol: str) -> None:
    """As pkg/config/kube/conversion.go has it."""
    port = ServicePort(name=name, port=number, target_port="5000", app_protocol=app_protocol)
    assert policies.protocol(port) == protocol


INGRESS = {"selector": {"matchLabels": {"istio": "ingressgateway"}}, "action": "DENY", "rules": [{}]}
GATEWAY = {"selector": {"matchLabels": {"istio": "eastwestgateway"}}, "action": "DENY", "rules": [{}]}


@pytest.mark.parametrize(
    ("item", "concerns"),
    [
        (policy("AuthorizationPolicy", "istio-system", **INGRESS), False),
        (policy("AuthorizationPolicy", "istio-system", **GATEWAY), False),
        (policy("AuthorizationPolicy", "istio-system"), True),
        (policy("AuthorizationPolicy", "sample", selector={"matchLabels": {"app": "helloworld"}}), True),
        (policy("AuthorizationPolicy", "sample", selector={"matchLabels": {"app": "shop"}}), False),
        (policy("AuthorizationPolicy", "shop"), False),
        (policy("AuthorizationPolicy", "istio-system", targetRefs=[{"kind": "Gateway", "name": "ingress"}]), False),
        (policy("EnvoyFilter", "istio-system", workloadSelector={"labels": {"istio": "ingressgateway"}}), False),
        (policy("EnvoyFilter", "istio-system", configPatches=[]), False),
        (policy("DestinationRule", "istio-system", host="*.local"), True),
        (policy("DestinationRule", "istio-system", host="helloworld"), False),
        (policy("DestinationRule", "sample", host="helloworld"), True),
        (policy("DestinationRule", "istio-system", host="shop.shop.svc.cluster.local"), False),
        (policy("DestinationRule", "istio-system", host="helloworld.sample.svc.mesh.example"), True),
        (policy("VirtualService", "sample", hosts=["helloworld"], gateways=["front"]), False),
        (policy("ServiceEntry", "sample", hosts=["api.example.com"]), False),
        (policy("VirtualService", "elsewhere", hosts=["helloworld.sample.svc.cluster.local"]), True),
        (policy("DestinationRule", "elsewhere", host="helloworld.sample.svc.cluster.local"), False),
        (policy("ServiceEntry", "elsewhere", hosts=["helloworld.sample.svc.cluster.local"], exportTo=["."]), False),
        (policy("VirtualService", "sample", hosts=["helloworld"], exportTo=["."]), True),
        (policy("Telemetry", "istio-system"), False),
    ],
)
def test_policies_that_concern_the_traffic(
    item: ConfigObject, concerns: bool, foreign_observations: Mapping[str, Observation]
) -> None:
    observation = foreign_observations["multi-primary-multi-network"]
    observed = observation.clusters[0].model_copy(update={"config": (item,)})
    assert bool(policies.traffic_policies(observation, observed)) is concerns


def test_a_policy_of_the_gateways_is_compared_on_a_mesh_of_the_suite(
    good_observations: Mapping[str, Observation],
) -> None:
    """On a mesh of others a gateway may admit other peers than those of another cluster do."""
    observation = good_observations["multi-primary-multi-network"]
    item = policy("AuthorizationPolicy", "istio-system", **GATEWAY)
    observed = observation.clusters[0].model_copy(update={"config": (item,)})
    assert policies.traffic_policies(observation, observed)


def test_what_stays_within_a_proxy_is_compared_on_a_mesh_of_the_suite(
    good_observations: Mapping[str, Observation],
) -> None:
    observation = good_observations["multi-primary-multi-network"]
    item = policy("EnvoyFilter", "istio-system", configPatches=[])
    observed = observation.clusters[0].model_copy(update={"config": (item,)})
    assert policies.traffic_policies(observation, observed)
