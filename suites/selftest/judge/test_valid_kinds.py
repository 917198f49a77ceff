"""Valid meshes of others stay green, and no cause is named of them."""

import pytest

from harness.judge.diagnose import diagnose
from harness.judge.judgement import Judgement, Verdict
from harness.judge.requirement import judge
from harness.model.observation import Observation
from suites.catalogue import catalogue
from suites.selftest.support.valid_kinds import (
    KINDS,
    PRIMARIES,
    PRIMARIES_NEAR,
    REMOTE,
    REMOTE_NEAR,
    Base,
    Kind,
    without_cni,
    without_sample,
)

GREEN = {Verdict.PASS, Verdict.SKIPPED, Verdict.NOT_APPLICABLE}


def _judged(observation: Observation) -> tuple[Judgement, ...]:
    rows = (row for row in catalogue().values() if row.applies_to(observation.topology) and not row.experiment)
    return tuple(judge(row, observation) for row in rows if not (row.scenario or row.id == "CLEAN"))


@pytest.mark.parametrize(
    ("base", "kind"),
    KINDS,
    ids=[f"{kind.__name__}-{base.file.partition('.')[0].rpartition('/')[2]}" for base, kind in KINDS],
)
def test_a_valid_mesh_is_green(base: Base, kind: Kind) -> None:
    observation = kind(base.observation())
    judgements = _judged(observation)
    assert {each.id: each.explanation for each in judgements if each.verdict not in GREEN} == {}
    assert diagnose(observation, judgements) == ()
    assert sum(each.verdict is Verdict.PASS for each in judgements) >= 30


@pytest.mark.parametrize("base", [PRIMARIES, PRIMARIES_NEAR, REMOTE, REMOTE_NEAR], ids=str)
def test_a_mesh_without_a_sample_is_green(base: Base) -> None:
    """What can be seen without traffic is judged; the rest is not applicable, and blocks nothing."""
    observation = without_sample(base.observation())
    judgements = _judged(observation)
    assert {each.id: each.explanation for each in judgements if each.verdict not in GREEN} == {}
    assert diagnose(observation, judgements) == ()
    assert sum(each.verdict is Verdict.PASS for each in judgements) >= 20


def test_the_plugin_is_judged_only_where_there_is_one() -> None:
    row = catalogue()["CP-CNI-READY"]
    assert judge(row, without_cni(PRIMARIES.observation())).verdict is Verdict.NOT_APPLICABLE
    assert judge(row, PRIMARIES.observation()).verdict is Verdict.PASS
