"""What leads other networks to istiod without TLS is noticed; what Istio documents is not."""

from collections.abc import Mapping
from typing import Any

import pytest

from harness.judge.diagnose import diagnose
from harness.judge.judgement import Judgement, Verdict
from harness.judge.requirement import judge
from harness.model.cluster import ConfigObject
from harness.model.observation import Observation
from harness.model.proxy import FilterChain, Listener
from suites.catalogue import catalogue
from suites.selftest.support.breakage import Breakage, check, edit, gateway_of_istiod, on
from suites.selftest.support.valid_kinds import PRIMARIES, REMOTE, east, gateway, gateway_api

ISTIOD = "istiod.istio-system.svc.cluster.local"
SELECTOR = {"istio": "eastwestgateway"}


@pytest.fixture(params=["primaries", "remote", "installed"])
def good(request: pytest.FixtureRequest, made_observations: Mapping[str, Observation]) -> Observation:
    """Meshes of others and one of the run's own."""
    bases = {"primaries": PRIMARIES, "remote": REMOTE}
    if request.param in bases:
        return bases[request.param].observation()
    return made_observations["primary-remote-single-network"]


def _item(kind: str, name: str, spec: dict[str, Any], api_version: str = "networking.istio.io/v1") -> ConfigObject:
    return ConfigObject(api_version=api_version, kind=kind, namespace="istio-system", name=name, spec=spec)


def _gateway(port: int, protocol: str = "TCP", selector: dict[str, str] | None = None, **tls: str) -> ConfigObject:
    server: dict[str, Any] = {"port": {"number": port, "name": "a", "protocol": protocol}, "hosts": ["*"]}
    server |= {"tls": tls} if tls else {}
    return _item("Gateway", "a", {"selector": SELECTOR if selector is None else selector, "servers": [server]})


def _route(kind: str, host: str, port: int, gateways: tuple[str, ...] = ("a",)) -> ConfigObject:
    route = [{"destination": {"host": host, "port": {"number": port}}}]
    return _item("VirtualService", "a", {"hosts": ["*"], "gateways": list(gateways), kind: [{"route": route}]})


def _with(observation: Observation, *items: ConfigObject) -> Observation:
    cluster = gateway_of_istiod(observation.topology)
    return on(observation, cluster, config=(*observation[cluster].config, *items))


def _judged(observation: Observation) -> Judgement:
    return judge(catalogue()["GW-ISTIOD-PLAIN"], observation)


def test_what_istio_documents_passes(good: Observation) -> None:
    judged = _judged(good)
    assert judged.verdict is Verdict.PASS
    assert any("nothing leads to istiod without TLS" in fact for fact in judged.facts)


VALID = {
    "https at the gateway": (_gateway(15012, "HTTPS", mode="SIMPLE"), _route("http", ISTIOD, 15012)),
    "an app on 8080": (_gateway(8080, "HTTP"), _route("http", "shop.shop.svc.cluster.local", 8080)),
    "an app's own 15010 elsewhere": (_gateway(443, "HTTPS"), _route("http", "shop.shop.svc.cluster.local", 15010)),
    "at another gateway": (_gateway(15010, selector={"istio": "ingressgateway"}), _route("tcp", ISTIOD, 15010)),
    "within the mesh": (_route("http", ISTIOD, 15014, ("mesh",)),),
}


@pytest.mark.parametrize("items", VALID.values(), ids=VALID)
def test_a_valid_gateway_passes(items: tuple[ConfigObject, ...], good: Observation) -> None:
    assert _judged(_with(good, *items)).verdict is Verdict.PASS


def test_what_auto_passthrough_makes_of_istiods_service_is_harmless(good: Observation) -> None:
    """TLS is passed on to a port that speaks none."""
    name = f"outbound_.15010_._.{ISTIOD}"
    assert _judged(_listening(good, FilterChain(server_names=(name,), clusters=(name,)))).verdict is Verdict.PASS


