"""What is ordinary on other people's clusters is no fault: pods that ended, revision tags, gateways, further meshes."""

from collections.abc import Mapping
from itertools import product
from types import SimpleNamespace
from typing import Any, cast

import pytest
from kubernetes.client import ApiException

from harness.judge.diagnose.ca_secret import replace_root
from harness.judge.diagnose.registry import detectors
from harness.judge.diagnose.repair import create_remote_secret
from harness.judge.judgement import Verdict
from harness.kube.api import KubeApi
from harness.model import expectations, revisions
from harness.model.cluster import InjectionWebhook, Workload
from harness.model.observation import Observation
from harness.observe import control_plane
from harness.observe.cluster import _Source
from harness.proof.faults.edit import edit, on
from harness.proof.faults.effects import endpoints
from suites.selftest.support.breakage import first, gateway_is, last, verdicts

TOPOLOGIES = ("primary-remote-multi-network", "multi-primary-single-network")


def _named(observation: Observation) -> set[str]:
    """The causes whose objects are there, whatever fails."""
    return {detector.id for detector in detectors() if list(detector.find(observation))}


def _expect_good(observation: Observation) -> None:
    assert {row: found for row, found in verdicts(observation).items() if found is not Verdict.PASS} == {}
    assert _named(observation) == set()


@pytest.mark.parametrize(
    ("name", "app"),
    [*product(TOPOLOGIES, ("sleep", "istiod")), ("primary-remote-multi-network", "istio-eastwestgateway")],
)
def test_evicted_pods(name: str, app: str, good_observations: Mapping[str, Observation]) -> None:
    """They stay listed until somebody deletes them."""
    good = good_observations[name]
    cluster = first(good.topology)
    pod = next(pod for pod in good[cluster].pods if pod.labels.get("app") == app)
    containers = edit(pod.containers, lambda _: True, ready=False, state="terminated", reason="Error")
    ended = {"name": "ended", "phase": "Failed", "ready": False, "containers": containers}
    _expect_good(on(good, cluster, pods=(*good[cluster].pods, pod.model_copy(update=ended))))


@pytest.mark.parametrize("name", TOPOLOGIES)
def test_a_revision_tag_selects_its_revision(name: str, good_observations: Mapping[str, Observation]) -> None:
    good = good_observations[name]
    for cluster in good.topology.clusters:
        labels = {"istio.io/rev": "prod"}
        namespaces = edit(good[cluster].namespaces, lambda found: found.name == "sample", labels=labels)
        (webhook,) = good[cluster].webhooks
        tagged = webhook.model_copy(update={"name": "istio-revision-tag-prod", "tag": "prod"})
        seen = on(good, cluster, namespaces=namespaces)
        assert verdicts(seen)["WL-INJECTED"] is Verdict.FAIL
        good = on(seen, cluster, webhooks=(webhook, tagged))
    _expect_good(good)


def test_without_a_label_the_default_tag_names_the_revision(good_observations: Mapping[str, Observation]) -> None:
    seen = good_observations[TOPOLOGIES[0]].clusters[0]
    (webhook,) = seen.webhooks
    canary = InjectionWebhook(name="istio-revision-tag-default", revision="1-31", tag="default", webhooks=())
    assert revisions.serving(seen, "sample") == "default"
    other = webhook.model_copy(update={"revision": "1-30", "webhooks": ()})
    two = seen.model_copy(update={"webhooks": (other, canary)})
    assert revisions.serving(two, "sample") == "1-31"


@pytest.mark.parametrize("name", TOPOLOGIES)
def test_a_gateway_called_after_helloworld_is_no_version_of_it(
    name: str, good_observations: Mapping[str, Observation]
) -> None:
    good = good_observations[name]
    cluster = first(good.topology)
    own = good[cluster].workload("sample", "sleep")
    assert own
    gateway = own.model_copy(update={"name": "helloworld-gateway-istio", "labels": {"gateway.istio.io/managed": "x"}})
    assert isinstance(gateway, Workload)
    _expect_good(on(good, cluster, workloads=(*good[cluster].workloads, gateway)))


