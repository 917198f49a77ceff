"""Traffic on meshes that the suite did not install: valid settings stay green, and what is broken does not."""

from collections.abc import Callable, Mapping

import pytest

from harness.judge.judgement import Verdict
from harness.model.observation import Observation
from harness.model.topology import Cluster
from harness.model.traffic import Convergence, PeerIdentity, ProbeKind, ProbeResult, Request, Traffic
from harness.proof.faults import configuration, effects, requests
from harness.proof.faults.edit import edit, on, services, with_config, with_mesh
from suites.selftest.model.test_clients import called
from suites.selftest.model.test_policies import INGRESS, policy
from suites.selftest.support.breakage import first, judged, last

SEVERAL = "multi-primary-multi-network"


def _traffic(observation: Observation, **fields: object) -> Observation:
    assert observation.traffic
    return observation.model_copy(update={"traffic": observation.traffic.model_copy(update=fields)})


def _failover(observation: Observation, *, healthy: bool = True, observed: bool = True) -> Observation:
    """Outlier detection for every service, and a region for each cluster: the far ones answer nobody."""
    rule = policy("DestinationRule", "istio-system", host="*.local", trafficPolicy={"outlierDetection": {}})
    changed = with_config(observation, observation.topology.primaries, rule)
    for client in observation.topology.clusters:
        own = client.name
        near = requests.only_from(changed, client, client)
        local = {pod.ip for pod in observation[own].pods}
        changed = effects.endpoints(
            near,
            client,
            lambda e, local=local: e.model_copy(  # type: ignore[misc]
                update={
                    "priority": (0 if e.address in local else 1) if observed else None,
                    "locality": "r-near" if e.address in local else "r-far",
                    "healthy": healthy or e.address in local,
                }
            ),
        )
    return changed


@pytest.mark.parametrize("observed", [True, False])
def test_failover_by_locality_is_a_setting(observed: bool, foreign_observations: Mapping[str, Observation]) -> None:
    """Reach is judged by the endpoints that stand by; also in recordings that lack priorities."""
    seen = _failover(foreign_observations[SEVERAL], observed=observed)
    for id in ("TR-REACH", "TR-NO-ERRORS", "TR-NO-RETRIES"):  # noqa: A001
        assert judged(id, seen).verdict is Verdict.PASS, judged(id, seen).explanation
    shares = judged("TR-DISTRIBUTION", seen)
    assert shares.verdict is Verdict.NOT_APPLICABLE
    assert "priorities" in shares.explanation
    assert judged("MTLS-PEER", seen).verdict is Verdict.NOT_APPLICABLE


def test_what_stands_by_must_be_healthy(foreign_observations: Mapping[str, Observation]) -> None:
    reach = judged("TR-REACH", _failover(foreign_observations[SEVERAL], healthy=False))
    assert reach.verdict is Verdict.FAIL
    assert {finding.field for finding in reach.findings} == {"endpoints that are not asked (stand by for failover)"}


@pytest.mark.parametrize(
    ("result", "verdict"),
    [(ProbeResult.TIMEOUT, Verdict.FAIL), (ProbeResult.REFUSED, Verdict.FAIL), (ProbeResult.NO_TOOL, Verdict.SKIPPED)],
)
def test_the_way_to_what_stands_by_must_be_open(
    result: ProbeResult, verdict: Verdict, foreign_observations: Mapping[str, Observation]
) -> None:
    """Envoy calls an endpoint healthy that it has never tried."""
    seen = _failover(foreign_observations[SEVERAL])
    probes = edit(seen.probes, lambda probe: probe.kind is ProbeKind.TLS, result=result, certificates=())
    reach = judged("TR-REACH", seen.model_copy(update={"probes": probes}))
    assert reach.verdict is verdict, reach.explanation


def test_what_was_asked_in_vain_is_explained_by_no_setting(foreign_observations: Mapping[str, Observation]) -> None:
    """The client's proxy tried the other cluster, and was answered at home."""
    seen = _failover(foreign_observations[SEVERAL])
    assert seen.traffic
    tried = tuple(
        sequence.model_copy(update={"hosts": edit(sequence.hosts, lambda host: not host.requests, connect_failures=2)})
        for sequence in seen.traffic.coverage
    )
    assert judged("TR-REACH", _traffic(seen, coverage=tried)).verdict is Verdict.FAIL


def test_a_silent_cluster_that_does_not_stand_by_is_not_reached(
    foreign_observations: Mapping[str, Observation],
) -> None:
    """Priorities decide, not the setting: with one priority all should answer."""
    good = foreign_observations[SEVERAL]
    changed = _failover(good)
    for client in good.topology.clusters:
        changed = effects.endpoints(changed, client, lambda e: e.model_copy(update={"priority": 0}))
    assert judged("TR-REACH", changed).verdict is Verdict.FAIL


