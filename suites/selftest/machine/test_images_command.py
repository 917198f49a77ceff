"""`make images`: what it is told is checked before anything is built."""

from pathlib import Path

import pytest

from harness.machine.images.__main__ import main

REFUSAL = [
    "--container-engine=dokcer is not known.",
    "  why: the values it takes are: auto, docker, podman",
    "  fix: correct --container-engine (or EASTWEST_CONTAINER_ENGINE)",
]


@pytest.mark.parametrize("variable", [True, False], ids=["variable", "option"])
def test_a_container_engine_that_is_not_known_is_refused_in_three_lines(
    variable: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setenv("EASTWEST_CONTAINER_ENGINE", "dokcer" if variable else "podman")
    assert main([] if variable else ["--container-engine=dokcer"]) == 4
    assert capsys.readouterr().err.splitlines() == REFUSAL
