"""Services: addresses, endpoints, and what a load balancer's names resolve to."""

import copy

from harness.observe import services
from suites.selftest.observe.test_api_objects import RAW


def test_a_gateways_service_with_its_address_and_endpoints() -> None:
    service = services.service(RAW["service"], services.endpoints(RAW["slices"]))
    assert service.ingress == ("172.18.255.240",)
    assert len(service.ready_endpoints) == 1
    assert {15021, 15443} <= {port.port for port in service.ports}
    unready = copy.deepcopy(RAW["slices"])
    unready[0]["endpoints"][0]["conditions"]["ready"] = False
    assert services.service(RAW["service"], services.endpoints(unready)).ready_endpoints == ()


def test_an_external_name_is_kept() -> None:
    named = {**RAW["service"], "spec": {"type": "ExternalName", "externalName": "a1.elb.example.com"}}
    assert services.service(named, {}).external_name == "a1.elb.example.com"


def test_addresses_are_resolved_and_unknown_names_left_out() -> None:
    assert services.resolved(("10.0.0.1", "fd00::1", "no-such-host.invalid")) == ("10.0.0.1", "fd00::1")
    assert "127.0.0.1" in services.resolved(("localhost",))


def test_the_port_of_endpoints_where_they_agree() -> None:
    (slice_,) = RAW["slices"][:1]
    first = slice_["ports"][0]
    (port,) = (
        each
        for each in services.service(RAW["service"], services.endpoints(RAW["slices"])).ports
        if each.name == first["name"]
    )
    assert port.endpoint_port == first["port"]
    other = copy.deepcopy(slice_)
    other["ports"][0]["port"] += 1
    both = services.service(RAW["service"], services.endpoints([slice_, other])).ports
    assert next(each for each in both if each.name == first["name"]).endpoint_port == 0