def test_an_installed_mesh_has_no_such_setting(good_observations: Mapping[str, Observation]) -> None:
    assert judged("TR-REACH", _failover(good_observations[SEVERAL])).verdict is Verdict.FAIL


@pytest.mark.parametrize(
    "settings",
    [
        {"loadBalancer": {"consistentHash": {"httpHeaderName": "user"}}},
        {"loadBalancer": {"localityLbSetting": {"distribute": [{"from": "*", "to": {"*": 100}}]}}},
        {"outlierDetection": {}},
    ],
)
def test_shares_are_not_judged_where_requests_are_dependent(
    settings: Mapping[str, object], foreign_observations: Mapping[str, Observation]
) -> None:
    good = foreign_observations[SEVERAL]
    assert judged("TR-DISTRIBUTION", good).verdict is Verdict.PASS
    rule = policy("DestinationRule", "sample", host="helloworld", trafficPolicy=settings)
    seen = judged("TR-DISTRIBUTION", with_config(good, good.topology.primaries, rule))
    assert seen.verdict is Verdict.NOT_APPLICABLE
    assert "DestinationRule sample/x" in seen.explanation


def _failing(observation: Observation, count: int, kind: str = "distribution") -> Observation:
    """The first client's first requests fail."""
    client = first(observation.topology).name

    def broken(index: int, request: Request) -> Request:
        failed = {"status": 503, "version": "", "error": "503"}
        return request.model_copy(update=failed) if index < count else request

    assert observation.traffic
    changed = tuple(
        s.model_copy(update={"requests": tuple(broken(i, r) for i, r in enumerate(s.requests))})
        if s.client == client
        else s
        for s in getattr(observation.traffic, kind)
    )
    return _traffic(observation, **{kind: changed})


@pytest.mark.parametrize(("errors", "verdict"), [(1, Verdict.PASS), (4, Verdict.PASS), (12, Verdict.FAIL)])
def test_errors_are_judged_against_a_budget(
    errors: int, verdict: Verdict, foreign_observations: Mapping[str, Observation]
) -> None:
    assert judged("TR-NO-ERRORS", _failing(foreign_observations[SEVERAL], errors)).verdict is verdict


def test_an_installed_mesh_has_no_budget(good_observations: Mapping[str, Observation]) -> None:
    assert judged("TR-NO-ERRORS", _failing(good_observations[SEVERAL], 1)).verdict is Verdict.FAIL


def _broken_off(observation: Observation) -> Observation:
    """Two timeouts among the first client's first answers, all of its own cluster; then it was broken off."""
    topology = observation.topology
    near = requests.only_from(observation, first(topology), first(topology))
    assert near.traffic
    client = first(topology).name
    timeout = {"status": 0, "version": "", "error": "Operation timed out", "seconds": 5.0}
    coverage = tuple(
        s.model_copy(update={"requests": (s.requests[0], *(r.model_copy(update=timeout) for r in s.requests[1:3]))})
        if s.client == client
        else s
        for s in near.traffic.coverage
    )
    return _traffic(near, coverage=coverage)


def test_reach_is_blocked_where_too_many_requests_failed(
    foreign_observations: Mapping[str, Observation], good_observations: Mapping[str, Observation]
) -> None:
    """Two errors of three are within no budget: they ended the sequence."""
    seen = _broken_off(foreign_observations[SEVERAL])
    reach = judged("TR-REACH", seen)
    assert reach.verdict is Verdict.BLOCKED
    assert "blocked by TR-NO-ERRORS" in reach.explanation
    assert judged("TR-NO-ERRORS", seen).verdict is Verdict.FAIL
    assert judged("TR-REACH", _broken_off(good_observations[SEVERAL])).verdict is Verdict.FAIL


def test_errors_before_convergence_are_reported(foreign_observations: Mapping[str, Observation]) -> None:
    good = foreign_observations[SEVERAL]
    early = Convergence(
        client="east", seconds=3.0, first_answer={}, converged=True, requests=20, errors={"no healthy upstream": 7}
    )
    seen = judged("TR-NO-ERRORS", _traffic(good, convergence=(early,)))
    assert seen.verdict is Verdict.PASS
    assert any("7 × no healthy upstream" in fact for fact in seen.facts)


