"""Conditions: what counts as overloaded, and that only what rests on time is unknown then."""

from collections.abc import Mapping
from datetime import UTC, datetime

import pytest

from harness.judge.evidence import Evidence
from harness.judge.judgement import Judgement, Level, Verdict
from harness.judge.requirement import Requirement, judge
from harness.model.cluster import ClusterObservation, DryRun
from harness.model.conditions import BUSY_TASKS, LITTLE_MEMORY, SLOW_ANSWER_SECONDS, Conditions, RoundTrip, RunnerSample
from harness.model.observation import Observation
from harness.model.traffic import ProbeKind, ProbeResult
from suites.catalogue import catalogue
from suites.conformance.common import timed_out

NOW = datetime(2026, 11, 28, tzinfo=UTC)


def _conditions(*tasks: float, same_machine: bool = True, memory: float = 0.0, seconds: float = 0.1) -> Conditions:
    runner = tuple(RunnerSample(at=NOW, tasks=each, cpu_pressure=50.0, memory_pressure=memory) for each in tasks)
    trip = RoundTrip(at=NOW, cluster="east", what="exec", seconds=seconds)
    return Conditions(same_machine=same_machine, processors=2, runner=runner, round_trips=(trip,))


@pytest.mark.parametrize(
    ("conditions", "said"),
    [
        (_conditions(1.0, 2.0, 1.5), ""),
        (_conditions(BUSY_TASKS, 100.0, 90.0, 30.0), "8 runnable tasks"),
        (_conditions(1.0, 1.0, 29.5, 13.5, 9.0), ""),
        (_conditions(100.0, same_machine=False), ""),
        (_conditions(1.0, memory=LITTLE_MEMORY), "memory 20 %"),
        (_conditions(1.0, seconds=SLOW_ANSWER_SECONDS), "east: exec answered after 1.0 s"),
        (_conditions(1.0, seconds=3.0, same_machine=False), "east: exec answered after 3.0 s"),
    ],
)
def test_strain(conditions: Conditions, said: str) -> None:
    """The load counts where the clusters share the machine, and bursts do not; a slow answer counts everywhere."""
    assert said in conditions.strain
    assert bool(conditions.strain) == bool(said)


def test_a_cluster_that_never_answers_is_no_strain() -> None:
    """It is down, or can't be reached."""
    trip = RoundTrip(at=NOW, cluster="east", what="API server", seconds=5.0, answered=False)
    assert not Conditions(same_machine=False, processors=2, round_trips=(trip,)).strain


def _judged(observation: Observation, timed: bool) -> Judgement:
    def check(_: Observation, evidence: Evidence) -> None:
        evidence.expect(True, object="o", field="f", expected=1, found=1, timed=timed)
        evidence.expect(False, object="o", field="f", expected=1, found="timeout", timed=timed)

    return judge(Requirement("ID", Level.MUST, "area", frozenset(), False, "Title.", check), observation)


def test_what_rests_on_time_is_unknown_when_overloaded(good_observations: Mapping[str, Observation]) -> None:
    """Neither failed nor passed; everything else is judged as always."""
    calm = next(iter(good_observations.values())).model_copy(update={"conditions": _conditions(1.0)})
    busy = calm.model_copy(update={"conditions": _conditions(BUSY_TASKS * 3)})
    assert (_judged(calm, True).verdict, _judged(calm, False).verdict) == (Verdict.FAIL, Verdict.FAIL)
    assert (_judged(busy, True).verdict, _judged(busy, False).verdict) == (Verdict.UNKNOWN, Verdict.FAIL)
    assert "overloaded: 24 runnable tasks" in _judged(busy, True).explanation
    assert "found timeout" in _judged(busy, True).explanation


def test_what_rests_on_a_wait_is_unknown_when_the_mesh_was_formed_overloaded(
    good_observations: Mapping[str, Observation],
) -> None:
    """The conditions while it was observed count as well: readiness probes have deadlines, too."""

    def check(_: Observation, evidence: Evidence) -> None:
        evidence.expect(False, object="o", field="f", expected="ready", found="not yet", waited=True)

    requirement = Requirement("ID", Level.MUST, "area", frozenset(), False, "Title.", check)
    good, calm, busy = next(iter(good_observations.values())), _conditions(1.0), _conditions(BUSY_TASKS * 3)

    def judged(observing: Conditions, forming: Conditions | None) -> Judgement:
        update = {"conditions": observing, "conditions_of_forming": forming}
        return judge(requirement, good.model_copy(update=update))

    assert judged(calm, busy).verdict is judged(busy, calm).verdict is judged(busy, None).verdict is Verdict.UNKNOWN
    assert "overloaded: while the mesh was formed: 24 runnable" in judged(calm, busy).explanation
    assert judged(calm, calm).verdict is judged(calm, None).verdict is Verdict.FAIL


