"""The sample workloads: helloworld in a version of its own on every cluster, sleep everywhere; more for experiments.

Source: chapter "Verifying traffic on a multi-cluster topology"; what they consist of is that of Istio's samples.
"""

from harness.base.parallel import in_parallel
from harness.kube.api import Object
from harness.mesh import manifests
from harness.mesh.context import Mesh, step
from harness.mesh.injection import await_injection
from harness.mesh.namespaces import ensure_namespace, label_namespace
from harness.mesh.pull_secret import ensure_pull_secret
from harness.mesh.readiness import await_deployment
from harness.mesh.settings import AVAILABLE_SECONDS, INJECTION_SECONDS, MeshSettings
from harness.model.step import Phase
from harness.model.step_log import OpenStep
from harness.model.topology import Cluster

DATA_PLANE_LABEL = "istio.io/dataplane-mode"
PUBLISHED = ("v1", "v2")
"""The versions of helloworld that there are images of."""


def deploy(mesh: Mesh) -> None:
    """Deploy the sample on every cluster, side by side, and wait until it is available.

    Idempotent. A step that fails is recorded in the log, and the steps after it are taken all the same.
    """
    in_parallel(lambda cluster: _deploy(mesh, cluster), mesh.topology.clusters)


def _deploy(mesh: Mesh, cluster: Cluster) -> None:
    create_namespace(mesh, cluster)
    if mesh.settings.ambient:
        label_for_ambient(mesh, cluster)
        deploy_sample(mesh, cluster)
        return
    label_for_injection(mesh, cluster)
    if await_injector(mesh, cluster):
        # The control plane answers: a step that failed before, such as one of the gateway, keeps no pod from starting.
        mesh = mesh.restarted(mesh.log)
    deploy_sample(mesh, cluster)


def deploy_sample(mesh: Mesh, cluster: Cluster) -> None:
    """Deploy the sample into its namespace on one cluster, and wait until it is available."""
    create_service(mesh, cluster)
    deploy_helloworld(mesh, cluster)
    deploy_sleep(mesh, cluster)
    if mesh.settings.experiments:
        # They start while the sample is waited for and observed, and are waited for when they are needed.
        deploy_experiments(mesh, cluster)
    await_helloworld(mesh, cluster)
    await_sleep(mesh, cluster)


@step(Phase.WORKLOADS)
def create_namespace(mesh: Mesh, cluster: Cluster, opened: OpenStep) -> None:
    """Create a sample application namespace."""
    if ensure_namespace(mesh, cluster, mesh.settings.sample_namespace):
        opened.skip(f"{mesh.settings.sample_namespace} is there")
    ensure_pull_secret(mesh, cluster, mesh.settings.sample_namespace)


@step(Phase.WORKLOADS)
def label_for_injection(mesh: Mesh, cluster: Cluster, _opened: OpenStep) -> None:
    """Label the application namespace to support sidecar injection."""
    label_namespace(mesh, cluster, mesh.settings.sample_namespace, "istio-injection", "enabled")


@step(Phase.WORKLOADS)
def label_for_ambient(mesh: Mesh, cluster: Cluster, _opened: OpenStep) -> None:
    """Label the application namespace to be part of the ambient mesh."""
    label_namespace(mesh, cluster, mesh.settings.sample_namespace, DATA_PLANE_LABEL, "ambient")


@step(Phase.WORKLOADS)
def await_injector(mesh: Mesh, cluster: Cluster, opened: OpenStep) -> bool:
    """Wait for sidecar injection to answer."""
    timeout = mesh.deadline(cluster, INJECTION_SECONDS)
    await_injection(mesh.kube(cluster), mesh.settings.sample_namespace, timeout, opened)
    return True


@step(Phase.WORKLOADS)
def create_service(mesh: Mesh, cluster: Cluster, _opened: OpenStep) -> None:
    """Create the helloworld service."""
    _apply_service(mesh, cluster, "helloworld-service")


@step(Phase.WORKLOADS)
def deploy_helloworld(mesh: Mesh, cluster: Cluster, opened: OpenStep) -> None:
    """Create the helloworld deployment of the cluster's version."""
    opened.note(f"helloworld-{cluster.version}")
    for manifest in helloworld(mesh.settings, cluster.version):
        mesh.apply(cluster, manifest)


@step(Phase.WORKLOADS)
def deploy_sleep(mesh: Mesh, cluster: Cluster, _opened: OpenStep) -> None:
    """Deploy the sleep application."""
    settings = mesh.settings
    mesh.apply_manifest(cluster, "sleep", namespace=settings.sample_namespace, image=settings.sleep_image)


@step(Phase.WORKLOADS)
def deploy_experiments(mesh: Mesh, cluster: Cluster, _opened: OpenStep) -> None:
    """Deploy what the experiments need: an echo server, and a client that is no part of the mesh."""
    namespace, image = mesh.settings.sample_namespace, mesh.settings.echo_image
    image = image.format(version=mesh.settings.istio_version or "latest")
    for other in mesh.topology.clusters:
        _apply_service(mesh, cluster, "echo-service", version=other.version)
        if cluster.is_primary:  # Istio's resources are read there, for its remotes as well
            mesh.apply_manifest(cluster, "echo-connections", namespace=namespace, version=other.version)
    mesh.apply_manifest(cluster, "echo", namespace=namespace, version=cluster.version, image=image)
    mesh.apply_manifest(cluster, "plain", namespace=namespace, image=mesh.settings.sleep_image)


@step(Phase.WORKLOADS)
def await_helloworld(mesh: Mesh, cluster: Cluster, opened: OpenStep) -> None:
    """Wait for the helloworld application to be available."""
    _await(mesh, cluster, opened, f"helloworld-{cluster.version}")


@step(Phase.WORKLOADS)
def await_sleep(mesh: Mesh, cluster: Cluster, opened: OpenStep) -> None:
    """Wait for the sleep application to be available."""
    _await(mesh, cluster, opened, "sleep")


def helloworld(settings: MeshSettings, version: str) -> list[Object]:
    """The Deployment of one version; one that is not published is v1's image, told to answer as another version."""
    published = version in PUBLISHED
    image = settings.helloworld_image.format(version=version if published else PUBLISHED[0])
    objects = manifests.render(
        "helloworld-deployment", namespace=settings.sample_namespace, version=version, image=image
    )
    if not published:
        for container in objects[0]["spec"]["template"]["spec"]["containers"]:
            container["env"] = [{"name": "SERVICE_VERSION", "value": version}]
    return objects


def _apply_service(mesh: Mesh, cluster: Cluster, name: str, **values: str) -> None:
    """Apply a Service that other clusters are to reach: an ambient mesh must be told so."""
    for service in manifests.render(name, namespace=mesh.settings.sample_namespace, **values):
        if mesh.settings.ambient:
            service["metadata"]["labels"].update(mesh.settings.global_labels)
        mesh.apply(cluster, service)


def _await(mesh: Mesh, cluster: Cluster, opened: OpenStep, name: str) -> None:
    timeout = mesh.deadline(cluster, AVAILABLE_SECONDS)
    await_deployment(mesh.kube(cluster), mesh.settings.sample_namespace, name, timeout, opened)
