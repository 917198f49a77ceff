"""Acts put back exactly what they touch, however what they surround ends."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from itertools import chain, repeat
from typing import Any, cast

import pytest

from harness.base.container_engine import ContainerEngine
from harness.base.errors import StepError
from harness.clusters import containers
from harness.kube.api import Object
from harness.mesh.context import RUN_LABEL
from harness.model import expectations
from harness.model.observation import Observation
from harness.model.topology import Cluster, ControlPlaneModel, NetworkModel, preset
from harness.proof.faults.acts import (
    api_servers,
    experiments,
    gateways,
    network,
    policies,
    remote_secrets,
    reported,
)
from harness.proof.faults.mutations import faults
from harness.proof.live import changes, restarts, updates, waits
from harness.proof.live.live_mesh import Act, LiveMesh
from suites.selftest.support.fake_kube import FakeKube, merged
from suites.selftest.support.live_mesh import SAMPLE, SYSTEM, live_mesh, made_object, spec, state

PRESETS = tuple(preset(planes, network) for planes in ControlPlaneModel for network in NetworkModel)
BY_OBJECTS = (
    "gateway-down",
    "gateway-no-address",
    "gateway-unlabelled",
    "services-not-exposed",
    "istiod-not-exposed",
    "istiod-exposed-plain",
    "istiod-tls-originated",
    "secret-missing",
    "config-secret-missing",
    "secret-misplaced",
    "secret-unlabelled",
    "secret-unreachable",
    "secret-revoked",
    "secret-powerless",
    "secret-powerful",
    "secret-wrong-name",
    "service-missing",
    "half-broken",
    "left-behind",
    "policies-differ",
    "not-discovered",
    "cluster-local",
    "all-local",
    "shares-skewed",
    "tcp-broken",
    "grpc-broken",
    "plaintext-accepted",
    "gateway-selector",
    "chain-glued-restart",
    "no-mtls",
    "mesh-locality",
    "gateway-selects-others",
    "network-value",
    "subset-unknown",
    "injector-left",
    "gateway-left-out",
    "gateway-port-moved",
    "secret-unreachable-restart",
    "config-no-yaml",
)
"""Acts that change API objects, and nothing else."""


class BoomError(Exception):
    """What happens while a fault is in force."""


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything that is waited for without a watch is there."""
    for module in (waits, gateways, remote_secrets, policies, experiments, api_servers, reported):
        monkeypatch.setattr(module, "await_true", lambda *_: None)
    monkeypatch.setattr(waits, "endpoints", lambda *_: frozenset())
    monkeypatch.setattr(waits, "connected", lambda *_: frozenset())
    monkeypatch.setattr(gateways, "await_rollout", lambda *_: None)
    monkeypatch.setattr(gateways, "await_addresses", lambda *_: None)
    monkeypatch.setattr(remote_secrets, "await_drained", lambda *_: None)
    monkeypatch.setattr(gateways, "restart_gateways", lambda *_: None)
    monkeypatch.setattr(gateways, "await_listening", lambda *_, **__: None)
    for name in ("await_connected", "await_quiet", "restart_sample"):
        monkeypatch.setattr(reported, name, lambda *_: None)
    monkeypatch.setattr(reported, "restart", lambda *_, **__: None)
    for module in (gateways, remote_secrets, reported):
        monkeypatch.setattr(module, "restart_istiod", lambda *_: None)


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize(
    ("fault", "topology"),
    [(fault, topology.name) for fault in BY_OBJECTS for topology in PRESETS if faults()[fault].where(topology)],
)
def test_what_an_act_touches_is_put_back(
    fault: str, topology: str, made_observations: Mapping[str, Observation]
) -> None:
    """The same objects stand there afterwards, also when something fails while the fault is in force."""
    live, kubes = live_mesh(made_observations[topology])
    act, before = cast(Act, faults()[fault].act), state(kubes)
    with pytest.raises(BoomError), act(live):
        broken = state(kubes)
        raise BoomError
    assert any(spec(broken[name]) != spec(before[name]) for name in kubes)
    after = state(kubes)
    assert {name: spec(after[name]) for name in kubes} == {name: spec(before[name]) for name in kubes}


