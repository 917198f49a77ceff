"""A remote may use any address at which its primary's istiod is reached, and no other."""

from collections.abc import Mapping

import pytest

from harness.judge.diagnose import diagnose
from harness.judge.judgement import Judgement, Verdict
from harness.judge.requirement import judge
from harness.model import expectations, gateways, remote_addresses
from harness.model.observation import Observation
from suites.catalogue import catalogue
from suites.selftest.support.breakage import on
from suites.selftest.support.valid_kinds import gateway

OTHER, NAME = "198.51.100.9", "istiod.lb.example.com"


def _second(observation: Observation, **update: object) -> Observation:
    """East has a second gateway, known by a host name and the address that it resolves to."""
    east = observation.topology.clusters[0]
    first = gateway(observation, east)
    known = {"name": "eastwest-b", "ingress": (NAME,), "resolved": (OTHER,), **update}
    return on(observation, east, services=(*observation[east].services, first.model_copy(update=known)))


def _moved(observation: Observation, address: str) -> Observation:
    """The remote was installed with this address."""
    (old,) = gateway(observation, observation.topology.clusters[0]).ingress
    west = observation.topology.clusters[1]
    observed = observation[west]
    changed = type(observed).model_validate_json(observed.model_dump_json().replace(f'"{old}"', f'"{address}"'))
    clusters = tuple(changed if each.name == west.name else each for each in observation.clusters)
    return observation.model_copy(update={"clusters": clusters})


def _judged(observation: Observation) -> Judgement:
    return judge(catalogue()["CP-REMOTE-PROFILE"], observation)


@pytest.fixture
def good(made_observations: Mapping[str, Observation]) -> Observation:
    """A primary and a remote on two networks, installed by the run."""
    return made_observations["primary-remote-multi-network"]


@pytest.mark.parametrize("address", [OTHER, NAME])
def test_the_second_gateway_is_as_good(address: str, good: Observation) -> None:
    observation = _second(_moved(good, address))
    assert _judged(observation).verdict is Verdict.PASS
    assert any(address in fact for fact in _judged(observation).facts)
    assert not [cause for cause in diagnose(observation, (_judged(observation),)) if cause.id == "discovery-address"]


@pytest.mark.parametrize("address", [OTHER, NAME])
def test_the_first_gateway_stays_as_good(address: str, good: Observation) -> None:
    """The order of the Services says nothing."""
    east = good.topology.clusters[0]
    observation = _second(_moved(good, address))
    turned = on(observation, east, services=observation[east].services[::-1])
    assert _judged(turned).verdict is _judged(_second(good)).verdict is Verdict.PASS


def test_a_gateway_without_istiods_port_is_none(good: Observation) -> None:
    ports = tuple(port for port in gateway(good, good.topology.clusters[0]).ports if port.port != expectations.XDS_PORT)
    observation = _second(_moved(good, OTHER), ports=ports)
    judged = _judged(observation)
    assert judged.verdict is Verdict.FAIL
    (cause,) = diagnose(observation, (judged,))
    assert cause.id == "discovery-address"
    (old,) = gateway(good, good.topology.clusters[0]).ingress
    assert old in cause.repair
    assert OTHER not in cause.repair


def test_a_load_balancer_for_istiod_alone_counts(good: Observation) -> None:
    east = good.topology.clusters[0]
    istiod = good[east].service("istio-system", "istiod")
    assert istiod
    front = istiod.model_copy(update={"name": "istiod-lb", "type": "LoadBalancer", "ingress": (OTHER,)})
    observation = on(good, east, services=(*good[east].services, front))
    assert gateways.has_port(front, expectations.XDS_PORT)
    assert OTHER in remote_addresses.present(observation, east)
    assert _judged(_moved(observation, OTHER)).verdict is Verdict.PASS
