"""Waits end early on what can't heal by itself, and on nothing else."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from kubernetes.client import ApiException

from harness.base.container_log import last_words, telling_lines
from harness.base.errors import StepError
from harness.kube.api import Object
from harness.kube.client import Kube
from harness.kube.stuck_pods import LEAST_PATIENCE, StuckPods
from harness.kube.watching import WATCH_SECONDS
from harness.mesh.readiness import await_deployment, why_unready
from harness.model.step_log import OpenStep, ignore
from suites.selftest.kube.test_client_watch import Resource
from suites.selftest.support.fake_kube import FakeKube

REJECTED = "2026-11-24T06:00:00Z\terror\tfailed to create discovery service: failed to create CA: x509: not a CA\n"
REFUSED = "2026-11-24T06:00:00Z\tfatal\tapi server: connection refused\n"


def _pod(reason: str, *, restarts: int = 0, name: str = "istiod-1", revision: str = "a", created: str = "1") -> Object:
    """A pod whose only container waits; one that runs where there is no reason."""
    state = {"waiting": {"reason": reason, "message": f"about {reason}"}} if reason else {"running": {}}
    return {
        "metadata": {
            "name": name,
            "namespace": "istio-system",
            "labels": {"pod-template-hash": revision},
            "creationTimestamp": f"2026-11-24T06:00:0{created}Z",
        },
        "status": {"containerStatuses": [{"name": "discovery", "state": state, "restartCount": restarts}]},
    }


class Looks:
    """The same wait, looked at at given seconds; says what each look came to."""

    def __init__(self, log: str = "", timeout: float = 180) -> None:
        self.now, self.pods = 0.0, list[Object]()
        kube = FakeKube("east")
        kube.log = log
        self.stuck = StuckPods(kube, lambda: self.pods, timeout, clock=lambda: self.now)

    def __call__(self, seconds: float, *pods: Object) -> str:
        """What is said at that second, of these pods."""
        self.now, self.pods = seconds, list(pods)
        return self.stuck()


@pytest.mark.parametrize(
    "reasons",
    [
        ("ErrImagePull", "ImagePullBackOff"),
        ("InvalidImageName", "InvalidImageName"),
        ("CreateContainerConfigError", "CreateContainerConfigError"),
    ],
)
def test_a_state_that_lasts_is_given_up_with_its_reason(reasons: Sequence[str]) -> None:
    """A pull goes back and forth between two names of one trouble."""
    look = Looks()
    assert look(0, _pod(reasons[0])) == ""
    assert look(LEAST_PATIENCE - 1, _pod(reasons[1])) == ""
    said = look(LEAST_PATIENCE, _pod(reasons[1]))
    assert f"pod istiod-1: container discovery: {reasons[1]}: about {reasons[1]}" in said


def test_a_registry_that_hiccups_is_waited_for() -> None:
    """The time starts again after every look without the trouble."""
    look = Looks()
    assert look(0, _pod("ErrImagePull")) == ""
    assert look(20, _pod("")) == ""
    assert look(40, _pod("ErrImagePull")) == ""
    assert look(60, _pod("ErrImagePull")) == ""
    assert look(70, _pod("ErrImagePull")) != ""


def test_patience_grows_with_the_wait() -> None:
    """--timeout-scale says that this machine or registry is slow."""
    look = Looks(timeout=720)
    assert [bool(look(seconds, _pod("ErrImagePull"))) for seconds in (0, 119, 120)] == [False, False, True]


def test_another_pod_of_a_newer_template_counts_alone() -> None:
    """What is left of an older template is about to go, and its trouble is no reason to end."""
    look = Looks()
    old, new = _pod("ErrImagePull"), _pod("ContainerCreating", name="istiod-2", revision="b", created="9")
    assert look(0, old) == ""
    assert look(60, old, new) == ""
    leaving = {**old, "metadata": {**old["metadata"], "deletionTimestamp": "now"}}
    assert look(90, leaving) == ""


def test_a_program_that_crashes_may_run_when_it_is_started_again() -> None:
    """Three ends are enough; two where it says that a certificate is refused, which a restart does not mend."""
    crashed = Looks(REFUSED)
    assert crashed(0, _pod("CrashLoopBackOff", restarts=2)) == ""
    assert "api server: connection refused" in crashed(60, _pod("CrashLoopBackOff", restarts=3))
    refused = Looks(REJECTED)
    assert refused(0, _pod("CrashLoopBackOff", restarts=1)) == ""
    assert "failed to create CA: x509: not a CA" in refused(30, _pod("CrashLoopBackOff", restarts=2))


@pytest.mark.parametrize("reason", ["", "ContainerCreating", "PodInitializing"])
def test_what_is_under_way_is_waited_for(reason: str) -> None:
    """However long it takes."""
    look = Looks(REJECTED)
    assert [look(seconds, _pod(reason, restarts=9)) for seconds in (0, 60, 179)] == ["", "", ""]


def test_while_nothing_can_be_read_there_is_hope() -> None:
    """An API server that refuses a look says nothing about the pods."""

    def refuse() -> list[Object]:
        raise ApiException(status=503)

    assert StuckPods(FakeKube("east"), refuse, 180)() == ""


def _deployment() -> Object:
    spec = {"replicas": 1, "selector": {"matchLabels": {"app": "istiod"}}}
    metadata = {"name": "istiod", "namespace": "istio-system", "generation": 1, "resourceVersion": "7"}
    return {"kind": "Deployment", "metadata": metadata, "spec": spec, "status": {"observedGeneration": 1}}


def _kube(monkeypatch: pytest.MonkeyPatch, pods: list[Object], log: str) -> Kube:
    """A cluster whose Deployment does not change, while its pods are as given."""
    monkeypatch.setattr(Kube, "_resource", lambda *_: Resource([[_deployment()]] * 9, [[]] * 9))
    monkeypatch.setattr(Kube, "get", lambda *_: _deployment())
    monkeypatch.setattr(Kube, "list", lambda _, __, kind, *_a, **_k: pods if kind == "Pod" else [])
    monkeypatch.setattr(Kube, "logs", lambda *_, **__: log)
    return Kube(SimpleNamespace(name="east"))  # type: ignore[arg-type]


def test_a_deployment_whose_pods_are_stuck_ends_the_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """The watch looks again although the Deployment does not change, and the error has reason and message."""
    kube = _kube(monkeypatch, [_pod("CrashLoopBackOff", restarts=3)], REFUSED)
    with pytest.raises(StepError, match=r"0 of 1 pods, and can't by itself: .*CrashLoopBackOff.*connection refused"):
        await_deployment(kube, "istio-system", "istiod", 180, OpenStep("title", "east", ignore))


def test_a_watch_looks_again_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wait that may end early looks at more than its object, and an interrupted run ends soon."""
    asked: list[int] = []
    resource = Resource([[_deployment()]], [[{"type": "MODIFIED", "object": _deployment()}]])
    get = resource.get

    def noted(**options: Any) -> Any:
        asked.append(options.get("timeout_seconds", 0))
        return get(**options)

    monkeypatch.setattr(resource, "get", noted)
    monkeypatch.setattr(Kube, "_resource", lambda *_: resource)
    kube = Kube(SimpleNamespace(name="east"))  # type: ignore[arg-type]
    watch = kube.watch("apps/v1", "Deployment", "istiod", None, 180)
    assert next(watch) and next(watch)
    assert asked == [0, WATCH_SECONDS]


