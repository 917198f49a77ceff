"""Fixtures of the self-tests."""

import gc
import os
from collections.abc import Mapping

import pytest

from harness.model.observation import Observation
from harness.runs.options.option import PREFIX
from suites.selftest.support.foreign import foreign
from suites.selftest.support.good import TOPOLOGIES, good
from suites.selftest.support.recordings import NAMES, recorded

# What the user has set is for runs, not for these tests and the sessions and processes that they begin: before any is.
for variable in [name for name in os.environ if name.startswith(PREFIX)]:
    del os.environ[variable]


@pytest.fixture(scope="session")
def made_observations() -> Mapping[str, Observation]:
    """A good observation of each topology of two clusters and of a mixed one, made up, by the topology's name."""
    return {name: good(topology) for name, topology in TOPOLOGIES.items() if not name.endswith("-clusters")}


@pytest.fixture(scope="session")
def good_observations(made_observations: Mapping[str, Observation]) -> Mapping[str, Observation]:
    """The same as recorded on live clusters; only the mixed one is made up."""
    return {**made_observations, **{name: recorded(name) for name in NAMES}}


@pytest.fixture(scope="session")
def foreign_observations(good_observations: Mapping[str, Observation]) -> Mapping[str, Observation]:
    """The same as meshes that the suite did not install."""
    return {name: foreign(observation) for name, observation in good_observations.items()}


def pytest_xdist_auto_num_workers() -> int:
    """With `-n auto`, one more than there are cores: some tests wait for processes of their own."""
    return len(os.sched_getaffinity(0)) + 1


def pytest_collection_finish() -> None:
    """What was imported and collected is no garbage: it need not be looked through again and again."""
    gc.freeze()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say it loudly where the report could not be looked at in a browser."""
    skipped = [report.nodeid for report in terminalreporter.stats.get("skipped", []) if "/browser/" in report.nodeid]
    if skipped:
        terminalreporter.section("NOT TESTED: the HTML report in a browser", sep="!", red=True, bold=True)
        terminalreporter.line(f"{len(skipped)} tests need Chromium, which is not on PATH.", red=True)
        terminalreporter.line("`make test-browser` installs it (root, Debian) and runs them.", red=True)