def test_a_change_is_pushed_when_proxies_have_been_told_and_nothing_follows(
    made_observations: Mapping[str, Observation], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What changes nothing in a proxy is waited for by how often it was told something."""
    live, _ = live_mesh(made_observations["primary-remote-multi-network"])
    told = {"east": chain([3, 3, 3, 4, 5], repeat(6)), "west": chain([7, 8], repeat(9))}
    latest: dict[str, int] = {}

    def ask(_live: LiveMesh, cluster: Cluster, _namespace: str, app: str, _path: str) -> Iterator[Any]:
        if app == expectations.SLEEP:
            latest[cluster.name] = next(told[cluster.name])
        yield {"stats": [{"name": "listener_manager.lds.update_success", "value": latest[cluster.name]}]}

    monkeypatch.setattr(updates, "ask", ask)
    monkeypatch.setattr(waits, "_PAUSE", 0.01)
    monkeypatch.setattr(updates, "QUIET_SECONDS", 0.1)
    with updates.pushed(live, nullcontext()):
        assert latest == {"east": 6, "west": 9}


def test_every_live_fault_has_an_act() -> None:
    """What is declared live can be made."""
    assert not [fault.id for fault in faults().values() if fault.live is not bool(fault.act)]


def test_undoing_a_merge_patch_restores_every_field() -> None:
    """Fields that were not there go, others get their former value, lists as a whole."""
    before = {"a": 1, "b": {"c": 2, "d": [1, 2]}, "e": {"f": 1}}
    change = {"a": None, "b": {"c": 3, "d": [3], "new": {"x": 1}}, "e": None, "g": {"h": 1}}
    broken = merged(before, change)
    assert broken != before
    assert merged(broken, changes.undo(before, change)) == before


def test_an_object_that_does_not_go_is_left_as_it_is(made_observations: Mapping[str, Observation]) -> None:
    """What finalizers hold is not created a second time."""
    live, kubes = live_mesh(made_observations["primary-remote-multi-network"])
    kubes["east"].objects["Secret", SYSTEM, "reader-token"]["metadata"]["finalizers"] = ["hold"]
    reference = changes.Reference("v1", "Secret", "reader-token", SYSTEM)
    with pytest.raises(StepError, match="still there: finalizers hold"), changes.absent(live, live.east, reference):
        pass
    assert kubes["east"].writes == [f"delete Secret/{SYSTEM}/reader-token"]


def test_what_was_taken_away_meanwhile_needs_no_mending(made_observations: Mapping[str, Observation]) -> None:
    """An experiment takes its Services away at its end, while the fault that changed one is still in force."""
    live, kubes = live_mesh(made_observations["primary-remote-multi-network"])
    reference = changes.Reference("v1", "Secret", "reader-token", SYSTEM)
    with changes.changed(live, live.east, reference, {"metadata": {"labels": {"team": "b"}}}):
        kubes["east"].delete(*reference)
    assert kubes["east"].get(*reference) is None


def test_only_pods_of_the_run_are_started_anew(
    made_observations: Mapping[str, Observation], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others' workloads may stand in the namespace of the sample."""
    live, kubes = live_mesh(made_observations["primary-remote-multi-network"])
    for name, run in (("sleep", "r1"), ("shop", "")):
        deployment = made_object("apps/v1", "Deployment", name, SAMPLE)
        deployment["metadata"]["labels"][RUN_LABEL] = run
        kubes["east"].apply(deployment)
    ended: list[str] = []
    monkeypatch.setattr(restarts, "restart_deployment", lambda _kube, _namespace, name, *_, **__: ended.append(name))
    restarts.restart_sample(live, (live.east,))
    assert ended == ["sleep"]


def test_a_webhook_that_was_deleted_meanwhile_may_go(made_observations: Mapping[str, Observation]) -> None:
    """Mending takes the finalizer away, and the object that waited for it goes."""
    live, kubes = live_mesh(made_observations["primary-remote-multi-network"])
    kube, name = kubes["west"], "istio-sidecar-injector"
    api = "admissionregistration.k8s.io/v1"
    with cast(Act, faults()["left-behind"].act)(live):
        kube.delete(api, "MutatingWebhookConfiguration", name)
        held = kube.get(api, "MutatingWebhookConfiguration", name) or {}
        assert held["metadata"]["deletionTimestamp"]
        # The API server removes it with its last finalizer.
        kube.merge = _removing(kube)  # type: ignore[method-assign]
    assert kube.get(api, "MutatingWebhookConfiguration", name) is None


def _removing(kube: FakeKube) -> Callable[..., Object]:
    def merge(_api: str, kind: str, name: str, _change: Object, namespace: str | None = None) -> Object:
        return kube.objects.pop((kind, namespace or "", name))

    return merge


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, ...]]]:
    """What is run in node containers."""
    found: list[tuple[str, ...]] = []

    def execute(_engine: ContainerEngine, *words: str) -> str:
        found.append(words)
        return ""

    monkeypatch.setattr(containers, "execute", execute)
    yield found


