"""A service of somebody's own in place of the sample: who answered is read from the counters of the client's Envoy."""

from collections.abc import Mapping

import pytest

from harness.judge.judgement import Verdict
from harness.judge.requirement import judge
from harness.model import client_endpoints
from harness.model.cluster import ConfigObject
from harness.model.observation import Observation
from harness.model.service import (
    OwnClient,
    OwnService,
    ServiceProtocol,
    ServiceRequest,
    ServiceSequence,
    ServiceTraffic,
)
from harness.model.traffic import HostStats
from harness.proof.faults.edit import with_config
from suites.catalogue import catalogue
from suites.selftest.model.test_policies import policy
from suites.selftest.support.breakage import judged, on
from suites.selftest.support.foreign import foreign

SERVICE = OwnService(name="helloworld", namespace="sample", port=5000, path="/hello")
CLIENT = OwnClient(namespace="sample", labels={"app": "sleep"})
SEVERAL = "multi-primary-multi-network"
COUNT = 21


@pytest.fixture
def seen(good_observations: Mapping[str, Observation]) -> Observation:
    """A recorded mesh on which the service was asked, and each endpoint answered."""
    return asking(good_observations[SEVERAL])


def asking(observation: Observation) -> Observation:
    """A mesh on which the service was asked, and each endpoint answered."""
    good = foreign(observation)
    asked = good.asked.model_copy(update={"service": SERVICE, "client": CLIENT})
    base = good.model_copy(update={"asked": asked, "traffic": None})
    sequences = []
    for client in good.topology.clusters:
        hosts = []
        for number, target in enumerate(good.topology.clusters):
            ((place, _), *_) = sorted(client_endpoints.addresses_of(base, client, target))
            requests = COUNT - 10 if number else 10
            hosts.append(HostStats(address=place, port=5000, requests=requests, errors=0, connect_failures=0))
        sequences.append(
            ServiceSequence(
                client=client.name,
                pod="sleep-1",
                program="curl of container sleep",
                requests=(ServiceRequest(status=200),) * COUNT,
                hosts=tuple(hosts),
                hosts_read=True,
            )
        )
    sent = ServiceTraffic(protocol=ServiceProtocol.HTTP, cap=COUNT, sequences=tuple(sequences))
    return base.model_copy(update={"service_traffic": sent})


def first_client(observation: Observation, **fields: object) -> Observation:
    """The first client's sequence with other fields."""
    assert observation.service_traffic
    first, *rest = observation.service_traffic.sequences
    sent = observation.service_traffic.model_copy(update={"sequences": (first.model_copy(update=fields), *rest)})
    return observation.model_copy(update={"service_traffic": sent})


def hosts_of(observation: Observation, *changes: Mapping[str, object]) -> tuple[HostStats, ...]:
    assert observation.service_traffic
    hosts = observation.service_traffic.sequences[0].hosts
    return tuple(host.model_copy(update=change) for host, change in zip(hosts, changes, strict=True))


def test_answers_of_every_cluster(seen: Observation) -> None:
    for id in ("TR-REACH", "TR-NO-ERRORS"):  # noqa: A001
        assert judged(id, seen).verdict is Verdict.PASS, judged(id, seen).explanation
    assert judged("TR-DISTRIBUTION", seen).verdict is Verdict.NOT_APPLICABLE


def test_no_other_requirement_fails_for_want_of_the_sample(seen: Observation) -> None:
    rows = [row for row in catalogue().values() if row.applies_to(seen.topology) and not row.experiment]
    bad = {row.id: judge(row, seen).explanation for row in rows if judge(row, seen).verdict not in FINE}
    assert not bad


FINE = {Verdict.PASS, Verdict.SKIPPED, Verdict.NOT_APPLICABLE}


def test_a_cluster_that_did_not_answer(seen: Observation) -> None:
    reach = judged("TR-REACH", first_client(seen, hosts=hosts_of(seen, {"requests": COUNT}, {"requests": 0})))
    assert reach.verdict is Verdict.FAIL
    (finding,) = reach.findings
    assert "west" in finding.field


def test_a_status_that_the_service_gives_is_an_answer(seen: Observation) -> None:
    failing = (ServiceRequest(status=500),) * COUNT
    own = first_client(seen, requests=failing, hosts=hosts_of(seen, {"errors": 10}, {"errors": COUNT - 10}))
    assert judged("TR-NO-ERRORS", own).verdict is Verdict.PASS
    assert judged("TR-REACH", own).verdict is Verdict.PASS


def test_what_a_proxy_replies_is_an_error(seen: Observation) -> None:
    failing = (ServiceRequest(status=503, error="a proxy replied 503: response flag UH"),) * COUNT
    broken = first_client(seen, requests=failing, hosts=hosts_of(seen, {"requests": 0}, {"requests": 0}))
    errors = judged("TR-NO-ERRORS", broken)
    assert errors.verdict is Verdict.FAIL
    assert "21 × a proxy replied 503: response flag UH" in errors.explanation
    assert judged("TR-REACH", broken).verdict is Verdict.FAIL


