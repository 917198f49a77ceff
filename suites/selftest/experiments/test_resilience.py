"""How the mesh is changed while it serves: what is sent, what is read of it, when it is whole, what can't be played."""

import base64
import json
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from harness.base.errors import StepError, UserError
from harness.experiments.resilience import load_generator, network, remote_secret
from harness.experiments.resilience.certificates import former_proxies
from harness.experiments.resilience.failover import silent
from harness.experiments.resilience.load_generator import LoadGenerator, OutputParser, script
from harness.experiments.resilience.remote_secret import secret_of, token_of, token_secret
from harness.experiments.resilience.revision import namespace_labels, only_in
from harness.experiments.resilience.scenario import TABLE
from harness.experiments.resilience.stage import QUIET_SECONDS, Certificates, Stage, amiss
from harness.kube.api import KubeApi
from harness.mesh import pki
from harness.mesh.context import Mesh
from harness.mesh.pki import Pki
from harness.mesh.resolve import leaves
from harness.mesh.settings import CHANGING, MeshSettings
from harness.model import x509
from harness.model.resilience import SCENARIOS, WHOLE, Stream, TrustReading
from harness.model.step_log import StepLog
from harness.model.topology import Cluster, ControlPlaneModel, NetworkModel, preset
from harness.model.traffic import Request
from harness.runs.options import OPTIONS, Options, parse
from suites.catalogue import resilience

TOPOLOGY = preset(ControlPlaneModel.PRIMARY_REMOTE, NetworkModel.MULTI)
MESH = Mesh(TOPOLOGY, {}, MeshSettings(istio_version="1.31.0", istioctl=Path("istioctl")), StepLog())
APART = {"east": (frozenset({"v1"}), frozenset({"v2"}))}
BITS = 2048


def options(**given: str | bool) -> Options:
    """Options of a command line."""
    values = {option.name: option.default for option in OPTIONS} | {
        name.replace("_", "-"): v for name, v in given.items()
    }
    return parse(lambda name: values[name], {})


def request(sent: float, version: str, status: int = 200) -> Request:
    """A request and its answer."""
    return Request(sent=sent, seconds=0.01, status=status, version=version, error="" if version else "refused")


def streams(*requests: Request) -> tuple[Stream, ...]:
    """What one client sent."""
    return (Stream(client="east", requests=requests),)


def test_every_scenario_is_judged_and_every_requirement_has_its_scenario() -> None:
    assert tuple(spec.id for spec in TABLE) == SCENARIOS
    judged = {row.scenario: row for row in resilience().values()}
    assert judged.keys() == set(SCENARIOS)
    for spec in TABLE:
        assert judged[spec.id].features == spec.features, spec.id


def test_only_resilience_plays_scenarios() -> None:
    assert options().played == frozenset()
    assert options(resilience=True).played == frozenset(SCENARIOS)
    assert options(resilience=True, scenario="network-cut,local-out").played == {"network-cut", "local-out"}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"scenario": "network-cut"}, "--scenario needs --resilience"),
        ({"resilience": True, "scenario": "flood"}, "--scenario=flood is not known"),
        ({"resilience": True, "verify_only": True, "contexts": "a,b"}, "exclude each other"),
    ],
)
def test_senseless_options_are_refused(given: dict[str, str | bool], words: str) -> None:
    with pytest.raises(UserError, match=words):
        options(**given)


def test_what_the_installation_needs_is_declared() -> None:
    said = " ".join(CHANGING.deviations)
    assert [value for value in leaves(CHANGING.values) if value.rpartition(".")[2] not in said] == []


def test_output_of_the_script_is_read() -> None:
    """Times of the pod's clock become times of the scenario's."""
    read = OutputParser(lambda: 2.0)
    assert read("@@ begin 17 1000.00 5.1") is None
    assert read.process == "17"
    answered = read("@@ sent 1001.50 Hello version: v2, instance: helloworld-v2-x @@ 200 0.012 1 0")
    assert answered == Request(sent=3.5, seconds=0.012, status=200, version="v2", instance="helloworld-v2-x")
    refused = read("@@ sent 1001.75 @@ 000 5.001 0 28 Operation timed out")
    assert refused == Request(sent=3.75, seconds=5.001, status=0, error="Operation timed out")
    unhealthy = read("@@ sent 1002.00 no healthy upstream @@ 503 0.001 1 0")
    assert unhealthy
    assert (unhealthy.status, unhealthy.error) == (503, "no healthy upstream")
    assert read("something else") is None


def test_script_bounds_itself() -> None:
    assert "pause=0.20" in script("http://helloworld.sample:5000/hello", 5.0, 5)
    assert "most=4500" in script("http://helloworld.sample:5000/hello", 5.0, 5)


