"""Whether a mesh stands already where a run is to install its own."""

from fnmatch import fnmatch

from harness import expected
from harness.errors import UserError
from harness.inventory import Inventory
from harness.mesh.settings import MeshSettings


def require_unoccupied(before: Inventory, settings: MeshSettings) -> None:
    """See that nothing of a mesh or of the sample would be overwritten. Pure.

    Whoever else uses the same clusters, a user's own mesh or another run, is left alone.

    Args:
        before: what stands on a cluster.
        settings: what is to be installed.

    Raises:
        UserError: something stands where the run would put its own.
    """
    found = sorted(str(entry) for entry in before.entries.values() if _would_be_overwritten(entry.key, settings))
    if found:
        raise UserError(
            f"A mesh or its sample stands on {before.cluster} already: {', '.join(found)}.",
            "a run installs its own in the same namespaces and removes it again; what is not its own it leaves alone",
            "judge the mesh that is there with --verify-only; to have one installed, remove it or give other clusters",
        )


def _would_be_overwritten(key: tuple[str, str, str], settings: MeshSettings) -> bool:
    kind, namespace, name = key
    injector = "istio-sidecar-injector"
    ours = {
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
    return any(fnmatch(name, pattern) for pattern in ours.get((kind, namespace), ()))
