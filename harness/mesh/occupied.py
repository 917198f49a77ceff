"""Whether a mesh stands already where a run is to install its own."""

from fnmatch import fnmatch

from harness import expected
from harness.errors import UserError
from harness.inventory import Inventory
from harness.mesh.settings import MeshSettings

_DECISIVE = ("Namespace", "CustomResourceDefinition.apiextensions.k8s.io")
"""Where one of these stood before, whatever it holds is not the run's to remove."""


def require_unoccupied(before: Inventory, settings: MeshSettings) -> None:
    """See that nothing of a mesh or of the sample would be overwritten. Pure.

    Whoever else uses the same clusters, a user's own mesh or another run, is left alone.

    Args:
        before: what stands on a cluster.
        settings: what is to be installed.

    Raises:
        UserError: something stands where the run would put its own, or it can't be known whether anything does.
    """
    decisive = {*_DECISIVE, *(kind for kind, _ in _guarded(settings))}
    if unread := [f"{kind}: {why}" for kind, why in sorted(before.unread.items()) if kind in decisive]:
        raise UserError(
            f"What stands on {before.cluster} can't be read: {'; '.join(unread)}.",
            "what the run makes is told by it from what stood there before, and is removed again",
            "let the user of that context list these kinds in all namespaces",
        )
    found = sorted(str(entry) for entry in before.entries.values() if _would_be_overwritten(entry.key, settings))
    if found:
        raise UserError(
            f"A mesh or its sample stands on {before.cluster} already: {', '.join(found)}.",
            "a run installs its own in the same namespaces and removes it again; what is not its own it leaves alone",
            "judge the mesh that is there with --verify-only; to have one installed, remove it or give other clusters",
        )


def _would_be_overwritten(key: tuple[str, str, str], settings: MeshSettings) -> bool:
    kind, namespace, name = key
    return any(fnmatch(name, pattern) for pattern in _guarded(settings).get((kind, namespace), ()))


def _guarded(settings: MeshSettings) -> dict[tuple[str, str], tuple[str, ...]]:
    """Kind and namespace → patterns of the names that the run would overwrite."""
    injector = "istio-sidecar-injector"
    return {
        # A remote has no more than these two; what the operator made of its resources has an owner, and is not listed.
        ("MutatingWebhookConfiguration.admissionregistration.k8s.io", ""): (
            injector,
            f"{injector}-{settings.system_namespace}",
        ),
        ("Service", settings.system_namespace): ("istiod", "istiod-*"),
        ("Istio.sailoperator.io", ""): ("*",),
        ("IstioCNI.sailoperator.io", ""): ("*",),
        ("Deployment.apps", settings.system_namespace): ("istiod", "istiod-*", expected.GATEWAY),
        ("Secret", settings.system_namespace): ("cacerts",),
        ("DaemonSet.apps", settings.cni_namespace): ("istio-cni-node",) if settings.cni else (),
        ("Deployment.apps", settings.sample_namespace): (expected.SLEEP, f"{expected.HELLOWORLD}-*"),
    }
