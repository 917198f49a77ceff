"""The Sail operator: its resources as they are rendered, how it arrives and leaves, and why it is not ready."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.base.errors import StepError, UserError
from harness.kube.api import Object
from harness.kube.inventory import Entry, Inventory, Kind
from harness.mesh import operator, ownership, procedure, sail
from harness.mesh.context import Mesh
from harness.mesh.distributions import load
from harness.mesh.distributions.model import HelmChart, Manifests, OlmSubscription, Operator, Present, PullSecret
from harness.mesh.pull_secret import ensure_pull_secret
from harness.mesh.resolve import resolve
from harness.mesh.settings import MeshSettings
from harness.mesh.values import primary_values
from harness.model.step import Outcome
from harness.model.step_log import StepLog
from harness.model.topology import ControlPlaneModel, NetworkModel, preset
from suites.selftest.support.fake_kube import FakeKube

MP = preset(ControlPlaneModel.MULTI_PRIMARY, NetworkModel.MULTI)
EAST = MP["east"]
CRD = "apiextensions.k8s.io/v1", "CustomResourceDefinition"
OFFERED = ("v1.31-latest", "v1.31.0-beta.1", "v1.30-latest", "v1.30.3", "v1.24.1")
OLM = OlmSubscription(arrival="olm", package="servicemeshoperator3", channel="stable", source="redhat-operators")
READY: Object = {"conditions": [{"type": "Ready", "status": "True"}], "observedGeneration": 1}


class OperatorKube(FakeKube):
    """Definitions of the operator that are applied are served."""

    def __init__(self, *objects: Object) -> None:
        super().__init__("east", *objects)

    def serves(self, api_version: str, kind: str) -> bool:
        """Whether a definition of that version is there."""
        found = self.get(*CRD, f"{kind.lower()}s.sailoperator.io")
        versions = found["spec"]["versions"] if found else []
        return any(api_version == f"sailoperator.io/{version['name']}" for version in versions)

    @property
    def deleted(self) -> list[str]:
        """Kind, namespace and name of what was deleted."""
        return [written.removeprefix("delete ") for written in self.writes if written.startswith("delete ")]


def definition(kind: str, *versions: str) -> Object:
    """A custom resource definition of the operator, with the versions of Istio that it offers."""
    offered = {"properties": {"spec": {"properties": {"version": {"enum": list(OFFERED)}}}}}
    return {
        "apiVersion": CRD[0],
        "kind": CRD[1],
        "metadata": {"name": f"{kind.lower()}s.sailoperator.io"},
        "spec": {"versions": [{"name": version, "schema": {"openAPIV3Schema": offered}} for version in versions]},
        "status": {"conditions": [{"type": "Established", "status": "True"}]},
    }


def mesh_of(kube: OperatorKube, arrival: Operator | None = None, **changed: Any) -> Mesh:
    """A mesh on one fake API server."""
    settings = MeshSettings(
        **{"istio_version": "1.30.3", "istioctl": Path("istioctl"), "installer": "sail", "operator": arrival, **changed}
    )
    return Mesh(MP, {"east": kube, "west": kube}, settings, StepLog())


def outcome(mesh: Mesh) -> tuple[Outcome, str]:
    """Of the last step."""
    last = mesh.log.steps[-1]
    return last.outcome, last.detail


@pytest.mark.parametrize(
    ("served", "wanted", "written"),
    [
        (("v1", "v1alpha1"), "auto", "sailoperator.io/v1"),
        (("v1alpha1",), "auto", "sailoperator.io/v1alpha1"),
        (("v1", "v1alpha1"), "v1alpha1", "sailoperator.io/v1alpha1"),
    ],
)
def test_resources_are_written_in_the_version_that_is_served(
    served: tuple[str, ...], wanted: str, written: str
) -> None:
    """V1 before v1alpha1, unless the profile names one."""
    kube = OperatorKube(definition("Istio", *served), definition("IstioCNI", *served))
    mesh = mesh_of(kube, api_version=wanted)
    sail.Sail().install_cni(mesh, EAST)
    sail.Sail().install_primary(mesh, EAST)
    cni, istio = kube.objects["IstioCNI", "", "default"], kube.objects["Istio", "", "default"]
    assert (cni["apiVersion"], istio["apiVersion"]) == (written, written)
    assert cni["spec"] == {"version": "v1.30.3", "namespace": "istio-cni"}
    assert istio["spec"] == {
        "version": "v1.30.3",
        "namespace": "istio-system",
        "values": primary_values(MP, EAST, mesh.settings),
    }


def test_the_default_validator_of_an_external_control_plane_is_trusted() -> None:
    """Its istiod gives no CA to the validator on its own cluster: the root comes with the resource."""
    outside = preset(ControlPlaneModel.EXTERNAL, NetworkModel.MULTI)
    cacerts = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "cacerts", "namespace": "istio-system"}}
    kube = OperatorKube(definition("Istio", "v1"), cacerts | {"data": {"root-cert.pem": "cm9vdA=="}})
    mesh = replace(mesh_of(kube), topology=outside, kubes={"control": kube})
    sail.Sail().install_primary(mesh, outside["east"])
    assert kube.objects["Istio", "", "default"]["spec"]["values"]["base"] == {"validationCABundle": "cm9vdA=="}


def test_the_chapters_resource_letter_by_letter() -> None:
    """OpenShift Service Mesh in the chapter's version: nothing but the access log is added."""
    ossm = load("ossm")
    settings = resolve(ossm, istio_version=ossm.istio_version, istioctl=Path("istioctl"))
    values = primary_values(MP, EAST, settings)
    assert set(values.pop("meshConfig")) == {"accessLogFile", "accessLogEncoding", "accessLogFormat"}
    (api,) = sail.api_versions(settings)
    assert sail.istio_resource(api, sail.choose_version(OFFERED, settings), settings, values) == {
        "apiVersion": "sailoperator.io/v1alpha1",
        "kind": "Istio",
        "metadata": {"name": "default"},
        "spec": {
            "version": "v1.24.1",
            "namespace": "istio-system",
            "values": {
                "global": {
                    "meshID": "mesh1",
                    "multiCluster": {"clusterName": "cluster1"},
                    "network": "network1",
                }
            },
        },
    }


