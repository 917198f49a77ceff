"""Faults on live clusters, without any: what is compared, chosen, waited for and written."""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from itertools import groupby
from operator import itemgetter
from pathlib import Path

import pytest

from harness.base.errors import StepError, UserError
from harness.judge.diagnose.cause import Cause
from harness.judge.judgement import Finding, Judgement, Level, Reservation, Verdict
from harness.model.observation import Observation
from harness.model.step import Phase
from harness.model.step_log import StepLog
from harness.model.topology import CHAPTER_MODELS, ControlPlaneModel, NetworkModel, preset
from harness.proof.faults.edit import pods
from harness.proof.faults.fault import Consequence, Fault
from harness.proof.faults.mutations import faults
from harness.proof.faults.selection import experiments_of, select
from harness.proof.faults.trial import Notice, Trial, TrialResult, compare
from harness.proof.live.live_mesh import LiveMesh
from harness.proof.live.whole import await_whole, pending
from suites.catalogue import catalogue
from suites.selftest.support import sessions
from suites.selftest.support.good import TOPOLOGIES

TOPOLOGY = preset(ControlPlaneModel.PRIMARY_REMOTE, NetworkModel.MULTI)
ROWS = tuple(catalogue().values())
CAUSE = Cause(
    id="chain-incomplete", title="T", cluster="west", object="o", field="f", expected="e", found="g", repair="r"
)


@contextmanager
def no_act(_live: LiveMesh) -> Iterator[None]:
    yield


def _fault(**fields: object) -> Fault:
    return replace(faults()["discovery-address-stale"], cause=CAUSE.id, act=no_act, **fields)  # type: ignore[arg-type]


def _judgement(row: str, verdict: Verdict) -> Judgement:
    finding = Finding(cluster="west", object="o", field="f", expected="e", found="g")
    reservation = Reservation(verdict=verdict, reason="blocked by X: because") if verdict is not Verdict.FAIL else None
    return Judgement(
        id=row,
        level=Level.MUST,
        area="a",
        title="t",
        verdict=verdict,
        findings=(finding,) if verdict is Verdict.FAIL else (),
        reservations=(reservation,) if reservation and verdict is not Verdict.PASS else (),
    )


def _as_declared(fault: Fault) -> dict[str, Verdict]:
    """Verdicts on the whole catalogue that are just what a fault declares."""
    declared = fault.expected(TOPOLOGY)
    verdicts = {row: Verdict.BLOCKED if row in declared else Verdict.PASS for row in catalogue()}
    return verdicts | dict.fromkeys(fault.must_fail | fault.one_of, Verdict.FAIL)


def _compared(fault: Fault, verdicts: Mapping[str, Verdict], *causes: Cause) -> Trial:
    return compare(fault, TOPOLOGY, [_judgement(*each) for each in verdicts.items()], causes or (CAUSE,))


def test_exactly_what_is_declared_is_caught() -> None:
    fault = _fault()
    trial = _compared(fault, _as_declared(fault))
    assert (trial.result, trial.problems, trial.caught, trial.cause_named) == (TrialResult.CAUGHT, (), True, True)
    assert trial.notices.keys() == fault.expected(TOPOLOGY).keys()
    assert trial.notices["CP-REMOTE-PROFILE"] is Notice.FAILED
    assert trial.notices["TR-REACH"] is Notice.BLOCKED
    assert not trial.explanations


@pytest.mark.parametrize(
    ("row", "verdict", "notice"),
    [
        ("CP-REMOTE-PROFILE", Verdict.BLOCKED, Notice.MISSED),
        ("CP-REMOTE-PROFILE", Verdict.PASS, Notice.MISSED),
        ("TR-REACH", Verdict.PASS, Notice.MISSED),
        ("TR-REACH", Verdict.SKIPPED, Notice.MISSED),
        ("CERT-CHAIN", Verdict.FAIL, Notice.COLLATERAL),
        ("CERT-CHAIN", Verdict.BLOCKED, Notice.COLLATERAL),
    ],
)
def test_anything_else_is_said_plainly(row: str, verdict: Verdict, notice: Notice) -> None:
    fault = _fault()
    trial = _compared(fault, {**_as_declared(fault), row: verdict})
    assert trial.notices[row] is notice
    assert trial.problems == (f"{notice}: {row}",)
    assert trial.result is TrialResult.NOT_AS_DECLARED
    assert trial.caught is (notice is not Notice.MISSED)
    assert row in trial.explanations


