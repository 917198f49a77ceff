"""Valid meshes of others stay green, and no cause is named of them."""

import pytest

from harness.judge.diagnose import diagnose
from harness.judge.judgement import Judgement, Verdict
from harness.judge.requirement import judge
from harness.model import clients
from harness.model.cluster import Condition, Pod
from harness.model.observation import Observation
from harness.observe import discovery
from suites.catalogue import catalogue
from suites.selftest.support.breakage import edit, on
from suites.selftest.support.valid_kinds import (
    KINDS,
    PRIMARIES,
    PRIMARIES_NEAR,
    QUOTA,
    REMOTE,
    REMOTE_NEAR,
    Base,
    Kind,
    debug_off,
    refused,
    sample_applied_whole,
    west,
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


@pytest.mark.parametrize("base", [PRIMARIES, REMOTE], ids=str)
def test_a_sample_that_tells_no_cluster_apart_is_none(base: Base) -> None:
    """The rest of the mesh is found and judged; what is wrong with where a version runs is still told."""
    observation = sample_applied_whole(base.observation())
    found = discovery.topology(observation.clusters, discovery.Names("istio-system", "sample"))
    assert [cluster.version for cluster in found.clusters] == ["v1", "v2"]
    judgements = _judged(observation.model_copy(update={"topology": found}))
    assert {each.id: each.explanation for each in judgements if each.verdict not in GREEN} == {}
    assert diagnose(observation, judgements) == ()
    placed = next(each for each in judgements if each.id == "WL-PLACED")
    assert placed.verdict is Verdict.NOT_APPLICABLE
    assert "--deploy-sample" in placed.explanation


def test_one_version_on_both_clusters_is_misplaced() -> None:
    observation = PRIMARIES.observation()
    same = Observation.model_validate_json(observation.model_dump_json().replace("helloworld-v2", "helloworld-v1"))
    pods = tuple(
        pod.model_copy(update={"labels": {**pod.labels, "version": "v1"}}) if "version" in pod.labels else pod
        for pod in same[west(same)].pods
    )
    same = on(same, west(same), pods=pods)
    found = discovery.topology(same.clusters, discovery.Names("istio-system", "sample"))
    placed = judge(catalogue()["WL-PLACED"], same.model_copy(update={"topology": found}))
    assert placed.verdict is Verdict.FAIL


@pytest.mark.parametrize("id", ["XDS-SYNCED", "CERT-WORKLOAD"])
def test_a_pod_that_is_needed_stands_beside_nothing(id: str) -> None:  # noqa: A002
    """The client's, or every pod of the sample and the gateways."""
    observation = PRIMARIES.observation()
    observed = observation[west(observation)]
    client = clients.client_pods(observed, observation.asked)
    for waiting in (client, tuple(pod for pod in observed.pods if pod.proxy)):
        broken = _not_ready(observation, {pod.name for pod in waiting})
        assert judge(catalogue()[id], broken).verdict in {Verdict.FAIL, Verdict.BLOCKED}


def _not_ready(observation: Observation, names: set[str]) -> Observation:
    """These pods of west have proxies that never became ready, and that no control plane knows."""
    cluster, observed = west(observation), observation[west(observation)]

    def waiting(pod: Pod) -> Pod:
        own = tuple(each.model_copy(update={"ready": False, "state": "waiting"}) for each in pod.containers)
        return pod.model_copy(update={"containers": own, "ready": False}) if pod.name in names else pod

    planes = tuple(
        plane.model_copy(
            update={"proxies": tuple(row for row in plane.proxies if row.proxy.partition(".")[0] not in names)}
        )
        for plane in observed.control_planes
    )
    return on(
        observation,
        cluster,
        pods=tuple(map(waiting, observed.pods)),
        proxies=tuple(each for each in observed.proxies if each.pod not in names),
        control_planes=planes,
    )


def test_what_a_proxy_refused_is_judged_without_debug_interface() -> None:
    observation = debug_off(PRIMARIES.observation())
    first, *others = observation[west(observation)].proxies
    refusing = (first.model_copy(update={"rejected": ("no such filter",)}), *others)
    broken = on(observation, west(observation), proxies=refusing)
    judgements = (judge(catalogue()["XDS-SYNCED"], broken),)
    assert judgements[0].verdict is Verdict.FAIL
    assert [cause.id for cause in diagnose(broken, judgements)] == ["proxy-rejects-config"]


def test_a_control_plane_without_debug_interface_is_not_blamed() -> None:
    """Beside another one that has not synchronised."""
    observation = PRIMARIES.observation()
    planes = tuple(plane.model_copy(update={"clusters": ()}) for plane in observation[west(observation)].control_planes)
    broken = on(debug_off(observation), west(observation), control_planes=planes)
    judgements = (judge(catalogue()["RS-SYNCED"], broken),)
    assert judgements[0].verdict is Verdict.FAIL
    assert {(cause.id, cause.cluster) for cause in diagnose(broken, judgements)} == {("cluster-not-synced", "west")}


def _one_not_injected(observation: Observation) -> Observation:
    """No pod of the sample has a sidecar."""

    def bare(pod: Pod) -> Pod:
        own = tuple(each for each in pod.containers if each.name != "istio-proxy")
        return pod.model_copy(update={"containers": own}) if pod.namespace == "sample" else pod

    cluster = west(observation)
    return on(observation, cluster, pods=tuple(map(bare, observation[cluster].pods)))


def _replicas_fail(observation: Observation) -> Observation:
    """A Deployment of the sample may make no further pod."""
    failing = Condition(type="ReplicaFailure", status="True", reason="FailedCreate", message=QUOTA)
    cluster = west(observation)
    workloads = edit(observation[cluster].workloads, lambda each: each.namespace == "sample", conditions=(failing,))
    return on(observation, cluster, workloads=workloads)


@pytest.mark.parametrize(
    ("message", "change"),
    [
        (QUOTA, _one_not_injected),
        (QUOTA, _replicas_fail),
        ('pods "x" is forbidden: violates PodSecurity "restricted:latest": no', lambda seen: seen),
        ('failed calling webhook "namespace.sidecar-injector.istio.io": no endpoints', lambda seen: seen),
        ('admission webhook "namespace.sidecar-injector.istio.io" denied the request: no', lambda seen: seen),
        ("", lambda seen: seen),
    ],
    ids=["not injected", "replicas fail", "pod security", "not called", "denied by istio", "no sidecar"],
)
def test_a_dry_run_that_shows_something_is_judged(message: str, change: Kind) -> None:
    broken = change(refused(PRIMARIES.observation(), message))
    assert judge(catalogue()["CP-INJECTION-WEBHOOK"], broken).verdict is Verdict.FAIL


def test_the_plugin_is_judged_only_where_there_is_one() -> None:
    row = catalogue()["CP-CNI-READY"]
    assert judge(row, without_cni(PRIMARIES.observation())).verdict is Verdict.NOT_APPLICABLE
    assert judge(row, PRIMARIES.observation()).verdict is Verdict.PASS
