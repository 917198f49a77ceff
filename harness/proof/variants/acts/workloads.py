"""Other valid forms of the sample's pods: how they are injected, client, service account, proxies, number."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager

from harness.base.parallel import in_parallel
from harness.kube.api import Object
from harness.mesh import manifests
from harness.model import expectations
from harness.model.topology import Cluster
from harness.proof.faults.acts.workloads import deployed
from harness.proof.faults.fault import everywhere
from harness.proof.live.changes import Reference, absent, existing, present
from harness.proof.live.live_mesh import Act, LiveMesh
from harness.proof.live.updates import await_quiet
from harness.proof.live.waits import await_rollout, felt
from harness.proof.variants.acts.common import (
    adds,
    each_changed,
    east,
    helloworld,
    manifest,
    renamed,
    rolled_out,
    sample_namespace,
)
from harness.proof.variants.variant import Variant

CURL = "curl"
"""The client of Istio's samples since 1.24."""
SMALL = {"sidecar.istio.io/proxyCPU": "10m"}
"""Room for one more pod on a small node."""


def both_labels(live: LiveMesh) -> AbstractContextManager[None]:
    """Label the sample namespace with a revision that does not run, on every cluster."""
    namespace = sample_namespace(live)
    change = {"metadata": {"labels": {"istio.io/rev": "canary"}}}
    return each_changed(live, live.mesh.topology.clusters, lambda _: namespace, change)


@contextmanager
def curl_for_sleep(live: LiveMesh) -> Iterator[None]:
    """Replace the client sleep by curl on every cluster."""
    clusters = live.mesh.topology.clusters
    with ExitStack() as undoing:
        undoing.callback(in_parallel, lambda cluster: _await_client(live, cluster, expectations.SLEEP), clusters)
        for cluster in clusters:
            undoing.enter_context(_client_replaced(live, cluster))
        in_parallel(lambda cluster: _await_client(live, cluster, CURL), clusters)
        await_quiet(live)
        yield


@contextmanager
def service_account(live: LiveMesh) -> Iterator[None]:
    """Let West's helloworld run under the service account helloworld-west."""
    metadata = {"name": f"{expectations.HELLOWORLD}-west", "namespace": live.mesh.settings.sample_namespace}
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}
    # The API server keeps the deprecated field equal; left alone it would bring the name back when it is taken away.
    account_fields = dict.fromkeys(("serviceAccountName", "serviceAccount"), metadata["name"])
    with present(live, live.west, account), _template(live, live.west, spec=account_fields):
        yield


def annotated(**annotations: str) -> Act:
    """An act that annotates the pods of West's helloworld."""
    return lambda live: _template(live, live.west, metadata={"annotations": annotations})


@contextmanager
def pod_injection(live: LiveMesh) -> Iterator[None]:
    """Take the injection label from the sample namespace, and let the sample's pods ask for a sidecar themselves."""
    namespace, clusters = sample_namespace(live), live.mesh.topology.clusters
    sleep = Reference("apps/v1", "Deployment", expectations.SLEEP, live.mesh.settings.sample_namespace)
    asks = {"spec": {"template": {"metadata": {"labels": {"sidecar.istio.io/inject": "true"}}}}}
    unlabelled = {"metadata": {"labels": {"istio-injection": None}}}
    with ExitStack() as undoing:
        for cluster in clusters:
            for deployment in (helloworld(live, cluster), sleep):
                undoing.enter_context(rolled_out(live, cluster, deployment, asks))
        undoing.enter_context(each_changed(live, clusters, lambda _: namespace, unlabelled))
        yield


def two_replicas(live: LiveMesh) -> AbstractContextManager[None]:
    """Run one more pod of helloworld on West."""
    deployment = existing(live, live.west, helloworld(live, live.west))
    name = f"{deployment['metadata']['name']}-more"
    labels = {**deployment["spec"]["template"]["metadata"]["labels"], "more": "true"}
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    template = {
        "metadata": {"labels": labels, "annotations": SMALL},
        "spec": {"containers": [{**container, "resources": {"requests": {"cpu": "10m"}}}]},
    }
    spec = {"replicas": 1, "selector": {"matchLabels": labels}, "template": template}
    more = manifest("apps/v1", "Deployment", name, live.mesh.settings.sample_namespace, spec)
    return felt(live, live.mesh.topology.clusters, deployed(live, live.west, more))


