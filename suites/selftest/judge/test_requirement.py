"""How evidence becomes a verdict."""

from collections.abc import Callable, Mapping

import pytest

from harness.judge.evidence import Evidence
from harness.judge.judgement import Level, Verdict
from harness.judge.requirement import Requirement, judge
from harness.model.mesh_features import MeshFeature
from harness.model.observation import Observation


def _judged(observation: Observation, check: Callable[[Observation, Evidence], None]) -> Verdict:
    return judge(Requirement("ID", Level.MUST, "area", frozenset(), False, "Title.", check), observation).verdict


def _expect(evidence: Evidence, holds: bool) -> None:
    evidence.expect(holds, object="o", field="f", expected=1, found=2)


@pytest.fixture
def observation(good_observations: Mapping[str, Observation]) -> Observation:
    """Any observation."""
    return next(iter(good_observations.values()))


def test_precedence(observation: Observation) -> None:
    """Fail before unknown, before blocked, before skipped, before pass, before not applicable."""
    notes: tuple[tuple[Verdict, Callable[[Evidence], None]], ...] = (
        (Verdict.FAIL, lambda evidence: _expect(evidence, False)),
        (Verdict.UNKNOWN, lambda evidence: evidence.unknown("why")),
        (Verdict.BLOCKED, lambda evidence: evidence.blocked("OTHER", "why")),
        (Verdict.SKIPPED, lambda evidence: evidence.skipped("why")),
        (Verdict.PASS, lambda evidence: _expect(evidence, True)),
        (Verdict.NOT_APPLICABLE, lambda evidence: evidence.not_applicable("why")),
    )
    for index, (verdict, _) in enumerate(notes):

        def check(_: Observation, evidence: Evidence, start: int = index) -> None:
            for _verdict, note in reversed(notes[start:]):
                note(evidence)

        assert _judged(observation, check) is verdict


def test_feature_that_the_mesh_lacks(observation: Observation) -> None:
    """Its check is not called, and the first feature that is missing is named; an installed mesh has them all."""
    needs = (MeshFeature.SAMPLE, MeshFeature.OPERATOR, MeshFeature.PLUGGED_IN_CA)
    row = Requirement("ID", Level.MUST, "area", frozenset(), False, "Title.", _fails, needs=needs)
    clusters = tuple(each.model_copy(update={"sail": ()}) for each in observation.clusters)
    foreign = observation.model_copy(
        update={"asked": observation.asked.model_copy(update={"mode": "verify-only"}), "clusters": clusters}
    )

    found = judge(row, foreign)

    assert found.verdict is Verdict.NOT_APPLICABLE
    assert found.explanation == f"not applicable: needs {MeshFeature.OPERATOR}"
    assert judge(row, observation).verdict is Verdict.FAIL


def _fails(_observation: Observation, evidence: Evidence) -> None:
    _expect(evidence, False)


def test_vacuous_is_unknown(observation: Observation) -> None:
    """A requirement that examined nothing is not passed."""
    assert _judged(observation, lambda _observation, _evidence: None) is Verdict.UNKNOWN


def test_exception_is_unknown(observation: Observation) -> None:
    """A bug in a check is the suite's failure, not the mesh's."""

    def check(_observation: Observation, _evidence: Evidence) -> None:
        raise KeyError("bug")

    assert _judged(observation, check) is Verdict.UNKNOWN


def test_finding_outlives_exception(observation: Observation) -> None:
    """What was found before a bug struck still counts."""

    def check(_observation: Observation, evidence: Evidence) -> None:
        _expect(evidence, False)
        raise KeyError("bug")

    assert _judged(observation, check) is Verdict.FAIL
