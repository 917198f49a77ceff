"""Which engine is used, and what its client and kind are told. The engines are scripts."""

from collections.abc import Callable
from pathlib import Path

import pytest

from harness.base import container_engine
from harness.base.container_engine import DOCKER, PODMAN, choose
from harness.base.errors import UserError

Programs = Callable[..., None]
DOCKER_ANSWERS = '[ "$3" = "{{.ServerVersion}}" ] && echo 28.2.2'
DOCKER_IS_SILENT = 'echo "Cannot connect to the Docker daemon"; exit 1'
PODMAN_ANSWERS = (
    '[ "$3" = "{{.Version.Version}}" ] && echo 4.3.1 || { echo "can\'t evaluate field ServerVersion" >&2; exit 125; }'
)


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Programs:
    """Puts shell scripts on PATH, and nothing else."""
    monkeypatch.setenv("PATH", str(tmp_path))

    def put(**scripts: str) -> None:
        for name, script in scripts.items():
            (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
            (tmp_path / name).chmod(0o755)

    return put


@pytest.mark.parametrize(
    ("docker", "podman", "chosen", "version"),
    [
        (DOCKER_ANSWERS, PODMAN_ANSWERS, DOCKER, "28.2.2"),
        (DOCKER_IS_SILENT, PODMAN_ANSWERS, PODMAN, "4.3.1"),
        (PODMAN_ANSWERS, PODMAN_ANSWERS, PODMAN, "4.3.1"),  # the package podman-docker
        (DOCKER_IS_SILENT, "exit 1", DOCKER, None),
    ],
)
def test_the_first_that_answers(
    programs: Programs, docker: str, podman: str, chosen: container_engine.ContainerEngine, version: str | None
) -> None:
    programs(docker=docker, podman=podman)
    assert choose("auto") is chosen
    assert chosen.version() == version


def test_one_that_is_named_is_used_even_if_another_answers(programs: Programs) -> None:
    programs(docker=DOCKER_ANSWERS)
    assert choose("podman") is PODMAN
    assert PODMAN.version() is None
    assert "podman" in PODMAN.why_not()


def test_one_that_is_not_known_is_refused() -> None:
    with pytest.raises(UserError, match="--container-engine=dokcer is not known") as refused:
        choose("dokcer")
    assert str(refused.value).splitlines()[1:] == [
        "  why: the values it takes are: auto, docker, podman",
        "  fix: correct --container-engine (or EASTWEST_CONTAINER_ENGINE)",
    ]


def test_why_it_does_not_answer(programs: Programs) -> None:
    programs(docker=DOCKER_IS_SILENT)
    assert DOCKER.why_not() == "Cannot connect to the Docker daemon"


def test_kind_is_led_to_this_engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(container_engine, "PODMAN_CONFIGURATION", tmp_path / "containers.conf")
    monkeypatch.setenv("KIND_EXPERIMENTAL_PROVIDER", "nerdctl")
    monkeypatch.setenv("KIND_EXPERIMENTAL_PODMAN_NETWORK", "other")
    monkeypatch.delenv("CONTAINERS_CONF", raising=False)
    told = PODMAN.environment()
    assert told["KIND_EXPERIMENTAL_PROVIDER"] == "podman"
    assert not told.keys() & {"KIND_EXPERIMENTAL_PODMAN_NETWORK", "CONTAINERS_CONF"}
    (tmp_path / "containers.conf").touch()
    assert PODMAN.environment()["CONTAINERS_CONF"] == str(tmp_path / "containers.conf")
    monkeypatch.setenv("CONTAINERS_CONF", "/home/me/containers.conf")
    assert PODMAN.environment()["CONTAINERS_CONF"] == "/home/me/containers.conf"
