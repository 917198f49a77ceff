"""Acts put back exactly what they touch, however what they surround ends."""

import base64
import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from itertools import chain, repeat
from pathlib import Path
from typing import Any, cast

import pytest
import yaml

from harness.base.errors import StepError
from harness.clusters import containers
from harness.kube.client import Kube, Object
from harness.mesh import manifests
from harness.mesh.context import RUN_LABEL, Mesh
from harness.mesh.pki import Pki
from harness.mesh.remote_secrets import READER
from harness.mesh.settings import MeshSettings
from harness.model import expectations
from harness.model.observation import Observation
from harness.model.step_log import StepLog
from harness.model.topology import Cluster, ControlPlaneModel, NetworkModel, preset
from harness.proof.faults.acts import (
    api_servers,
    experiments,
    gateways,
    network,
    policies,
    remote_secrets,
)
from harness.proof.faults.mutations import faults
from harness.proof.live import changes, restarts, waits
from harness.proof.live.live_mesh import Act, LiveMesh
from suites.selftest.support.fake_kube import FakeKube, merged

SYSTEM, SAMPLE = "istio-system", "sample"
PRESETS = tuple(preset(planes, network) for planes in ControlPlaneModel for network in NetworkModel)
SETTINGS = MeshSettings(istio_version="1.31.0", istioctl=Path("istioctl"), run_id="r1")
BY_OBJECTS = (
    "gateway-no-address",
    "gateway-unlabelled",
    "services-not-exposed",
    "istiod-not-exposed",
    "secret-missing",
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
)
"""Acts that change API objects, and nothing else."""


class BoomError(Exception):
    """What happens while a fault is in force."""


def _object(api_version: str, kind: str, name: str, namespace: str = "", **fields: Any) -> Object:
    metadata = {"name": name, "labels": {"team": "a"}, **({"namespace": namespace} if namespace else {})}
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **fields}


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _objects(cluster: str, network: str) -> list[Object]:
    """What an act may touch, as it stands on a cluster."""
    service = manifests.render("east-west-gateway-service", namespace=SYSTEM, network=network)[0]
    for port, number in zip(service["spec"]["ports"], range(30000, 30010), strict=False):
        port["nodePort"] = number
    service["status"] = {"loadBalancer": {"ingress": [{"ip": "192.0.2.9"}]}}
    kubeconfig = yaml.safe_dump(
        {"clusters": [{"cluster": {"server": "https://west:6443"}}], "users": [{"user": {"token": "t"}}]}
    )
    remote_secret = _object(
        "v1", "Secret", "istio-remote-secret-cluster2", SYSTEM, data={"cluster2": _encoded(kubeconfig)}
    )
    remote_secret["metadata"]["labels"] = {"istio/multiCluster": "true"}
    reader = {"kind": "ServiceAccount", "name": READER, "namespace": SYSTEM}
    echo = [
        {**found, "spec": {**found["spec"], "clusterIP": "10.0.0.5"}}
        for version in ("v1", "v2")
        for found in manifests.render("echo-service", namespace=SAMPLE, version=version)
        + manifests.render("echo", namespace=SAMPLE, version=version, image="echo")
        if found["kind"] == "Service"
    ]
    return [
        service,
        *manifests.render("expose-services", namespace=SYSTEM),
        *manifests.render("expose-istiod", namespace=SYSTEM),
        *manifests.render("helloworld-service", namespace=SAMPLE),
        *echo,
        _object("v1", "Namespace", SAMPLE),
        _object(
            "v1", "ConfigMap", "istio", SYSTEM, data={"mesh": "# as istioctl writes it\nrootNamespace: istio-system"}
        ),
        remote_secret,
        _object("v1", "Secret", "reader-token", SYSTEM, data={"token": _encoded("t")}),
        _object("rbac.authorization.k8s.io/v1", "ClusterRoleBinding", "reader", subjects=[reader]),
        _object("rbac.authorization.k8s.io/v1", "ClusterRoleBinding", "other", subjects=[{**reader, "name": "other"}]),
        _object("admissionregistration.k8s.io/v1", "MutatingWebhookConfiguration", "istio-sidecar-injector"),
    ]


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything that is waited for without a watch has come about."""
    for module in (waits, gateways, remote_secrets, policies, experiments, api_servers):
        monkeypatch.setattr(module, "await_true", lambda *_: None)
    monkeypatch.setattr(waits, "endpoints", lambda *_: frozenset())
    monkeypatch.setattr(waits, "connected", lambda *_: frozenset())
    monkeypatch.setattr(gateways, "await_addresses", lambda *_: None)
    monkeypatch.setattr(remote_secrets, "await_drained", lambda *_: None)
    monkeypatch.setattr(gateways, "restart_gateways", lambda *_: None)
    for module in (gateways, remote_secrets):
        monkeypatch.setattr(module, "restart_istiod", lambda *_: None)


def _live(observation: Observation) -> tuple[LiveMesh, Mapping[str, FakeKube]]:
    topology = observation.topology
    kubes = {c.name: FakeKube(c.name, *_objects(c.name, c.network)) for c in topology.clusters}
    mesh = Mesh(topology, cast(Mapping[str, Kube], kubes), SETTINGS, StepLog())
    return LiveMesh(mesh, Pki({}), observation), kubes


def _state(kubes: Mapping[str, FakeKube]) -> dict[str, Any]:
    return {name: copy.deepcopy(kube.objects) for name, kube in kubes.items()}


def _spec(objects: Mapping[Any, Object]) -> dict[Any, Object]:
    return {
        key: {field: value for field, value in found.items() if field != "status"} for key, found in objects.items()
    }


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize(
    ("fault", "topology"),
    [(fault, topology.name) for fault in BY_OBJECTS for topology in PRESETS if faults()[fault].where(topology)],
)
def test_what_an_act_touches_is_put_back(
    fault: str, topology: str, made_observations: Mapping[str, Observation]
) -> None:
    """The same objects stand there afterwards, also when something fails while the fault is in force."""
    live, kubes = _live(made_observations[topology])
    act, before = cast(Act, faults()[fault].act), _state(kubes)
    with pytest.raises(BoomError), act(live):
        broken = _state(kubes)
        raise BoomError
    assert any(_spec(broken[name]) != _spec(before[name]) for name in kubes)
    after = _state(kubes)
    assert {name: _spec(after[name]) for name in kubes} == {name: _spec(before[name]) for name in kubes}


def test_a_change_is_pushed_when_proxies_have_been_told_and_nothing_follows(
    made_observations: Mapping[str, Observation], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What changes nothing in a proxy is waited for by how often it was told something."""
    live, _ = _live(made_observations["primary-remote-multi-network"])
    told = {"east": chain([3, 3, 3, 4, 5], repeat(6)), "west": chain([7, 8], repeat(9))}
    latest: dict[str, int] = {}

    def ask(_live: LiveMesh, cluster: Cluster, _namespace: str, app: str, _path: str) -> Iterator[Any]:
        if app == expectations.SLEEP:
            latest[cluster.name] = next(told[cluster.name])
        yield {"stats": [{"name": "listener_manager.lds.update_success", "value": latest[cluster.name]}]}

    monkeypatch.setattr(waits, "ask", ask)
    monkeypatch.setattr(waits, "_PAUSE", 0.01)
    monkeypatch.setattr(waits, "QUIET_SECONDS", 0.1)
    with waits.pushed(live, nullcontext()):
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
    live, kubes = _live(made_observations["primary-remote-multi-network"])
    kubes["east"].objects["Secret", SYSTEM, "reader-token"]["metadata"]["finalizers"] = ["hold"]
    reference = changes.Reference("v1", "Secret", "reader-token", SYSTEM)
    with pytest.raises(StepError, match="still there: finalizers hold"), changes.absent(live, live.east, reference):
        pass
    assert kubes["east"].writes == [f"delete Secret/{SYSTEM}/reader-token"]


