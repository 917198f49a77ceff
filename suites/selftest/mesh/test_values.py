"""What is sent to istioctl, to the operator and to the API server, and what is said of it."""

import json
from pathlib import Path
from typing import Any

import pytest

from harness.base.errors import UserError
from harness.kube.api import Object
from harness.mesh import manifests, readiness, sail
from harness.mesh.gateways import address_pending, addresses
from harness.mesh.istioctl import cni_operator, primary_operator, webhook_pending
from harness.mesh.settings import MeshSettings, Overlay, merged
from harness.mesh.values import primary_values, remote_values
from harness.model.topology import ControlPlaneModel, NetworkModel, preset

MP = preset(ControlPlaneModel.MULTI_PRIMARY, NetworkModel.MULTI)
PR = preset(ControlPlaneModel.PRIMARY_REMOTE, NetworkModel.MULTI)
SETTINGS = MeshSettings(istio_version="1.24.1", istioctl=Path("istioctl"))


def _chapter(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key in ("global", "istiodRemote")}


def test_a_primary_has_the_chapters_values() -> None:
    """Mesh id, cluster name, network; nothing about remotes where there are none."""
    assert _chapter(primary_values(MP, MP["west"], SETTINGS)) == {
        "global": {"meshID": "mesh1", "multiCluster": {"clusterName": "cluster2"}, "network": "network2"}
    }


def test_a_primary_that_serves_remotes_says_so() -> None:
    """ExternalIstiod, chapter "Install Istio on the East cluster"."""
    assert primary_values(PR, PR["east"], SETTINGS)["global"]["externalIstiod"] is True


def test_another_trust_domain_is_configured() -> None:
    """The default one is not repeated."""
    other = MP.model_copy(update={"trust_domain": "east.example"})
    assert primary_values(other, other["east"], SETTINGS)["meshConfig"]["trustDomain"] == "east.example"
    assert "trustDomain" not in primary_values(MP, MP["east"], SETTINGS)["meshConfig"]


@pytest.mark.parametrize("images", ["local", "archive", "registry"])
def test_every_addition_is_a_deviation(images: Any) -> None:
    """Each key that the chapter does not have is named in one of the lines."""
    settings = MeshSettings("1.31.0", Path("istioctl"), images=images)
    said = " ".join(settings.deviations)
    for key in _leaves(settings.overlay.values):
        assert key in said
    assert ("ALPN" in said) is (images != "registry")


def test_a_profile_adds_values_and_says_so() -> None:
    """The distribution's own additions come last and win."""
    profile = Overlay({"telemetry": {"enabled": True}, "pilot": {"env": {"A": "b"}}}, ("the vendor's",))
    settings = MeshSettings("1.31.0", Path("istioctl"), images="local", profile=profile)
    assert settings.overlay.values["telemetry"] == {"enabled": True}
    assert settings.overlay.values["pilot"]["env"]["PILOT_ENABLE_ALPN_FILTER"] == "false"
    assert settings.deviations[-1] == "the vendor's"


def test_the_access_log_names_peer_attempts_and_tls() -> None:
    """What MTLS-PEER and TR-NO-RETRIES need of the destination proxy."""
    mesh_config = SETTINGS.overlay.values["meshConfig"]
    log = json.loads(mesh_config["accessLogFormat"])
    assert {"%DOWNSTREAM_PEER_URI_SAN%", "%UPSTREAM_REQUEST_ATTEMPT_COUNT%", "%DOWNSTREAM_TLS_VERSION%"} <= {
        *log.values()
    }


def test_merged_at_every_depth() -> None:
    """Mappings are merged, everything else is replaced."""
    assert merged({"a": {"b": 1, "c": [1]}}, {"a": {"c": [2]}, "d": 3}) == {"a": {"b": 1, "c": [2]}, "d": 3}


def test_operator_input() -> None:
    """The component is what turns pilot.cni.enabled on in istioctl; hub and tag only where they are given."""
    resource = primary_operator(MP, MP["east"], SETTINGS)
    assert resource["spec"]["components"] == cni_operator(SETTINGS)["spec"]["components"]
    assert not {"hub", "tag"} & set(resource["spec"])
    given = MeshSettings("1.31.0", Path("istioctl"), hub="example.org/istio", tag="1", cni=False)
    spec = primary_operator(MP, MP["east"], given)["spec"]
    assert (spec["hub"], spec["tag"], spec.get("components")) == ("example.org/istio", "1", None)