def _peers(observation: Observation, *rows: tuple[str, bool, int], evidence: str = "metrics") -> Observation:
    """What the last cluster's proxy recorded: identity, mutual TLS, requests."""
    assert observation.traffic and observation.traffic.peers
    target = last(observation.topology).name
    (one, *_) = [peer for peer in observation.traffic.peers if peer.destination == target]
    others = [peer for peer in observation.traffic.peers if peer.destination != target]
    found: list[PeerIdentity] = [
        one.model_copy(update={"principal": who, "mutual_tls": mutual, "requests": count, "evidence": evidence})
        for who, mutual, count in rows
    ]
    return _traffic(observation, peers=(*others, *found))


def _sent_to(observation: Observation, cluster: Cluster) -> int:
    traffic = observation.traffic or Traffic(cap=0, false_alarm=0)
    return sum(r.version == cluster.version for s in traffic.coverage + traffic.distribution for r in s.requests)


SLEEP = "spiffe://cluster.local/ns/sample/sa/sleep"


@pytest.mark.parametrize(("lacking", "verdict"), [(0, Verdict.PASS), (1, Verdict.FAIL)])
def test_metrics_hold_the_suites_requests_beside_those_of_others(
    lacking: int, verdict: Verdict, foreign_observations: Mapping[str, Observation]
) -> None:
    """A plaintext health check of somebody's is no finding; a request of the suite that is not among them is."""
    good = foreign_observations[SEVERAL]
    own = _sent_to(good, last(good.topology)) - lacking
    assert judged("MTLS-PEER", _peers(good, (SLEEP, True, own), ("", False, 40))).verdict is verdict


def test_each_line_of_the_suites_own_in_an_access_log_counts(foreign_observations: Mapping[str, Observation]) -> None:
    good = foreign_observations[SEVERAL]
    seen = _peers(good, (SLEEP, True, 40), ("", False, 1), evidence="access log")
    assert judged("MTLS-PEER", seen).verdict is Verdict.FAIL


def _unlabelled(observation: Observation) -> Observation:
    for observed in observation.clusters:
        namespaces = edit(observed.namespaces, lambda n: n.name == "sample", labels={})
        observation = on(observation, observed.name, namespaces=namespaces)
    return observation


VALID: dict[str, Callable[[Observation], Observation]] = {
    "curl": lambda o: called(o, "curl", "curlimages/curl:8.16.0"),
    "ingress-policy": lambda o: with_config(
        o, (first(o.topology),), policy("AuthorizationPolicy", "istio-system", **INGRESS)
    ),
    "app-protocol": lambda o: services(
        o, last(o.topology), "helloworld", ports=_with_protocol(o, last(o.topology), "http")
    ),
    "access-log": lambda o: with_mesh(o, (first(o.topology),), accessLogFile="/dev/stdout"),
    "by-pod-label": _unlabelled,
}


def _with_protocol(observation: Observation, cluster: Cluster, protocol: str) -> object:
    service = observation[cluster].service("sample", "helloworld")
    assert service
    return edit(service.ports, lambda port: port.name == "http", app_protocol=protocol)


@pytest.mark.parametrize("case", VALID)
def test_a_valid_mesh_of_others_is_green(case: str, foreign_observations: Mapping[str, Observation]) -> None:
    seen = VALID[case](foreign_observations[SEVERAL])
    for id in ("CONFIG-CONSISTENT", "WL-PLACED", "WL-INJECTED", "EP-COMPLETE", "TR-REACH", "MTLS-PEER"):  # noqa: A001
        assert judged(id, seen).verdict is Verdict.PASS, (id, judged(id, seen).explanation)


@pytest.mark.parametrize(
    "change",
    [
        lambda o: services(o, last(o.topology), "helloworld", ports=_with_protocol(o, last(o.topology), "tcp")),
        lambda o: with_mesh(o, (first(o.topology),), **configuration.cluster_local("sample")),
        lambda o: with_config(o, (first(o.topology),), policy("AuthorizationPolicy", "istio-system")),
        lambda o: with_config(o, (first(o.topology),), policy("PeerAuthentication", "sample", mtls={"mode": "STRICT"})),
    ],
)
def test_what_differs_in_traffic_is_found(
    change: Callable[[Observation], Observation], foreign_observations: Mapping[str, Observation]
) -> None:
    assert judged("CONFIG-CONSISTENT", change(foreign_observations[SEVERAL])).verdict is Verdict.FAIL


def test_a_pod_of_the_sample_without_a_sidecar_is_found(foreign_observations: Mapping[str, Observation]) -> None:
    good = foreign_observations[SEVERAL]
    observed = good[last(good.topology)]
    bare = tuple(
        pod.model_copy(update={"containers": tuple(c for c in pod.containers if c.name != "istio-proxy")})
        if pod.labels.get("app") == "helloworld"
        else pod
        for pod in observed.pods
    )
    assert judged("WL-INJECTED", on(good, observed.name, pods=bare)).verdict is Verdict.FAIL
