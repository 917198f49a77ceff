"""An ambient mesh: what is sent to istioctl, the operator and the API server, in which order, and what goes again."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.base.errors import StepError, UserError
from harness.kube.api import Object
from harness.kube.inventory import Entry, Inventory, Kind
from harness.mesh import gateway_api, gateways, istioctl, manifests, ownership, pki, procedure, sail, workloads
from harness.mesh.context import Mesh
from harness.mesh.gateway_api import GATEWAYS
from harness.mesh.occupied import require_unoccupied
from harness.mesh.settings import MeshSettings
from harness.mesh.values import ztunnel_values
from harness.model.data_plane import DataPlane
from harness.model.step import WAIT_FOR_CONTROL_PLANE, Outcome
from harness.model.step_log import StepLog
from harness.model.topology import ControlPlaneModel, NetworkModel, preset
from suites.selftest.support.quick_mesh import GATEWAY, SETTINGS, Istioctl, QuickKube, titles

MP = preset(ControlPlaneModel.MULTI_PRIMARY, NetworkModel.MULTI)
AMBIENT = replace(SETTINGS, data_plane=DataPlane.AMBIENT)
BUILT_HERE = replace(AMBIENT, images="local")
BY_OPERATOR = replace(AMBIENT, installer="sail")
PROGRAMMED = {"type": "Programmed", "status": "True"}
STEPS = [
    "Create the project of the control plane",
    "Set the default network for the pods of the cluster",
    "Create the CA certificates, certificate chain, and the private key for Istio",
    "Install the definitions of the Kubernetes Gateway API",
    "Create an Istio Container Network Interface (CNI) resource",
    "Install Istio on the primary cluster",
    WAIT_FOR_CONTROL_PLANE,
    "Create a ZTunnel resource",
    GATEWAY,
    "Install a remote secret that provides access to the API server of another cluster",
    "Wait for Istio's CNI plugin to be on every node",
    "Wait for ztunnel to be on every node",
    "Wait for the East-West gateway to be available",
    "Wait for the East-West gateway to have an address",
]


class WithGatewayApi(QuickKube):
    """An API server on which somebody has installed the Gateway API."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        established = {"conditions": [{"type": "Established", "status": "True"}]}
        metadata = {"name": GATEWAYS}
        definition = {"kind": "CustomResourceDefinition", "metadata": metadata, "status": established}
        self.objects["CustomResourceDefinition", "", GATEWAYS] = definition


def _with_gateway_api() -> dict[str, QuickKube]:
    return {name: WithGatewayApi(name) for name in ("east", "west")}


@pytest.fixture
def definitions(tmp_path: Path) -> Path:
    """What the Gateway API's project publishes: definitions, and a policy that guards them."""
    file = tmp_path / "gateway-api.yaml"
    kinds = ("CustomResourceDefinition", GATEWAYS), ("ValidatingAdmissionPolicy", "safe-upgrades")
    objects = [{"apiVersion": "v1", "kind": kind, "metadata": {"name": name}} for kind, name in kinds]
    file.write_text(yaml.safe_dump_all(objects))
    return file


def _formed(settings: MeshSettings, kubes: dict[str, QuickKube]) -> Mesh:
    mesh = Mesh(MP, kubes, settings, StepLog())
    procedure.install(mesh, pki.Pki({name: pki.CaFiles("cert", "key", "root", "chain") for name in kubes}))
    procedure.await_gateways(mesh)
    return mesh


def _env(values: dict[str, Any]) -> Any:
    return values["pilot"]["env"]


def test_istioctl_is_given_the_profile_and_ztunnel_comes_by_itself() -> None:
    """Three resources: the CNI plugin, istiod with the definitions, and ztunnel, which needs an istiod that answers."""
    primary = istioctl.primary_operator(MP, MP["east"], AMBIENT)["spec"]
    assert primary["profile"] == "ambient"
    assert primary["components"] == {"cni": {"enabled": True, "namespace": "istio-cni"}, "ztunnel": {"enabled": False}}
    assert _env(primary["values"]) == {"AMBIENT_ENABLE_MULTI_NETWORK": "true"}
    cni = istioctl.cni_operator(AMBIENT)["spec"]
    assert (cni["profile"], cni["values"]) == ("empty", {"profile": "ambient"})
    own = istioctl.ztunnel_operator(MP["west"], AMBIENT)["spec"]
    assert own["components"] == {"ztunnel": {"enabled": True}}
    of_cluster = {"multiCluster": {"clusterName": "cluster2"}, "network": "network2"}
    assert own["values"] == {"profile": "ambient", "ztunnel": of_cluster}