def test_sail_resources_are_the_chapters() -> None:
    """Letter by letter, but for the additions."""
    bare = remote_values(PR["west"], "192.0.2.1")
    assert sail.istio_resource("sailoperator.io/v1alpha1", "v1.24.1", SETTINGS, bare, profile="remote") == {
        "apiVersion": "sailoperator.io/v1alpha1",
        "kind": "Istio",
        "metadata": {"name": "default"},
        "spec": {
            "version": "v1.24.1",
            "namespace": "istio-system",
            "profile": "remote",
            "values": {
                "istiodRemote": {"injectionPath": "/inject/cluster/cluster2/net/network2"},
                "global": {"remotePilotAddress": "192.0.2.1"},
            },
        },
    }
    cni = sail.cni_resource("sailoperator.io/v1", "v1.24.1", SETTINGS)
    assert cni["spec"] == {"version": "v1.24.1", "namespace": "istio-cni"}


@pytest.mark.parametrize(
    ("served", "version"),
    [
        ({"sailoperator.io/v1", "sailoperator.io/v1alpha1"}, "sailoperator.io/v1"),
        ({"sailoperator.io/v1alpha1"}, "sailoperator.io/v1alpha1"),
    ],
)
def test_sail_version_is_the_newest_served(served: set[str], version: str) -> None:
    """V1 before v1alpha1; an operator that is not there is the user's to install."""
    assert sail.served_version(_Serving(served), "Istio", SETTINGS) == version  # type: ignore[arg-type]
    with pytest.raises(UserError, match="not installed on east"):
        sail.require_operator([_Serving(set())], SETTINGS)  # type: ignore[list-item]


class _Serving:
    name = "east"

    def __init__(self, versions: set[str]) -> None:
        self._versions = versions

    def serves(self, api_version: str, _kind: str) -> bool:
        return api_version in self._versions


def test_sail_readiness_in_the_operators_words() -> None:
    """Reason and message of the condition; a generation not yet observed does not count."""
    resource: Object = {"kind": "Istio", "metadata": {"name": "default", "generation": 2}}
    assert "not yet observed" in sail.ready_pending(resource)
    condition = {"type": "Ready", "status": "False", "reason": "RemoteIstiodNotReady", "message": "probe failed"}
    resource["status"] = {"observedGeneration": 2, "conditions": [condition]}
    assert sail.ready_pending(resource) == "Istio default is not Ready (RemoteIstiodNotReady: probe failed)"
    condition["status"] = "True"
    assert sail.ready_pending(resource) == ""


def test_sail_probe_annotations_are_read() -> None:
    """They hold the reason that the condition lacks."""
    webhook: Object = {
        "metadata": {
            "name": "istio-sidecar-injector",
            "annotations": {"sailoperator.io/readinessProbe.message": "caBundle hasn't been set", "other": "x"},
        }
    }
    assert sail.probe_reasons([webhook]) == ["istio-sidecar-injector message: caBundle hasn't been set"]


def test_gateway_manifest() -> None:
    """The gateway is of its network, injected, and pulled only where the image is missing."""
    values = {"namespace": "istio-system", "network": "network2"}
    (service,) = manifests.render("east-west-gateway-service", **values)
    (deployment,) = (m for m in manifests.render("east-west-gateway", **values) if m["kind"] == "Deployment")
    assert service["metadata"]["labels"]["topology.istio.io/network"] == "network2"
    assert [port["port"] for port in service["spec"]["ports"]] == [15021, 15443, 15012, 15017]
    template = deployment["spec"]["template"]
    assert service["spec"]["selector"].items() <= template["metadata"]["labels"].items()
    assert template["metadata"]["annotations"] == {"inject.istio.io/templates": "gateway"}
    (container,) = template["spec"]["containers"]
    assert container["imagePullPolicy"] == "IfNotPresent"
    assert {"name": "ISTIO_META_REQUESTED_NETWORK_VIEW", "value": "network2"} in container["env"]


def test_a_placeholder_without_a_value_is_an_error() -> None:
    """A manifest is never applied half filled in."""
    with pytest.raises(KeyError):
        manifests.render("sleep", namespace="sample")