def test_whole_means_every_version_and_no_failure_for_a_while() -> None:
    good = [request(10 + n / 5, f"v{n % 2 + 1}") for n in range(20)]
    assert amiss(streams(*good), APART, 11.0) == ""
    assert "refused" in amiss(streams(*good, request(14.5, "", 503)), APART, 11.0)
    # What failed before it was looked at no longer counts.
    assert amiss(streams(request(10.5, "", 503), *good), APART, 11.0) == ""
    only = [each for each in good if each.version == "v1"]
    late = request(11.0 + QUIET_SECONDS + 0.1, "v2")
    assert "v2 did not answer" in amiss(streams(*only, late), APART, 11.0)


class _Clock:
    """LoadGenerator of which everything is known at once."""

    limit = 5

    def __init__(self, *requests: Request) -> None:
        self.now, self._requests = 20.0, requests

    def streams(self) -> tuple[Stream, ...]:
        return streams(*(each for each in self._requests if each.sent + each.seconds <= self.now))

    def wait(self, holds: Callable[[tuple[Stream, ...], float], bool], timeout: float) -> bool:
        end = self.now + timeout
        while not holds(self.streams(), self.now):
            self.now = round(self.now + 0.1, 3)
            if self.now > end:
                return False
        return True


@pytest.mark.parametrize(("hanging", "whole"), [(0.0, 20.0), (26.0, 26.1)])
def test_a_mesh_is_whole_once_nothing_hangs(hanging: float, whole: float) -> None:
    """A request that gets no answer is known to have failed only after its time: until then nothing is whole."""
    sent = [request(20 + n / 5, f"v{n % 2 + 1}") for n in range(100)]
    hung = [request(20 + n / 2, "").model_copy(update={"seconds": 5.0}) for n in range(50) if 20 + n / 2 <= hanging]
    stage = Stage(MESH, Certificates(Pki({})), {}, cast(LoadGenerator, _Clock(*sent, *hung)))
    stage.await_whole()
    assert [moment.name for moment in stage.moments] == [WHOLE]
    assert stage.moments[0].at == pytest.approx(whole, abs=0.15)


def test_a_long_silence_is_one_interruption() -> None:
    """However often it was tried to send again; the next begins with the next request."""
    client = load_generator.LoadClient("east", cast(KubeApi, None))
    client.requests.append(request(1.0, "v1"))
    for now in (1.2, 5.0, 61.0):
        client.interrupted(now, "refused")
    client.requests += [request(62.0, "v1"), request(61.5, "v1")]
    client.interrupted(63.0, "refused")
    assert [(each.at, each.seconds) for each in client.interruptions] == [(1.0, 60.0), (62.0, 1.0)]


def test_an_intended_pause_sends_nothing_and_is_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clients' scripts are ended, and started again when the pause is over."""
    load, started = LoadGenerator([cast(KubeApi, SimpleNamespace(name="east"))], "sample"), threading.Event()

    def send(client: load_generator.LoadClient) -> None:
        client.requests.append(request(load.now, "v1"))
        started.set()
        load._stopping.wait(0.05)

    monkeypatch.setattr(load, "_send_from_pod", send)
    monkeypatch.setattr(load_generator, "_RETRY", 0.01)
    load.start()
    assert started.wait(5)
    load.pause()
    load.wait(lambda streams, _: any(each.intended for each in streams[0].interruptions), 5)
    (sent,) = load.streams()
    load.wait(lambda *_: False, 0.1)
    assert load.streams()[0].requests == sent.requests
    started.clear()
    load.resume()
    assert started.wait(5)
    load.stop()
    assert sum(each.intended for each in load.streams()[0].interruptions) == 1


def test_a_version_is_silent_when_nobody_heard_it_for_a_while() -> None:
    assert not silent(streams(request(9.0, "v1")), 10.0, "v1")
    assert silent(streams(request(7.0, "v1"), request(9.9, "v2")), 10.0, "v1")


def test_cut_drops_both_ways_and_can_be_taken_back() -> None:
    made, undone = (network.script(["172.18.0.3", "10.1.0.0/24"], action) for action in ("--insert", "--delete"))
    assert made.count("--jump DROP") == 6
    assert made.replace("--insert", "--delete") == undone
    assert "--source 172.18.0.3" in made
    assert "--destination 10.1.0.0/24" in made


