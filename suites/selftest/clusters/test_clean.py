"""`make clean`: what is in use stays."""

from collections.abc import Callable
from typing import Any

import pytest

from harness.base.container_engine import DOCKER
from harness.base.errors import UserError
from harness.clusters import __main__ as command
from harness.clusters.run_record import begin, reserve
from harness.machine.engine import Engine
from harness.machine.images import __main__ as build
from harness.runs import environment
from harness.runs.lab import Lab
from harness.runs.options import OPTIONS, parse


@pytest.fixture
def stopped(engine: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was stopped of the registry and the engine."""
    found: list[str] = []
    monkeypatch.setattr(command, "answering", lambda: (DOCKER,))
    monkeypatch.setattr(command, "stop_registry", lambda *_: found.append("registry"))
    monkeypatch.setattr(command, "stop_engine", lambda _: found.append("engine"))
    return found


def test_clean(engine: dict[str, str], stopped: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Leftovers and kept clusters go; the registry and the engine only when no run is under way."""
    with begin("a") as kept:
        reserve(kept, ("east", "west"), "image", ())
        kept.keep()
    with begin("c"):
        assert command.main(["clean"]) == 0
        assert set(engine) == {"eastwest-b-east-control-plane", "kind-control-plane"}
        assert not stopped
    assert command.main(["clean"]) == 0
    assert stopped == ["registry", "engine"]
    said = capsys.readouterr().out
    assert "removed run a" in said
    assert "left alone: eastwest-b-east" in said


def test_clusters_of_an_engine_that_does_not_answer_stay_recorded(
    engine: dict[str, str], stopped: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Docker answers and knows nothing of Podman's containers: their record is not removed with nothing done."""
    with begin("a") as kept:
        reserve(kept, ("east",), "image", (), engine="podman")
        kept.keep()
    assert command.main(["clean"]) == 0
    assert "left alone, under way or not removable: a" in capsys.readouterr().out
    assert "eastwest-a-east-control-plane" in engine
    assert not stopped


def _interrupted(*_: object, **__: object) -> None:
    raise UserError("Images can't be built.", "a test", "none")


def _run(monkeypatch: pytest.MonkeyPatch, meanwhile: Callable[..., Any]) -> None:
    """A run that provides images, in which something happens meanwhile."""
    monkeypatch.setattr(environment, "provide", meanwhile)
    values = {option.name: option.not_given for option in OPTIONS} | {"topology": "primary-remote"}
    lab = Lab(parse(lambda name: values[name], {}))
    try:
        lab.prepare(lambda _: None)
    finally:
        lab.close(lambda _: None)


def _build(monkeypatch: pytest.MonkeyPatch, meanwhile: Callable[..., Any]) -> None:
    """`make images`, the same."""

    def ensured(*_: object) -> Engine:
        meanwhile()
        return Engine("28", started_here=False)

    monkeypatch.setattr(build, "ensure_engine", ensured)
    monkeypatch.setattr(build, "local_images", _interrupted)
    assert build.main([]) == 4


@pytest.mark.parametrize("use", [_run, _build])
def test_registry_and_engine_stay_while_images_are_built(
    use: Callable[..., None],
    stopped: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The run has no cluster and no record yet; after its end they go, even if it failed."""
    use(monkeypatch, lambda *_: command.main(["clean"]))
    assert not stopped
    said = capsys.readouterr().out.splitlines()
    assert [line[:7] for line in said if line.startswith(("The local registry", "  why: ", "  fix: "))] == [
        "The loc",
        "  why: ",
        "  fix: ",
    ]
    assert command.main(["clean"]) == 0
    assert stopped == ["registry", "engine"]
    capsys.readouterr()
