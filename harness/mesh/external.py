"""A control plane outside of the mesh, and the gateway of its cluster through which the mesh reaches it.

The gateway has an istiod of its own, which is no part of the mesh. TLS passes through it to the control plane, as with
the gateway of a primary that serves remotes. Source: Istio, "Install Istio with an External Control Plane"; Sail
operator, tests/e2e/multicluster, multicluster_externalcontrolplane_test.go.
"""

from dataclasses import replace

from harness.mesh import gateways
from harness.mesh.context import Mesh, step
from harness.mesh.namespaces import ensure_namespace, label_namespace
from harness.mesh.pull_secret import ensure_pull_secret
from harness.mesh.settings import MeshSettings, Overlay, merged
from harness.model.gateways import OUTSIDE_NAMESPACE
from harness.model.step import Phase
from harness.model.step_log import OpenStep
from harness.model.topology import Cluster, Topology

NAMESPACE = OUTSIDE_NAMESPACE
REVISION = "gateway"
"""Of the gateway's own control plane, beside the external one."""
_SMALL = {"pilot": {"resources": {"requests": {"cpu": "100m"}}}}
"""Two control planes share a node."""


def with_ingress(settings: MeshSettings, topology: Topology) -> MeshSettings:
    """The settings, with the namespace of that gateway where the topology has one. Pure."""
    return replace(settings, ingress_namespace=NAMESPACE) if topology.hosts else settings


def of_gateway(mesh: Mesh) -> Mesh:
    """The gateway and its istiod, as a mesh of its own on the same clusters."""
    settings = mesh.settings
    profile = Overlay(merged(settings.profile.values, _SMALL), settings.profile.deviations)
    own = replace(settings, system_namespace=NAMESPACE, revision=REVISION, cni=False, profile=profile)
    return replace(mesh, settings=own)


@step(Phase.MESH)
def create_gateway_namespace(mesh: Mesh, host: Cluster, _opened: OpenStep) -> None:
    """Create the project of the gateway through which the control plane is reached."""
    ensure_namespace(mesh, host, NAMESPACE)
    ensure_pull_secret(mesh, host, NAMESPACE)
    label_namespace(mesh, host, NAMESPACE, "istio.io/rev", REVISION)


def save_address(mesh: Mesh, primary: Cluster) -> str | None:
    """The address at which other clusters reach the control plane of a primary; None where it has none."""
    if primary.host:
        return gateways.save_address(of_gateway(mesh), mesh.topology[primary.host])
    return gateways.save_address(mesh, primary)
