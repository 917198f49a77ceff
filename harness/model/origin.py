"""Where an object is declared: what put it there, told by its metadata. Pure.

A change to the object itself is reverted by whatever declares it: a GitOps controller, an operator, the next
`helm upgrade`.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum
from typing import Any

from harness.model.base import Model

Metadata = Mapping[str, Any]
Texts = Mapping[str, str]

_SAIL_GROUP = "sailoperator.io/"
_CONTROLLERS = frozenset({"kube-controller-manager", "kube-scheduler", "kubelet", "pilot-discovery"})
"""Field managers that write into what others declare."""
_MOST = 120


class Owner(StrEnum):
    """Kinds of declaration, in the order in which they are recognised: the outermost first."""

    ARGO_CD = "Argo CD application"
    FLUX_HELM_RELEASE = "Flux HelmRelease"
    FLUX_KUSTOMIZATION = "Flux Kustomization"
    CERT_MANAGER = "cert-manager Certificate"
    SAIL_OPERATOR = "Sail operator's resource"
    OLM = "Operator Lifecycle Manager's"
    CONTROLLER = "owner"
    HELM = "Helm release"
    ISTIOCTL = "istioctl install, IstioOperator"
    HELM_CHART = "manifests of the Helm chart"
    FIELD_MANAGER = "field manager"


class Origin(Model):
    """What declares an object."""

    owner: Owner
    name: str
    """namespace/name, or name, of the declaration; of a field manager its name."""

    def __str__(self) -> str:
        """`Helm release istio-system/istiod`."""
        return f"{self.owner} {self.name}"


def origin(metadata: Metadata) -> Origin | None:
    """What declares an object; None where its metadata do not tell.

    Args:
        metadata: the object's `metadata`, as the API server gives it.

    Sources: Argo CD, "Resource tracking"; Flux, labels of kustomize-controller and helm-controller; cert-manager,
    "Annotations on Secrets"; Helm, "Labels and annotations"; Istio, operator/pkg/manifest/name.go; Kubernetes,
    "Owners and dependents" and "Server-side apply". Istio's charts set app.kubernetes.io/managed-by=Helm however they
    are rendered, so that Helm itself is told by the annotations that only it sets.
    """
    labels, annotations = metadata.get("labels") or {}, metadata.get("annotations") or {}
    for owner, told in _TOLD.items():
        if name := told(labels, annotations):
            return Origin(owner=owner, name=_safe(name))
    for owner, name in _owners(metadata):
        return Origin(owner=owner, name=_safe(name))
    for owner, told in _TOLD_AFTER_OWNERS.items():
        if name := told(labels, annotations):
            return Origin(owner=owner, name=_safe(name))
    managers = ", ".join(_managers(metadata))
    return Origin(owner=Owner.FIELD_MANAGER, name=_safe(managers)) if managers else None


def _safe(name: str) -> str:
    """A name without anything that a shell or a terminal would interpret."""
    return re.sub(r"[^\w./:,@ +-]", "", name)[:_MOST]


def _joined(found: Texts, namespace: str, name: str) -> str:
    return "/".join(filter(None, (found.get(namespace), found[name]))) if found.get(name) else ""


def _argo(labels: Texts, annotations: Texts) -> str:
    tracked = annotations.get("argocd.argoproj.io/tracking-id", "").partition(":")[0]
    key = "argocd.argoproj.io/instance"
    return tracked or labels.get(key) or annotations.get(key, "")


def _flux(controller: str) -> "_Told":
    prefix = f"{controller}.toolkit.fluxcd.io/"
    return lambda labels, _: _joined(labels, f"{prefix}namespace", f"{prefix}name")


def _istioctl(labels: Texts, _: Texts) -> str:
    name = labels.get("install.operator.istio.io/owning-resource", "unknown")
    return name if "operator.istio.io/managed" in labels else ""


_Told = Callable[[Texts, Texts], str]

_TOLD: dict[Owner, _Told] = {
    Owner.ARGO_CD: _argo,
    Owner.FLUX_HELM_RELEASE: _flux("helm"),
    Owner.FLUX_KUSTOMIZATION: _flux("kustomize"),
    Owner.CERT_MANAGER: lambda _, annotations: annotations.get("cert-manager.io/certificate-name", ""),
}
"""GitOps and cert-manager: told by labels and annotations."""

_TOLD_AFTER_OWNERS: dict[Owner, _Told] = {
    Owner.OLM: lambda labels, _: _joined(labels, "olm.owner.namespace", "olm.owner"),
    Owner.HELM: lambda _, found: _joined(found, "meta.helm.sh/release-namespace", "meta.helm.sh/release-name"),
    Owner.ISTIOCTL: _istioctl,
    Owner.HELM_CHART: lambda labels, _: labels.get("helm.sh/chart", ""),
}
"""What is asked after the owner references: an operator may use Helm inside."""


def _owners(metadata: Metadata) -> Iterator[tuple[Owner, str]]:
    references = metadata.get("ownerReferences") or []
    for reference in sorted(references, key=lambda each: not each.get("controller")):
        kind, name = str(reference.get("kind", "")), str(reference.get("name", ""))
        if str(reference.get("apiVersion", "")).startswith(_SAIL_GROUP):
            yield Owner.SAIL_OPERATOR, f"{kind} {name}"
        elif kind == "ClusterServiceVersion":
            yield Owner.OLM, f"{kind} {name}"
        else:
            yield Owner.CONTROLLER, f"{kind} {name}"


def _managers(metadata: Metadata) -> dict[str, None]:
    """Who set fields other than the status, each once."""
    fields = metadata.get("managedFields") or []
    names = (str(each.get("manager") or "") for each in fields if not each.get("subresource"))
    return dict.fromkeys(name for name in names if name and name not in _CONTROLLERS)
