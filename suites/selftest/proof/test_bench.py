"""The measurement of runs: seconds, and multiples of what kind took."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from harness.base.command import CommandError
from harness.model.observation import Observation
from harness.model.step import Phase
from harness.proof import bench
from harness.proof.bench import CREATION, MEMORY, WHOLE, Size, durations, markdown, medians

NAME = "multi-primary-single-network"


def test_the_slower_cluster_is_the_unit(good_observations: Mapping[str, Observation]) -> None:
    """Clusters are made side by side, and cleanup is not counted."""
    good = good_observations[NAME]
    found = durations(good, 100.0)
    created = [step.seconds for step in good.steps if step.title == "Create the cluster"]
    assert len(created) == 2
    assert found[CREATION] == max(created)
    assert found[WHOLE] == round(100.0 - found[Phase.CLEANUP.value], 2) < found["in all"] == 100.0


def test_the_table_has_seconds_and_multiples() -> None:
    runs = [{CREATION: 10.0, WHOLE: seconds, MEMORY: 2.0} for seconds in (30.0, 50.0, 31.0)]
    text = markdown({str(Size("primary-remote", "multi", 2, 3)): medians(runs), "other": {CREATION: 4.0}}, 3)
    assert "| | primary-remote, multi network, 2 clusters of 3 nodes | other |\n|---|---|---|\n" in text
    assert f"| {CREATION} | 10.0 s (1.0 K) | 4.0 s (1.0 K) |\n" in text
    assert f"| {WHOLE} | 31.0 s (3.1 K) |  |\n" in text
    assert f"| {MEMORY} | 2.0 |  |\n" in text


def test_what_was_measured_is_kept_when_another_size_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def measure(size: Size, _output: Path) -> dict[str, float]:
        if size.clusters == 3:
            raise CommandError(["pytest"], 3, "1 unknown")
        return {CREATION: 10.0, WHOLE: 30.0}

    monkeypatch.setattr(bench, "measure", measure)
    assert bench.main(["--clusters=2,3,4", f"--output={tmp_path}"]) == 1
    kept = json.loads((tmp_path / "bench.json").read_text())
    assert list(kept) == [str(Size("primary-remote", "multi", count, 1)) for count in (2, 4)]
    assert "3 clusters: " in capsys.readouterr().out


def test_nothing_measured_is_no_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def measure(_size: Size, _output: Path) -> dict[str, float]:
        raise CommandError(["pytest"], 4, "no engine")

    monkeypatch.setattr(bench, "measure", measure)
    assert bench.main([f"--output={tmp_path}"]) == 1
    assert "no engine" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []
