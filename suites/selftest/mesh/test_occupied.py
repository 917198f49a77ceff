"""What stands before a run keeps it from installing a mesh, and what does not."""

from pathlib import Path

import pytest

from harness.base.errors import UserError
from harness.kube.inventory import Entry, Inventory, Kind
from harness.mesh.occupied import require_unoccupied
from harness.mesh.settings import MeshSettings

SETTINGS = MeshSettings(istio_version="1.31.0", istioctl=Path("istioctl"))


@pytest.mark.parametrize(
    ("kind", "namespace", "name", "refused"),
    [
        ("Deployment.apps", "istio-system", "istiod", True),
        ("Deployment.apps", "istio-system", "istiod-canary", True),
        ("Deployment.apps", "istio-system", "istio-eastwestgateway", True),
        ("Secret", "istio-system", "cacerts", True),
        ("DaemonSet.apps", "istio-cni", "istio-cni-node", True),
        ("Service", "istio-system", "istiod", True),
        ("MutatingWebhookConfiguration.admissionregistration.k8s.io", "", "istio-sidecar-injector", True),
        ("MutatingWebhookConfiguration.admissionregistration.k8s.io", "", "istio-sidecar-injector-mesh2", True),
        ("ValidatingWebhookConfiguration.admissionregistration.k8s.io", "", "istiod-default-validator", True),
        ("ValidatingWebhookConfiguration.admissionregistration.k8s.io", "", "istio-validator-mesh2", True),
        ("ValidatingWebhookConfiguration.admissionregistration.k8s.io", "", "shop-validator", False),
        ("Istio.sailoperator.io", "", "default", True),
        ("IstioCNI.sailoperator.io", "", "default", True),
        ("Deployment.apps", "sample", "helloworld-v1", True),
        ("Deployment.apps", "sample", "sleep", True),
        ("Deployment.apps", "sample", "shop", False),
        ("Deployment.apps", "sample", "echo-v1", True),
        ("Deployment.apps", "sample", "plain", True),
        ("Service", "sample", "helloworld", True),
        ("Service", "sample", "sleep", True),
        ("Service", "sample", "echo", True),
        ("Service", "sample", "echo-v1", True),
        ("ServiceAccount", "sample", "sleep", True),
        ("ServiceAccount", "sample", "echo", True),
        ("ServiceAccount", "sample", "default", False),
        ("Service", "elsewhere", "helloworld", False),
        ("DestinationRule.networking.istio.io", "sample", "echo-v1", True),
        ("Service", "istio-system", "istio-eastwestgateway", True),
        ("VirtualService.networking.istio.io", "istio-system", "istiod-vs", True),
        ("Deployment.apps", "elsewhere", "istiod", True),
        ("Deployment.apps", "elsewhere", "istiod-canary", True),
        ("Deployment.apps", "elsewhere", "istio-eastwestgateway", False),
        ("DaemonSet.apps", "kube-system", "istio-cni-node", True),
        ("Secret", "istio-system", "pull-secret", False),
    ],
)
def test_a_mesh_that_stands_is_not_overwritten(kind: str, namespace: str, name: str, refused: bool) -> None:
    """Neither a user's own nor that of another run on the same clusters; what is merely beside it is no obstacle."""
    short, _, group = kind.partition(".")
    entry = Entry(Kind(f"{group}/v1".lstrip("/"), short, f"{short.lower()}s"), namespace, name, "1")
    before = Inventory("east", {entry.key: entry})
    if not refused:
        require_unoccupied(before, SETTINGS)
        return
    with pytest.raises(UserError, match=f"stands on east already: {short} .*{name}") as found:
        require_unoccupied(before, SETTINGS)
    assert "--verify-only" in found.value.fix


@pytest.mark.parametrize(
    "kind", ["Namespace", "CustomResourceDefinition.apiextensions.k8s.io", "Secret", "Istio.sailoperator.io"]
)
def test_what_could_not_be_listed_may_stand(kind: str) -> None:
    """Nothing is installed where a mesh may be, or where what stood before can't be told from what the run makes."""
    with pytest.raises(UserError, match=f"can't be read: {kind}: 403 refused") as found:
        require_unoccupied(Inventory("east", {}, {kind: "403 refused"}), SETTINGS)
    assert "list these kinds" in found.value.fix
    require_unoccupied(Inventory("east", {}, {"Pods.metrics.example": "503"}), SETTINGS)
