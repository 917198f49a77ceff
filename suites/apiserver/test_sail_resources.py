"""The Sail operator's resources on a real API server, with as little of its definitions as the suite needs.

The operator itself can't be had from a package registry: the test plays its part.
"""

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.base.errors import StepError, UserError
from harness.kube import inventory
from harness.kube.access import ClusterAccess
from harness.kube.api import KubeApi, Object
from harness.kube.client import Kube
from harness.mesh import operator, removal, sail
from harness.mesh.context import Mesh
from harness.mesh.distributions.model import Manifests
from harness.mesh.gone import still_there
from harness.mesh.settings import MeshSettings
from harness.model.step import Outcome, Phase
from harness.model.step_log import StepLog
from harness.model.topology import ControlPlaneModel, NetworkModel, preset
from suites.apiserver.server import api_server

PR = preset(ControlPlaneModel.PRIMARY_REMOTE, NetworkModel.MULTI)
EAST, WEST = PR.clusters


@pytest.fixture(scope="module")
def access(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterAccess]:
    """One API server for all tests; each begins and ends with no definitions of the operator on it."""
    with api_server(tmp_path_factory.mktemp("api-server")) as found:
        yield found


def definitions(directory: Path, *versions: str) -> str:
    """A file with the operator's definitions, in these versions; the first is stored."""
    loaded = list(yaml.safe_load_all((Path(__file__).parent / "definitions.yaml").read_text()))
    (template,) = loaded[0]["spec"]["versions"]
    for definition in loaded:
        definition["spec"]["versions"] = [
            {**template, "name": version, "storage": version == versions[0]} for version in versions
        ]
    path = directory / "definitions.yaml"
    path.write_text(yaml.safe_dump_all(loaded))
    return str(path)


def mesh_of(access: ClusterAccess, files: str, version: str = "1.30.3") -> Mesh:
    """A mesh of this one API server, whose operator arrives as manifests."""
    arrival = Manifests(arrival="manifests", files=(files,))
    settings = MeshSettings(version, Path("istioctl"), installer="sail", operator=arrival, timeout_scale=0.05)
    return Mesh(PR, {"east": Kube(access), "west": Kube(access)}, settings, StepLog())


def ready(kube: Any, api: str, kind: str) -> None:
    """What the operator writes once the control plane is ready."""
    seen = kube.get(api, kind, "default") or {}
    conditions = [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}]
    status = {"observedGeneration": seen["metadata"]["generation"], "conditions": conditions}
    kube._resource(api, kind).status.patch(
        name="default", body={"status": status}, content_type="application/merge-patch+json"
    )


@pytest.mark.parametrize("served", [("v1", "v1alpha1"), ("v1alpha1",)], ids="-".join)
def test_from_arrival_to_removal(access: ClusterAccess, served: tuple[str, ...], tmp_path: Path) -> None:
    """Definitions arrive, resources are written in the version served, Ready is seen, and nothing is left."""
    mesh, kube = mesh_of(access, definitions(tmp_path, *served)), Kube(access)
    before = inventory.take(kube)
    assert operator.install_operator(mesh, EAST) is True
    operator.await_operator(mesh, EAST)
    api, installer = f"sailoperator.io/{served[0]}", sail.Sail()
    installer.install_primary(mesh, EAST)
    installer.install_primary(mesh, EAST)
    istio = kube.get(api, "Istio", "default") or {}
    assert (istio["apiVersion"], istio["spec"]["version"]) == (api, "v1.30.3")
    assert istio["spec"]["values"]["global"]["multiCluster"] == {"clusterName": "cluster1"}
    assert istio["spec"]["values"]["global"]["externalIstiod"] is True
    assert istio["metadata"]["generation"] == 1, "writing it twice changes nothing"
    with mesh.log.step(Phase.MESH, "wait") as opened:
        threading.Timer(0.3, ready, (kube, api, "Istio")).start()
        began = time.monotonic()
        installer.await_ready(mesh, EAST, opened)
    assert time.monotonic() - began < 5, "a watch sees it at once"
    removal.delete_resources(mesh, EAST, before)
    operator.remove_operator(mesh, EAST, before)
    assert all(step.outcome is Outcome.DONE for step in mesh.log.steps), mesh.log.steps
    _await_no_definitions(kube)
    left = inventory.leftovers(before, inventory.take(kube))
    assert not [entry for entry in left if "sailoperator.io" in f"{entry.kind.api_version} {entry.name}"]


def test_a_remote_that_is_not_ready_says_why(access: ClusterAccess, tmp_path: Path) -> None:
    """On expiry: the condition, and the operator's notes on the webhook."""
    mesh, kube = mesh_of(access, definitions(tmp_path, "v1")), Kube(access)
    before = inventory.take(kube)
    operator.install_operator(mesh, WEST)
    operator.await_operator(mesh, WEST)
    installer = sail.Sail()
    installer.install_remote(mesh, WEST, "192.0.2.1")
    istio = kube.get("sailoperator.io/v1", "Istio", "default") or {}
    assert istio["spec"]["profile"] == "remote"
    kube.apply(_noted_webhook())
    with (
        pytest.raises(StepError, match=r"not yet observed by the operator.*caBundle hasn't been set"),
        mesh.log.step(Phase.MESH, "wait") as opened,
    ):
        installer.await_ready(mesh, WEST, opened)
    with pytest.raises(UserError, match=r"does not offer Istio v1\.29\.0"):
        installer.install_primary(mesh_of(access, str(tmp_path / "definitions.yaml"), "1.29.0"), EAST)
    removal.delete_resources(mesh, WEST, before)
    operator.remove_operator(mesh, WEST, before)
    _await_no_definitions(kube)


def _noted_webhook() -> Object:
    note = {"sailoperator.io/readinessProbe.message": "caBundle hasn't been set"}
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": "istio-sidecar-injector", "annotations": note},
        "webhooks": [],
    }


def _await_no_definitions(kube: KubeApi) -> None:
    with StepLog().step(Phase.CLEANUP, "wait") as opened:
        for plural in ("istios", "istiocnis", "istiorevisions"):
            kube.wait(
                "apiextensions.k8s.io/v1",
                "CustomResourceDefinition",
                f"{plural}.sailoperator.io",
                pending=still_there,
                timeout=20,
                step=opened,
            )