def test_what_was_taken_away_meanwhile_needs_no_mending(made_observations: Mapping[str, Observation]) -> None:
    """An experiment takes its Services away at its end, while the fault that changed one is still in force."""
    live, kubes = _live(made_observations["primary-remote-multi-network"])
    reference = changes.Reference("v1", "Secret", "reader-token", SYSTEM)
    with changes.changed(live, live.east, reference, {"metadata": {"labels": {"team": "b"}}}):
        kubes["east"].delete(*reference)
    assert kubes["east"].get(*reference) is None


def test_only_pods_of_the_run_are_started_anew(
    made_observations: Mapping[str, Observation], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others' workloads may stand in the namespace of the sample."""
    live, kubes = _live(made_observations["primary-remote-multi-network"])
    for name, run in (("sleep", "r1"), ("shop", "")):
        deployment = _object("apps/v1", "Deployment", name, SAMPLE)
        deployment["metadata"]["labels"][RUN_LABEL] = run
        kubes["east"].create(deployment)
    ended: list[str] = []
    monkeypatch.setattr(restarts, "restart_deployment", lambda _kube, _namespace, name, *_, **__: ended.append(name))
    restarts.restart_sample(live, (live.east,))
    assert ended == ["sleep"]


def test_a_webhook_that_was_deleted_meanwhile_may_go(made_observations: Mapping[str, Observation]) -> None:
    """Mending takes the finalizer away, and the object that waited for it goes."""
    live, kubes = _live(made_observations["primary-remote-multi-network"])
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

    def execute(*words: str) -> str:
        found.append(words)
        return ""

    monkeypatch.setattr(containers, "execute", execute)
    yield found


@pytest.mark.usefixtures("at_once")
def test_packets_pass_again(commands: list[tuple[str, ...]], made_observations: Mapping[str, Observation]) -> None:
    """The rule that was inserted is deleted, word for word, whatever happens in between."""
    live, _ = _live(made_observations["primary-remote-multi-network"])
    with pytest.raises(BoomError), api_servers.down(live):
        (inserted,) = commands
        raise BoomError
    assert inserted[0] == "west-node" and "--insert" in inserted
    assert commands[1] == tuple("--delete" if word == "--insert" else word for word in inserted)


def test_nodes_of_others_are_not_touched(
    commands: list[tuple[str, ...]], made_observations: Mapping[str, Observation]
) -> None:
    """On clusters that the suite has not made the act says that it can't be made."""
    live, kubes = _live(made_observations["primary-remote-multi-network"])
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
