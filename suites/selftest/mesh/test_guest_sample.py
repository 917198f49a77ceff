"""The sample on a mesh of others: one namespace is created, what is in it is admitted, and nothing else is touched."""
# ruff: noqa: ARG002 - the signatures are those of KubeApi

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from kubernetes.client import ApiException

from harness.kube.api import Object
from harness.mesh import guest_sample
from harness.mesh.context import RUN_LABEL, Mesh
from harness.mesh.injection import NAME as DRY_RUN
from harness.mesh.settings import MeshSettings
from harness.model.data_plane import DataPlane
from harness.model.sample_labels import SampleLabels
from harness.model.step import Outcome
from harness.model.step_log import StepLog
from harness.model.topology import ControlPlaneModel, NetworkModel, preset
from suites.selftest.support.fake_kube import FakeKube

TOPOLOGY = preset(ControlPlaneModel.PRIMARY_REMOTE, NetworkModel.MULTI, 2)
NAMESPACE = guest_sample.namespace_of("r1")
SETTINGS = MeshSettings(
    istio_version="1.31.0",
    istioctl=Path("istioctl"),
    run_id="r1",
    sample_namespace=NAMESPACE,
    experiments=True,
    timeout_scale=0.01,
)
LABELS = {
    cluster.name: SampleLabels("1-31", {"istio.io/rev": "1-31"}, {"sidecar.istio.io/inject": "true"})
    for cluster in TOPOLOGY.clusters
}


class Cluster(FakeKube):
    """A cluster on which Deployments are available at once and, where it injects, pods come back with a proxy."""

    def __init__(self, name: str, *objects: Object, injects: bool = True, openshift: bool = False) -> None:
        super().__init__(name, *objects)
        self.injects, self.openshift = injects, openshift

    def serves(self, api_version: str, kind: str) -> bool:
        """OpenShift's kinds only there."""
        return self.openshift or kind != "SecurityContextConstraints"

    def create(self, manifest: Object, *, dry_run: bool = False) -> Object:
        """A dry run stores nothing, and is injected."""
        if not dry_run:
            return super().create(manifest)
        assert manifest["metadata"]["labels"] == {"sidecar.istio.io/inject": "true"}
        proxy = [{"name": "istio-proxy"}] if self.injects else []
        return {**manifest, "spec": {"containers": [*manifest["spec"]["containers"], *proxy]}}

    def apply(self, manifest: Object) -> Object:
        """A Deployment is available."""
        status = {
            "observedGeneration": 1,
            "replicas": 1,
            "updatedReplicas": 1,
            "availableReplicas": 1,
            "conditions": [{"type": "Available", "status": "True"}],
        }
        whole = {**manifest, "metadata": {**manifest["metadata"], "generation": 1}, "status": status}
        return super().apply(whole)


def _mesh(*kubes: FakeKube) -> Mesh:
    names = [cluster.name for cluster in TOPOLOGY.clusters]
    return Mesh(TOPOLOGY, dict(zip(names, kubes, strict=True)), SETTINGS, StepLog())


def _deployments(kube: FakeKube) -> list[dict[str, Any]]:
    return [found for (kind, _, _), found in kube.objects.items() if kind == "Deployment"]


def test_everything_is_in_one_namespace_and_is_gone_in_the_end() -> None:
    kubes = Cluster("east"), Cluster("west")
    mesh = _mesh(*kubes)
    guest_sample.deploy(mesh, LABELS)
    for cluster, kube in zip(TOPOLOGY.clusters, kubes, strict=True):
        written = {tuple(line.split()[1].split("/")[:2]) for line in kube.writes}
        assert written - {("Pod", NAMESPACE)} == {("Namespace", "")} | {
            (kind, NAMESPACE)
            for kind in ("Service", "ServiceAccount", "Deployment", *(["DestinationRule"] * cluster.is_primary))
        }
        policies = 2 if cluster.is_primary else 0
        assert len(kube.objects) + policies == guest_sample.object_count(SETTINGS, TOPOLOGY, cluster)
        labels = kube.objects["Namespace", "", NAMESPACE]["metadata"]["labels"]
        assert labels == {"istio.io/rev": "1-31", RUN_LABEL: "r1"}
    assert {step.outcome for step in mesh.log.steps} == {Outcome.DONE}
    guest_sample.remove(mesh)
    for kube in kubes:
        assert ("Namespace", "", NAMESPACE) not in kube.objects
        assert {line for line in kube.writes if line.startswith(("delete", "merge"))} == {
            f"delete Namespace//{NAMESPACE}"
        }


