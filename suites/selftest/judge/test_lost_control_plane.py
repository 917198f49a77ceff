"""A primary whose istiod was deleted is named as such, and is not taken for a remote."""

import pytest

from harness.judge.diagnose import diagnose
from harness.judge.judgement import Verdict
from harness.judge.requirement import judge
from harness.model import expectations
from harness.model.observation import Observation
from harness.model.topology import Cluster
from harness.observe import discovery
from suites.catalogue import catalogue
from suites.selftest.support.breakage import on
from suites.selftest.support.valid_kinds import PRIMARIES, REMOTE, Base, east, west


def _lost(observation: Observation, cluster: Cluster) -> Observation:
    """The Deployment istiod of a cluster was deleted some time ago."""
    observed = observation[cluster]
    istiod = expectations.istiod_workloads(observed)
    pods = {pod.name for pod in expectations.istiod_pods(observed)}
    services = tuple(
        each.model_copy(update={"ready_endpoints": ()}) if each.name == "istiod" else each for each in observed.services
    )
    return on(
        observation,
        cluster,
        workloads=tuple(each for each in observed.workloads if each not in istiod),
        pods=tuple(pod for pod in observed.pods if pod.name not in pods),
        services=services,
        control_planes=(),
    )


@pytest.mark.parametrize("base", [PRIMARIES, REMOTE], ids=str)
def test_the_primary_is_named(base: Base) -> None:
    good = base.observation()
    cluster = west(good) if base is PRIMARIES else east(good)
    lost = _lost(good, cluster)
    names = discovery.Names(good.asked.system_namespace, good.asked.sample_namespace)
    found = discovery.topology(lost.clusters, names)
    assert [each.role for each in found.clusters] == [each.role for each in good.topology.clusters]
    rows = [row for row in catalogue().values() if row.applies_to(found) and not (row.experiment or row.scenario)]
    judgements = tuple(judge(row, lost) for row in rows if row.id != "CLEAN")
    assert next(each for each in judgements if each.id == "CP-READY").verdict is Verdict.FAIL
    first = diagnose(lost, judgements)[0]
    assert (first.id, first.cluster, first.object) == (
        "control-plane-down",
        cluster.name,
        "Deployment istio-system/istiod",
    )
    assert "no such Deployment" in first.found
