"""Every requirement on workloads, endpoints, traffic, mTLS and cleanup notices what it is there for."""

from collections.abc import Callable, Mapping

import pytest

from harness.judge.judgement import Verdict
from harness.model import clients, expectations
from harness.model.cluster import Container, Pod
from harness.model.observation import InventoryChange, Observation
from harness.model.proxy import EndpointSet, ProxyEndpoint
from harness.model.topology import Topology
from harness.model.traffic import Sequence
from suites.selftest.support.breakage import Breakage, check, edit, first, last, on, verdicts, with_sleep_proxy


def _second_version(observation: Observation) -> Observation:
    cluster, other = first(observation.topology), last(observation.topology)
    name = f"{expectations.HELLOWORLD}-{other.version}"
    stray = observation[other].workload(observation.asked.sample_namespace, name)
    assert stray
    return on(observation, cluster, workloads=(*observation[cluster].workloads, stray))


def _without_service(observation: Observation) -> Observation:
    cluster = last(observation.topology)
    services = tuple(service for service in observation[cluster].services if service.name != expectations.HELLOWORLD)
    return on(observation, cluster, services=services)


Containers = tuple[Container, ...]


def _sleep_pod(observation: Observation, change: Callable[[Containers], Containers]) -> Observation:
    cluster = last(observation.topology)
    pods = observation[cluster].pods

    def changed(pod: Pod) -> Pod:
        return (
            pod.model_copy(update={"containers": change(pod.containers)}) if pod.labels.get("app") == "sleep" else pod
        )

    return on(observation, cluster, pods=tuple(map(changed, pods)))


def _without_sidecar(observation: Observation) -> Observation:
    observation = _sleep_pod(observation, lambda found: tuple(c for c in found if c.name != expectations.PROXY))
    cluster = last(observation.topology)
    proxies = tuple(proxy for proxy in observation[cluster].proxies if proxy.role != expectations.SLEEP)
    return on(observation, cluster, proxies=proxies)


def _sidecar(observation: Observation, **update: object) -> Observation:
    return _sleep_pod(observation, lambda found: edit(found, lambda c: c.name == expectations.PROXY, **update))


def _other_network(observation: Observation) -> Observation:
    env = {"ISTIO_META_CLUSTER_ID": last(observation.topology).cluster_name, "ISTIO_META_NETWORK": "network9"}
    return _sidecar(observation, env=env)


def _with_init(observation: Observation) -> Observation:
    return _sleep_pod(observation, lambda found: (Container(name="istio-init", image="proxyv2", init=True), *found))


def _endpoints(
    observation: Observation, change: Callable[[tuple[ProxyEndpoint, ...]], tuple[ProxyEndpoint, ...]]
) -> Observation:
    cluster = first(observation.topology)
    found = clients.client_proxies(observation, cluster)[0].endpoints[0]
    changed = EndpointSet(cluster=found.cluster, endpoints=change(found.endpoints))
    return with_sleep_proxy(observation, cluster, endpoints=(changed,))


def _pod_address(found: tuple[ProxyEndpoint, ...]) -> tuple[ProxyEndpoint, ...]:
    """As when the other network's gateway isn't known: the address of a pod that nothing routes."""
    return (*found[:-1], found[-1].model_copy(update={"address": "10.99.0.2", "port": 5000}))


def _sequences(observation: Observation, kind: str, change: Callable[[Sequence], Sequence]) -> Observation:
    """Change the sequences of the first cluster's client."""
    traffic, client = observation.traffic, first(observation.topology).name
    assert traffic
    changed = tuple(change(found) if found.client == client else found for found in getattr(traffic, kind))
    return observation.model_copy(update={"traffic": traffic.model_copy(update={kind: changed})})


def _requests(found: Sequence, count: int, which: Callable[[int], bool], **update: object) -> Sequence:
    """The first requests of a sequence, repeated to a number, with some of them changed."""
    answers = [found.requests[index % len(found.requests)] for index in range(count)]
    requests = tuple(r.model_copy(update=update) if which(index) else r for index, r in enumerate(answers))
    hosts = edit(found.hosts, lambda host: host == found.hosts[0], requests=count)
    rest = tuple(host.model_copy(update={"requests": 0}) for host in hosts[1:])
    return found.model_copy(update={"requests": requests, "hosts": (hosts[0], *rest)})


def _host(found: Sequence, **update: object) -> Sequence:
    return found.model_copy(update={"hosts": edit(found.hosts, lambda host: host == found.hosts[0], **update)})


def _peer(observation: Observation, **update: object) -> Observation:
    traffic = observation.traffic
    assert traffic and traffic.peers
    peers = edit(traffic.peers, lambda peer: peer.destination == last(observation.topology).name, **update)
    return observation.model_copy(update={"traffic": traffic.model_copy(update={"peers": peers})})


def _left_behind(observation: Observation) -> Observation:
    change = InventoryChange(
        cluster=last(observation.topology).name,
        change="left behind",
        kind="MutatingWebhookConfiguration",
        namespace="",
        name="istio-sidecar-injector",
        detail="finalizer",
    )
    assert observation.cleanup
    return observation.model_copy(update={"cleanup": observation.cleanup.model_copy(update={"changes": (change,)})})


def _container_left(observation: Observation) -> Observation:
    assert observation.cleanup
    left = observation.cleanup.model_copy(update={"containers_left": ("kindccm-1",)})
    return observation.model_copy(update={"cleanup": left})


def _mute(observation: Observation) -> Observation:
    """Only the client's own cluster answers."""
    version = first(observation.topology).version
    return _sequences(observation, "coverage", lambda s: _requests(s, 60, lambda _: True, version=version))


