"""A mesh of ztunnels observed: the objects that only it has, and from where probes are sent."""

import json
from collections.abc import Mapping

import pytest
from kubernetes.client import ApiException

from harness.kube.api import ExecResult, Object
from harness.model import expectations
from harness.model.cluster import ClusterObservation, ReadOutcome, Subject
from harness.model.observation import Observation
from harness.model.traffic import ProbeKind
from harness.observe import probe_plan
from harness.observe.cluster import read_cluster
from harness.observe.processes import ask_all
from suites.selftest.observe.test_observer import Stub, pod
from suites.selftest.support.ambient import ambient

GATEWAYS = "/apis/gateway.networking.k8s.io/v1/gateways"
ASKED = ambient().asked


def _ztunnel(namespace: str = "ztunnel") -> Object:
    found = pod("ztunnel-1", "ztunnel", "istio-proxy")
    found["metadata"]["namespace"], found["spec"]["nodeName"] = namespace, "n"
    return found


def _gateway(name: str, gateway_class: str, **labels: str) -> Object:
    return {
        "metadata": {"name": name, "namespace": "istio-system", "labels": labels},
        "spec": {
            "gatewayClassName": gateway_class,
            "listeners": [{"name": "mesh", "port": 15008, "protocol": "HBONE", "tls": {"mode": "Terminate"}}],
        },
        "status": {
            "addresses": [{"type": "IPAddress", "value": "172.18.255.240"}],
            "conditions": [{"type": "Programmed", "status": "True", "reason": "Programmed", "message": "m"}],
        },
    }


def _read(answers: Mapping[str, Object | Exception], observation: Observation | None = None) -> ClusterObservation:
    return read_cluster(Stub("east", answers), (observation or ambient()).asked, 1).observed


def test_ztunnel_is_found_in_whatever_namespace() -> None:
    daemon_set = {
        "metadata": {"name": "ztunnel", "namespace": "ztunnel", "labels": {"app": "ztunnel"}},
        "spec": {"template": {}},
        "status": {"desiredNumberScheduled": 1, "numberReady": 1, "updatedNumberScheduled": 1},
    }
    found = _read({"/api/v1/pods": {"items": [_ztunnel()]}, "/apis/apps/v1/daemonsets": {"items": [daemon_set]}})
    assert [(each.namespace, each.name) for each in found.pods] == [("ztunnel", "ztunnel-1")]
    assert [(each.namespace, each.name, each.ready) for each in found.workloads] == [("ztunnel", "ztunnel", 1)]


def test_where_other_namespaces_may_not_be_read_it_is_looked_for_in_those_of_the_mesh() -> None:
    own = "/api/v1/namespaces/istio-system/pods"
    kube = Stub("east", {"/api/v1/pods": ApiException(status=403), own: {"items": [_ztunnel("istio-system")]}})
    objects = read_cluster(kube, ASKED, 1)
    assert [each.name for each in objects.observed.pods] == ["ztunnel-1"]
    reading = objects.reader.reading(Subject.PODS)
    assert reading
    assert reading.outcome is ReadOutcome.READ


def test_gateways_between_networks_are_read_with_their_status() -> None:
    network = {expectations.NETWORK_LABEL: "network1"}
    raws = [_gateway("east-west", "istio-east-west", **network), _gateway("ingress", "istio")]
    (found,) = _read({GATEWAYS: {"items": raws}}).api_gateways
    assert (found.name, found.labels, found.addresses) == ("east-west", network, ("172.18.255.240",))
    assert [(each.port, each.protocol, each.tls_mode) for each in found.hbone] == [(15008, "HBONE", "Terminate")]
    assert [(each.type, each.status) for each in found.conditions] == [("Programmed", "True")]


def test_nothing_of_it_is_asked_of_a_mesh_with_sidecars() -> None:
    asked = ASKED.model_copy(update={"data_plane": "sidecar"})
    sidecars = ambient().model_copy(update={"asked": asked})
    found = _read({GATEWAYS: {"items": [_gateway("g", "istio-east-west")]}}, sidecars)
    assert found.api_gateways == ()
    assert found.reading(Subject.API_GATEWAYS) is None


@pytest.mark.parametrize(("answer", "outcome"), [("{}", ReadOutcome.READ), ('{"config":', ReadOutcome.LOST)])
def test_a_ztunnel_is_asked_beside_the_proxies(answer: str, outcome: ReadOutcome) -> None:
    kube = Stub("east", {"/api/v1/pods": {"items": [_ztunnel()]}})
    kube.execs = lambda *_, **__: ExecResult(0, answer, "")
    objects = read_cluster(kube, ASKED, 1)
    said = ask_all(kube, objects.observed, objects.reader, ASKED, 1)
    assert [ztunnel.node for ztunnel in said.ztunnels] == (["n"] if outcome is ReadOutcome.READ else [])
    reading = objects.reader.reading(Subject.ZTUNNELS)
    assert reading
    assert reading.outcome is outcome
    assert said.proxies == ()


def test_probes_go_to_15008_and_not_from_a_captured_pod() -> None:
    """What a ztunnel captures it answers itself: a connection to a port where nothing listens would seem to be made."""
    observation = ambient()
    seen = {observed.name: observed for observed in observation.clusters}
    found = probe_plan.plan(observation.topology, observation.asked, seen, {})
    at_mesh = [probe for probe in found if probe.port == 15008]
    assert {probe.kind for probe in at_mesh} == {ProbeKind.TCP, ProbeKind.TLS, ProbeKind.TLS_NO_CERTIFICATE}
    assert not [probe for probe in found if probe.port == 15443]
    for observed in observation.clusters:
        source = probe_plan.source_of(observed, observation.asked)
        assert source
        chosen = next(each for each in observed.pods if each.name == source.pod)
        assert not expectations.is_captured(chosen)


def test_an_observation_of_ztunnels_is_read_again() -> None:
    text = ambient().model_dump_json()
    assert Observation.model_validate_json(text) == ambient()
    assert json.loads(text)["asked"]["data_plane"] == "ambient"
