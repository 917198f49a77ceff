"""What is wrong with how a gateway is found is named, and nothing is on a good mesh."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pytest

from harness.judge.diagnose.registry import Found, detectors
from harness.model import expectations, gateways
from harness.model.cluster import Service, ServicePort
from harness.model.observation import Observation
from harness.model.traffic import ProbeKind, ProbeResult
from suites.selftest.support.breakage import edit, last, on, with_probes

TOPOLOGY = "multi-primary-multi-network"
ONE_NETWORK = "multi-primary-single-network"


def _named(cause: str, observation: Observation) -> list[Found]:
    (detector,) = (each for each in detectors() if each.id == cause)
    return list(detector.find(observation))


def _service(observation: Observation, **fields: object) -> Observation:
    west = last(observation.topology)
    service = expectations.gateway_service(observation[west])
    return on(observation, west, services=edit(observation[west].services, lambda each: each == service, **fields))


def _moved(observation: Observation) -> Observation:
    return _service(observation, ports=(ServicePort(name="tls", port=443, target_port="15443"),))


def _of_istiod(observation: Observation) -> Observation:
    return _service(observation, selector={"app": "istiod"})


def _second(observation: Observation) -> Observation:
    """A second Service of the network, at an address, that selects no pod."""
    west = last(observation.topology)
    service = expectations.gateway_service(observation[west])
    assert service
    other = service.model_copy(update={"name": "old", "selector": {"istio": "old"}, "resolved": ("192.0.2.9",)})
    return on(observation, west, services=(*observation[west].services, other))


def _tls_ended(observation: Observation) -> Observation:
    shown = observation["east"].control_planes[0].serving_chain
    return with_probes(
        observation, lambda p: p.kind is ProbeKind.TLS and p.port == gateways.MESH_PORT, certificates=shown
    )


def _closed(observation: Observation, **fields: object) -> Observation:
    """Envoy passes nothing through, and the Gateway object is another one."""
    west = last(observation.topology)
    observed = observation[west]
    return on(
        observation,
        west,
        proxies=edit(observed.proxies, lambda proxy: bool(proxy.listeners), listeners=()),
        config=edit(observed.config, lambda item: item.name == "cross-network-gateway", **fields),
    )


def _other_selector(observation: Observation) -> Observation:
    config = observation[last(observation.topology)].config
    spec = next(item.spec for item in config if item.name == "cross-network-gateway")
    return _closed(observation, spec={**spec, "selector": {"istio": "eastwest"}})


def _mesh(observation: Observation, **settings: object) -> Observation:
    config = observation["east"].mesh_config[0]
    changed = config.model_copy(update={"mesh": {**config.mesh, **settings}})
    return on(observation, observation.topology["east"], mesh_config=(changed,))


def _left_out(observation: Observation) -> Observation:
    return _mesh(observation, discoverySelectors=[{"matchLabels": {"istio-injection": "enabled"}}])


def _no_value(observation: Observation) -> Observation:
    config = observation["west"].mesh_config[0]
    values = {**config.values, "global": {**config.values["global"], "network": ""}}
    return on(observation, observation.topology["west"], mesh_config=(config.model_copy(update={"values": values}),))


@dataclass(frozen=True)
class Case:
    """A change of a good observation, and what must be named for it."""

    cause: str
    change: Callable[[Observation], Observation]
    object: str
    expected: str
    found: str


SERVICE, GATEWAY = "Service istio-system/istio-eastwestgateway", "Gateway istio-system/cross-network-gateway"
CASES = (
    Case("gateway-port-moved", _moved, SERVICE, "gatewayPort=443", "443 → 15443"),
    Case("gateway-selects-others", _of_istiod, SERVICE, "pods", "app=istiod"),
    Case("gateway-selects-others", _second, "Service istio-system/old", "pods", "istio=old: no pod"),
    Case("gateway-tls-ended", _tls_ended, f"{SERVICE} port 15443", "helloworld", "istiod."),
    Case("gateway-selector", _other_selector, GATEWAY, "eastwestgateway", "=eastwest"),
    Case("gateway-revision", lambda o: _closed(o, labels={"istio.io/rev": "1-7-0"}), GATEWAY, "default", "1-7-0"),
    Case("gateway-left-out", _left_out, "Namespace istio-system", "discoverySelectors of east", "network"),
    Case("network-value", _no_value, "ConfigMap istio-system/istio-sidecar-injector", "network2", '""'),
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.cause)
def test_the_object_at_fault_is_named(case: Case, good_observations: Mapping[str, Observation]) -> None:
    observation = good_observations[TOPOLOGY]
    assert _named(case.cause, observation) == []
    first = next(found for found in _named(case.cause, case.change(observation)) if found.object == case.object)
    assert case.expected in first.expected
    assert case.found in first.found


def test_the_label_of_the_port_makes_a_moved_port_right(good_observations: Mapping[str, Observation]) -> None:
    moved = _moved(good_observations[TOPOLOGY])
    service = expectations.gateway_service(moved[last(moved.topology)])
    assert service
    assert not _named("gateway-port-moved", _service(moved, labels={**service.labels, gateways.PORT_LABEL: "443"}))


@pytest.mark.parametrize(
    ("rule", "chosen"),
    [
        ({"key": "topology.istio.io/network", "operator": "Exists"}, True),
        ({"key": "topology.istio.io/network", "operator": "In", "values": ["network1", "network2"]}, True),
        ({"key": "team", "operator": "DoesNotExist"}, True),
        ({"key": "topology.istio.io/network", "operator": "NotIn", "values": ["network1", "network2"]}, False),
        ({"key": "team", "operator": "Exists"}, False),
    ],
)
def test_expressions_of_discovery_selectors_are_read(
    rule: dict[str, object], chosen: bool, good_observations: Mapping[str, Observation]
) -> None:
    seen = _mesh(good_observations[TOPOLOGY], discoverySelectors=[{"matchExpressions": [rule]}])
    assert bool(_named("gateway-left-out", seen)) is not chosen


def test_two_networks_of_one_name_are_no_matter_of_routes(good_observations: Mapping[str, Observation]) -> None:
    """Where both clusters have a gateway for their network, pods were never meant to reach each other."""
    observation = with_probes(
        good_observations[ONE_NETWORK], lambda p: p.kind is ProbeKind.POD_ROUTE, result=ProbeResult.TIMEOUT
    )
    assert not _named("network-same-name", observation)
    for cluster in observation.topology.clusters:
        service = Service(
            namespace="gateways",
            name="cross",
            type="LoadBalancer",
            labels={gateways.NETWORK_LABEL: cluster.network},
            selector={},
            cluster_ip="",
            ports=(),
        )
        observation = on(observation, cluster, services=(*observation[cluster].services, service))
    (found,) = _named("network-same-name", observation)
    assert "ip route" not in found.repair
