"""Every fault on a good observation of every topology: exactly what must notice it does, and its cause is named."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

import pytest

from harness.judge.diagnose import diagnose
from harness.judge.diagnose.registry import detectors
from harness.judge.judgement import Verdict
from harness.model.data_plane import DataPlane
from harness.model.observation import Observation
from harness.model.topology import ControlPlaneModel, NetworkModel, Topology, preset
from harness.proof.faults.fault import Fault
from harness.proof.faults.mutations import faults
from suites.catalogue import catalogue
from suites.selftest.support.ambient import ambient
from suites.selftest.support.good_experiments import good_experiments
from suites.selftest.support.judgements import judged

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


def _whole(observation: Observation) -> Observation:
    """With experiments, where the recording has none."""
    if observation.experiments is not None:
        return observation
    return observation.model_copy(update={"experiments": good_experiments(observation)})


def _applying(topologies: Iterable[Topology]) -> list[tuple[Fault, str]]:
    mutable = [fault for fault in faults().values() if fault.mutate and DataPlane.SIDECAR in fault.planes]
    return [(fault, topology.name) for topology in topologies for fault in mutable if fault.where(topology)]


@pytest.mark.parametrize(
    ("fault", "topology"), [pytest.param(*case, id=f"{case[0].id}-{case[1]}") for case in _applying(TOPOLOGIES)]
)
def test_fault_is_caught(fault: Fault, topology: str, good_observations: Mapping[str, Observation]) -> None:
    """Exactly what is declared fails or is blocked, and the fault's cause is the only one named."""
    _assert_caught(fault, _whole(good_observations[topology]))


def _assert_caught(fault: Fault, good: Observation) -> None:
    broken = fault.apply(good)
    judgements = judged(broken)
    verdicts = {judgement.id: judgement.verdict for judgement in judgements}
    declared = fault.expected(good.topology).keys() & verdicts.keys()

    assert {row for row, verdict in verdicts.items() if verdict in BROKEN} == declared
    assert Verdict.UNKNOWN not in verdicts.values(), [
        (j.id, j.explanation) for j in judgements if j.verdict is Verdict.UNKNOWN
    ]
    failed = {row for row, verdict in verdicts.items() if verdict is Verdict.FAIL}
    assert fault.must_fail & verdicts.keys() <= failed
    assert not fault.one_of or fault.one_of & failed
    causes = diagnose(broken, judgements)
    assert {cause.id for cause in causes} == {fault.cause}
    assert declared == {row for cause in causes for row in cause.explains}
    for cause in causes:
        assert all((cause.title, cause.object, cause.field, cause.expected, cause.found, cause.repair))
        assert len(cause.evidence) <= 6


OF_AMBIENT = [fault for fault in faults().values() if DataPlane.AMBIENT in fault.planes and fault.mutate]


@pytest.mark.parametrize("fault", OF_AMBIENT, ids=lambda fault: fault.id)
def test_fault_of_ambient_is_caught(fault: Fault) -> None:
    """So it is on a mesh of ztunnels."""
    _assert_caught(fault, ambient())


def _pairs(topology: Topology) -> list[tuple[Fault, Fault]]:
    """The pairs that apply to a topology."""
    pairs = [(faults()[one], faults()[other]) for one, other in PAIRS]
    return [(one, other) for one, other in pairs if one.where(topology) and other.where(topology)]


@pytest.mark.parametrize(
    ("one", "other", "topology"),
    [
        pytest.param(*pair, topology.name, id=f"{pair[0].id}-{pair[1].id}-{topology.name}")
        for topology in TOPOLOGIES
        for pair in _pairs(topology)
    ],
)
def test_two_faults_give_two_causes(
    one: Fault, other: Fault, topology: str, good_observations: Mapping[str, Observation]
) -> None:
    """Independent faults are both named, and nothing else is."""
    broken = other.apply(one.apply(_whole(good_observations[topology])))
    assert {cause.id for cause in diagnose(broken, judged(broken))} == {one.cause, other.cause}


@pytest.mark.parametrize("topology", TOPOLOGIES, ids=lambda topology: topology.name)
def test_pairs_are_independent(topology: Topology) -> None:
    """In each topology there are five pairs; neither fault is a consequence of the other, nor proven by the same."""
    pairs = _pairs(topology)
    assert len(pairs) >= 5
    for one, other in pairs:
        assert one.cause != other.cause
        assert not one.must_fail & other.must_fail
        assert (
            not one.must_fail <= other.expected(topology).keys() or not other.must_fail <= one.expected(topology).keys()
        )


def _gaps(table: Mapping[str, Fault], good_observations: Mapping[str, Observation]) -> tuple[set[str], set[str]]:
    """The requirements that no fault fails, and the faults that fail none."""
    killed: set[str] = set()
    for topology in TOPOLOGIES:
        applies = {row.id for row in catalogue().values() if row.applies_to(topology)}
        there = [fault for fault in table.values() if fault.where(topology)]
        killed |= {row for fault in there for row in fault.must_fail & applies}
        killed |= _one_of_killed(there, good_observations[topology.name], applies)
    unseen = {fault.id for fault in table.values() if not (fault.must_fail | fault.one_of) & catalogue().keys()}
    return set(catalogue()) - killed, unseen


def test_every_requirement_is_killed_and_every_fault_caught(good_observations: Mapping[str, Observation]) -> None:
    """A requirement that no fault can fail checks nothing; a fault that fails none is not seen."""
    assert _gaps(faults(), good_observations) == (NEVER_JUDGED, set())
    assert all(fault.must_fail <= catalogue().keys() for fault in faults().values())


def test_the_gate_closes(good_observations: Mapping[str, Observation]) -> None:
    """Without the faults that fail NET-LABEL, and with one that nobody notices, it says so."""
    without = {name: fault for name, fault in faults().items() if "NET-LABEL" not in fault.must_fail}
    unseen = replace(next(iter(without.values())), id="unseen", must_fail=frozenset(), one_of=frozenset())
    unkilled, uncaught = _gaps({**without, "unseen": unseen}, good_observations)
    assert "NET-LABEL" in unkilled - NEVER_JUDGED
    assert uncaught == {"unseen"}


def _one_of_killed(table: Iterable[Fault], good: Observation, applies: set[str]) -> set[str]:
    """Requirements that are declared as one of several: which of them a fault really fails."""
    several = [fault for fault in table if fault.one_of and fault.mutate]
    return {
        judgement.id
        for fault in several
        for judgement in judged(fault.apply(good))
        if judgement.id in fault.one_of & applies and judgement.verdict is Verdict.FAIL
    }


def test_every_cause_is_known() -> None:
    """A fault names a cause that is declared, and requirements that are in the catalogue."""
    known = {detector.id for detector in detectors()}
    for fault in faults().values():
        assert fault.cause in known, fault.id
        reasons = [consequence.reason for consequence in fault.consequences]
        assert all(reason and "\n" not in reason for reason in reasons), fault.id