def test_a_consequence_that_another_data_plane_does_not_have_is_not_missed() -> None:
    """What must fail is, whatever the verdict."""
    fault = _fault()
    trial = _compared(fault, {**_as_declared(fault), "TR-REACH": Verdict.NOT_APPLICABLE})
    assert (trial.result, "TR-REACH" in trial.notices) == (TrialResult.CAUGHT, False)
    trial = _compared(fault, {**_as_declared(fault), "CP-REMOTE-PROFILE": Verdict.NOT_APPLICABLE})
    assert trial.problems == (f"{Notice.MISSED}: CP-REMOTE-PROFILE",)


@pytest.mark.parametrize("row", ["CERT-CHAIN", "TR-REACH"])
def test_what_could_not_be_judged_is_the_suites_failure(row: str) -> None:
    fault = _fault()
    trial = _compared(fault, {**_as_declared(fault), row: Verdict.UNKNOWN})
    assert (trial.notices[row], trial.error, trial.problems) == (Notice.UNKNOWN, f"unknown: {row}", ())
    assert trial.result is TrialResult.UNKNOWN
    assert not trial.caught
    # Without the verdict its cause may not be found either: that is no difference of the fault.
    other = CAUSE.model_copy(update={"id": "gateway-down"})
    assert _compared(fault, {**_as_declared(fault), row: Verdict.UNKNOWN}, other).result is TrialResult.UNKNOWN


def test_one_of_several_must_fail() -> None:
    fault = _fault(one_of=frozenset({"GW-ADDRESS", "GW-AVAILABLE"}))
    verdicts = _as_declared(fault)
    assert _compared(fault, {**verdicts, "GW-ADDRESS": Verdict.PASS}).result is TrialResult.CAUGHT
    neither = {**verdicts, "GW-ADDRESS": Verdict.PASS, "GW-AVAILABLE": Verdict.BLOCKED}
    assert _compared(fault, neither).problems == ("missed: none of GW-ADDRESS, GW-AVAILABLE failed",)


def test_what_follows_by_chance_may_be_absent() -> None:
    """Whether it fails or not; what must fail, and what follows for certain, must."""
    chance = Consequence(("GW-DATAPATH", "CP-REMOTE-PROFILE"), "as the gateway chooses", by_chance=True)
    fault = _fault(consequences=(*_fault().consequences, chance))
    verdicts = _as_declared(fault)
    for verdict in (Verdict.FAIL, Verdict.BLOCKED, Verdict.PASS):
        assert _compared(fault, {**verdicts, "GW-DATAPATH": verdict}).result is TrialResult.CAUGHT
    for row in ("CP-REMOTE-PROFILE", "TR-REACH"):
        assert _compared(fault, {**verdicts, row: Verdict.PASS}).problems == (f"missed: {row}",)


def test_the_first_cause_counts() -> None:
    fault, other = _fault(), CAUSE.model_copy(update={"id": "gateway-down"})
    verdicts = _as_declared(fault)
    assert _compared(fault, verdicts, CAUSE, other).result is TrialResult.CAUGHT
    late = _compared(fault, verdicts, other, CAUSE)
    assert late.problems == ("wrong cause: gateway-down, chain-incomplete was named instead of chain-incomplete",)


def test_what_could_not_be_made_or_mended_is_unknown() -> None:
    fault = _fault()
    trial = _compared(fault, _as_declared(fault))
    assert trial.model_copy(update={"mended": False}).result is TrialResult.UNKNOWN
    assert trial.model_copy(update={"error": "no act"}).result is TrialResult.UNKNOWN
    wrong = _compared(fault, {**_as_declared(fault), "TR-REACH": Verdict.PASS})
    assert wrong.model_copy(update={"mended": False}).result is TrialResult.NOT_AS_DECLARED


