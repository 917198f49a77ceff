"""Every fault on a good observation of every topology: exactly what must notice it does, and its cause is named."""

from collections.abc import Iterable, Mapping

import pytest

from harness.catalogue import catalogue
from harness.diagnose import diagnose
from harness.diagnose.registry import detectors
from harness.faults.fault import Fault
from harness.faults.mutations import faults
from harness.model.observation import Observation
from harness.requirement import Judgement, Verdict, judge
from harness.topology import ControlPlaneModel, NetworkModel, Topology, preset
from suites.selftest.good_experiments import good_experiments

BROKEN = {Verdict.FAIL, Verdict.BLOCKED}
TOPOLOGIES = tuple(preset(planes, network) for planes in ControlPlaneModel for network in NetworkModel)
NEVER_JUDGED = {"TR-LATENCY"}
PAIRS = (
    ("secret-missing", "cni-uncovered-node"),
    ("gateway-no-address", "root-differs-remote"),
    ("gateway-down", "network-unlabelled"),
    ("control-plane-clusters", "gateway-unlabelled"),
    ("webhook-not-serving", "secret-powerless"),
    ("intermediate-expires-soon", "secret-missing"),
    ("key-mismatch", "left-behind"),
    ("cluster-local", "secret-powerful"),
    ("mesh-ids-differ", "gateway-filtered-15443"),
    ("external-off", "version-mixed"),
    ("not-idempotent", "intermediate-no-pathlen"),
)


def _judgements(observation: Observation) -> tuple[Judgement, ...]:
    topology = observation.topology
    return tuple(judge(row, observation) for row in catalogue().values() if row.applies_to(topology))


def _whole(observation: Observation) -> Observation:
    """With experiments, where the recording has none."""
    if observation.experiments is not None:
        return observation
    return observation.model_copy(update={"experiments": good_experiments(observation)})


def _applying(topologies: Iterable[Topology]) -> list[tuple[Fault, str]]:
    return [(fault, topology.name) for topology in topologies for fault in faults().values() if fault.where(topology)]


@pytest.mark.parametrize(
    ("fault", "topology"), [pytest.param(*case, id=f"{case[0].id}-{case[1]}") for case in _applying(TOPOLOGIES)]
)
def test_fault_is_caught(fault: Fault, topology: str, good_observations: Mapping[str, Observation]) -> None:
    """Exactly what is declared fails or is blocked, and the fault's cause is the only one named."""
    good = _whole(good_observations[topology])
    broken = fault.apply(good)
    judgements = _judgements(broken)
    verdicts = {judgement.id: judgement.verdict for judgement in judgements}
    declared = fault.expected(good.topology).keys() & verdicts.keys()

    assert {row for row, verdict in verdicts.items() if verdict in BROKEN} == declared
    assert Verdict.UNKNOWN not in verdicts.values()
    failed = {row for row, verdict in verdicts.items() if verdict is Verdict.FAIL}
    assert fault.must_fail & verdicts.keys() <= failed
    assert not fault.one_of or fault.one_of & failed
    causes = diagnose(broken, judgements)
    assert {cause.id for cause in causes} == {fault.cause}
    assert declared == {row for cause in causes for row in cause.explains}
    for cause in causes:
        assert all((cause.title, cause.object, cause.field, cause.expected, cause.found, cause.repair))
        assert len(cause.evidence) <= 6


@pytest.mark.parametrize("topology", [topology.name for topology in TOPOLOGIES])
@pytest.mark.parametrize(("one", "other"), PAIRS)
def test_two_faults_give_two_causes(
    one: str, other: str, topology: str, good_observations: Mapping[str, Observation]
) -> None:
    """Independent faults are both named, and nothing else is."""
    first, second = faults()[one], faults()[other]
    good = _whole(good_observations[topology])
    if not (first.where(good.topology) and second.where(good.topology)):
        return
    broken = second.apply(first.apply(good))
    assert {cause.id for cause in diagnose(broken, _judgements(broken))} == {first.cause, second.cause}


def test_each_pair_applies_somewhere() -> None:
    """No pair is left out everywhere."""
    for one, other in PAIRS:
        assert any(faults()[one].where(t) and faults()[other].where(t) for t in TOPOLOGIES), (one, other)


def test_every_requirement_is_killed_and_every_fault_caught(good_observations: Mapping[str, Observation]) -> None:
    """A requirement that no fault can fail checks nothing; a fault that fails none is not seen."""
    killed: set[str] = set()
    for topology in TOPOLOGIES:
        applies = {row.id for row in catalogue().values() if row.applies_to(topology)}
        killed |= {row for fault in faults().values() if fault.where(topology) for row in fault.must_fail & applies}
        killed |= _one_of_killed(good_observations[topology.name], applies)
    assert set(catalogue()) - killed == NEVER_JUDGED
    assert all(fault.must_fail <= catalogue().keys() for fault in faults().values())


def _one_of_killed(good: Observation, applies: set[str]) -> set[str]:
    """Requirements that are declared as one of several: which of them a fault really fails."""
    several = [fault for fault in faults().values() if fault.one_of and fault.where(good.topology)]
    return {
        judgement.id
        for fault in several
        for judgement in _judgements(fault.apply(good))
        if judgement.id in fault.one_of & applies and judgement.verdict is Verdict.FAIL
    }


def test_every_cause_is_known() -> None:
    """A fault names a cause that is declared, and requirements that are in the catalogue."""
    known = {detector.id for detector in detectors()}
    for fault in faults().values():
        assert fault.cause in known, fault.id
        reasons = [consequence.reason for consequence in fault.consequences]
        assert all(reason and "\n" not in reason for reason in reasons), fault.id
