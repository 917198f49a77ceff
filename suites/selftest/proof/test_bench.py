"""The measurement of runs: seconds, and multiples of what kind took."""

from collections.abc import Mapping

from harness.model.observation import Observation
from harness.model.step import Phase
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