def test_addresses_are_ips_or_host_names() -> None:
    """Clouds publish either."""
    service: Object = {"status": {"loadBalancer": {"ingress": [{"hostname": "lb.example"}, {"ip": "192.0.2.1"}, {}]}}}
    assert addresses(service) == ["lb.example", "192.0.2.1"]
    assert address_pending(service) == ""
    assert address_pending({}) == "Service istio-eastwestgateway has no load balancer address"


def test_webhook_without_ca_is_pending() -> None:
    """The control plane writes the CA; one webhook without it is enough to wait on."""
    hooks = [{"name": "a", "clientConfig": {"caBundle": "x"}}, {"name": "b", "clientConfig": {}}]
    assert webhook_pending({"webhooks": hooks}) == "1 of 2 webhooks in istio-sidecar-injector have no caBundle"
    assert webhook_pending({"webhooks": hooks[:1]}) == ""
    assert "does not exist" in webhook_pending(None)


def test_deployment_progress() -> None:
    """Observed, updated, available: in this order, each said while it is missing."""
    seen: Object = {"metadata": {"name": "istiod", "generation": 2}, "spec": {"replicas": 1}, "status": {}}
    assert readiness.deployment_pending(seen) == "Deployment istiod is not yet observed"
    seen["status"] = {"observedGeneration": 2}
    assert readiness.deployment_pending(seen) == "Deployment istiod has 0 of 1 pods"
    seen["status"] |= {"updatedReplicas": 1}
    assert readiness.deployment_pending(seen) == "Deployment istiod has 0 of 1 pods available"
    seen["status"] |= {"availableReplicas": 1, "conditions": [{"type": "Available", "status": "True"}]}
    assert readiness.deployment_pending(seen) == ""


def test_daemon_set_progress() -> None:
    """A DaemonSet that is wanted on no node is not ready."""
    seen: Object = {"metadata": {"name": "istio-cni-node", "generation": 1}, "status": {"observedGeneration": 1}}
    assert readiness.daemon_set_pending(seen) == "DaemonSet istio-cni-node is on no node yet"
    seen["status"] |= {"desiredNumberScheduled": 2, "updatedNumberScheduled": 2, "numberReady": 1}
    assert readiness.daemon_set_pending(seen) == "DaemonSet istio-cni-node is ready on 1 of 2 nodes"
    seen["status"]["numberReady"] = 2
    assert readiness.daemon_set_pending(seen) == ""


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (
            {
                "containerStatuses": [
                    {"name": "c", "state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such tag"}}}
                ]
            },
            "pod p: container c: ImagePullBackOff: no such tag",
        ),
        (
            {"conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "cpu"}]},
            "pod p: Unschedulable: cpu",
        ),
        (
            {
                "initContainerStatuses": [
                    {
                        "name": "i",
                        "state": {"waiting": {"reason": "CrashLoopBackOff"}},
                        "lastState": {"terminated": {"message": "CNI not ready"}},
                    }
                ]
            },
            "pod p: container i: CrashLoopBackOff: CNI not ready",
        ),
        (
            {"containerStatuses": [{"name": "c", "ready": False, "state": {"running": {"startedAt": "now"}}}]},
            "pod p: container c runs but is not ready",
        ),
    ],
)
def test_why_a_pod_is_not_ready(status: Object, reason: str) -> None:
    """The pod's own words."""
    assert readiness.pod_reasons({"metadata": {"name": "p"}, "status": status}) == [reason]


def test_a_healthy_pod_has_no_reasons() -> None:
    """Containers that have ended well, or are only starting, are no reason."""
    statuses = [
        {"name": "init", "state": {"terminated": {"reason": "Completed"}}},
        {"name": "c", "ready": True, "state": {"running": {"startedAt": "now"}}},
        {"name": "d", "state": {"waiting": {"reason": "PodInitializing"}}},
    ]
    assert readiness.pod_reasons({"metadata": {"name": "p"}, "status": {"containerStatuses": statuses}}) == []


def _leaves(values: Any) -> list[str]:
    return [
        leaf
        for key, value in values.items()
        for leaf in (_leaves(value) if isinstance(value, dict) and value else [key])
    ]