@pytest.mark.parametrize("openshift", [False, True])
def test_pod_security_restricted_admits_the_sample(openshift: bool) -> None:
    """Users are set where the image must not decide, and not where OpenShift gives each namespace its own."""
    kubes = Cluster("east", openshift=openshift), Cluster("west", openshift=openshift)
    guest_sample.deploy(_mesh(*kubes), LABELS)
    found = _deployments(kubes[0])
    assert {each["metadata"]["name"].partition("-")[0] for each in found} == {"helloworld", "sleep", "echo", "plain"}
    for deployment in found:
        template = deployment["spec"]["template"]
        pod = template["spec"]["securityContext"]
        assert pod["runAsNonRoot"]
        assert pod["seccompProfile"] == {"type": "RuntimeDefault"}
        assert ("runAsUser" in pod) is not openshift
        for container in template["spec"]["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
            }
        plain = deployment["metadata"]["name"] == "plain"
        assert template["metadata"]["labels"]["sidecar.istio.io/inject"] == ("false" if plain else "true")


def test_what_services_are_labelled_with_in_a_mesh_of_ztunnels() -> None:
    """What this mesh asks for on each cluster, beside their own labels; with sidecars nothing."""
    asked = {**LABELS, "east": replace(LABELS["east"], service={"reach": "far"})}
    for data_plane, wanted in ((DataPlane.AMBIENT, {"reach": "far"}), (DataPlane.SIDECAR, {})):
        kubes = Cluster("east"), Cluster("west")
        mesh = _mesh(*kubes)
        guest_sample.deploy(replace(mesh, settings=replace(SETTINGS, data_plane=data_plane)), asked)
        for kube, labels in zip(kubes, (wanted, {}), strict=True):
            found = [each["metadata"]["labels"] for (kind, _, _), each in kube.objects.items() if kind == "Service"]
            own = [{**each, **labels, RUN_LABEL: "r1"} for each in guest_sample.service_labels(SETTINGS)]
            assert all(each in found for each in own), found
            assert not any("istio.io/global" in each for each in found)
        noted = [step.detail for step in mesh.log.steps if "Create a namespace" in step.title]
        assert any("Services: reach=far" in detail for detail in noted)


def test_nothing_more_is_created_where_no_sidecar_comes() -> None:
    kubes = Cluster("east", injects=False), Cluster("west")
    mesh = _mesh(*kubes)
    guest_sample.deploy(mesh, LABELS)
    assert list(kubes[0].objects) == [("Namespace", "", NAMESPACE)]
    assert any("not injected" in step.detail for step in mesh.log.steps if step.outcome is Outcome.FAILED)
    assert _deployments(kubes[1])


def test_a_namespace_that_was_there_is_left_alone() -> None:
    theirs: Object = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": {"a": "b"}}}
    kubes = Cluster("east", theirs), Cluster("west")
    mesh = _mesh(*kubes)
    guest_sample.deploy(mesh, LABELS)
    guest_sample.remove(mesh)
    assert kubes[0].objects == {("Namespace", "", NAMESPACE): theirs}
    assert not kubes[0].writes
    assert any("left alone" in step.detail for step in mesh.log.steps)


def test_what_is_not_permitted_is_the_steps_failure() -> None:
    class Refusing(Cluster):
        def create(self, manifest: Object, *, dry_run: bool = False) -> Object:
            raise ApiException(status=403, reason="Forbidden")

    mesh = _mesh(Refusing("east"), Cluster("west"))
    guest_sample.deploy(mesh, LABELS)
    assert any(step.outcome is Outcome.FAILED and "403" in step.detail for step in mesh.log.steps)


def test_the_dry_run_pod_has_the_labels_of_the_sample() -> None:
    kube = Cluster("east")
    guest_sample.deploy(_mesh(kube, Cluster("west")), LABELS)
    assert not any(DRY_RUN in line for line in kube.writes)