def test_pods_that_have_only_started(good_observations: Mapping[str, Observation]) -> None:
    """Control plane, gateway, CNI plugin and sample: unknown under load; a pod that has failed at something fails."""
    good = good_observations["multi-primary-multi-network"]
    busy = good.model_copy(update={"conditions_of_forming": _conditions(BUSY_TASKS)})
    names = ("CP-READY", "CP-CNI-READY", "GW-AVAILABLE", "WL-PLACED", "WL-INJECTED")
    for state, reason, verdict in (
        ("running", "", Verdict.UNKNOWN),
        ("waiting", "ContainerCreating", Verdict.UNKNOWN),
        ("waiting", "ImagePullBackOff", Verdict.FAIL),
    ):
        unready = busy.model_copy(update={"clusters": tuple(_unready(each, state, reason) for each in busy.clusters)})
        assert {name: judge(catalogue()[name], unready).verdict for name in names} == dict.fromkeys(names, verdict)
        calm = unready.model_copy(update={"conditions_of_forming": _conditions(1.0)})
        assert {judge(catalogue()[name], calm).verdict for name in names} == {Verdict.FAIL}


def test_a_control_plane_that_has_only_started_refuses_pods(good_observations: Mapping[str, Observation]) -> None:
    """The webhook has no endpoint and no bundle then: nothing fails on the remote, either."""
    good = good_observations["primary-remote-multi-network"]
    refused = DryRun(injected=False, error="failed calling webhook: no endpoints available")
    clusters = [_unready(each, "running", "") for each in good.clusters]
    busy = good.model_copy(
        update={
            "conditions_of_forming": _conditions(BUSY_TASKS),
            "clusters": tuple(each.model_copy(update={"dry_run": refused}) for each in clusters),
        }
    )
    for name in ("CP-READY", "CP-INJECTION-WEBHOOK"):
        assert judge(catalogue()[name], busy).verdict is Verdict.UNKNOWN
        calm = busy.model_copy(update={"conditions_of_forming": _conditions(1.0)})
        assert judge(catalogue()[name], calm).verdict is Verdict.FAIL


def _unready(cluster: ClusterObservation, state: str, reason: str) -> ClusterObservation:
    """The cluster with no pod ready, and no workload available."""
    unready = {"ready": False, "state": state, "reason": reason}
    pods = tuple(
        pod.model_copy(
            update={"ready": False, "containers": tuple(each.model_copy(update=unready) for each in pod.containers)}
        )
        for pod in cluster.pods
    )
    workloads = tuple(each.model_copy(update={"ready": 0, "conditions": ()}) for each in cluster.workloads)
    return cluster.model_copy(update={"pods": pods, "workloads": workloads, "proxies": ()})


def test_probes_that_ran_out_of_time(good_observations: Mapping[str, Observation]) -> None:
    """Every requirement that judges a probe takes a timeout under load for unknown, and a refusal for a failure."""
    good = good_observations["multi-primary-multi-network"]
    changed = 0
    for result, verdict in ((ProbeResult.TIMEOUT, Verdict.UNKNOWN), (ProbeResult.REFUSED, Verdict.FAIL)):
        probes = tuple(
            probe.model_copy(update={"result": result, "detail": "", "certificates": ()})
            if probe.kind in {ProbeKind.TCP, ProbeKind.TLS, ProbeKind.API_SERVER}
            else probe
            for probe in good.probes
        )
        busy = good.model_copy(update={"probes": probes, "conditions": _conditions(BUSY_TASKS)})
        for name in ("GW-REACHABLE", "GW-DATAPATH", "RS-USABLE"):
            assert judge(catalogue()[name], busy).verdict is verdict, name
            changed += sum(timed_out(probe) for probe in probes)
    assert changed
