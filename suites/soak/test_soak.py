"""`make soak`: form each topology once, observe and judge it RUNS times; anything but a pass is a false alarm.

EASTWEST_SOAK_RUNS says how often (default 20), EASTWEST_SOAK_EXPERIMENTS in how many of them, the first ones,
experiments are made too (default all). Written are soak.json, soak.md and the observations with an alarm.
"""

import os
from pathlib import Path

import pytest

from fixtures.observation import progress
from fixtures.session import session_of
from harness.base.errors import UserError
from harness.model.topology import Topology
from harness.proof.soak import Soak, markdown, soak
from harness.runs.lab import Lab


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Each topology that is asked for is one test."""
    topologies = session_of(metafunc.config).options.topologies
    metafunc.parametrize("topology", topologies, ids=[topology.name for topology in topologies])


@pytest.fixture(scope="session")
def repetitions() -> tuple[int, int]:
    """How often a mesh is judged, and in how many of them experiments are made."""
    runs = _number("EASTWEST_SOAK_RUNS", "20", least=1)
    return runs, _number("EASTWEST_SOAK_EXPERIMENTS", str(runs), least=0)


@pytest.fixture(scope="session")
def soaks() -> list[Soak]:
    """Those of this session."""
    return []


def test_good_mesh_stays_green(
    repetitions: tuple[int, int], topology: Topology, lab: Lab, soaks: list[Soak], pytestconfig: pytest.Config
) -> None:
    """No requirement gives anything but a pass, in any repetition."""
    options = session_of(pytestconfig).options
    with (
        progress(options.output, topology.name, pytestconfig.option.verbose) as listener,
        lab.formed(topology, listener) as formed,
    ):
        soaks.append(soak(formed, *repetitions, listener, options.output / "alarms"))
    _write(options.output, soaks)
    assert soaks[-1].alarms == ()


def _number(variable: str, default: str, least: int) -> int:
    given = os.environ.get(variable, default)
    if not given.isdecimal() or int(given) < least:
        error = UserError(
            f"{variable}={given} is no number of repetitions.", f"it is a whole number, at least {least}", "correct it"
        )
        pytest.exit(str(error), pytest.ExitCode.USAGE_ERROR)
    return int(given)


def _write(output: Path, soaks: list[Soak]) -> None:
    whole = ",\n".join(each.model_dump_json(indent=1) for each in soaks)
    (output / "soak.json").write_text(f"[{whole}]\n")
    (output / "soak.md").write_text(markdown(soaks))
