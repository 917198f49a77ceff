"""Policies and settings of a valid mesh."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager

from harness.kube.api import Object
from harness.model.topology import Cluster
from harness.proof.faults.acts.policies import NETWORKING, SECURITY, configured
from harness.proof.live.changes import Reference, changed, present
from harness.proof.live.live_mesh import LiveMesh
from harness.proof.live.waits import quiet

DISCOVERED = {"eastwest-discovered": "true"}


def ingress_policy(live: LiveMesh) -> AbstractContextManager[None]:
    """Create a DENY policy for an ingress gateway on East."""
    spec = {
        "selector": {"matchLabels": {"istio": "ingressgateway"}},
        "action": "DENY",
        "rules": [{"from": [{"source": {"notIpBlocks": ["10.0.0.0/8"]}}]}],
    }
    policy = _object(SECURITY, "AuthorizationPolicy", "ingress", live.mesh.settings.system_namespace, spec)
    return quiet(live, present(live, live.east, policy))


def sidecar_scope(live: LiveMesh) -> AbstractContextManager[None]:
    """Create a Sidecar in the sample namespace on every primary."""
    settings = live.mesh.settings
    spec = {"egress": [{"hosts": ["./*", f"{settings.system_namespace}/*"]}]}
    return quiet(live, _on_primaries(live, _object(NETWORKING, "Sidecar", "default", settings.sample_namespace, spec)))


@contextmanager
def strict_registry_only(live: LiveMesh) -> Iterator[None]:
    """Make mTLS STRICT in the root namespace, and set outboundTrafficPolicy REGISTRY_ONLY, on every primary."""
    spec = {"mtls": {"mode": "STRICT"}}
    policy = _object(SECURITY, "PeerAuthentication", "default", live.mesh.settings.system_namespace, spec)
    setting = configured(live, {"outboundTrafficPolicy": {"mode": "REGISTRY_ONLY"}})
    with quiet(live, _on_primaries(live, policy)), quiet(live, setting):
        yield


@contextmanager
def discovery_selectors(live: LiveMesh) -> Iterator[None]:
    """Label the namespaces of the mesh, then set discoverySelectors to this label."""
    settings = live.mesh.settings
    selectors = configured(live, {"discoverySelectors": [{"matchLabels": DISCOVERED}]})
    with ExitStack() as undoing:
        for cluster in live.mesh.topology.clusters:
            for name in (settings.system_namespace, settings.sample_namespace):
                namespace = Reference("v1", "Namespace", name)
                undoing.enter_context(changed(live, cluster, namespace, {"metadata": {"labels": dict(DISCOVERED)}}))
        with quiet(live, selectors):
            yield


def _object(api_version: str, kind: str, name: str, namespace: str, spec: Object) -> Object:
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, "spec": spec}


@contextmanager
def _on_primaries(live: LiveMesh, manifest: Object) -> Iterator[None]:
    with ExitStack() as undoing:
        primaries: tuple[Cluster, ...] = tuple(live.mesh.topology.primaries)
        for primary in primaries:
            undoing.enter_context(present(live, primary, manifest))
        yield
