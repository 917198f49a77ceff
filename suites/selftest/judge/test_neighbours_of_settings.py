"""Settings and certificates that break a mesh of others alike on every primary: the object that says so is named."""

from collections.abc import Callable
from typing import Any

import pytest

from harness.judge.diagnose.registry import Found, detectors
from harness.model.istio import ConfigObject
from harness.model.observation import Observation
from harness.model.traffic import Request, Sequence
from harness.proof.faults import requests
from harness.proof.faults.edit import with_config
from suites.selftest.judge.test_policies import causes
from suites.selftest.model.test_policies import policy
from suites.selftest.support.breakage import first
from suites.selftest.support.valid_kinds import Base

ROUTED = Base("variants/multi-primary-multi-network.json.gz")
"""Two primaries on two networks."""
HOST = {"host": "helloworld"}


def _named(cause: str, observation: Observation) -> list[Found]:
    (detector,) = (each for each in detectors() if each.id == cause)
    return list(detector.find(observation))


def _to(*subsets: str) -> list[dict[str, Any]]:
    return [{"destination": {**HOST, "subset": subset}} for subset in subsets]


def _everywhere(observation: Observation, *items: ConfigObject) -> Observation:
    return with_config(observation, observation.topology.primaries, *items)


def _answered(observation: Observation, change: Callable[[int, Request], Request]) -> Observation:
    """The clients' requests end otherwise."""

    def sequence(found: Sequence) -> Sequence:
        changed = tuple(change(number, request) for number, request in enumerate(found.requests[:20]))
        return found.model_copy(update={"requests": changed})

    traffic = observation.traffic
    assert traffic
    update = {"coverage": tuple(map(sequence, traffic.coverage)), "distribution": ()}
    return observation.model_copy(update={"traffic": traffic.model_copy(update=update)})


def _failed(request: Request) -> Request:
    return request.model_copy(update={"status": 503, "version": "", "instance": "", "error": "fault filter abort"})


def _by_east(observation: Observation) -> Observation:
    east = first(observation.topology)
    for cluster in observation.topology.clusters:
        observation = requests.only_from(observation, cluster, east)
    return observation


SUBSETS = policy("DestinationRule", "sample", **HOST, subsets=[{"name": "v1", "labels": {"version": "v1"}}])
ABORT = {"abort": {"httpStatus": 503, "percentage": {"value": 30}}}
ROUTES: dict[str, tuple[dict[str, Any], str]] = {
    "subset": ({"route": _to("v1")}, "all to subset v1"),
    "other-host": ({"route": [{"destination": {"host": "other"}}]}, "to other"),
    "fault": ({"fault": ABORT, "route": [{"destination": HOST}]}, "fault.abort"),
    "timeout": ({"timeout": "50ms", "route": [{"destination": HOST}]}, "timeout 50ms"),
    "match": ({"match": [{"uri": {"prefix": "/v2"}}], "route": [{"destination": HOST}]}, "no rule without match"),
}


@pytest.mark.parametrize("case", ROUTES)
def test_a_route_that_decides_is_named(case: str) -> None:
    """It stands alike on both primaries, so that none of them is at odds with the other."""
    rule, said = ROUTES[case]
    routes = policy("VirtualService", "sample", hosts=["helloworld"], http=[rule])
    changed = _everywhere(ROUTED.observation(), SUBSETS, routes)
    broken = (
        _by_east(changed)
        if case == "subset"
        else _answered(changed, lambda number, request: _failed(request) if number % 3 else request)
    )
    found = causes(broken)
    assert {cause.id for cause in found} == {"route-decides"}
    assert found[0].object == "VirtualService sample/x"
    assert said in found[0].found


@pytest.mark.parametrize(
    "rule",
    [
        {"timeout": "10s", "route": [{"destination": HOST}]},
        {"retries": {"attempts": 3}, "route": _to("v1", "v2")},
        {"match": [{"uri": {"prefix": "/"}}], "route": [{"destination": HOST}]},
        {"fault": {"abort": {"httpStatus": 503, "percentage": {"value": 0}}}, "route": [{"destination": HOST}]},
    ],
    ids=["long-timeout", "all-subsets", "everything", "no-fault"],
)
def test_a_route_that_decides_nothing_is_not_blamed(rule: dict[str, Any]) -> None:
    routes = policy("VirtualService", "sample", hosts=["helloworld"], http=[rule])
    assert not _named("route-decides", _everywhere(ROUTED.observation(), routes))


def test_subsets_that_no_rule_defines() -> None:
    """Their weights share nothing out: every request is answered 503."""
    weighted = [{**route, "weight": 50} for route in _to("v1", "v2")]
    routes = policy("VirtualService", "sample", hosts=["helloworld"], http=[{"route": weighted}])
    broken = _answered(_everywhere(ROUTED.observation(), routes), lambda _, request: _failed(request))
    found = causes(broken)
    assert {cause.id for cause in found} == {"subset-undefined"}
    assert found[0].found == "v1, v2: no such subset"
    whole = [{"name": name, "labels": {"version": name}} for name in ("v1", "v2")]
    defined = _everywhere(broken, policy("DestinationRule", "sample", **HOST, subsets=whole))
    assert not _named("subset-undefined", defined)
