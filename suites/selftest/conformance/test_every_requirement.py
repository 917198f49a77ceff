"""What holds for all requirements: good meshes pass, what isn't there is never passed, each is killed by a breakage."""

from collections.abc import Mapping
from itertools import chain

import pytest

from harness.judge.judgement import Verdict
from harness.judge.requirement import judge
from harness.model.cluster import ClusterObservation, Reading, ReadOutcome, Subject
from harness.model.experiment import IDS
from harness.model.observation import Observation
from harness.model.traffic import Probe, ProbeResult
from suites.catalogue import catalogue
from suites.selftest.conformance import (
    test_ambient,
    test_certificates,
    test_control_plane,
    test_experiments,
    test_gateways,
    test_gateways_exposure,
    test_traffic,
)
from suites.selftest.support.breakage import concerns, last, verdicts
from suites.selftest.support.good import TOPOLOGIES, good

MODULES = (
    test_certificates,
    test_control_plane,
    test_experiments,
    test_gateways_exposure,
    test_gateways,
    test_traffic,
)
REPORTED_ONLY = {"TR-LATENCY"}
BY_READING = {
    ReadOutcome.FORBIDDEN: Verdict.SKIPPED,
    ReadOutcome.UNREACHABLE: Verdict.BLOCKED,
    ReadOutcome.LOST: Verdict.UNKNOWN,
}


@pytest.mark.parametrize("installer", ["istioctl", "sail"])
@pytest.mark.parametrize("name", TOPOLOGIES)
def test_good_passes(name: str, installer: str) -> None:
    """Every requirement holds on a good mesh."""
    observation = good(TOPOLOGIES[name], installer)
    for row in catalogue().values():
        if concerns(row, observation):
            judgement = judge(row, observation)
            assert judgement.verdict is Verdict.PASS, judgement.explanation


def test_good_passes_verify_only(good_observations: Mapping[str, Observation]) -> None:
    """So they do where the mesh was there before; what only a run of one's own tells is not judged."""
    for observation in good_observations.values():
        asked = observation.asked.model_copy(update={"mode": "verify-only", "installer": "none", "istio_version": ""})
        none = {"asked": asked, "steps": (), "experiments": None, "cleanup": None}
        found = verdicts(observation.model_copy(update=none))
        assert {row for row, verdict in found.items() if verdict is not Verdict.PASS} == {"CLEAN", *IDS}


def test_each_is_killed(good_observations: Mapping[str, Observation]) -> None:
    """For every requirement that is judged there is a breakage, in a topology that is tried."""
    killed = {breakage.requirement for breakage in test_ambient.BREAKAGES}
    killed |= {
        breakage.requirement
        for breakage in chain.from_iterable(module.BREAKAGES for module in MODULES)
        if any(breakage.applies_to(observation.topology) for observation in good_observations.values())
    }
    assert set(catalogue()) - killed == REPORTED_ONLY


@pytest.mark.parametrize("outcome", BY_READING, ids=str)
def test_unread_is_not_judged(outcome: ReadOutcome, good_observations: Mapping[str, Observation]) -> None:
    """What could not be read of a cluster is skipped, blocked or unknown; it never fails and never passes."""
    for name in ("primary-remote-multi-network", "multi-primary-single-network"):
        observation = good_observations[name]
        for subject in Subject:
            reading = Reading(subject=subject, outcome=outcome)
            clusters = tuple(
                c.model_copy(update={"readings": (reading, *(r for r in c.readings if r.subject != subject))})
                for c in observation.clusters
            )
            found = verdicts(observation.model_copy(update={"clusters": clusters}))
            assert set(found.values()) <= {Verdict.PASS, Verdict.BLOCKED, BY_READING[outcome]}, subject


def test_api_server_down(good_observations: Mapping[str, Observation]) -> None:
    """A cluster of which nothing was read breaks no requirement's code; what depends on it is blocked."""
    readings = tuple(Reading(subject=subject, outcome=ReadOutcome.UNREACHABLE) for subject in Subject)
    for observation in good_observations.values():
        down = last(observation.topology).name
        clusters = tuple(
            ClusterObservation(name=c.name, context=c.context, api_server=c.api_server, readings=readings)
            if c.name == down
            else c
            for c in observation.clusters
        )
        probes = tuple(
            p.model_copy(update={"result": ProbeResult.TIMEOUT, "status": 0, "permissions": {}})
            if p.target == down
            else p
            for p in observation.probes
            if p.source != down
        )
        found = verdicts(observation.model_copy(update={"clusters": clusters, "probes": probes}))
        failed = {row for row, verdict in found.items() if verdict is Verdict.FAIL}
        assert "RS-USABLE" in failed
        assert failed <= {"RS-USABLE", "GW-REACHABLE", "NET-ROUTES"}
        assert Verdict.UNKNOWN not in found.values()


def test_nothing_observed(good_observations: Mapping[str, Observation]) -> None:
    """An observation without content passes nothing."""
    for observation in good_observations.values():
        clusters, hosts = (
            tuple(ClusterObservation(name=c.name, context=c.context, api_server=c.api_server) for c in known)
            for known in (observation.clusters, observation.hosts)
        )
        update = {
            "clusters": clusters,
            "hosts": hosts,
            "probes": (),
            "traffic": None,
            "experiments": None,
            "cleanup": None,
        }
        found = verdicts(observation.model_copy(update=update))
        assert not {Verdict.PASS, Verdict.FAIL} & set(found.values())


@pytest.mark.parametrize(
    ("result", "verdict"), [(ProbeResult.TRANSPORT, Verdict.UNKNOWN), (ProbeResult.NO_TOOL, Verdict.SKIPPED)]
)
def test_unsent_probes(result: ProbeResult, verdict: Verdict, good_observations: Mapping[str, Observation]) -> None:
    """A probe that could not be sent is no verdict on the mesh."""

    def unsent(probe: Probe) -> Probe:
        return probe.model_copy(update={"result": result, "certificates": (), "permissions": {}})

    for observation in good_observations.values():
        found = verdicts(observation.model_copy(update={"probes": tuple(map(unsent, observation.probes))}))
        assert set(found.values()) == {Verdict.PASS, verdict}


def test_missing_probes(good_observations: Mapping[str, Observation]) -> None:
    """Neither is one that was not sent."""
    for observation in good_observations.values():
        found = verdicts(observation.model_copy(update={"probes": ()}))
        assert Verdict.FAIL not in found.values()
        assert found["RS-USABLE"] is Verdict.UNKNOWN


def test_broken_exec(good_observations: Mapping[str, Observation]) -> None:
    """A sequence whose exec broke, or that came back empty, is unknown."""
    for observation in good_observations.values():
        traffic = observation.traffic
        assert traffic
        for update in ({"transport_error": "unable to upgrade connection"}, {"requests": ()}):
            broken = traffic.model_copy(
                update={
                    "coverage": tuple(s.model_copy(update=update) for s in traffic.coverage),
                    "distribution": tuple(s.model_copy(update=update) for s in traffic.distribution),
                }
            )
            found = verdicts(observation.model_copy(update={"traffic": broken}))
            assert found["TR-REACH"] is found["TR-NO-ERRORS"] is found["TR-NO-RETRIES"] is Verdict.UNKNOWN
            assert Verdict.FAIL not in found.values()


def test_documented() -> None:
    """Each requirement says why it matters and where it comes from, and is named by its id."""
    for row in catalogue().values():
        assert row.check.__name__ == "test_" + row.id.lower().replace("-", "_")
        assert row.title.endswith(".")
        assert "Source: " in row.text, row.id