def test_what_reached_no_endpoint_is_an_error_whatever_the_status(seen: Observation) -> None:
    """A client with wget sees neither the body nor a header of an error."""
    refused = (ServiceRequest(status=503),) * COUNT
    errors = judged(
        "TR-NO-ERRORS", first_client(seen, requests=refused, hosts=hosts_of(seen, {"requests": 0}, {"requests": 0}))
    )
    assert errors.verdict is Verdict.FAIL
    assert "the client's proxy replied itself" in errors.explanation


def test_requests_of_others_do_not_count(seen: Observation) -> None:
    busy = first_client(seen, hosts=hosts_of(seen, {"requests": COUNT}, {"requests": 3}))
    reach = judged("TR-REACH", busy)
    assert reach.verdict is Verdict.SKIPPED
    assert "others' requests" in reach.explanation


def test_a_client_without_a_program_is_not_applicable(seen: Observation) -> None:
    reason = "no container of web-1 has curl or wget"
    assert seen.service_traffic
    sequences = tuple(ServiceSequence(client=each.client, prevented=reason) for each in seen.service_traffic.sequences)
    sent = seen.service_traffic.model_copy(update={"sequences": sequences})
    none = judged("TR-NO-ERRORS", seen.model_copy(update={"service_traffic": sent}))
    assert none.verdict is Verdict.NOT_APPLICABLE
    assert reason in none.explanation
    reach = judged("TR-REACH", seen.model_copy(update={"service_traffic": sent}))
    assert reach.verdict is Verdict.SKIPPED
    assert "no request was sent" in reach.explanation


def test_a_route_to_nowhere_is_an_error(seen: Observation) -> None:
    """The client's proxy replies 503 itself: no setting explains that nobody answered."""
    route = {"route": [{"destination": {"host": "nowhere.example.com"}}]}
    routes = policy("VirtualService", SERVICE.namespace, hosts=[SERVICE.name], http=[route])
    silent = hosts_of(seen, {"requests": 0}, {"requests": 0})
    broken = with_config(seen, seen.topology.primaries, routes)
    refused = first_client(broken, requests=(ServiceRequest(status=503),) * COUNT, hosts=silent)
    assert judged("TR-NO-ERRORS", refused).verdict is Verdict.FAIL
    assert judged("TR-REACH", refused).verdict is Verdict.FAIL
    elsewhere = first_client(broken, hosts=silent)
    assert judged("TR-NO-ERRORS", elsewhere).verdict is Verdict.PASS


def test_a_cluster_that_gives_only_errors_which_are_sent_again_did_not_answer(seen: Observation) -> None:
    again = first_client(seen, hosts=hosts_of(seen, {"requests": COUNT}, {"requests": 11, "errors": 11}))
    reach = judged("TR-REACH", again)
    assert reach.verdict is Verdict.FAIL
    assert "west" in reach.findings[0].field


def test_a_workload_that_is_scaled_to_nothing_is_named(seen: Observation) -> None:
    west = seen["west"]
    gone = west.model_copy(
        update={
            "pods": tuple(pod for pod in west.pods if pod.labels.get("app") != "helloworld"),
            "workloads": tuple(
                w.model_copy(update={"desired": 0, "ready": 0, "pod_labels": w.labels})
                if w.name.startswith("helloworld")
                else w
                for w in west.workloads
            ),
        }
    )
    changed = seen.model_copy(update={"clusters": tuple(gone if c.name == "west" else c for c in seen.clusters)})
    reach = judged("TR-REACH", changed)
    assert reach.verdict is Verdict.FAIL
    assert reach.findings[0].object == "Deployment sample/helloworld-v2"


def test_a_wrong_port_is_named(seen: Observation) -> None:
    service = SERVICE.model_copy(update={"port": 5001})
    asked = seen.asked.model_copy(update={"service": service})
    reach = judged("TR-REACH", seen.model_copy(update={"asked": asked}))
    assert reach.verdict is Verdict.FAIL
    assert reach.findings[0].expected == "5001 among them"


def test_without_sample_and_service_the_report_says_how_to_get_the_rest(seen: Observation) -> None:
    asked = seen.asked.model_copy(update={"service": None, "client": None, "sample_namespace": "nothing-there"})
    reach = judged("TR-REACH", seen.model_copy(update={"asked": asked, "service_traffic": None}))
    assert reach.verdict is Verdict.NOT_APPLICABLE
    assert "--deploy-sample" in reach.explanation
    assert "--service" in reach.explanation


FULL = "helloworld.sample.svc.cluster.local"


