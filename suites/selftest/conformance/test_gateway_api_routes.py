"""Routes of the Gateway API that are attached to a Service decide about its traffic, as VirtualServices do."""

from collections.abc import Mapping

import pytest

from harness.judge.judgement import Verdict
from harness.model.observation import Observation
from harness.model.traffic import Sequence
from harness.proof.faults.edit import with_config
from suites.selftest.model.test_policies import policy
from suites.selftest.support.breakage import judged

SEVERAL = "multi-primary-multi-network"


def _skewed(sequence: Sequence) -> Sequence:
    """Every tenth request was answered by v2."""
    versions = ("v1" if number % 10 else "v2" for number, _ in enumerate(sequence.requests))
    requests = (r.model_copy(update={"version": v}) for r, v in zip(sequence.requests, versions, strict=True))
    return sequence.model_copy(update={"requests": tuple(requests)})


BACKENDS = [{"name": "helloworld-v1", "weight": 9}, {"name": "helloworld-v2"}]


@pytest.mark.parametrize(
    ("parent", "backends", "verdict"),
    [
        ({"kind": "Service", "name": "helloworld"}, BACKENDS, Verdict.NOT_APPLICABLE),
        ({"kind": "Service", "name": "helloworld", "port": 5000}, BACKENDS, Verdict.NOT_APPLICABLE),
        ({"kind": "Service", "name": "helloworld"}, BACKENDS[:1], Verdict.NOT_APPLICABLE),
        ({"kind": "Service", "name": "helloworld"}, [{"name": "helloworld"}], Verdict.FAIL),
        ({"kind": "Service", "name": "helloworld", "port": 80}, BACKENDS, Verdict.FAIL),
        ({"kind": "Service", "name": "helloworld", "namespace": "shop"}, BACKENDS, Verdict.FAIL),
        ({"kind": "Gateway", "name": "helloworld"}, BACKENDS, Verdict.FAIL),
    ],
)
def test_routes_of_the_gateway_api_share_requests_out(
    parent: object, backends: object, verdict: Verdict, foreign_observations: Mapping[str, Observation]
) -> None:
    """One that is attached to the Service decides; what is attached to something else explains nothing."""
    good = foreign_observations[SEVERAL]
    route = policy("HTTPRoute", "sample", parentRefs=[parent], rules=[{"backendRefs": backends}])
    routed = with_config(good, good.topology.primaries, route)
    assert routed.traffic
    sent = routed.traffic.model_copy(update={"distribution": tuple(map(_skewed, routed.traffic.distribution))})
    shares = judged("TR-DISTRIBUTION", routed.model_copy(update={"traffic": sent}))
    assert shares.verdict is verdict, shares.explanation
    assert judged("CONFIG-CONSISTENT", routed).verdict is Verdict.PASS


def test_a_route_on_one_primary_only_is_inconsistent(foreign_observations: Mapping[str, Observation]) -> None:
    good = foreign_observations[SEVERAL]
    parents = [{"kind": "Service", "name": "helloworld"}]
    route = policy("HTTPRoute", "sample", parentRefs=parents, rules=[{"backendRefs": BACKENDS}])
    assert judged("CONFIG-CONSISTENT", with_config(good, good.topology.primaries[:1], route)).verdict is Verdict.FAIL
