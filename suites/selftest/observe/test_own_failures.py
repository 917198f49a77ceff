"""What the suite itself fails to find out is unknown: never a failure of the mesh, never a pass, never blocked."""

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml
from urllib3.exceptions import MaxRetryError

from harness.experiments import unfit
from harness.judge.judgement import Verdict
from harness.judge.requirement import judge
from harness.kube.access import ClusterAccess
from harness.kube.api import ExecResult, KubeApi, TransportError
from harness.kube.client import Kube
from harness.model.cluster import Pod, Reading, ReadOutcome, Subject
from harness.model.experiment import IDS, Experiments
from harness.model.observation import Observation
from harness.model.step_log import StepLog
from harness.model.traffic import ProbeKind, ProbeResult
from harness.observe import observe, proxies
from harness.observe.cluster import ClusterObjects, read_cluster
from harness.observe.reading import Reader
from suites.catalogue import catalogue
from suites.selftest.support.breakage import edit, last, on, verdicts, with_probes
from suites.selftest.support.fake_kube import FakeKube
from suites.selftest.support.serving import serving

NAMES = ("primary-remote-multi-network", "multi-primary-single-network")
GONE = MaxRetryError(None, "/api/v1/pods", None)  # type: ignore[arg-type]
EXECS: dict[str, Callable[..., ExecResult] | Exception] = {
    "returns nothing": lambda *_, **__: ExecResult(0, "", ""),
    "breaks": TransportError("the connection ended before the command did"),
    "is cut short": lambda *_, **__: ExecResult(0, '[{"id": "clus', ""),
}
Again = Callable[[tuple[Pod, ...]], tuple[Pod, ...]]


@pytest.fixture
def observed(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Observation]:
    """Observes clusters whose objects are those of a recording, and whose execs do what one wants."""

    def make(good: Observation, execs: Callable[..., ExecResult] | Exception, again: Again = tuple) -> Observation:
        def objects(kube: KubeApi, *_: object) -> ClusterObjects:
            reader = Reader(kube.name)
            for subject in Subject:
                reader.read(subject, lambda: None, None)
            return ClusterObjects(reader, good[kube.name].model_copy(update={"control_planes": (), "proxies": ()}))

        monkeypatch.setattr("harness.observe.observer.read_cluster", objects)
        monkeypatch.setattr("harness.observe.observer.read_pods", lambda kube, _: again(good[kube.name].pods))
        found = observe(
            good.topology,
            {cluster.name: _kube(cluster.name, execs) for cluster in good.topology.clusters},
            good.asked,
            environment=good.environment,
            suite=good.suite,
            run_id="test",
            started=datetime.now(UTC),
            log=StepLog(),
            timeout_scale=0.05,
        )
        experiments = Experiments(prevented=dict.fromkeys(IDS, unfit(found)))
        kept = {"steps": good.steps, "observed": good.observed, "experiments": experiments, "cleanup": good.cleanup}
        return found.model_copy(update=kept)

    return make


def _kube(name: str, execs: Callable[..., ExecResult] | Exception) -> KubeApi:
    kube = FakeKube(name)
    kube.execs, kube.log = execs, GONE
    return kube


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("execs", EXECS)
def test_an_exec_that(
    execs: str, name: str, observed: Callable[..., Observation], good_observations: Mapping[str, Observation]
) -> None:
    """Nothing that needs an exec is judged, and everything else is."""
    found = verdicts(observed(good_observations[name], EXECS[execs]))
    assert set(found.values()) == {Verdict.PASS, Verdict.UNKNOWN}
    needs = {"TR-REACH", "TR-NO-ERRORS", "TR-NO-RETRIES", "XDS-SYNCED", "RS-USABLE", "EP-COMPLETE", "MTLS-PEER", *IDS}
    assert {found[row] for row in needs & found.keys()} == {Verdict.UNKNOWN}
    assert found["NET-LABEL"] is found["CERT-CHAIN"] is Verdict.PASS


@pytest.mark.parametrize("cut", ["", '{"cluster_statuses": [{"na'])
def test_half_an_answer_of_a_proxy_is_no_answer(cut: str, good_observations: Mapping[str, Observation]) -> None:
    """Endpoints that were lost on the way are not endpoints that are missing."""
    pod = next(pod for pod in good_observations[NAMES[0]]["east"].pods if pod.labels.get("app") == "sleep")
    said = "".join(
        f"\n{proxies._MARK}{path}\n{text}"
        for path, text in (
            (proxies.SERVER_INFO, '{"version": "x"}'),
            (proxies.clusters(".sample.svc."), cut),
            (proxies.SECRETS, "{}"),
        )
    )
    with pytest.raises(TransportError, match="clusters"):
        proxies.read_proxy(_kube("east", lambda *_, **__: ExecResult(0, said, "")), pod, "sample", 1)


