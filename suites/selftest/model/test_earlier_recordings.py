"""Recordings of earlier versions stay readable; what they lack was not observed, and is never a failure."""

from pathlib import Path

import pytest

from harness.judge.judgement import Verdict
from harness.judge.requirement import judge
from harness.model.observation import load
from suites.catalogue import catalogue
from suites.selftest.support.breakage import concerns

EARLIER = Path(__file__).parents[1] / "recorded" / "earlier"
NAMES = sorted(path.name for path in EARLIER.glob("*.json.gz"))
NOT_OBSERVED = {"NET-PACKETS", "RS-HORIZON", "RS-VERIFIED", "TR-PAYLOAD"}
"""Requirements about what the version that recorded them did not read: added since."""


def test_there_are_some() -> None:
    assert len(NAMES) == 4


@pytest.mark.parametrize("name", NAMES)
def test_a_good_mesh_recorded_earlier_is_still_good(name: str) -> None:
    observation = load(EARLIER / name)
    rows = (row for row in catalogue().values() if concerns(row, observation))
    verdicts = {row.id: judge(row, observation).verdict for row in rows}
    assert {row for row, verdict in verdicts.items() if verdict is not Verdict.PASS} <= NOT_OBSERVED
    assert {verdicts[row] for row in NOT_OBSERVED} <= {Verdict.SKIPPED, Verdict.PASS}
