"""What declares an object, told from the metadata that Helm, operators and GitOps controllers leave."""

from typing import Any

import pytest

from harness.model.origin import Origin, Owner, origin

CHART = {
    "app.kubernetes.io/managed-by": "Helm",
    "helm.sh/chart": "istiod-1.31.0",
    "install.operator.istio.io/owning-resource": "unknown",
    "operator.istio.io/component": "Pilot",
}
"""Labels that Istio's chart sets, whatever renders it."""
HELM = {"meta.helm.sh/release-name": "istiod", "meta.helm.sh/release-namespace": "istio-system"}


def _owned(api_version: str, kind: str, name: str, controller: bool = True) -> dict[str, Any]:
    return {"apiVersion": api_version, "kind": kind, "name": name, "controller": controller, "uid": "1"}


def _managed(*managers: tuple[str, str]) -> list[dict[str, str]]:
    return [{"manager": name, "operation": "Update", "subresource": sub} for name, sub in managers]


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ({"labels": CHART, "annotations": HELM}, "Helm release istio-system/istiod"),
        ({"labels": CHART}, "manifests of the Helm chart istiod-1.31.0"),
        (
            {
                "labels": {
                    **CHART,
                    "operator.istio.io/managed": "Reconcile",
                    "install.operator.istio.io/owning-resource": "installed-state",
                }
            },
            "istioctl install, IstioOperator installed-state",
        ),
        (
            {
                "labels": CHART,
                "annotations": HELM,
                "ownerReferences": [_owned("sailoperator.io/v1", "IstioRevision", "default")],
            },
            "Sail operator's resource IstioRevision default",
        ),
        (
            {"annotations": {"argocd.argoproj.io/tracking-id": "mesh:apps/Deployment:istio-system/istiod", **HELM}},
            "Argo CD application mesh",
        ),
        ({"labels": {"argocd.argoproj.io/instance": "mesh"}}, "Argo CD application mesh"),
        (
            {
                "labels": {"helm.toolkit.fluxcd.io/name": "istiod", "helm.toolkit.fluxcd.io/namespace": "flux-system"},
                "annotations": HELM,
            },
            "Flux HelmRelease flux-system/istiod",
        ),
        (
            {
                "labels": {
                    "kustomize.toolkit.fluxcd.io/name": "mesh",
                    "kustomize.toolkit.fluxcd.io/namespace": "flux-system",
                }
            },
            "Flux Kustomization flux-system/mesh",
        ),
        (
            {"annotations": {"cert-manager.io/certificate-name": "cacerts", "cert-manager.io/issuer-name": "root"}},
            "cert-manager Certificate cacerts",
        ),
        (
            {"labels": {"olm.owner": "sailoperator.v1.28.0", "olm.owner.namespace": "operators"}},
            "Operator Lifecycle Manager's operators/sailoperator.v1.28.0",
        ),
        (
            {
                "ownerReferences": [
                    _owned("v1", "ConfigMap", "second", controller=False),
                    _owned("external-secrets.io/v1", "ExternalSecret", "cacerts"),
                ]
            },
            "owner ExternalSecret cacerts",
        ),
        (
            {
                "managedFields": _managed(
                    ("kubectl-edit", ""),
                    ("pilot-discovery", ""),
                    ("terraform", ""),
                    ("kube-controller-manager", "status"),
                    ("kubectl-edit", ""),
                )
            },
            "field manager kubectl-edit, terraform",
        ),
        ({"managedFields": _managed(("kube-controller-manager", "status"))}, "None"),
        ({"labels": None, "annotations": None}, "None"),
    ],
)
def test_what_declares_an_object(metadata: dict[str, Any], expected: str) -> None:
    assert str(origin(metadata)) == expected


def test_a_name_holds_nothing_that_a_shell_interprets() -> None:
    """Annotations are free text, and the name stands next to a command."""
    hostile = {"annotations": {"argocd.argoproj.io/tracking-id": "x\n$(rm -rf /)`'\";&|>\x1b[2J:a/b:c/d"}}
    assert origin(hostile) == Origin(owner=Owner.ARGO_CD, name="xrm -rf /2J")
