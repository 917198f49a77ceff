"""A service of somebody's own whose requests a route sends to other services."""

from collections.abc import Mapping

import pytest

from harness.judge.judgement import Verdict
from harness.model.observation import Observation
from harness.proof.faults.edit import with_config
from suites.selftest.model.test_policies import policy
from suites.selftest.support.breakage import judged
from suites.selftest.support.valid_kinds import Base

OWN = Base("meshes/own-service.json.gz")


def _counting_nothing(observation: Observation) -> Observation:
    """Every request was answered, and no client's proxy counted one at the service's endpoints."""
    sent = observation.service_traffic
    assert sent
    none: Mapping[str, object] = {"requests": 0, "errors": 0, "connect_failures": 0}
    sequences = tuple(
        each.model_copy(update={"hosts": tuple(host.model_copy(update=none) for host in each.hosts)})
        for each in sent.sequences
    )
    return observation.model_copy(update={"service_traffic": sent.model_copy(update={"sequences": sequences})})


@pytest.mark.parametrize(("backend", "verdict"), [("{}-v1", Verdict.PASS), ("{}", Verdict.FAIL)])
def test_requests_to_other_services_are_counted_there(backend: str, verdict: Verdict) -> None:
    """That nobody asked the service itself is what the route says; without one the proxy itself replied."""
    observation = _counting_nothing(OWN.observation())
    service = observation.asked.service
    assert service
    refs = [{"name": backend.format(service.name), "port": service.port}]
    parents = [{"kind": "Service", "name": service.name}]
    route = policy("HTTPRoute", service.namespace, parentRefs=parents, rules=[{"backendRefs": refs}])
    routed = with_config(observation, observation.topology.primaries, route)
    for id in ("TR-REACH", "TR-NO-ERRORS"):  # noqa: A001
        assert judged(id, routed).verdict is verdict, judged(id, routed).explanation
