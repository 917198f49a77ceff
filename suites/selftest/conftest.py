"""Fixtures of the self-tests."""

from collections.abc import Mapping

import pytest

from harness.model.observation import Observation
from suites.selftest.good import TOPOLOGIES, good


@pytest.fixture(scope="session")
def good_observations() -> Mapping[str, Observation]:
    """A good observation of each topology of two clusters and of a mixed one, by the topology's name."""
    return {name: good(topology) for name, topology in TOPOLOGIES.items() if not name.endswith("-clusters")}