def test_the_reason_has_the_last_words_of_a_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    """And no secret that was in them."""
    log = REJECTED.replace("not a CA", "not a CA, token eyJhbGciOiJSUzI1NiJ9.e30.c2ln")
    why = why_unready(
        _kube(monkeypatch, [_pod("CrashLoopBackOff", restarts=1)], log), "Deployment", "istio-system", "istiod"
    )
    assert "discovery said: error failed to create discovery service: failed to create CA: x509: not a CA" in why
    assert "eyJ" not in why


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("2026-11-24T06:00:00.1Z\twarn\tads\tnot ready", "warn ads not ready"),
        ('2026-11-24T06:00:00.1Z\tERROR\tReconciler error\t{"error": "no CRD"}', "error Reconciler error: no CRD"),
        (
            "2026-11-24T06:00:00.1Z\twarning\tenvoy config x.cc:1\tclosed\tthread=12",
            "warning envoy config x.cc:1 closed",
        ),
        ("[2026-11-24 06:00:00.1][1][critical][main] no bootstrap", "critical [main] no bootstrap"),
        ("E1124 06:00:00.123456       1 reflector.go:1] refused", "error reflector.go:1] refused"),
        ("time=2026-11-24 level=ERROR msg=boom", "error msg=boom"),
        (
            '{"level":"error","msg":"allocation failed","error":"no available IPs"}',
            "error allocation failed: no available IPs",
        ),
        (
            '{"authority":"a:5000","response_code":503,"response_flags":"UF","upstream_host":"10.0.0.1:15443"}',
            "access a:5000: 503 UF, 10.0.0.1:15443 of no cluster",
        ),
        ("Error: unknown flag: --x", "error unknown flag: --x"),
        ("panic: nil map", "panic nil map"),
    ],
)
def test_lines_of_every_common_format_are_recognised(line: str, said: str) -> None:
    assert [" ".join(found.split()) for found in telling_lines(f"all is well\n{line}\n2026-11-24 info fine")] == [said]


def test_lines_that_say_the_same_are_one_and_only_the_last_are_kept() -> None:
    """A wall of text is no evidence."""
    same = "".join(
        f"2026-11-24T06:00:0{n}Z\twarn\tclosed since {n}s ago, 10.0.0.1:4000{n}->10.0.0.2:15012\n" for n in range(9)
    )
    assert len(telling_lines(same)) == 1
    assert "since 8s ago" in telling_lines(same)[0]
    assert len(telling_lines("".join(f"2026\twarn\tkind {'x' * n}\n" for n in range(50)))) == 6
    assert telling_lines('{"response_code":200,"response_flags":"-"}') == ()
    assert last_words("starting\nflag provided but not defined: -x\n") == (
        "starting",
        "flag provided but not defined: -x",
    )
