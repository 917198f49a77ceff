"""The procedure of the chapter, from certificates to remote secrets, for any topology.

Source: chapter "Applying certificates to a multi-cluster topology", "Installing a multi-primary multi-network mesh",
"Installing a primary-remote multi-network mesh"; Istio, "Install Primary-Remote" for the single network, "Install
Istio with an External Control Plane", "Ambient mode", "Install multi-primary on different networks".
"""

from harness.base.errors import UserError
from harness.base.parallel import in_parallel
from harness.kube.api import KubeApi
from harness.mesh import external, gateways, operator, sail, workloads
from harness.mesh.cacerts import create_cacerts
from harness.mesh.context import Mesh, step
from harness.mesh.distributions.istio_versions import minor_of
from harness.mesh.gateway_api import install_gateway_api
from harness.mesh.installer import installer
from harness.mesh.namespaces import create_system_namespace, label_network
from harness.mesh.pki import CaFiles, Pki
from harness.mesh.remote_secrets import install_config_secret, install_remote_secret
from harness.mesh.settings import MeshSettings
from harness.model.step import Phase
from harness.model.step_log import OpenStep
from harness.model.topology import Cluster, Feature, Role

CONTROL_PLANE_ANNOTATION = "topology.istio.io/controlPlaneClusters"


def form(mesh: Mesh, pki: Pki) -> None:
    """Install the mesh and deploy the sample, which starts while the gateways become available. Idempotent.

    Args:
        mesh: what is installed, where, and how.
        pki: the certificates of every cluster.

    Raises:
        UserError: as `install`.
    """
    install(mesh, pki)
    in_parallel(lambda rest: rest(mesh), (await_gateways, workloads.deploy))


def install(mesh: Mesh, pki: Pki) -> None:
    """Install the mesh. A step that fails is recorded in the log, and the steps after it are taken all the same.

    Idempotent. Clusters are worked on side by side where the chapter's order allows it: primaries first, those whose
    control plane is outside of the mesh last, then the remotes that they serve, then the remote secrets between
    primaries. Gateways are not waited for.

    Args:
        mesh: what is installed, where, and how.
        pki: the certificates of every cluster.

    Raises:
        UserError: the installer lacks something that the clusters must have already.
    """
    topology, settings = mesh.topology, mesh.settings
    if settings.installer == "sail" and not settings.brings_operator:
        sail.require_operator(mesh.kubes.values(), settings)
    in_parallel(lambda cluster: _prepare(mesh, cluster, _certificates(mesh, cluster, pki)), topology.every)
    in_parallel(lambda cluster: _install_primary(mesh, cluster), (topology.hosted_by(host) for host in topology.hosts))
    in_parallel(lambda cluster: _join(mesh, cluster), topology.remotes)
    in_parallel(lambda watched: _let_watch(mesh, watched), topology.clusters)
    if settings.cni:
        in_parallel(lambda cluster: await_cni(mesh, cluster), topology.every)
    if settings.ambient:
        in_parallel(lambda cluster: await_ztunnel(mesh, cluster), topology.clusters)


def await_gateways(mesh: Mesh) -> None:
    """Wait for every east-west gateway, and those of external control planes, side by side."""
    with_gateway = [(mesh, cluster) for cluster in mesh.topology.clusters if mesh.topology.has_gateway(cluster)]
    with_gateway += [(external.of_gateway(mesh), host) for host in mesh.topology.hosts]
    in_parallel(lambda each: gateways.await_gateway(*each), with_gateway)
    if mesh.settings.ambient:
        in_parallel(lambda each: gateways.await_address(*each), with_gateway)


def require_cluster(kube: KubeApi, settings: MeshSettings) -> None:
    """See that a cluster has what the mesh needs, before anything is created there.

    Raises:
        UserError: its Kubernetes is too old, or the operator can't arrive there.
    """
    require_kubernetes(kube, settings)
    operator.require_arrival(kube, settings)


def require_kubernetes(kube: KubeApi, settings: MeshSettings) -> None:
    """See that a cluster is not too old for the version of Istio.

    Raises:
        UserError: it is.
    """
    found, wanted = str((kube.read("/version") or {}).get("gitVersion")), settings.facts.kubernetes
    if minor_of(found) < minor_of(wanted):
        raise UserError(
            f"Kubernetes on {kube.name} is too old for Istio {settings.istio_version}.",
            f"it is {found}, and this version of Istio needs {wanted} or newer",
            "update the cluster, or choose an older Istio with --istio-version",
        )


def _prepare(mesh: Mesh, cluster: Cluster, files: CaFiles) -> None:
    """What a cluster needs of itself alone; all there is to do on a primary of its own but remote secrets."""
    # The operator starts while the certificates are applied.
    arriving = mesh.settings.brings_operator and operator.install_operator(mesh, cluster)
    create_system_namespace(mesh, cluster)
    if cluster.role is not Role.EXTERNAL:
        label_network(mesh, cluster)
    create_cacerts(mesh, cluster, files)
    if arriving:
        operator.await_arrival(mesh, cluster)
    if mesh.settings.ambient:
        install_gateway_api(mesh, cluster)
    if mesh.settings.cni:
        create_cni(mesh, cluster)
    if cluster.role is Role.EXTERNAL:
        _open_host(mesh, cluster)
    elif cluster.runs_control_plane:
        _install_primary(mesh, cluster)