@pytest.mark.usefixtures("at_once")
def test_packets_pass_again(commands: list[tuple[str, ...]], made_observations: Mapping[str, Observation]) -> None:
    """The rule that was inserted is deleted, word for word, whatever happens in between."""
    live, _ = live_mesh(made_observations["primary-remote-multi-network"])
    with pytest.raises(BoomError), api_servers.down(live):
        (inserted,) = commands
        raise BoomError
    assert inserted[0] == "west-node" and "--insert" in inserted
    assert commands[1] == tuple("--delete" if word == "--insert" else word for word in inserted)


def test_nodes_of_others_are_not_touched(
    commands: list[tuple[str, ...]], made_observations: Mapping[str, Observation]
) -> None:
    """On clusters that the suite has not made the act says that it can't be made."""
    live, kubes = live_mesh(made_observations["primary-remote-multi-network"])
    access = kubes["west"].access
    kubes["west"].access = type(access)(access.name, access.context, access.kubeconfig, access.peer_server)
    with pytest.raises(StepError, match="not made by the suite"), network.dropped(live, live.west, "INPUT"):
        pass
    assert not commands


def test_an_endpoint_is_told_with_its_weight_and_priority() -> None:
    """What a client's proxy knows of helloworld, subsets and other services aside."""
    host = {
        "address": {"socket_address": {"address": "192.0.2.9", "port_value": 15443}},
        "weight": 2,
        "priority": 1,
    }
    names = (
        "outbound|5000||helloworld.sample.svc.cluster.local",
        "outbound|5000|v1|helloworld.sample.svc.cluster.local",
    )
    answer = {"cluster_statuses": [{"name": name, "host_statuses": [host]} for name in names]}
    assert waits.helloworld_endpoints(answer, SAMPLE) == {("192.0.2.9", 15443, 2, 1)}
    assert waits.helloworld_endpoints(None, SAMPLE) == frozenset()


@pytest.mark.parametrize(
    ("filters", "port", "http"),
    [
        (["envoy.filters.network.tcp_proxy"], 9090, False),
        (["istio.stats", "envoy.filters.network.http_connection_manager"], 9090, True),
        (["envoy.filters.network.http_connection_manager"], 8080, False),
    ],
)
def test_a_parsed_port_is_recognised(filters: list[str], port: int, http: bool) -> None:
    """A sidecar parses HTTP at a port where its filter chain has a connection manager."""
    chain = {"filter_chain_match": {"destination_port": port}, "filters": [{"name": name} for name in filters]}
    assert experiments.speaks_http([chain], 9090) is http


def test_routes_to_subsets_are_recognised() -> None:
    """Weighted routes lead to subsets, and to no cluster without one."""
    whole, subset = (f"outbound|5000|{name}|helloworld.sample.svc.cluster.local" for name in ("", "v1"))
    assert policies.routed_by_version({"weighted_clusters": [subset]}, SAMPLE)
    assert not policies.routed_by_version({"cluster": whole}, SAMPLE)
    assert not policies.routed_by_version(None, SAMPLE)
