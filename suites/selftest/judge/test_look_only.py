"""Meshes of others without a sample: a good one is conformant, and what cuts the clusters off is seen all the same."""

from collections.abc import Callable

import pytest

from harness.judge.judgement import Verdict
from harness.model import expectations
from harness.model.certificate import CaSecret
from harness.model.istio import ConfigObject
from harness.model.observation import Observation
from harness.model.proxy import ProxySync
from harness.model.reading import ReadOutcome, Subject
from harness.model.topology import Cluster
from harness.model.traffic import ProbeKind
from reports.model import Result
from suites.selftest.judge.test_policies import causes
from suites.selftest.support.breakage import edit, on, verdicts
from suites.selftest.support.look_only import looked_at, rediscovered, result
from suites.selftest.support.valid_kinds import PRIMARIES, Base, canary, east, everywhere, west

RECORDED = {
    "faults/gateway-unlabelled": "GW-ADDRESS",
    "faults/gateway-selects-others": "GW-EXPOSE-SERVICES",
    "meshes/tls-ended": "GW-EXPOSE-SERVICES",
    "faults/services-not-exposed": "GW-EXPOSE-SERVICES",
    "faults/gateway-filtered-15443": "GW-REACHABLE",
    "faults/packets-lost": "NET-PACKETS",
    "faults/secret-unreachable": "RS-SYNCED",
    "faults/webhook-not-serving": "CP-READY",
    "meshes/network-value": "NET-LABEL",
}
"""Recordings of broken meshes, and the requirement by which each is seen without a sample."""
SINGLE = Base("multi-primary-single-network.json.gz")


@pytest.mark.parametrize("base", [PRIMARIES, SINGLE, Base("primary-remote-multi-network.json.gz")], ids=str)
def test_a_good_mesh_is_conformant(base: Base) -> None:
    assert result(looked_at(base.observation()), "any") is Result.CONFORMANT


@pytest.mark.parametrize("recorded", RECORDED)
def test_what_cuts_clusters_off_is_no_conformant_mesh(recorded: str) -> None:
    """Though only requirements see it that are SHOULD where traffic can be judged."""
    seen = looked_at(Base(f"{recorded}.json.gz").observation())
    assert verdicts(seen)[RECORDED[recorded]] is Verdict.FAIL
    assert result(seen) is Result.NOT_CONFORMANT


def test_the_label_that_is_missing_is_named() -> None:
    seen = looked_at(Base("faults/gateway-unlabelled.json.gz").observation())
    assert [cause.id for cause in causes(seen)] == ["gateway-unlabelled"]


def _each(observation: Observation, change: Callable[[Observation, Cluster], Observation]) -> Observation:
    return rediscovered(everywhere(observation, change))


def _without_plugin(seen: Observation, cluster: Cluster) -> Observation:
    observed = seen[cluster]
    workloads = tuple(each for each in observed.workloads if each.name != expectations.CNI_PLUGIN)
    pods = tuple(pod for pod in observed.pods if not expectations.is_of_cni(pod))
    return on(seen, cluster, workloads=workloads, pods=pods, sail=())


def test_the_cni_plugin_that_is_gone_everywhere_is_missed() -> None:
    """Injection leaves redirection to it; where other namespaces could not be read, nothing is said."""
    gone = _each(PRIMARIES.observation(), _without_plugin)
    for mesh in (gone, looked_at(gone)):
        assert verdicts(mesh)["CP-CNI-READY"] is Verdict.SKIPPED
        nowhere = everywhere(mesh, lambda seen, cluster: on(seen, cluster, cni_plugins=()))
        assert verdicts(nowhere)["CP-CNI-READY"] is Verdict.FAIL


def test_the_cni_plugin_may_stand_in_another_namespace() -> None:
    good = PRIMARIES.observation()
    plugin = next(each for each in good[east(good)].workloads if each.name == expectations.CNI_PLUGIN)
    elsewhere = plugin.model_copy(update={"namespace": "kube-system"})
    for ready, verdict in ((plugin.desired, Verdict.PASS), (0, Verdict.FAIL)):
        there = elsewhere.model_copy(update={"ready": ready})
        mesh = _each(good, _without_plugin)
        for cluster in mesh.topology.clusters:
            mesh = on(mesh, cluster, cni_plugins=(there,))
        assert verdicts(mesh)["CP-CNI-READY"] is verdict


def test_what_istiod_says_of_remote_clusters_counts_without_the_right_to_read_secrets() -> None:
    seen = looked_at(Base("faults/secret-missing.json.gz").observation())

    def forbidden(mesh: Observation, cluster: Cluster) -> Observation:
        readings = edit(
            mesh[cluster].readings, lambda each: each.subject == Subject.REMOTE_SECRETS, outcome=ReadOutcome.FORBIDDEN
        )
        return on(mesh, cluster, readings=readings, remote_secrets=())

    blind = everywhere(seen, forbidden)
    blind = blind.model_copy(update={"probes": tuple(p for p in blind.probes if p.kind is not ProbeKind.API_SERVER)})
    assert verdicts(blind)["RS-SYNCED"] is Verdict.FAIL
    assert result(blind) is Result.NOT_CONFORMANT


def test_control_planes_with_roots_of_their_own_are_no_mesh() -> None:
    """On one network there may be no proxy to tell; each istiod publishes its root in its own namespace as well."""
    good = looked_at(SINGLE.observation())
    recordings = {"east": SINGLE.observation(), "west": PRIMARIES.observation()}
    roots = {name: recording[name].root_config_map for name, recording in recordings.items()}

    def own(seen: Observation, cluster: Cluster) -> Observation:
        published = roots[cluster.name]
        return on(seen, cluster, ca_secret=CaSecret(exists=False), root_config_map=published, control_planes=())

    assert verdicts(everywhere(good, own))["CERT-ROOT-SHARED"] is Verdict.FAIL


@pytest.mark.parametrize("kind", ["PeerAuthentication", "AuthorizationPolicy"])
def test_a_policy_for_the_whole_mesh_is_compared(kind: str) -> None:
    """No pod of a sample is needed to know for whom it holds."""
    good = looked_at(PRIMARIES.observation())
    spec = {"mtls": {"mode": "DISABLE"}} if kind == "PeerAuthentication" else {}
    item = ConfigObject(api_version="security.istio.io/v1", kind=kind, namespace="istio-system", name="all", spec=spec)
    cluster = west(good)
    assert verdicts(on(good, cluster, config=(*good[cluster].config, item)))["CONFIG-CONSISTENT"] is Verdict.FAIL


def test_the_revision_that_serves_workloads_counts() -> None:
    """Those of other namespaces are connected to it, and it has not synchronised the other cluster."""

    def unsynced(seen: Observation, cluster: Cluster) -> Observation:
        rows = (ProxySync(proxy="shop-1.shop", cluster_id=cluster.cluster_name, version="", types={"CDS": "SYNCED"}),)
        other = next(each.cluster_name for each in seen.topology.others(cluster))
        planes = edit(
            seen[cluster].control_planes,
            lambda plane: plane.revision == "canary",
            proxies=rows,
            clusters=tuple(
                edit(seen[cluster].control_planes[0].clusters, lambda row: row.id == other, sync_status="timeout")
            ),
        )
        return on(seen, cluster, control_planes=planes)

    mesh = looked_at(canary(PRIMARIES.observation()))
    assert verdicts(mesh)["RS-SYNCED"] is Verdict.PASS
    assert verdicts(everywhere(mesh, unsynced))["RS-SYNCED"] is Verdict.FAIL