def _one_error(observation: Observation) -> Observation:
    def broken(found: Sequence) -> Sequence:
        return _requests(found, len(found.requests), lambda i: i == 0, status=503, version="", error="503")

    return _sequences(observation, "distribution", broken)


def _skewed(observation: Observation) -> Observation:
    """Nine in ten answers come from the client's own cluster."""
    version = first(observation.topology).version
    return _sequences(
        observation, "distribution", lambda s: _requests(s, len(s.requests), lambda i: i % 10 > 0, version=version)
    )


def _after_endpoints(_topology: Topology) -> tuple[str, ...]:
    return ("EP-WEIGHTS", "TR-DISTRIBUTION")


def _one_of_a_network(topology: Topology) -> tuple[str, ...]:
    """Where several clusters share another network, one that answers stands for all only while each has endpoints."""
    shared = any(len(group) > 1 for group in expectations.spread_over(topology, first(topology)))
    return ("TR-REACH",) if shared else ()


BREAKAGES = (
    Breakage("WL-PLACED", "misplaced", _second_version),
    Breakage("WL-PLACED", "no-service", _without_service, blocked=lambda _: ("CONFIG-CONSISTENT",)),
    Breakage(
        "WL-INJECTED",
        "no-sidecar",
        _without_sidecar,
        blocked=lambda _: ("EP-COMPLETE", "EP-WEIGHTS", "TR-DISTRIBUTION"),
    ),
    Breakage("WL-INJECTED", "not-ready", lambda o: _sidecar(o, ready=False)),
    Breakage("WL-INJECTED", "other-network", _other_network),
    Breakage("WL-INJECTED", "istio-init", _with_init),
    Breakage(
        "EP-COMPLETE",
        "one-missing",
        lambda o: _endpoints(o, lambda found: found[:-1]),
        blocked=lambda _: ("EP-WEIGHTS",),
        also_fail=lambda topology: ("TR-DISTRIBUTION", *_one_of_a_network(topology)),
    ),
    Breakage(
        "EP-COMPLETE",
        "pod-address",
        lambda o: _endpoints(o, _pod_address),
        blocked=_after_endpoints,
        also_fail=_one_of_a_network,
    ),
    Breakage(
        "EP-COMPLETE",
        "unhealthy",
        lambda o: _endpoints(o, lambda found: (*found[:-1], found[-1].model_copy(update={"healthy": False}))),
        also_fail=lambda _: ("TR-DISTRIBUTION",),
    ),
    Breakage(
        "EP-WEIGHTS",
        "uneven",
        lambda o: _endpoints(o, lambda found: (*found[:-1], found[-1].model_copy(update={"weight": 3}))),
        also_fail=lambda _: ("TR-DISTRIBUTION",),
    ),
    Breakage("TR-REACH", "only-local", _mute),
    Breakage("TR-NO-ERRORS", "one-error", _one_error),
    Breakage(
        "TR-NO-RETRIES",
        "retried",
        lambda o: _sequences(o, "coverage", lambda s: _host(s, requests=len(s.requests) + 5)),
    ),
    Breakage("TR-NO-RETRIES", "refused", lambda o: _sequences(o, "coverage", lambda s: _host(s, connect_failures=1))),
    Breakage("TR-DISTRIBUTION", "skewed", _skewed),
    Breakage("MTLS-PEER", "no-identity", lambda o: _peer(o, principal="")),
    Breakage("MTLS-PEER", "unrecorded", lambda o: _peer(o, requests=0)),
    Breakage("MTLS-PEER", "plain", lambda o: _peer(o, mutual_tls=False)),
    Breakage("CLEAN", "webhook", _left_behind),
    Breakage("CLEAN", "container", _container_left),
)


@pytest.mark.parametrize("breakage", BREAKAGES, ids=str)
def test_notices(breakage: Breakage, made_observations: Mapping[str, Observation]) -> None:
    """The requirement fails, and nothing else but what is declared."""
    check(breakage, made_observations.values())


@pytest.mark.parametrize(
    ("counts", "reach", "distribution"),
    [
        # East's client reaches West (v2) and North (v3) over the gateways of one network, and its own v1 at a third.
        ({"v1": 133, "v2": 81, "v3": 186}, Verdict.PASS, Verdict.PASS),
        ({"v1": 133, "v2": 267}, Verdict.PASS, Verdict.PASS),
        ({"v1": 220, "v2": 90, "v3": 90}, Verdict.PASS, Verdict.FAIL),
        ({"v2": 200, "v3": 200}, Verdict.FAIL, Verdict.BLOCKED),
        ({"v1": 400}, Verdict.FAIL, Verdict.BLOCKED),
    ],
)
def test_versions_behind_one_networks_gateways_count_together(
    counts: Mapping[str, int], reach: Verdict, distribution: Verdict, made_observations: Mapping[str, Observation]
) -> None:
    def answered(found: Sequence) -> Sequence:
        request = found.requests[0]
        requests = (
            request.model_copy(update={"version": name}) for name, count in counts.items() for _ in range(count)
        )
        return found.model_copy(update={"requests": tuple(requests)})

    seen = _sequences(_sequences(made_observations["mixed"], "coverage", answered), "distribution", answered)
    if distribution is Verdict.BLOCKED:
        assert seen.traffic
        others = tuple(sequence for sequence in seen.traffic.distribution if sequence.client != "east")
        seen = seen.model_copy(update={"traffic": seen.traffic.model_copy(update={"distribution": others})})
    found = verdicts(seen)
    assert (found["TR-REACH"], found["TR-DISTRIBUTION"]) == (reach, distribution)
