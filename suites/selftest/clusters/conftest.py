"""A container engine and a user's directories, for tests that make and remove nothing."""

from pathlib import Path

import pytest

from harness.base.container_engine import ContainerEngine
from harness.clusters import containers


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """A container engine of which only names and cluster labels are known: container → cluster."""
    there = {
        "eastwest-a-east-control-plane": "eastwest-a-east",
        "eastwest-a-west-control-plane": "eastwest-a-west",
        "eastwest-b-east-control-plane": "eastwest-b-east",
        "kind-control-plane": "kind",
    }

    def labelled(_engine: ContainerEngine, label: str, value: str = "") -> tuple[str, ...]:
        nodes = label == containers.CLUSTER_LABEL
        return tuple(name for name, cluster in there.items() if nodes and value in ("", cluster))

    def remove(_engine: ContainerEngine, names: tuple[str, ...]) -> None:
        for name in names:
            del there[name]

    monkeypatch.setattr(containers, "labelled", labelled)
    monkeypatch.setattr(containers, "remove", remove)
    monkeypatch.setattr(containers, "names", lambda _: frozenset(there))
    return there
