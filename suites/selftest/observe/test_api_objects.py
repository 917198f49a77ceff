"""What API objects say, distilled from a recording of a real run."""

import copy
import json
from pathlib import Path
from typing import Any

from harness.mesh.injection import is_injected, probe_pod
from harness.observe import api_objects, istio_objects, secrets, services

RAW: dict[str, Any] = json.loads((Path(__file__).parents[1] / "recorded" / "observe.json").read_text())


def test_a_pod_with_a_native_sidecar() -> None:
    pod = api_objects.pod(RAW["pod"])
    assert pod.ready
    proxy, sleep = pod.container("istio-proxy"), pod.container("sleep")
    assert proxy is not None
    assert sleep is not None
    assert (proxy.init, proxy.sidecar, proxy.ready, proxy.state) == (True, True, True, "running")
    assert (sleep.init, sleep.env) == (False, {})
    assert proxy.env["ISTIO_META_CLUSTER_ID"] == "cluster1"
    # A name alone is no literal value; other variables are nobody's business here.
    assert "POD_NAME" not in proxy.env
    assert "PROXY_CONFIG" not in proxy.env
    assert "sidecar.istio.io/status" in pod.annotations


def test_a_container_that_waits_says_why() -> None:
    raw = copy.deepcopy(RAW["pod"])
    raw["status"]["containerStatuses"][0]["state"] = {
        "waiting": {"reason": "ImagePullBackOff", "message": "Back-off pulling image"}
    }
    container = api_objects.pod(raw).containers[-1]
    assert (container.state, container.reason, container.message) == (
        "waiting",
        "ImagePullBackOff",
        "Back-off pulling image",
    )


def test_workloads_count_ready_pods_of_the_present_template_only() -> None:
    deployment = api_objects.workload(RAW["deployment"], "Deployment")
    assert (deployment.desired, deployment.ready, deployment.available) == (1, 1, True)
    daemon_set = api_objects.workload(RAW["daemonset"], "DaemonSet")
    assert (daemon_set.desired, daemon_set.ready, daemon_set.available) == (1, 1, True)
    changed = copy.deepcopy(RAW["deployment"])
    changed["metadata"]["generation"] += 1
    assert api_objects.workload(changed, "Deployment").ready == 0
    empty = copy.deepcopy(RAW["deployment"])
    empty["spec"]["replicas"] = 0
    assert not api_objects.workload(empty, "Deployment").available


def test_a_node() -> None:
    node = api_objects.node(RAW["node"])
    assert (node.ready, node.schedulable, node.addresses, node.kubelet_version) == (
        True,
        True,
        ("172.18.0.5",),
        "v1.36.1",
    )
    tainted = copy.deepcopy(RAW["node"])
    tainted["spec"]["taints"] = [{"key": "a", "effect": "NoSchedule"}]
    assert not api_objects.node(tainted).schedulable


def test_an_event() -> None:
    event = api_objects.event(RAW["event"])
    assert event.reason
    assert "/" in event.object
    assert event.last_seen is not None


def test_an_injection_webhook_with_its_revision_and_its_ca() -> None:
    assert istio_objects.is_injection_webhook(RAW["webhook"])
    webhook = istio_objects.injection_webhook(RAW["webhook"])
    assert webhook.revision == "default"
    (rule,) = webhook.webhooks
    assert (rule.service, rule.path) == ("istio-system/istiod:443", "/inject")
    assert rule.ca_bundle[0].basic_constraints is not None
    assert rule.ca_bundle[0].basic_constraints.ca


def test_mesh_configuration_by_revision() -> None:
    (config,) = istio_objects.mesh_configs(RAW["config_maps"])
    assert config.revision == "default"
    assert config.mesh["trustDomain"] == "cluster.local"
    assert set(config.values) == {"global", "revision"}
    renamed = copy.deepcopy(RAW["config_maps"])
    for config_map, suffix in zip(renamed, ("-canary", "-canary", ""), strict=True):
        config_map["metadata"]["name"] += suffix
        config_map["metadata"]["labels"] = {}
    assert istio_objects.mesh_configs(renamed)[0].revision == "canary"


def test_a_configuration_object() -> None:
    gateway = istio_objects.config_object(RAW["gateway"], "networking.istio.io/v1", "Gateway")
    assert gateway.spec["servers"]
    assert (gateway.kind, gateway.namespace) == ("Gateway", "istio-system")


def test_a_dry_run_pod_is_injected_by_container_or_by_native_sidecar() -> None:
    assert not is_injected(probe_pod("sample"))
    assert is_injected(RAW["pod"])
    assert is_injected({"spec": {"containers": [{"name": "none"}, {"name": "istio-proxy"}]}})


def test_where_each_kind_of_object_is_declared() -> None:
    """Only what declares it is kept of annotations, owner references and managed fields."""
    helm = {"meta.helm.sh/release-name": "mesh", "meta.helm.sh/release-namespace": "istio-system", "secret": "hunter2"}
    raw: dict[str, Any] = {"metadata": {"name": "istio", "namespace": "istio-system", "annotations": helm}}
    config_map = {**raw, "data": {"mesh": "trustDomain: cluster.local"}}
    found: tuple[Any, ...] = (
        api_objects.workload(raw, "Deployment"),
        services.service(raw, {}),
        istio_objects.sail_resource(raw, "sailoperator.io/v1", "Istio"),
        istio_objects.config_object(raw, "networking.istio.io/v1", "Gateway"),
        istio_objects.injection_webhook(raw),
        *istio_objects.mesh_configs([config_map]),
        secrets.ca_secret(raw),
        secrets.remote_secret(raw),
    )
    for each in (*found, api_objects.namespace(raw)):
        assert str(each.origin) == "Helm release istio-system/mesh", type(each)
    assert not any("hunter2" in each.model_dump_json() for each in found)
