"""EP-COMPLETE and EP-WEIGHTS for a service of somebody's own, on a recorded mesh with three pods on two networks."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from harness.judge.diagnose import diagnose
from harness.judge.judgement import Verdict
from harness.model.cluster import ClusterObservation, Service
from harness.model.observation import Observation, load
from harness.model.proxy import EndpointSet, ProxyEndpoint
from suites.selftest.support.breakage import edit, judged, on

RECORDED = Path(__file__).parents[1] / "recorded" / "meshes" / "own-service.json.gz"
CLIENT = "productpage"


@cache
def _recorded() -> Observation:
    return load(RECORDED)


@pytest.fixture
def seen() -> Observation:
    """The recording."""
    return _recorded()


def _endpoints(
    observation: Observation, change: Callable[[tuple[ProxyEndpoint, ...]], tuple[ProxyEndpoint, ...]]
) -> Observation:
    """What the first cluster's client knows, changed."""
    east = observation.topology.clusters[0]

    def changed(known: EndpointSet) -> EndpointSet:
        return known.model_copy(update={"endpoints": change(known.endpoints)})

    proxies = tuple(
        proxy.model_copy(update={"endpoints": tuple(map(changed, proxy.endpoints))}) if proxy.role == CLIENT else proxy
        for proxy in observation[east].proxies
    )
    return on(observation, east, proxies=proxies)


def _service(observed: ClusterObservation, **of_port: object) -> tuple[Service, ...]:
    """The Services with other fields of the service's ports."""
    (reviews,) = (service for service in observed.services if service.name == "reviews")
    ports = tuple(port.model_copy(update=of_port) for port in reviews.ports)
    return edit(observed.services, lambda service: service.name == "reviews", ports=ports)


def test_a_service_of_somebodys_own_is_known_everywhere(seen: Observation) -> None:
    for id in ("EP-COMPLETE", "EP-WEIGHTS"):  # noqa: A001
        assert judged(id, seen).verdict is Verdict.PASS, judged(id, seen).explanation


def test_a_cluster_that_the_client_does_not_know_fails_and_is_named(seen: Observation) -> None:
    near = _endpoints(seen, lambda known: tuple(each for each in known if each.port != 15443))
    complete = judged("EP-COMPLETE", near)
    assert complete.verdict is Verdict.FAIL
    assert {finding.field for finding in complete.findings} == {"endpoints of reviews on west"}
    assert judged("EP-WEIGHTS", near).verdict is Verdict.BLOCKED
    first = diagnose(near, (complete,))[0]
    assert (first.id, first.cluster, first.field) == ("registry-emptied", "east", "endpoints of prod-west")
    assert first.expected.startswith("those of reviews on west")


def test_weights_that_do_not_follow_the_pods_fail(seen: Observation) -> None:
    def level(known: tuple[ProxyEndpoint, ...]) -> tuple[ProxyEndpoint, ...]:
        return tuple(each.model_copy(update={"weight": 1}) for each in known)

    weights = judged("EP-WEIGHTS", _endpoints(seen, level))
    assert weights.verdict is Verdict.FAIL
    assert weights.findings[0].field == "endpoint weights of reviews"


def test_pods_of_another_network_are_no_endpoints(seen: Observation) -> None:
    (far, *_) = seen["west"].service("shop", "reviews").ready_endpoints  # type: ignore[union-attr]
    lost = _endpoints(seen, lambda known: (*known, known[0].model_copy(update={"address": far})))
    assert judged("EP-COMPLETE", lost).verdict is Verdict.FAIL


def test_an_endpoint_that_is_no_pod_may_be_a_machine_of_the_mesh(seen: Observation) -> None:
    more = _endpoints(seen, lambda known: (*known, known[0].model_copy(update={"address": "192.0.2.7"})))
    complete = judged("EP-COMPLETE", more)
    assert complete.verdict is Verdict.PASS
    assert any("no pods of these clusters" in fact for fact in complete.facts)


def test_a_target_port_may_be_a_name(seen: Observation) -> None:
    east = seen.topology.clusters[0]
    named = on(seen, east, services=_service(seen[east], target_port="http", endpoint_port=5000))
    assert judged("EP-COMPLETE", named).verdict is Verdict.PASS
    other = on(seen, east, services=_service(seen[east], target_port="http", endpoint_port=5001))
    assert judged("EP-COMPLETE", other).verdict is Verdict.FAIL


def test_a_cluster_without_ready_pods_need_not_be_known(seen: Observation) -> None:
    west = seen.topology.clusters[1]
    down = edit(seen[west].pods, lambda pod: pod.name.startswith("reviews"), ready=False)
    near = _endpoints(on(seen, west, pods=down), lambda known: tuple(each for each in known if each.port != 15443))
    findings = judged("EP-COMPLETE", near).findings
    assert all(finding.cluster == "west" for finding in findings)


def test_a_client_without_sidecar_is_not_applicable(seen: Observation) -> None:
    bare = seen
    for cluster in seen.topology.clusters:
        observed = bare[cluster]
        pods = tuple(
            pod.model_copy(update={"containers": tuple(c for c in pod.containers if c.name != "istio-proxy")})
            if pod.name.startswith(CLIENT)
            else pod
            for pod in observed.pods
        )
        proxies = tuple(proxy for proxy in observed.proxies if proxy.role != CLIENT)
        bare = on(bare, cluster, pods=pods, proxies=proxies)
    assert judged("EP-COMPLETE", bare).verdict is Verdict.NOT_APPLICABLE