def test_faults_are_chosen_by_topology_and_id() -> None:
    single = preset(ControlPlaneModel.MULTI_PRIMARY, NetworkModel.SINGLE)
    known = {name: replace(fault, act=no_act if fault.live else None) for name, fault in faults().items()}
    everything = select(known, single)
    assert {fault.id for fault in everything} == {f.id for f in known.values() if f.live and f.where(single)}
    assert everything[-1].id == "left-behind"
    assert [fault.id for fault in select(known, single, {"key-mismatch", "external-off"})] == ["key-mismatch"]
    for wrong, why in (("root-weak", "recorded observations only"), ("no-such", "no fault of that id")):
        with pytest.raises(UserError, match=why):
            select(known, single, {wrong})


def test_every_fault_of_a_topology_comes_before_the_next_topology(tmp_path: Path) -> None:
    """A mesh is formed once; what removes it comes last."""
    arguments = ["suites/faults", "--topology=all", "--network=all", "--collect-only", "-q", f"--output={tmp_path}"]
    status, shown = sessions.run(arguments, tmp_path / "said")
    assert status == 0, shown
    presets = [preset(planes, network) for planes in CHAPTER_MODELS for network in NetworkModel]
    found = re.findall(rf"\[({'|'.join(topology.name for topology in presets)})-([a-z0-9-]+)\]", shown)
    wanted = {topology.name: [fault.id for fault in select(faults(), topology)] for topology in presets}
    for name, trials in groupby(found, key=itemgetter(0)):
        assert [fault for _, fault in trials] == wanted.pop(name)
    assert not wanted


def test_experiments_are_made_only_for_faults_that_concern_them() -> None:
    made = {name: experiments_of(fault) for name, fault in faults().items() if experiments_of(fault)}
    assert made == {
        "tcp-broken": {"TR-TCP"},
        "payload-lost": {"TR-PAYLOAD"},
        "grpc-broken": {"TR-GRPC"},
        "plaintext-accepted": {"MTLS-STRICT"},
        "authz-missing": {"AUTHZ-IDENTITY"},
    }


@pytest.mark.parametrize("topology", [name for name in TOPOLOGIES if name.endswith("-network")])
def test_a_good_mesh_is_whole_though_nothing_was_sent(
    topology: str, good_observations: Mapping[str, Observation]
) -> None:
    observation = good_observations[topology]
    silent = observation.model_copy(update={"probes": (), "traffic": None, "experiments": None, "cleanup": None})
    assert pending(observation, ROWS) == pending(silent, ROWS) == ()


def test_what_is_not_whole_is_named(good_observations: Mapping[str, Observation]) -> None:
    good = good_observations[TOPOLOGY.name].model_copy(update={"probes": (), "traffic": None})
    east, sleep = good.topology.clusters[0], good["east"].pods_with("sample", app="sleep")[0]
    going = pods(good, east, lambda pod: pod.model_copy(update={"deleting": pod.name == sleep.name}))
    assert f"east: pod sample/{sleep.name} is terminating" in pending(going, ROWS)
    unready = pods(good, east, lambda pod: pod.model_copy(update={"ready": pod.ready and pod.name != sleep.name}))
    assert f"east: pod sample/{sleep.name} is not ready" in pending(unready, ROWS)
    broken = faults()["network-unlabelled"].apply(good_observations[TOPOLOGY.name])
    assert any(line.startswith("NET-LABEL: ") for line in pending(broken, ROWS))


def test_the_wait_ends_when_nothing_is_pending_or_says_what_is(
    good_observations: Mapping[str, Observation], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.proof.live.whole.PAUSE_SECONDS", 0.0)
    good = good_observations[TOPOLOGY.name]
    broken = faults()["chain-incomplete"].apply(good)
    looks, sent = iter([broken, broken, good]), list[bool]()

    def look(whole: Callable[[Observation], bool]) -> Observation:
        seen = next(looks)
        sent.append(whole(seen))
        return seen

    with StepLog().step(Phase.FAULTS, "wait") as step:
        assert await_whole(look, ROWS, 60, step) is good
        assert sent == [False, False, True]
        looks = iter([broken])
        with pytest.raises(StepError, match=r"not whole after 0 s: CERT-CHAIN: .*"):
            await_whole(look, ROWS, 0, step)


def test_every_live_fault_has_an_act_and_no_other() -> None:
    """A fault that is said to be made on live clusters can be."""
    live = {fault.id for fault in faults().values() if fault.live}
    assert {fault.id for fault in faults().values() if fault.act} == live