def test_token_of_a_remote_secret_names_its_secret() -> None:
    claims = base64.urlsafe_b64encode(json.dumps({"kubernetes.io/serviceaccount/secret.name": "old"}).encode())
    token = f"header.{claims.decode().rstrip('=')}.signature"
    kubeconfig = json.dumps({"users": [{"name": "cluster2", "user": {"token": token}}]})
    assert token_of({"stringData": {"cluster2": kubeconfig}}) == token
    assert token_of({"data": {"cluster2": base64.b64encode(kubeconfig.encode()).decode()}}) == token
    assert secret_of(token) == "old"
    assert token_secret("new", "istio-system")["metadata"]["annotations"]
    with pytest.raises(StepError, match="no token"):
        token_of({"data": {}})
    bound = base64.urlsafe_b64encode(b"{}").decode()
    with pytest.raises(StepError, match="can't be revoked"):
        secret_of(f"header.{bound}.signature")


def test_a_token_that_several_share_is_revoked_when_all_have_a_new_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every control plane that watches a cluster has been given the same token by istioctl."""
    topology = preset(ControlPlaneModel.MULTI_PRIMARY, NetworkModel.MULTI, 3)
    done: list[str] = []

    def replaced(_stage: Stage, primary: Cluster, watched: Cluster) -> tuple[str, bool]:
        done.append(f"{primary.name} has a new token of {watched.name}")
        return f"former of {watched.name}", primary.name != "north" or watched.name != "west"

    monkeypatch.setattr(remote_secret, "_replaced", replaced)

    def revoked(_stage: Stage, _watched: Cluster, token: str) -> bool:
        done.append(token)
        return True

    monkeypatch.setattr(remote_secret, "_revoked", revoked)
    monkeypatch.setattr(remote_secret, "_reading", lambda *_: None)
    monkeypatch.setattr(remote_secret, "LINGER_SECONDS", 0)
    monkeypatch.setattr("harness.experiments.resilience.readings.endpoints", lambda _: [])
    stage = Stage(replace(MESH, topology=topology), Certificates(Pki({})), {}, cast(LoadGenerator, _Clock()))
    monkeypatch.setattr(stage, "await_whole", lambda: None)
    remote_secret.rotate(stage)
    assert done[:3] == ["west has a new token of east", "north has a new token of east", "former of east"]
    # North has not taken its new token of West, and still needs the former one.
    assert "former of west" not in done
    assert [reading.old_accepted for reading in stage.tokens] == [False, True, False]


def test_new_intermediates_are_of_the_same_root_and_a_new_root_is_trusted_beside_the_old() -> None:
    old = pki.make(TOPOLOGY, bits=BITS)
    new = pki.renew(old, bits=BITS)
    for name, files in new.clusters.items():
        assert files.root_cert == old.clusters[name].root_cert
        own, former = (x509.certificate(each.clusters[name].ca_cert) for each in (new, old))
        assert not x509.same_key(own, former)
        assert x509.signed_by(own, x509.certificate(files.root_cert))
        assert x509.key_matches(files.ca_key, files.ca_cert)
    other = pki.make(TOPOLOGY, bits=BITS)
    both = pki.trusting(old, other)
    found = [each.sha256 for each in x509.certificates(both.clusters["east"].root_cert)]
    roots = [x509.certificate(each.clusters["east"].root_cert).sha256 for each in (old, other)]
    assert found == roots
    assert both.clusters["east"].ca_cert == old.clusters["east"].ca_cert
    with pytest.raises(ValueError, match="root's key"):
        pki.renew(pki.Pki(old.clusters, own=True))


def test_proxies_that_have_not_followed_are_named() -> None:
    wanted = pki.make(TOPOLOGY, bits=BITS)
    # In a primary-remote mesh the primary signs for the remote, too.
    issuer = x509.certificate(wanted.clusters["east"].ca_cert).sha256
    root = x509.certificate(wanted.clusters["east"].root_cert).sha256
    good = TrustReading(at=1.0, cluster="west", pod="sleep-1", issuer=issuer, roots=(root,))
    assert former_proxies([good], TOPOLOGY, wanted) == ""
    for change in ({"issuer": "other"}, {"roots": (root, "other")}, {"roots": ()}):
        assert "west/sleep-1" in former_proxies([good.model_copy(update=change)], TOPOLOGY, wanted)
    assert former_proxies([], TOPOLOGY, wanted) == "no proxy answers"


def test_only_what_a_revision_has_for_itself_comes_and_goes() -> None:
    def named(*names: str) -> list[dict[str, object]]:
        return [{"kind": "ConfigMap", "metadata": {"name": name, "namespace": "istio-system"}} for name in names]

    assert only_in(named("istio-next", "shared"), named("istio", "shared")) == named("istio-next")
    assert namespace_labels("next") == {"istio-injection": None, "istio.io/rev": "next"}
    assert namespace_labels("default") == {"istio-injection": "enabled", "istio.io/rev": None}