def _certificates(mesh: Mesh, cluster: Cluster, pki: Pki) -> CaFiles:
    """Those of a cluster's control plane: outside of the mesh it signs for its primary."""
    owner = mesh.topology.hosted_by(cluster) if cluster.role is Role.EXTERNAL else cluster
    return pki.clusters[owner.name]


def _open_host(mesh: Mesh, host: Cluster) -> None:
    """The gateway through which a control plane outside of the mesh is to be reached."""
    own = external.of_gateway(mesh)
    external.create_gateway_namespace(mesh, host)
    install_istio(own, host)
    await_control_plane(own, host)
    gateways.create_gateway(own, host)
    gateways.expose_control_plane(mesh, host)


def _install_outside(mesh: Mesh, primary: Cluster) -> None:
    """A control plane outside of the mesh, for a cluster that it takes its configuration from."""
    host = mesh.topology[primary.host]
    install_istio_remote(mesh, primary, external.save_address(mesh, primary))
    install_config_secret(mesh, host, primary)
    install_istio(mesh, primary)
    await_control_plane(mesh, host)


def _install_primary(mesh: Mesh, cluster: Cluster) -> None:
    if cluster.host:
        _install_outside(mesh, cluster)
    else:
        install_istio(mesh, cluster)
    await_control_plane(mesh, cluster)
    if mesh.settings.ambient:  # before, its pods would wait for the root certificate that istiod hands out
        create_ztunnel(mesh, cluster)
    if mesh.topology.has_gateway(cluster):
        gateways.create_gateway(mesh, cluster)
    if mesh.topology.serves_remotes(cluster):
        gateways.expose_control_plane(mesh, cluster)
    if Feature.MULTI_NETWORK in mesh.topology.features and not mesh.settings.ambient:
        gateways.expose_services(mesh, cluster)


def _let_watch(mesh: Mesh, watched: Cluster) -> None:
    """Give every primary a remote secret of a cluster, but for the one of a remote's own, which has it already.

    One after the other: istioctl makes the token's Secret where there is none, and two at once would both make it.
    """
    for primary in mesh.topology.primaries:
        own = not watched.is_primary and watched.primary == primary.name
        if watched in mesh.topology.watched_by(primary) and not own:
            install_remote_secret(mesh, primary, watched)


def _join(mesh: Mesh, remote: Cluster) -> None:
    """Let a primary serve a remote."""
    primary = mesh.topology[remote.primary]
    address = external.save_address(mesh, primary)
    install_istio_remote(mesh, remote, address)
    annotate_control_plane(mesh, remote)
    install_remote_secret(mesh, primary, remote)
    await_control_plane(mesh, remote)
    if mesh.topology.has_gateway(remote):
        gateways.create_gateway(mesh, remote)


@step(Phase.MESH)
def create_cni(mesh: Mesh, cluster: Cluster, _opened: OpenStep) -> None:
    """Create an Istio Container Network Interface (CNI) resource."""
    installer(mesh.settings).install_cni(mesh, cluster)


@step(Phase.MESH)
def await_cni(mesh: Mesh, cluster: Cluster, opened: OpenStep) -> None:
    """Wait for Istio's CNI plugin to be on every node."""
    installer(mesh.settings).await_cni(mesh, cluster, opened)


@step(Phase.MESH)
def create_ztunnel(mesh: Mesh, cluster: Cluster, _opened: OpenStep) -> None:
    """Create a ZTunnel resource."""
    installer(mesh.settings).install_ztunnel(mesh, cluster)


@step(Phase.MESH)
def await_ztunnel(mesh: Mesh, cluster: Cluster, opened: OpenStep) -> None:
    """Wait for ztunnel to be on every node."""
    installer(mesh.settings).await_ztunnel(mesh, cluster, opened)


@step(Phase.MESH)
def install_istio(mesh: Mesh, cluster: Cluster, _opened: OpenStep) -> None:
    """Install Istio on the primary cluster."""
    installer(mesh.settings).install_primary(mesh, cluster)


@step(Phase.MESH)
def install_istio_remote(mesh: Mesh, cluster: Cluster, opened: OpenStep, address: str | None) -> None:
    """Install Istio on the remote cluster."""
    if address is None:
        opened.skip(f"the gateway of {cluster.primary} has no address at which its control plane could be reached")
        return
    installer(mesh.settings).install_remote(mesh, cluster, address)


@step(Phase.MESH)
def annotate_control_plane(mesh: Mesh, cluster: Cluster, _opened: OpenStep) -> None:
    """Annotate the istio-system namespace so that it is managed by the control plane of the primary."""
    annotations = {CONTROL_PLANE_ANNOTATION: mesh.topology[cluster.primary].cluster_name}
    change = {"metadata": {"annotations": annotations}}
    mesh.kube(cluster).merge("v1", "Namespace", mesh.settings.system_namespace, change)


@step(Phase.MESH)
def await_control_plane(mesh: Mesh, cluster: Cluster, opened: OpenStep) -> None:
    """Wait for the control plane to be ready."""
    installer(mesh.settings).await_ready(mesh, cluster, opened)
