"""Recordings of good meshes on live clusters."""

from functools import cache
from pathlib import Path

from harness.model.observation import Observation, load

RECORDED = Path(__file__).parents[1] / "recorded"
NAMES = tuple(sorted(path.name.removesuffix(".json.gz") for path in RECORDED.glob("*.json.gz")))
"""Of the topologies that were recorded."""


@cache
def recorded(topology: str) -> Observation:
    """The recording of a topology, read once in a process."""
    return load(RECORDED / f"{topology}.json.gz")
