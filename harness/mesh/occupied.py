"""Whether a mesh stands already where a run is to install its own."""

from collections.abc import Iterable, Iterator
from fnmatch import fnmatch

from harness.base.errors import UserError
from harness.kube.inventory import Inventory
from harness.mesh import manifests
from harness.mesh.settings import MeshSettings

_DECISIVE = ("Namespace", "CustomResourceDefinition.apiextensions.k8s.io")
"""Where one of these stood before, whatever it holds is not the run's to remove."""
_CLUSTER_WIDE = (
    ("Deployment.apps", "*", "istiod"),
    ("Deployment.apps", "*", "istiod-*"),
    ("Service", "*", "istiod"),
    ("Service", "*", "istiod-*"),
    ("DaemonSet.apps", "*", "istio-cni-node"),
    ("DaemonSet.apps", "*", "ztunnel"),
    # A remote has little more than these; what the operator made of its resources has an owner, and is not listed.
    ("MutatingWebhookConfiguration.admissionregistration.k8s.io", "", "istio-sidecar-injector*"),
    ("ValidatingWebhookConfiguration.admissionregistration.k8s.io", "", "istiod-default-validator"),
    ("ValidatingWebhookConfiguration.admissionregistration.k8s.io", "", "istio-validator*"),
    ("Istio.sailoperator.io", "", "*"),
    ("IstioCNI.sailoperator.io", "", "*"),
    ("ZTunnel.sailoperator.io", "", "*"),
)
"""A mesh, in whatever namespace: cluster roles, webhooks and definitions have the same names in all of them."""
_OF_THE_MESH = (
    "east-west-gateway",
    "east-west-gateway-ambient",
    "east-west-gateway-upstream-envoy",
    "east-west-gateway-service",
    "expose-istiod",
    "expose-istiod-revision",
    "expose-services",
)
_OF_THE_SAMPLE = (
    "helloworld-service",
    "helloworld-deployment",
    "sleep",
    "echo",
    "echo-service",
    "echo-connections",
    "plain",
)
"""Manifests that are applied in the sample's namespace, and as those of the mesh in the control plane's."""


def require_unoccupied(before: Inventory, settings: MeshSettings) -> None:
    """See that no mesh stands there, in whatever namespace, and nothing of the sample would be overwritten. Pure.

    Whoever else uses the same clusters, a user's own mesh or another run, is left alone.

    Args:
        before: what stands on a cluster.
        settings: what is to be installed.

    Raises:
        UserError: something stands where the run would put its own, or it can't be known whether anything does.
    """
    guarded = tuple(_guarded(settings))
    decisive = {*_DECISIVE, *(kind for kind, _, _ in guarded)}
    if unread := [f"{kind}: {why}" for kind, why in sorted(before.unread.items()) if kind in decisive]:
        raise UserError(
            f"What stands on {before.cluster} can't be read: {'; '.join(unread)}.",
            "what the run makes is told by it from what stood there before, and is removed again",
            "let the user of that context list these kinds in all namespaces",
        )
    found = sorted(str(entry) for entry in before.entries.values() if _matches(entry.key, guarded))
    if found:
        raise UserError(
            f"A mesh or its sample stands on {before.cluster} already: {', '.join(found)}.",
            "a run installs its own under the same names and removes it again; what is not its own it leaves alone",
            "judge the mesh that is there with --verify-only; to have one installed, remove it or give other clusters",
        )


def _matches(key: tuple[str, str, str], guarded: Iterable[tuple[str, str, str]]) -> bool:
    return any(all(map(fnmatch, key, patterns)) for patterns in guarded)


def _guarded(settings: MeshSettings) -> Iterator[tuple[str, str, str]]:
    """Kind, namespace and name, as patterns, of what the run would overwrite."""
    yield from _CLUSTER_WIDE
    yield "Secret", settings.system_namespace, "cacerts"
    for namespace, names in ((settings.system_namespace, _OF_THE_MESH), (settings.sample_namespace, _OF_THE_SAMPLE)):
        for manifest in names:
            for found in manifests.render(
                manifest, namespace=namespace, version="*", revision="*", network="", image=""
            ):
                group = found["apiVersion"].rpartition("/")[0]
                yield f"{found['kind']}.{group}".rstrip("."), namespace, found["metadata"]["name"]