def test_images_that_are_built_here_have_no_variants() -> None:
    """Profile ambient asks for distroless ones; and a small node holds everything."""
    assert istioctl.cni_operator(BUILT_HERE)["spec"]["values"]["global"] == {"variant": ""}
    own = ztunnel_values(MP["east"], BUILT_HERE)["ztunnel"]
    assert (own["variant"], own["resources"]) == ("", {"requests": {"cpu": "50m"}})
    said = " ".join(BUILT_HERE.deviations)
    for named in ("global.variant", "pilot.resources.requests.cpu", "global.waypoint.resources", "EnvoyFilter"):
        assert named in said
    assert "variant" not in " ".join(AMBIENT.deviations)
    assert "pilot.cni.enabled" not in said


def test_the_operators_resources() -> None:
    """Each of profile ambient; istiod is told the namespace of the ztunnel that it may trust."""
    cni = sail.cni_resource("sailoperator.io/v1", "v1.31.0", BY_OPERATOR)
    assert cni["spec"] == {"version": "v1.31.0", "namespace": "istio-cni", "profile": "ambient"}
    own = sail.ztunnel_resource("sailoperator.io/v1", "v1.31.0", MP["east"], BY_OPERATOR)
    assert (own["kind"], own["metadata"], own["spec"]["namespace"]) == ("ZTunnel", {"name": "default"}, "ztunnel")
    assert own["spec"]["values"]["ztunnel"] == {"multiCluster": {"clusterName": "cluster1"}, "network": "network1"}
    kubes = {"east": QuickKube("east"), "west": QuickKube("west")}
    mesh = Mesh(MP, kubes, BY_OPERATOR, StepLog())
    sail.Sail().install_primary(mesh, MP["east"])
    istio = kubes["east"].objects["Istio", "", "default"]["spec"]
    assert istio["profile"] == "ambient"
    assert istio["values"]["pilot"]["trustedZtunnelNamespace"] == "ztunnel"
    sail.Sail().install_ztunnel(mesh, MP["east"])
    assert {("Namespace", "", "ztunnel"), ("ZTunnel", "", "default")} <= set(kubes["east"].objects)


def test_an_operator_without_ztunnel_is_refused() -> None:
    class Old(QuickKube):
        def serves(self, api_version: str, kind: str) -> bool:  # noqa: ARG002
            return kind != "ZTunnel"

    sail.require_operator([Old("east")], replace(BY_OPERATOR, data_plane=DataPlane.SIDECAR))
    with pytest.raises(UserError, match="does not serve ZTunnel"):
        sail.require_operator([Old("east")], BY_OPERATOR)


def test_the_procedure(istioctl: Istioctl, definitions: Path) -> None:
    """Definitions before istiod, ztunnel after it; nothing is exposed, for a Service says itself that it is global."""
    kubes: dict[str, QuickKube] = {name: QuickKube(name) for name in ("east", "west")}
    mesh = _formed(replace(AMBIENT, gateway_api=definitions), kubes)
    steps = list(mesh.log.steps)
    assert titles(steps, "east") == titles(steps, "west") == STEPS
    assert all(step.outcome is Outcome.DONE for step in steps)
    objects = kubes["east"].objects
    assert ("CustomResourceDefinition", "", GATEWAYS) in objects
    assert not {kind for kind, _, _ in objects} & {"ValidatingAdmissionPolicy", "EnvoyFilter", "VirtualService"}
    gateway = objects["Gateway", "istio-system", "istio-eastwestgateway"]
    assert gateway["metadata"]["labels"]["topology.istio.io/network"] == "network1"
    assert [(found["port"], found["protocol"]) for found in gateway["spec"]["listeners"]] == [(15008, "HBONE")]


def test_definitions_that_are_there_stay_as_they_are(istioctl: Istioctl) -> None:
    kubes = _with_gateway_api()
    mesh = _formed(AMBIENT, kubes)
    skipped = [step for step in mesh.log.steps if step.outcome is Outcome.SKIPPED]
    assert {step.title for step in skipped} == {STEPS[3]}
    assert [name for kind, _, name in kubes["east"].objects if kind == "CustomResourceDefinition"] == [GATEWAYS]


def test_definitions_that_are_on_their_way_out_are_installed_again(istioctl: Istioctl, definitions: Path) -> None:
    """For a moment the API server still lists the kinds of definitions that were just removed."""
    kubes = _with_gateway_api()
    kubes["east"].objects["CustomResourceDefinition", "", GATEWAYS]["metadata"]["deletionTimestamp"] = "now"
    mesh = _formed(replace(AMBIENT, gateway_api=definitions), kubes)
    installed = {step.cluster for step in mesh.log.steps if step.title == STEPS[3] and step.outcome is Outcome.DONE}
    assert installed == {"east"}


def test_definitions_that_can_not_be_had_are_named_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_args: object, **_options: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(gateway_api, "urlopen", unreachable)
    with pytest.raises(StepError, match=r"no route to host.*kubectl apply --server-side -f https://github\.com/"):
        gateway_api.read_definitions(None)