def _rule(observation: Observation, policy: Mapping[str, object], host: str = FULL) -> Observation:
    """A DestinationRule of the service on the first client's primary."""
    first = observation.topology.clusters[0]
    item = ConfigObject(
        api_version="networking.istio.io/v1",
        kind="DestinationRule",
        namespace="istio-system",
        name="own",
        spec={"host": host, "trafficPolicy": policy},
    )
    return on(observation, first, config=(*observation[first].config, item))


def _one_sided(observation: Observation, **of_far: object) -> Observation:
    """All requests of the first client went to its own cluster."""
    return first_client(observation, hosts=hosts_of(observation, {"requests": COUNT}, {"requests": 0, **of_far}))


def test_endpoints_that_stand_by_for_failover_need_not_answer(seen: Observation) -> None:
    near = {"requests": COUNT, "priority": 0, "healthy": True}
    far = {"requests": 0, "priority": 1, "healthy": True}
    waiting = judged("TR-REACH", first_client(seen, hosts=hosts_of(seen, near, far)))
    assert waiting.verdict is Verdict.PASS
    assert any("stand by for failover" in fact for fact in waiting.facts)
    ejected = judged("TR-REACH", first_client(seen, hosts=hosts_of(seen, near, {**far, "healthy": False})))
    assert ejected.verdict is Verdict.FAIL


def test_endpoints_of_one_priority_must_answer(seen: Observation) -> None:
    same = {"priority": 0, "healthy": True}
    hosts = hosts_of(seen, {"requests": COUNT, **same}, {"requests": 0, **same})
    assert judged("TR-REACH", first_client(seen, hosts=hosts)).verdict is Verdict.FAIL


def test_standing_by_for_what_is_down_is_no_excuse(seen: Observation) -> None:
    """Failover would have to take place: those of the second priority are asked now."""
    near = {"requests": COUNT, "priority": 0, "healthy": False}
    hosts = hosts_of(seen, near, {"requests": 0, "priority": 1, "healthy": True})
    assert judged("TR-REACH", first_client(seen, hosts=hosts)).verdict is Verdict.FAIL


HASH = {"loadBalancer": {"consistentHash": {"useSourceIp": True}}}


@pytest.mark.parametrize("host", [FULL, "*.local", "helloworld.sample"])
def test_like_requests_go_to_one_endpoint_by_consistent_hashing(host: str, seen: Observation) -> None:
    hashed = _rule(_one_sided(seen, healthy=True), HASH, host)
    assert judged("TR-REACH", hashed).verdict is Verdict.PASS
    assert judged("TR-REACH", _rule(_one_sided(seen, healthy=False), HASH, host)).verdict is Verdict.FAIL
    assert judged("TR-REACH", _one_sided(seen, healthy=True)).verdict is Verdict.FAIL


def test_a_rule_for_another_host_explains_nothing(seen: Observation) -> None:
    other = _rule(_one_sided(seen, healthy=True), HASH, "shop.sample.svc.cluster.local")
    assert judged("TR-REACH", other).verdict is Verdict.FAIL


def test_hashing_does_not_explain_endpoints_that_are_not_there(seen: Observation) -> None:
    assert seen.service_traffic
    near = seen.service_traffic.sequences[0].hosts[:1]
    assert judged("TR-REACH", _rule(first_client(seen, hosts=near), HASH)).verdict is Verdict.FAIL


def test_a_locality_without_a_share_is_given_no_endpoints(seen: Observation) -> None:
    assert seen.service_traffic
    hosts = hosts_of(seen, {"requests": COUNT}, {"requests": 0})[:1]
    places = {"enabled": True, "distribute": [{"from": "a/*", "to": {"a/*": 100}}]}
    shared = _rule(first_client(seen, hosts=hosts), {"loadBalancer": {"localityLbSetting": places}})
    assert judged("TR-REACH", shared).verdict is Verdict.PASS
    assert any("may be given no share" in each.reason for each in judged("TR-REACH", shared).reservations)


def test_what_was_asked_in_vain_is_a_failure_whatever_the_setting(seen: Observation) -> None:
    failing = _rule(_one_sided(seen, healthy=True, connect_failures=3), HASH)
    assert judged("TR-REACH", failing).verdict is Verdict.FAIL


@pytest.mark.parametrize(("weights", "verdict"), [((95, 5), Verdict.PASS), ((50, 50), Verdict.FAIL)])
def test_a_route_of_small_weight_may_get_no_request(
    weights: tuple[int, int], verdict: Verdict, seen: Observation
) -> None:
    routes = [{"destination": {"host": FULL, "subset": f"v{n}"}, "weight": w} for n, w in enumerate(weights)]
    item = ConfigObject(
        api_version="networking.istio.io/v1",
        kind="VirtualService",
        namespace="istio-system",
        name="own",
        spec={"hosts": [FULL], "http": [{"route": routes}]},
    )
    first = seen.topology.clusters[0]
    canary = on(_one_sided(seen, healthy=True), first, config=(*seen[first].config, item))
    assert judged("TR-REACH", canary).verdict is verdict