def test_a_gateway_known_by_name_may_have_another_address_where_istiod_asks(
    good_observations: Mapping[str, Observation],
) -> None:
    good = good_observations["multi-primary-multi-network"]
    client, target = first(good.topology), last(good.topology)
    (old,) = expectations.gateway_addresses(good[target])

    def elsewhere(observation: Observation) -> Observation:
        moved = {"address": "192.0.2.77"}
        return endpoints(observation, client, lambda e: e.model_copy(update=moved) if e.address == old else e)

    by_name = gateway_is(good, target, ingress=("gateway.example",), resolved=(old,))
    assert verdicts(elsewhere(by_name))["EP-COMPLETE"] is Verdict.PASS
    unresolved = gateway_is(good, target, ingress=("gateway.example",), resolved=())
    assert verdicts(elsewhere(unresolved))["EP-COMPLETE"] is Verdict.PASS
    assert verdicts(elsewhere(good))["EP-COMPLETE"] is Verdict.FAIL


def test_strict_asks_for_one_version_of_a_network_behind_gateways(made_observations: Mapping[str, Observation]) -> None:
    """As the loop does: of the versions that share a far network one answers a client's few connections."""
    good = made_observations["mixed"]
    seen = good.experiments
    assert seen
    strict = seen.strict
    assert strict

    def without(version: str, *others: str) -> Verdict:
        loop = tuple(
            sequence.model_copy(
                update={
                    "requests": tuple(
                        r.model_copy(update={"version": "v2"}) if r.version in {version, *others} else r
                        for r in sequence.requests
                    )
                }
            )
            if sequence.client == "east"
            else sequence
            for sequence in strict.loop
        )
        changed = seen.model_copy(update={"strict": strict.model_copy(update={"loop": loop})})
        broken = good.model_copy(update={"experiments": changed})
        return verdicts(broken)["MTLS-STRICT"]

    assert without("v3") is Verdict.PASS
    assert without("v1") is Verdict.FAIL


def test_resources_of_another_mesh_are_left_aside() -> None:
    """Several meshes may stand on one cluster; what is said of one must not be read of another."""
    metadata = {"generation": 1, "creationTimestamp": "2026-01-01T00:00:00Z"}

    def items(*resources: tuple[str, str]) -> dict[str, Any]:
        return {"items": [{"metadata": {"name": n, **metadata}, "spec": {"namespace": ns}} for n, ns in resources]}

    answers = {
        "/apis/sailoperator.io/v1/istios": items(("default", "istio-other"), ("ours", "istio-system")),
        "/apis/sailoperator.io/v1/istiocnis": items(("default", "istio-cni")),
    }
    kube = cast(KubeApi, SimpleNamespace(read=lambda path, **_: answers.get(path, {"items": []})))
    asked = SimpleNamespace(
        system_namespace="istio-system", cni_namespace="istio-cni", sample_namespace="sample", client=None
    )
    found = _Source(kube, asked).sail()  # type: ignore[arg-type]
    assert [(resource.kind, resource.name) for resource in found] == [("Istio", "ours"), ("IstioCNI", "default")]


def test_a_log_that_may_not_be_read_takes_nothing_else_away(good_observations: Mapping[str, Observation]) -> None:
    pod = next(iter(expectations.istiod_pods(good_observations[TOPOLOGIES[0]].clusters[0])))

    def refused(*_: object, **__: object) -> str:
        raise ApiException(status=403)

    assert control_plane._log_lines(cast(KubeApi, SimpleNamespace(logs=refused)), pod) == ()


def test_a_new_root_is_never_given_to_one_cluster_alone(good_observations: Mapping[str, Observation]) -> None:
    good = good_observations["multi-primary-multi-network"]
    assert "delete" not in replace_root(good, first(good.topology))


def test_a_loopback_address_is_put_into_no_remote_secret(good_observations: Mapping[str, Observation]) -> None:
    good = good_observations["multi-primary-multi-network"]
    east, west = good.topology.clusters
    assert f"--server {good[west].api_server}" in create_remote_secret(good, east, west)
    forwarded = on(good, west, api_server="https://127.0.0.1:6443")
    assert "127.0.0.1" not in create_remote_secret(forwarded, east, west)
