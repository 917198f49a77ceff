"""Other valid forms of the sample's Service, and what stands beside the sample."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager

from harness.kube.api import Object
from harness.mesh import manifests
from harness.model import expectations
from harness.proof.faults.fault import EVERY_PLANE, everywhere
from harness.proof.live.changes import changed, existing, present
from harness.proof.live.live_mesh import Act, LiveMesh
from harness.proof.live.updates import await_quiet, quiet
from harness.proof.live.waits import await_rollout
from harness.proof.variants.acts.common import (
    adds,
    each_changed,
    helloworld,
    helloworld_service,
    manifest,
    renamed,
    sample_namespace,
    west,
)
from harness.proof.variants.acts.common import everywhere as all_clusters
from harness.proof.variants.variant import Variant

OUTSIDE = "outside"
TRACKED = {
    "labels": {"app.kubernetes.io/managed-by": "Helm", "argocd.argoproj.io/instance": "sample"},
    "annotations": {"meta.helm.sh/release-name": "sample", "meta.helm.sh/release-namespace": "sample"},
}


def app_protocol(live: LiveMesh) -> AbstractContextManager[None]:
    """Set appProtocol on the ports of West's helloworld Service."""
    service = helloworld_service(live)
    ports = [{**port, "appProtocol": "http"} for port in existing(live, live.west, service)["spec"]["ports"]]
    return quiet(live, changed(live, live.west, service, {"spec": {"ports": ports}}))


@contextmanager
def other_namespace(live: LiveMesh) -> Iterator[None]:
    """Run an application on East in a namespace that is not part of the mesh."""
    settings = live.mesh.settings
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": OUTSIDE}}
    objects = manifests.render("sleep", namespace=OUTSIDE, image=settings.sleep_image)
    with present(live, live.east, namespace), ExitStack() as undoing:
        for each in objects:
            undoing.enter_context(present(live, live.east, renamed(each, expectations.SLEEP, OUTSIDE)))
        await_rollout(live, live.east, OUTSIDE, OUTSIDE)
        await_quiet(live)
        yield


@contextmanager
def tracked(live: LiveMesh) -> Iterator[None]:
    """Add the labels and annotations of Helm and Argo CD to helloworld's Service and Deployment, everywhere."""
    clusters = live.mesh.topology.clusters
    change = {"metadata": TRACKED}
    with (
        each_changed(live, clusters, lambda _: helloworld_service(live), change),
        quiet(live, each_changed(live, clusters, lambda cluster: helloworld(live, cluster), change)),
    ):
        yield


def service_fields(**metadata: object) -> Act:
    """An act that changes the metadata of helloworld's Service on every cluster."""
    return lambda live: quiet(
        live,
        each_changed(
            live, live.mesh.topology.clusters, lambda _: helloworld_service(live), {"metadata": dict(metadata)}
        ),
    )


def exported(live: LiveMesh) -> AbstractContextManager[None]:
    """Export helloworld to the sample namespace and to that of the gateways only."""
    settings = live.mesh.settings
    namespaces = f"{settings.sample_namespace},{settings.system_namespace}"
    return service_fields(annotations={"networking.istio.io/exportTo": namespaces})(live)


def pod_security(live: LiveMesh) -> AbstractContextManager[None]:
    """Let the API server warn, in the sample namespace, of pods that Pod Security Standards call unrestricted."""
    labels = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("warn", "audit")}
    namespace = sample_namespace(live)
    return each_changed(live, live.mesh.topology.clusters, lambda _: namespace, {"metadata": {"labels": labels}})


def _second_service(live: LiveMesh) -> list[Object]:
    spec = {"selector": {"app": expectations.SLEEP}, "ports": [{"name": "http", "port": 8080}]}
    return [manifest("v1", "Service", "reports", live.mesh.settings.sample_namespace, spec)]


def _headless(live: LiveMesh) -> list[Object]:
    ports = [{"name": "http", "port": expectations.HELLOWORLD_PORT}]
    spec = {"clusterIP": "None", "selector": {"app": expectations.HELLOWORLD}, "ports": ports}
    return [manifest("v1", "Service", "helloworld-pods", live.mesh.settings.sample_namespace, spec)]


def _network_policy(live: LiveMesh) -> list[Object]:
    ports = [{"protocol": "TCP", "port": port} for port in (expectations.HELLOWORLD_PORT, 15008, 15020, 15021, 15090)]
    spec = {
        "podSelector": {"matchLabels": {"app": expectations.HELLOWORLD}},
        "policyTypes": ["Ingress"],
        "ingress": [{"ports": ports}],
    }
    namespace = live.mesh.settings.sample_namespace
    return [manifest("networking.k8s.io/v1", "NetworkPolicy", expectations.HELLOWORLD, namespace, spec)]


VARIANTS = (
    Variant(
        "app-protocol",
        "West's helloworld Service has appProtocol: http on the port named http",
        "both say HTTP; appProtocol takes precedence over the port's name",
        app_protocol,
        everywhere,
    ),
    Variant(
        "other-namespace",
        "An application on East runs in a namespace that is not part of the mesh",
        "a namespace without an injection label is left alone",
        other_namespace,
        everywhere,
    ),
    Variant(
        "tracked-objects",
        "Helloworld's objects have the labels and annotations of Helm and Argo CD",
        "Istio does not read them",
        tracked,
        everywhere,
    ),
    Variant(
        "exported",
        "Helloworld is exported to the sample namespace and to that of the gateways only (exportTo)",
        "clients and gateways are in these namespaces",
        exported,
        everywhere,
    ),
    Variant(
        "distribution-any",
        "Helloworld's Service says networking.istio.io/traffic-distribution: Any",
        "it is what Istio does without the annotation: no endpoint is preferred",
        service_fields(annotations={"networking.istio.io/traffic-distribution": "Any"}),
        everywhere,
    ),
    Variant(
        "pod-security",
        "The sample namespace warns of pods that are not restricted (Pod Security Standards)",
        "the modes warn and audit refuse no pod",
        pod_security,
        everywhere,
        planes=EVERY_PLANE,
    ),
    Variant(
        "second-service",
        "A Service on West only, beside helloworld",
        "a service that one cluster has is the mesh's too; nobody else asks for it",
        adds(_second_service, west),
        everywhere,
    ),
    Variant(
        "headless-beside",
        "A headless Service selects the pods of helloworld, beside its Service",
        "a pod may belong to several services",
        adds(_headless, all_clusters),
        everywhere,
    ),
    Variant(
        "network-policy",
        "A NetworkPolicy allows only the ports of helloworld and of its proxy",
        "nothing else has to be reached there",
        adds(_network_policy, all_clusters),
        everywhere,
    ),
)
