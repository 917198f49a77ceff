"""A good mesh gives no alarm, a broken one does, and both are told."""

from collections.abc import Mapping

from harness.model.observation import Observation
from harness.proof.faults.mutations import faults
from harness.proof.soak import NOT_WHILE_IT_STANDS, Soak, markdown, repetition
from suites.catalogue import every_requirement

ROWS = every_requirement().values()


def test_alarms_are_whatever_is_not_a_pass(good_observations: Mapping[str, Observation]) -> None:
    good = good_observations["primary-remote-multi-network"].model_copy(update={"cleanup": None})
    fine = repetition(good, ROWS, 1, 10.0)
    assert fine.judged > 45
    assert fine.alarms == ()
    fewer = repetition(good.model_copy(update={"experiments": None}), ROWS, 2, 10.0)
    assert 40 < fewer.judged < fine.judged
    assert fewer.alarms == ()
    wrong = repetition(faults()["secret-missing"].apply(good), ROWS, 3, 10.0)
    assert "RS-PRESENT" in {alarm.requirement for alarm in wrong.alarms}
    assert not NOT_WHILE_IT_STANDS & {alarm.requirement for alarm in wrong.alarms}
    told = markdown([Soak(topology="one", repetitions=(fine, fewer)), Soak(topology="two", repetitions=(wrong,))])
    assert "| one | 2 |" in told
    assert "77.6%" in told
    assert "two, repetition 3: RS-PRESENT fail" in told