@pytest.mark.parametrize(
    ("settings", "chosen"),
    [
        ({}, "v1.30.3"),
        ({"istio_version": "1.31-alpha.eed52ebb66ad", "hub": "hub", "tag": "tag"}, "v1.31-latest"),
        ({"resource_version": "v1.31-latest"}, "v1.31-latest"),
    ],
)
def test_the_operator_is_asked_for_a_version_that_it_offers(settings: dict[str, Any], chosen: str) -> None:
    """Its charts of the same minor version do for images of one's own."""
    assert sail.choose_version(OFFERED, mesh_of(OperatorKube(), **settings).settings) == chosen


def test_a_version_that_the_operator_does_not_offer_is_an_error_that_names_those_it_does() -> None:
    """An operator that does not say what it offers is asked for the version as it is."""
    settings = mesh_of(OperatorKube(), istio_version="1.29.1").settings
    assert sail.choose_version((), settings) == "v1.29.1"
    with pytest.raises(UserError, match=r"does not offer Istio v1\.29\.1") as error:
        sail.choose_version(OFFERED, settings)
    assert "v1.30.3" in error.value.why
    assert sail.offered_versions(definition("Istio", "v1"), "sailoperator.io/v1") == OFFERED
    assert sail.offered_versions(definition("Istio", "v1"), "sailoperator.io/v1alpha1") == ()


def test_images_of_ones_own_are_told_to_the_cni_resource_too() -> None:
    """Registry, tag and pull secret."""
    profile = load("sail").model_copy(update={"pull_secret": PullSecret(name="pull", file="auth.json")})
    settings = resolve(profile, istio_version="1.31.0", istioctl=Path("istioctl"), built=("hub", "tag"))
    values = sail.cni_resource("sailoperator.io/v1", "v1.31.0", settings)["spec"]["values"]
    assert values == {"global": {"hub": "hub", "tag": "tag", "imagePullSecrets": ["pull"]}}


def test_a_resource_that_is_not_ready_says_why() -> None:
    """The condition's reason and message, the revision's, and the operator's note on the remote's webhook."""
    condition = {"type": "Ready", "status": "False", "reason": "RemoteIstiodNotReady", "message": "no endpoint"}
    status = {"conditions": [condition], "observedGeneration": 1}
    resource: Object = {"kind": "Istio", "metadata": {"name": "default", "generation": 1}, "status": status}
    note = {"sailoperator.io/readinessProbe.message": "caBundle hasn't been set"}
    webhook: Object = {"kind": "MutatingWebhookConfiguration", "metadata": {"name": "injector", "annotations": note}}
    kube = OperatorKube(definition("Istio", "v1"), resource, {**resource, "kind": "IstioRevision"}, webhook)
    with pytest.raises(StepError) as error:
        sail.Sail().await_ready(mesh_of(kube), EAST, None)  # type: ignore[arg-type]
    for told in (
        "Istio default is not Ready (RemoteIstiodNotReady: no endpoint)",
        "IstioRevision default is not Ready",
        "injector message: caBundle hasn't been set",
    ):
        assert told in str(error.value)
    kube.objects["Istio", "", "default"]["status"] = READY
    sail.Sail().await_ready(mesh_of(kube), EAST, None)  # type: ignore[arg-type]