def _waiting(live: LiveMesh) -> list[Object]:
    labels = {"app": "waiting"}
    container = {"name": "waiting", "image": live.mesh.settings.sleep_image, "command": ["sleep", "infinity"]}
    pod = {"nodeSelector": {"eastwest-no-such-node": "true"}, "containers": [container]}
    template = {"metadata": {"labels": labels, "annotations": SMALL}, "spec": pod}
    spec = {"replicas": 1, "selector": {"matchLabels": labels}, "template": template}
    return [manifest("apps/v1", "Deployment", "waiting", live.mesh.settings.sample_namespace, spec)]


def _template(live: LiveMesh, cluster: Cluster, **template: Object) -> AbstractContextManager[None]:
    """Change the pod template of a cluster's helloworld."""
    return rolled_out(live, cluster, helloworld(live, cluster), {"spec": {"template": template}})


@contextmanager
def _client_replaced(live: LiveMesh, cluster: Cluster) -> Iterator[None]:
    settings = live.mesh.settings
    objects = manifests.render("sleep", namespace=settings.sample_namespace, image=settings.sleep_image)
    with ExitStack() as undoing:
        for each in objects:
            undoing.enter_context(present(live, cluster, renamed(each, expectations.SLEEP, CURL)))
        for each in objects:
            if each["kind"] != "ServiceAccount":
                reference = Reference(each["apiVersion"], each["kind"], expectations.SLEEP, settings.sample_namespace)
                undoing.enter_context(absent(live, cluster, reference))
        yield


def _await_client(live: LiveMesh, cluster: Cluster, name: str) -> None:
    await_rollout(live, cluster, live.mesh.settings.sample_namespace, name)


VARIANTS = (
    Variant(
        "both-labels",
        "The sample namespace has istio.io/rev of a revision that does not run, beside istio-injection=enabled",
        "istio-injection takes precedence over istio.io/rev",
        both_labels,
        everywhere,
    ),
    Variant(
        "curl-for-sleep",
        "The client is the Deployment curl, there is no sleep",
        "Istio's samples since 1.24 have curl in place of sleep",
        curl_for_sleep,
        everywhere,
    ),
    Variant(
        "service-account",
        "West's helloworld runs under a service account of its own",
        "identities of one service may differ; all are accepted unless a policy says otherwise",
        service_account,
        everywhere,
    ),
    Variant(
        "concurrency",
        "The proxy of West's helloworld has one worker thread, by the annotation proxy.istio.io/config",
        "a pod's own proxy configuration is merged with the mesh's",
        annotated(**{"proxy.istio.io/config": "concurrency: 1"}),
        everywhere,
    ),
    Variant(
        "classic-sidecar",
        "The sidecar of West's helloworld is a container, not a native sidecar",
        "sidecar.istio.io/nativeSidecar takes precedence over what istiod chooses by itself",
        annotated(**{"sidecar.istio.io/nativeSidecar": "false"}),
        everywhere,
    ),
    Variant(
        "native-sidecar",
        "The sidecar of West's helloworld is a native sidecar: an init container that goes on running",
        "Kubernetes starts such a container before the others and keeps it running",
        annotated(**{"sidecar.istio.io/nativeSidecar": "true"}),
        everywhere,
    ),
    Variant(
        "pod-injection",
        "The sample namespace has no injection label; its pods ask for a sidecar by a label of their own",
        "the webhook of the default revision injects pods with sidecar.istio.io/inject=true in such a namespace",
        pod_injection,
        everywhere,
    ),
    Variant(
        "pending-beside",
        "A Deployment beside the sample on East, whose pod no node takes",
        "nothing that is judged needs it",
        adds(_waiting, east),
        everywhere,
    ),
    Variant(
        "more-pods",
        "West has two pods of helloworld, from two Deployments",
        "a Service selects pods, whatever made them; a network's gateway has the weight of its pods",
        two_replicas,
        everywhere,
    ),
)