BROKEN = {
    "server on 15010": ((_gateway(15010),), "Gateway istio-system/a"),
    "server on 15014": ((_gateway(15014, "HTTP"),), "Gateway istio-system/a"),
    "every gateway selected": ((_gateway(15010, selector={}),), "Gateway istio-system/a"),
    "8080 to istiod": ((_gateway(8080, "HTTP"), _route("http", "istiod", 8080)), "VirtualService istio-system/a"),
    "TLS ended before 15010": (
        (_gateway(15012, "TLS", mode="SIMPLE"), _route("tcp", ISTIOD, 15010)),
        "VirtualService istio-system/a",
    ),
    "revision": (
        (_gateway(443, "HTTP"), _route("http", "istiod-1-31.istio-system.svc", 15010, ("istio-system/a",))),
        "VirtualService istio-system/a",
    ),
}


BREAKAGES = (
    Breakage("GW-ISTIOD-PLAIN", "15010", lambda observation: _with(observation, _gateway(15010))),
    Breakage("GW-ISTIOD-PLAIN", "envoy", lambda o: _listening(o, FilterChain(clusters=(f"outbound|15010||{ISTIOD}",)))),
)


@pytest.mark.parametrize("breakage", BREAKAGES, ids=str)
def test_notices(breakage: Breakage, made_observations: Mapping[str, Observation]) -> None:
    """The requirement fails, and nothing else."""
    check(breakage, made_observations.values())


@pytest.mark.parametrize(("items", "named"), BROKEN.values(), ids=BROKEN)
def test_what_leads_to_istiod_without_tls_is_named(
    items: tuple[ConfigObject, ...], named: str, good: Observation
) -> None:
    broken = _with(good, *items)
    judged = _judged(broken)
    assert judged.verdict is Verdict.FAIL
    causes = diagnose(broken, (judged,))
    assert {(cause.id, cause.object, cause.cluster) for cause in causes} == {("istiod-exposed-plain", named, "east")}
    assert not any("delete" in cause.repair for cause in causes)


def _listening(observation: Observation, chain: FilterChain) -> Observation:
    """Envoy of east's gateway has one more listener."""
    cluster = gateway_of_istiod(observation.topology)
    observed = observation[cluster]
    behind = {pod.name for pod in observed.pods_with("istio-system", **gateway(observation, cluster).selector)}
    listener = Listener(name="0.0.0.0_7777", port=7777, chains=(chain,))
    before = next(proxy for proxy in observed.proxies if proxy.pod in behind)
    listeners = (*before.listeners, listener)
    return on(
        observation,
        cluster,
        proxies=edit(observed.proxies, lambda proxy: proxy.pod in behind, listeners=listeners),
    )


def test_what_only_envoy_shows_is_found(good: Observation) -> None:
    broken = _listening(good, FilterChain(clusters=(f"outbound|15010||{ISTIOD}",)))
    judged = _judged(broken)
    assert judged.verdict is Verdict.FAIL
    (cause,) = diagnose(broken, (judged,))
    assert (cause.id, cause.field) == ("istiod-exposed-plain", "Envoy's listener 7777")


def test_a_gateway_of_the_gateway_api_is_read() -> None:
    """Its listener is named, and no Gateway of networking.istio.io is asked for."""
    observation = gateway_api(PRIMARIES.observation())
    assert _judged(observation).verdict is Verdict.PASS
    cluster = east(observation)
    (made,) = [item for item in observation[cluster].config if item.kind == "Gateway"]
    listeners = [*made.spec["listeners"], {"name": "xds", "port": 15010, "protocol": "TCP"}]
    broken = _with(observation, made.model_copy(update={"spec": {**made.spec, "listeners": listeners}}))
    assert _judged(broken).verdict is Verdict.FAIL
    (cause,) = diagnose(broken, (_judged(broken),))
    assert cause.object == "Gateway edge/eastwest"