def test_an_upstream_envoy_is_made_to_fit(istioctl: Istioctl) -> None:
    """One filter goes, and in two others Envoy's own hashable string takes the place of Istio's."""
    kubes = _with_gateway_api()
    _formed(BUILT_HERE, kubes)
    spec = kubes["west"].objects["EnvoyFilter", "istio-system", "istio-eastwestgateway"]["spec"]
    assert [target["name"] for target in spec["targetRefs"]] == ["istio-eastwestgateway"]
    found = {}
    for change in spec["configPatches"]:
        chain = change["match"]["listener"]["filterChain"]["filter"]
        found[chain["subFilter"]["name"]] = change["patch"]["operation"]
    replaced = dict.fromkeys(("connect_authority", "request_source"), "REPLACE")
    assert found == {"waypoint_downstream_peer_metadata": "REMOVE", **replaced}
    assert "istio.hashable_string" not in str(spec)


def test_workloads_are_in_the_mesh_by_a_label() -> None:
    """No injection is waited for; Services that other clusters are to reach are global."""
    kubes = _with_gateway_api()
    mesh = Mesh(MP, kubes, replace(AMBIENT, experiments=True), StepLog())
    workloads.deploy(mesh)
    found = titles(list(mesh.log.steps), "east")
    assert found[:3] == [
        "Create a sample application namespace",
        "Label the application namespace to be part of the ambient mesh",
        "Create the helloworld service",
    ]
    assert "Wait for sidecar injection to answer" not in found
    objects = kubes["east"].objects
    assert objects["Namespace", "", "sample"]["metadata"]["labels"]["istio.io/dataplane-mode"] == "ambient"
    services = {n: found for (kind, _, n), found in objects.items() if kind == "Service"}
    reached = {n for n, service in services.items() if service["metadata"]["labels"].get("istio.io/global") == "true"}
    assert reached == {"helloworld", "echo-v1", "echo-v2"}
    plain = objects["Deployment", "sample", "plain"]["spec"]["template"]["metadata"]["labels"]
    assert plain["istio.io/dataplane-mode"] == "none"


def test_sidecars_are_not_told_of_global_services() -> None:
    kubes = _with_gateway_api()
    workloads.deploy(Mesh(MP, kubes, SETTINGS, StepLog()))
    assert "istio.io/global" not in kubes["east"].objects["Service", "sample", "helloworld"]["metadata"]["labels"]


@pytest.mark.parametrize(
    ("seen", "pending"),
    [
        (None, "does not exist"),
        ({"status": {"conditions": [PROGRAMMED]}}, "is not programmed"),
        ({"status": {"conditions": [PROGRAMMED], "addresses": [{"value": "192.0.2.1"}]}}, ""),
        (
            {"status": {"conditions": [{**PROGRAMMED, "status": "False", "reason": "AddressNotAssigned"}]}},
            "AddressNotAssigned",
        ),
    ],
)
def test_a_gateway_is_there_when_it_has_an_address(seen: Object | None, pending: str) -> None:
    found = gateways.programmed_pending(seen)
    assert pending in found
    assert bool(found) is bool(pending)


def test_what_stands_already_is_found() -> None:
    """A ztunnel of somebody else's mesh, wherever it is."""
    daemon_set = Entry(Kind("apps/v1", "DaemonSet", "daemonsets"), "kube-system", "ztunnel", "1")
    with pytest.raises(UserError, match="DaemonSet kube-system/ztunnel"):
        require_unoccupied(Inventory("east", {daemon_set.key: daemon_set}), AMBIENT)


def test_by_hand_ztunnel_goes_first_and_definitions_last() -> None:
    said = ownership.by_hand("east", (), BY_OPERATOR, Inventory("east", {}))
    kinds = "ztunnel.sailoperator.io/default istio.sailoperator.io/default istiocni.sailoperator.io/default"
    assert kinds in said
    assert "namespace istio-system sample istio-cni ztunnel" in said
    assert "delete --ignore-not-found crd $(" in said
    key = ("CustomResourceDefinition.apiextensions.k8s.io", "", GATEWAYS)
    definition = Entry(Kind("apiextensions.k8s.io/v1", "CustomResourceDefinition", "c", False), "", key[2], "1")
    assert " crd " not in ownership.by_hand("east", (), BY_OPERATOR, Inventory("east", {key: definition}))


def test_what_the_run_sets_on_the_samples_namespace_is_restored() -> None:
    assert workloads.DATA_PLANE_LABEL in ownership.NAMESPACE_KEYS["labels"]


def test_manifests_have_every_placeholder() -> None:
    for name in ("east-west-gateway-ambient", "east-west-gateway-upstream-envoy"):
        found = manifests.render(name, namespace="mesh", network="n")
        assert [each["metadata"]["namespace"] for each in found] == ["mesh"]
