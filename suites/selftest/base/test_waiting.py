"""Waiting: until it is true, until the deadline, until there is no hope, or until the run is interrupted."""

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from harness.base import parallel
from harness.base.parallel import in_parallel
from harness.base.waiting import WaitError, pause, wait_until
from harness.experiments.resilience import certificates, readings, remote_secret, restarts
from harness.experiments.resilience.load_generator import LoadGenerator
from harness.experiments.resilience.stage import Stage
from harness.experiments.testbed import Testbed
from harness.machine import engine
from harness.machine.images import registry
from harness.mesh import injection
from harness.mesh.context import Mesh
from harness.mesh.settings import MeshSettings
from harness.model.step import Phase
from harness.model.step_log import OpenStep, StepLog
from harness.model.topology import ControlPlaneModel, NetworkModel, preset
from harness.proof.live import waits, whole

TOPOLOGY = preset(ControlPlaneModel.MULTI_PRIMARY, NetworkModel.MULTI)
EAST, WEST = TOPOLOGY.clusters
SETTINGS = MeshSettings(istio_version="1.31.0", istioctl=Path("istioctl"), timeout_scale=0.01)


def test_asks_until_nothing_is_pending() -> None:
    answers, told = iter(["two are missing", "one is missing", ""]), list[str]()
    wait_until(lambda: next(answers), 30, pause_seconds=0, waiting=told.append)
    assert told == ["two are missing", "one is missing"]


def test_what_is_true_already_is_asked_once() -> None:
    asked: list[int] = []
    wait_until(lambda: asked.append(1) or "", 0)  # type: ignore[func-returns-value]
    assert asked == [1]


def test_the_deadline_says_what_was_last_seen() -> None:
    with pytest.raises(WaitError, match=r"^one is missing after 0 s$") as expired:
        wait_until(lambda: "one is missing", 0.05, pause_seconds=0.01)
    assert expired.value.last == "one is missing"
    with pytest.raises(WaitError, match=r"^the mesh is not whole after 0 s: one is missing$"):
        wait_until(lambda: "one is missing", 0, unmet="the mesh is not whole")


def test_a_hopeless_wait_ends_early() -> None:
    began, asked = time.monotonic(), iter(["", "it crashed"])
    with pytest.raises(WaitError, match=r"^it does not answer: it crashed$"):
        wait_until(lambda: "it does not answer", 60, pause_seconds=0.01, hopeless=lambda: next(asked))
    assert time.monotonic() - began < 5


def test_a_failure_to_ask_is_not_asked_again() -> None:
    def fail() -> str:
        raise ValueError("bug")

    with pytest.raises(ValueError, match="bug"):
        wait_until(fail, 60)


@pytest.mark.parametrize(
    "wait", [lambda: wait_until(lambda: "never", 60, pause_seconds=50), lambda: pause(60)], ids=("wait", "pause")
)
def test_an_interrupt_ends_it_at_once_on_every_thread(wait: Callable[[], None]) -> None:
    """Python delivers Ctrl-C to the main thread only."""
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
        in_parallel(lambda _: wait(), "ab")
    assert time.monotonic() - began < 10


class Never:
    """A mesh in which nothing that is waited for comes true within half a second, and what is read of it."""

    def __init__(self) -> None:
        refused: Any = SimpleNamespace(create=lambda *_, **__: {"spec": {"containers": []}})
        self.kube = refused
        self.mesh = Mesh(TOPOLOGY, {"east": refused, "west": refused}, SETTINGS, StepLog())
        traffic = cast(LoadGenerator, SimpleNamespace(now=0.0))
        self.stage = Stage(self.mesh, cast(Any, None), {}, traffic)
        self.testbed = Testbed(self.mesh, cast(Any, None), {})
        self.acts: Any = SimpleNamespace(mesh=self.mesh)


Wait = Callable[[Never, OpenStep], object]
WAITS: dict[str, Wait] = {
    "injection": lambda mesh, opened: injection.await_injection(mesh.kube, "sample", 0.5, opened),
    "whole": lambda _, opened: whole.await_whole(cast(Any, object), (), 0.5, opened),
    "fault in force": lambda mesh, _: waits.await_true(mesh.acts, EAST, "title", lambda: "never"),
    "proxies": lambda mesh, _: mesh.testbed.await_proxies({(EAST, "echo"): lambda *_: False}),
    "remote synced": lambda mesh, opened: remote_secret._await_synced(mesh.stage, EAST, WEST, opened),
    "token refused": lambda mesh, _: remote_secret._await_refused(mesh.stage, EAST, "token"),
    "certificates": lambda mesh, opened: certificates._await(mesh.stage, opened, lambda: "never"),
    "reconnected": lambda mesh, _: restarts._await_proxies(mesh.stage, EAST, frozenset({"sleep"})),
    "linger": lambda mesh, _: mesh.stage.linger(0.5),
    "requests": lambda *_: LoadGenerator([], "sample").wait(lambda *_: False, 0.5),
    "engine": lambda *_: engine._wait_for_version(0.5),
    "registry": lambda *_: registry._wait(registry.Registry("none", "http://none:1", "http://127.0.0.1:1")),
}


@pytest.mark.parametrize("name", WAITS)
def test_every_wait_ends_with_an_interrupted_run(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whole, "pending", lambda _: ("never",))
    monkeypatch.setattr(readings, "remote_clusters", lambda *_: ())
    monkeypatch.setattr(readings, "proxies", lambda *_: frozenset())
    monkeypatch.setattr(remote_secret, "_accepted", lambda *_: True)
    monkeypatch.setattr(engine, "engine_version", lambda: None)
    monkeypatch.setattr(registry, "START_SECONDS", 0.5)
    interrupted = threading.Event()
    interrupted.set()
    token = parallel._INTERRUPTED.set(interrupted)
    try:
        with pytest.raises(KeyboardInterrupt), StepLog().step(Phase.MESH, "wait") as opened:
            WAITS[name](Never(), opened)
    finally:
        parallel._INTERRUPTED.reset(token)