def test_an_operator_that_is_not_there_stops_the_run_before_anything_is_created() -> None:
    """Where the profile says that it is present."""
    kube = OperatorKube()
    with pytest.raises(UserError, match="not installed on east"):
        sail.require_operator([kube], mesh_of(kube, Present(arrival="present")).settings)


def test_clusters_that_are_too_old_stop_the_run() -> None:
    """Each version of Istio has its oldest Kubernetes."""
    kube = type("Old", (), {"name": "east", "read": lambda _self, _path: {"gitVersion": "v1.27.3"}})()
    with pytest.raises(UserError, match=r"Kubernetes on east is too old for Istio 1\.30\.3"):
        procedure.require_kubernetes(kube, mesh_of(OperatorKube()).settings)


def test_an_operator_that_is_there_is_used() -> None:
    """However the profile says it arrives; and it stays."""
    kube = OperatorKube(definition("Istio", "v1"))
    mesh = mesh_of(kube, OLM)
    assert operator.install_operator(mesh, EAST) is False
    assert outcome(mesh) == (Outcome.SKIPPED, "it is there")
    entry = Entry(Kind(*CRD, "customresourcedefinitions"), "", "istios.sailoperator.io", "uid")
    operator.remove_operator(mesh, EAST, Inventory("east", {entry.key: entry}))
    assert outcome(mesh) == (Outcome.SKIPPED, "it stood before, and stays")
    assert not kube.deleted


def test_it_arrives_as_a_helm_chart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Values over standard input; the release, and what comes with it, is removed again."""
    calls: list[tuple[list[str], str | None]] = []
    monkeypatch.setattr(
        OperatorKube,
        "run",
        lambda _kube, command, **more: calls.append(([str(word) for word in command], more["input"])),
    )
    chart = HelmChart(
        arrival="helm", chart="sail-operator", repository="https://example.org", version="1.2", values={"image": "i:1"}
    )
    kube = OperatorKube()
    mesh = mesh_of(kube, chart, helm=Path("helm"))
    assert operator.install_operator(mesh, EAST) is True
    command, values = calls[0]
    assert command[:5] == ["helm", "upgrade", "--install", "sail-operator", "sail-operator"]
    assert {"--repo", "https://example.org", "--version", "1.2", "--kube-context", "east"} <= set(command)
    assert values == '{"image": "i:1"}'
    assert ("Namespace", "", "sail-operator") in kube.objects
    operator.remove_operator(mesh, EAST, Inventory("east", {}))
    assert calls[1][0][:3] == ["helm", "uninstall", "sail-operator"]
    assert operator.operator_namespace(chart) == ("sail-operator",)


def test_it_arrives_as_manifests(tmp_path: Path) -> None:
    """Definitions first; removed in the opposite order, but for what stood before."""
    file = tmp_path / "operator.yaml"
    file.write_text(
        "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: sail, namespace: sail-operator}\n---\n"
        "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\n"
        "metadata: {name: istios.sailoperator.io}\nspec: {versions: [{name: v1}]}\n"
    )
    kube = OperatorKube()
    mesh = mesh_of(kube, Manifests(arrival="manifests", files=(str(file),)))
    operator.install_operator(mesh, EAST)
    assert list(kube.objects) == [
        ("Namespace", "", "sail-operator"),
        (CRD[1], "", "istios.sailoperator.io"),
        ("ServiceAccount", "sail-operator", "sail"),
    ]
    account = Entry(Kind("v1", "ServiceAccount", "serviceaccounts"), "sail-operator", "sail", "uid")
    operator.remove_operator(mesh, EAST, Inventory("east", {account.key: account}))
    assert kube.deleted == ["CustomResourceDefinition//istios.sailoperator.io"]


def test_what_istioctl_makes_in_place_of_the_installation_is_the_runs() -> None:
    """An older operator installs no istio-reader-service-account: create-remote-secret then makes it, and its roles."""
    role = Kind("rbac.authorization.k8s.io/v1", "ClusterRole", "clusterroles")
    entry = Entry(role, "", "istiod-clusterrole-istio-system", "uid", managers=("istio-ci",))
    assert ownership.owned(entry)


def test_credentials_are_in_the_cluster_and_nowhere_else(tmp_path: Path) -> None:
    """The pull secret has the file's content; the step says nothing of it."""
    file = tmp_path / "config.json"
    file.write_text('{"auths": {"registry.example.com": {"auth": "c2VjcmV0"}}}')
    kube = OperatorKube()
    mesh = mesh_of(kube, pull_secret=PullSecret(name="pull", file=str(file)))
    ensure_pull_secret(mesh, EAST, "istio-system")
    made = kube.objects["Secret", "istio-system", "pull"]
    assert (made["type"], set(made["data"])) == ("kubernetes.io/dockerconfigjson", {".dockerconfigjson"})
    assert "c2VjcmV0" not in "".join(mesh.settings.deviations)
