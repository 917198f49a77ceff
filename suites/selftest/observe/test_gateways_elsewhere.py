"""What is read of east-west gateways that stand outside of the mesh's namespaces, and of their Services."""

from typing import Any

from kubernetes.client import ApiException

from harness.kube.api import Object
from harness.model.observation import Asked
from harness.model.reading import ReadOutcome, Subject
from harness.observe import services
from harness.observe.cluster import read_cluster
from suites.selftest.observe.test_api_objects import RAW
from suites.selftest.support.leaking_cluster import LeakingKube, listed

ASKED = Asked(mode="verify-only", installer="none", istio_version="", cni=False, load_balancer="", images="registry")
SELECTOR = {"app": "cross"}
META = {"namespace": "gateways", "uid": "1", "creationTimestamp": "2026-11-23T21:50:16Z"}
SERVICE: dict[str, Any] = {
    "metadata": {**META, "name": "cross", "labels": {"topology.istio.io/network": "n"}},
    "spec": {
        "type": "NodePort",
        "selector": SELECTOR,
        "externalIPs": ["192.0.2.7"],
        "ports": [{"port": 443, "targetPort": 15443, "nodePort": 30443}],
    },
}


def _pod(name: str, labels: dict[str, str]) -> dict[str, Any]:
    return {**RAW["pod"], "metadata": {**META, "name": name, "labels": labels}}


def _node(name: str, labels: dict[str, str], *addresses: tuple[str, str]) -> dict[str, Any]:
    status = {"addresses": [{"type": kind, "address": address} for kind, address in addresses]}
    return {"metadata": {"name": name, "labels": labels}, "status": status}


def test_a_gateway_in_a_namespace_of_its_own_is_read() -> None:
    """Its Service, the pods that it selects and their workload; what else is in that namespace is none of ours."""
    template = {"metadata": {"labels": {**SELECTOR, "more": "x"}}}
    daemon_set = {"metadata": {**META, "name": "cross"}, "spec": {"template": template}}
    kube = LeakingKube(
        "east",
        {
            "/api/v1/services": listed(SERVICE),
            "/api/v1/namespaces/gateways": {"metadata": {"name": "gateways"}},
            "/api/v1/namespaces/gateways/pods": listed(_pod("cross-1", SELECTOR), _pod("ingress-1", {"app": "other"})),
            "/apis/apps/v1/namespaces/gateways/daemonsets": listed(
                daemon_set, {"metadata": {**META, "name": "other"}, "spec": {}}
            ),
        },
    )
    seen = read_cluster(kube, ASKED, 1).observed
    (service,) = seen.services
    assert (service.namespace, service.external_ips) == ("gateways", ("192.0.2.7",))
    assert (service.ports[0].port, service.ports[0].target_port, service.ports[0].node_port) == (443, "15443", 30443)
    assert [pod.name for pod in seen.pods] == ["cross-1"]
    assert [(found.kind, found.name) for found in seen.workloads] == [("DaemonSet", "cross")]
    assert "gateways" in {namespace.name for namespace in seen.namespaces}


def _of_meshes(**labels: dict[str, str]) -> list[str]:
    """The namespaces whose gateways are read, of some with labels, where discovery selectors ask for mesh=one."""
    selectors = "discoverySelectors: [{matchLabels: {mesh: one}}]"
    config = {"metadata": {**META, "namespace": "istio-system", "name": "istio"}, "data": {"mesh": selectors}}
    found = [{**SERVICE, "metadata": {**SERVICE["metadata"], "namespace": name, "uid": name}} for name in labels]
    answers: dict[str, Any] = {
        "/api/v1/services": listed(*found),
        "/api/v1/namespaces/istio-system/configmaps": listed(config),
    }
    for name, own in labels.items():
        answers[f"/api/v1/namespaces/{name}"] = {"metadata": {"name": name, "labels": own}}
    services_ = read_cluster(LeakingKube("east", answers), ASKED, 1).observed.services
    return sorted(each.namespace for each in services_)


def test_the_gateway_of_another_mesh_in_the_cluster_is_left_alone() -> None:
    """Its namespace is none that this mesh's control planes see; without any other, a fault of this mesh."""
    assert _of_meshes(gateways={"mesh": "one"}, theirs={"mesh": "two"}) == ["gateways"]
    assert _of_meshes(gateways={"mesh": "one"}, more={"mesh": "one"}) == ["gateways", "more"]
    assert _of_meshes(gateways={}) == ["gateways"]


def test_what_may_not_be_read_elsewhere_takes_nothing_away() -> None:
    """The pods of the mesh's own namespaces were read, even if those of the gateway's may not be."""

    class Refusing(LeakingKube):
        def read(self, path: str, **query: Any) -> Object | None:
            if "/namespaces/gateways/" in path:
                raise ApiException(status=403)
            return super().read(path, **query)

    kube = Refusing("east", {"/api/v1/services": listed(SERVICE)})
    outcomes = {reading.subject: reading.outcome for reading in read_cluster(kube, ASKED, 1).reader.readings}
    assert outcomes[Subject.PODS] is ReadOutcome.READ


def test_a_node_port_gateway_is_at_the_external_addresses_of_selected_nodes() -> None:
    """Istio takes a node's first ExternalIP, of the nodes with the labels in the annotation; without it none."""
    nodes = [
        _node("a", {"edge": "yes"}, ("InternalIP", "10.0.0.1"), ("ExternalIP", "192.0.2.1"), ("ExternalIP", "::1")),
        _node("b", {"edge": "no"}, ("ExternalIP", "192.0.2.2")),
        _node("c", {"edge": "yes"}, ("InternalIP", "10.0.0.3")),
    ]
    found = {
        text: services.node_addresses(
            {**SERVICE, "metadata": {**SERVICE["metadata"], "annotations": {services.NODE_SELECTOR: text}}}, nodes
        )
        for text in ('{"edge": "yes"}', "{}", "no JSON")
    }
    assert found == {
        '{"edge": "yes"}': ("192.0.2.1",),
        "{}": ("192.0.2.1", "192.0.2.2"),
        "no JSON": ("192.0.2.1", "192.0.2.2"),
    }
    assert services.node_addresses(SERVICE, nodes) == ()


def test_what_configures_a_gateway_is_read_where_it_stands() -> None:
    """Policies beside it and in the root namespace, and Gateways anywhere: they may select its pods."""

    def listing(*namespaces: str) -> Object:
        return listed(*({"metadata": {**META, "namespace": each, "name": "x"}, "spec": {}} for each in namespaces))

    mesh = {"metadata": {**META, "namespace": "istio-system", "name": "istio"}, "data": {"mesh": "rootNamespace: root"}}
    kube = LeakingKube(
        "east",
        {
            "/api/v1/services": listed(SERVICE),
            "/api/v1/namespaces/istio-system/configmaps": listed(mesh),
            "/apis/networking.istio.io/v1/gateways": listing("gateways", "anywhere"),
            "/apis/security.istio.io/v1/authorizationpolicies": listing("gateways", "root", "anywhere"),
        },
    )
    found = {(each.kind, each.namespace) for each in read_cluster(kube, ASKED, 1).observed.config}
    assert found == {
        ("Gateway", "gateways"),
        ("Gateway", "anywhere"),
        ("AuthorizationPolicy", "gateways"),
        ("AuthorizationPolicy", "root"),
    }