def _restarted(pods: tuple[Pod, ...]) -> tuple[Pod, ...]:
    def again(pod: Pod) -> Pod:
        return pod.model_copy(
            update={"containers": tuple(c.model_copy(update={"restarts": c.restarts + 1}) for c in pod.containers)}
        )

    return tuple(again(pod) if pod.labels.get("app") == "helloworld" else pod for pod in pods)


def _made_again(pods: tuple[Pod, ...]) -> tuple[Pod, ...]:
    return tuple(p.model_copy(update={"ip": "10.9.9.9"}) if p.labels.get("app") == "helloworld" else p for p in pods)


@pytest.mark.parametrize(
    ("again", "what"),
    [(_restarted, "restarted"), (_made_again, "was made again"), (lambda _: (), "went away")],
    ids=["restarted", "made-again", "gone"],
)
def test_a_pod_that_changes_between_two_reads(
    again: Again, what: str, observed: Callable[..., Observation], good_observations: Mapping[str, Observation]
) -> None:
    """What was read of it before and after does not belong together."""
    found = observed(good_observations[NAMES[1]], EXECS["breaks"], again)
    reading = found["west"].reading(Subject.PODS)
    assert reading
    assert reading.outcome is ReadOutcome.LOST
    assert what in reading.detail
    assert Verdict.FAIL not in verdicts(found).values()
    assert verdicts(found)["WL-PLACED"] is not Verdict.FAIL


def test_a_pod_that_was_not_ready_may_restart(
    observed: Callable[..., Observation], good_observations: Mapping[str, Observation]
) -> None:
    """One that keeps crashing is the mesh's failure, and stays readable."""
    good = good_observations[NAMES[1]]
    pods = edit(good["west"].pods, lambda pod: pod.labels.get("app") == "helloworld", ready=False)
    found = observed(on(good, last(good.topology), pods=pods), EXECS["breaks"], _restarted)
    reading = found["west"].reading(Subject.PODS)
    assert reading
    assert reading.outcome is ReadOutcome.READ


def test_an_api_server_that_goes_away_is_no_fault_of_its_secret(good_observations: Mapping[str, Observation]) -> None:
    """RS-USABLE is unknown where it answered at first; where it never did it fails."""
    row = catalogue()["RS-USABLE"]
    for name in NAMES:
        good = good_observations[name]
        silent = with_probes(
            good,
            lambda probe: probe.kind is ProbeKind.API_SERVER and probe.target == "west",
            result=ProbeResult.TIMEOUT,
            permissions={},
        )
        lost = (Reading(subject=Subject.API_SERVER, outcome=ReadOutcome.LOST),)
        others = tuple(r for r in good["west"].readings if r.subject != Subject.API_SERVER)
        assert judge(row, silent).verdict is Verdict.FAIL
        assert judge(row, on(silent, last(good.topology), readings=(*lost, *others))).verdict is Verdict.UNKNOWN


def test_an_api_server_that_is_gone_at_the_end(
    observed: Callable[..., Observation], good_observations: Mapping[str, Observation]
) -> None:
    """It is lost, not unreachable."""

    def gone(_: tuple[Pod, ...]) -> tuple[Pod, ...]:
        raise GONE

    found = observed(good_observations[NAMES[0]], EXECS["breaks"], gone)
    reading = found["west"].reading(Subject.API_SERVER)
    assert reading
    assert reading.outcome is ReadOutcome.LOST
    assert set(verdicts(found).values()) <= {Verdict.PASS, Verdict.UNKNOWN}


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    answers = 3
    """So many questions are answered."""
    body = json.dumps(
        dict.fromkeys(
            ("buildDate", "compiler", "gitCommit", "gitTreeState", "goVersion", "major", "minor", "platform"), ""
        )
        | {"gitVersion": "v1.36.1", "items": []}
    ).encode()


class _Answer(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.server.answers -= 1
        whole = self.server.answers >= 0
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(self.server.body)))
        self.end_headers()
        self.wfile.write(self.server.body if whole else self.server.body[:10])
        self.close_connection = not whole

    do_POST = do_GET  # noqa: N815 - http.server's own name

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[_Server]:
    """An API server that answers three questions whole, and breaks off in the middle of every other."""
    server = _Server(("127.0.0.1", 0), _Answer)
    with serving(server):
        yield server


def test_a_connection_that_breaks_in_the_middle(
    server: _Server, tmp_path: Path, good_observations: Mapping[str, Observation]
) -> None:
    """What was read before stays; everything after it is lost, and none of it empty or unreachable."""
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "a",
        "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}],
        "clusters": [{"name": "a", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}],
        "users": [{"name": "a", "user": {"token": "t"}}],
    }
    (tmp_path / "config").write_text(yaml.safe_dump(config))
    asked = good_observations[NAMES[0]].asked
    found = read_cluster(Kube(ClusterAccess("east", "a", tmp_path / "config", "https://x")), asked, 5)
    outcomes = [reading.outcome for reading in found.reader.readings]
    assert found.observed.kubernetes_version == "v1.36.1"
    assert ReadOutcome.UNREACHABLE not in outcomes
    assert outcomes.count(ReadOutcome.LOST) >= 10
