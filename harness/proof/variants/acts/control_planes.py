"""Other valid forms of control planes: revisions, tags, replicas, and how their webhooks select pods."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace

from harness.base import yaml_documents
from harness.kube.api import Object
from harness.mesh.injection import await_injection
from harness.mesh.istioctl import primary_operator, rendered
from harness.mesh.settings import INJECTION_SECONDS
from harness.model.step import Phase
from harness.model.topology import Cluster
from harness.proof.faults.fault import MP, everywhere
from harness.proof.live.changes import Reference, changed, existing, present
from harness.proof.live.live_mesh import LiveMesh
from harness.proof.live.restarts import ISTIOD, restarting_sample, run_istiod_as
from harness.proof.live.updates import await_quiet
from harness.proof.live.waits import await_rollout
from harness.proof.variants.acts.common import each_changed, sample_namespace
from harness.proof.variants.variant import Variant

TAG, CANARY = "prod", "canary"
INJECTOR = "istio-sidecar-injector"
WEBHOOKS = ("admissionregistration.k8s.io/v1", "MutatingWebhookConfiguration")
SMALL = {"requests": {"cpu": "50m", "memory": "128Mi"}}
"""Room for one more control plane on a small node."""
NOT_OURS = ["kube-system", "kube-public", "kube-node-lease", "local-path-storage", "metallb-system"]


@contextmanager
def revision_tag(live: LiveMesh) -> Iterator[None]:
    """Point the tag prod at the default revision on every cluster, and let the sample namespace ask for the tag."""
    clusters = live.mesh.topology.clusters
    with ExitStack() as undoing:
        for cluster in clusters:
            undoing.enter_context(present(live, cluster, tag_webhook(live, cluster)))
        with restarting_sample(live, _asking_for(live, clusters, TAG)):
            yield


def tag_webhook(live: LiveMesh, cluster: Cluster) -> Object:
    """What `istioctl tag generate` makes of a tag for the default revision."""
    kube, settings = live.kube(cluster), live.mesh.settings
    command = (settings.istioctl, "tag", "generate", TAG, "--revision", "default")
    access = ("--kubeconfig", kube.access.kubeconfig, "--context", kube.access.context)
    found = yaml_documents.load_all(kube.run([*command, *access, "-i", settings.system_namespace], timeout=60))
    return next(each for each in found if each["kind"] == WEBHOOKS[1])


@contextmanager
def canary_beside(live: LiveMesh) -> Iterator[None]:
    """Run a control plane of another revision on East, which serves nobody."""
    with _control_plane(live, live.east):
        await_quiet(live)
        yield


@contextmanager
def own_revision(live: LiveMesh) -> Iterator[None]:
    """Run a control plane of another revision on every primary, and let it inject and serve the sample."""
    primaries: Sequence[Cluster] = tuple(live.mesh.topology.primaries)
    with ExitStack() as undoing:
        for primary in primaries:
            undoing.enter_context(_control_plane(live, primary))
        with restarting_sample(live, _asking_for(live, primaries, CANARY)):
            yield


@contextmanager
def two_replicas(live: LiveMesh) -> Iterator[None]:
    """Run two pods of East's control plane."""
    before = existing(live, live.east, Reference("apps/v1", "Deployment", ISTIOD, live.mesh.settings.system_namespace))
    containers = before["spec"]["template"]["spec"]["containers"]
    change = [{**each, "resources": SMALL} for each in containers]
    try:
        run_istiod_as(live, live.east, _deployment(2, change))
        await_quiet(live)
        yield
    finally:
        run_istiod_as(live, live.east, _deployment(before["spec"]["replicas"], containers))


@contextmanager
def debug_off(live: LiveMesh) -> Iterator[None]:
    """Run East's control plane without its debug interface, as Istio recommends for production."""
    reference = Reference("apps/v1", "Deployment", ISTIOD, live.mesh.settings.system_namespace)
    before = existing(live, live.east, reference)
    replicas, containers = before["spec"]["replicas"], before["spec"]["template"]["spec"]["containers"]
    off = {"name": "ENABLE_DEBUG_ON_HTTP", "value": "false"}
    change = [{**each, "env": [*each.get("env", ()), off]} for each in containers]
    try:
        # What it is asked in the wait for its proxies it does not say then.
        run_istiod_as(live, live.east, _deployment(replicas, change), ready=False)
        await_rollout(live, live.east, live.mesh.settings.system_namespace, ISTIOD)
        await_quiet(live)
        yield
    finally:
        run_istiod_as(live, live.east, _deployment(replicas, containers))


@contextmanager
def injected_by_default(live: LiveMesh) -> Iterator[None]:
    """Add to every injection webhook what enableNamespacesByDefault adds; take the label from the sample namespace."""
    reference, namespace = Reference(*WEBHOOKS, INJECTOR), sample_namespace(live)
    unlabelled = {"metadata": {"labels": {"istio-injection": None}}}
    clusters = live.mesh.topology.clusters
    with ExitStack() as undoing:
        for cluster in clusters:
            webhooks = existing(live, cluster, reference)["webhooks"]
            change = {"webhooks": [*webhooks, by_default(webhooks[0])]}
            undoing.enter_context(changed(live, cluster, reference, change))
        with restarting_sample(live, each_changed(live, clusters, lambda _: namespace, unlabelled)):
            yield


def by_default(like: Object) -> Object:
    """A webhook for pods without a label in namespaces without one (charts, mutatingwebhook.yaml). Pure."""
    silent = [{"key": key, "operator": "DoesNotExist"} for key in ("istio-injection", "istio.io/rev")]
    others = {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": NOT_OURS}
    asked = [{"key": key, "operator": "DoesNotExist"} for key in ("sidecar.istio.io/inject", "istio.io/rev")]
    return {
        **like,
        "name": "auto.sidecar-injector.istio.io",
        "namespaceSelector": {"matchExpressions": [*silent, others]},
        "objectSelector": {"matchExpressions": asked},
    }


@contextmanager
def _control_plane(live: LiveMesh, cluster: Cluster) -> Iterator[None]:
    """What istioctl renders of a revision and the cluster does not have yet."""
    settings = replace(live.mesh.settings, revision=CANARY)
    kube, system = live.kube(cluster), settings.system_namespace
    with ExitStack() as undoing:
        for each in rendered(kube, settings, primary_operator(live.mesh.topology, cluster, settings)):
            metadata = each["metadata"]
            if kube.get(each["apiVersion"], each["kind"], metadata["name"], metadata.get("namespace")) is None:
                undoing.enter_context(present(live, cluster, _smaller(each)))
        await_rollout(live, cluster, system, f"{ISTIOD}-{CANARY}")
        timeout = INJECTION_SECONDS * settings.timeout_scale
        labels = {"sidecar.istio.io/inject": "true", "istio.io/rev": CANARY}
        with live.mesh.log.step(Phase.FAULTS, f"Wait for revision {CANARY} to inject", cluster.name) as step:
            await_injection(kube, system, timeout, step, labels)
        yield


def _smaller(found: Object) -> Object:
    if found["kind"] != "Deployment":
        return found
    spec = found["spec"]["template"]["spec"]
    containers = [{**each, "resources": SMALL} for each in spec["containers"]]
    template = {**found["spec"]["template"], "spec": {**spec, "containers": containers}}
    return {**found, "spec": {**found["spec"], "template": template}}


def _asking_for(live: LiveMesh, clusters: Sequence[Cluster], revision: str) -> AbstractContextManager[None]:
    """The sample namespace asks for a revision, and not for the default one."""
    namespace = sample_namespace(live)
    labels = {"istio-injection": None, "istio.io/rev": revision}
    return each_changed(live, clusters, lambda _: namespace, {"metadata": {"labels": labels}})


def _deployment(replicas: int, containers: Sequence[Object]) -> Object:
    return {"spec": {"replicas": replicas, "template": {"spec": {"containers": list(containers)}}}}


VARIANTS = (
    Variant(
        "revision-tag",
        "The sample namespace asks for the revision tag prod, which leads to the default revision",
        "a tag is a webhook of its own that leads to its revision's control plane",
        revision_tag,
        everywhere,
    ),
    Variant(
        "canary-beside",
        "A control plane of revision canary runs on East, and serves nobody",
        "a namespace is injected by the revision that it asks for",
        canary_beside,
        MP,
    ),
    Variant(
        "own-revision",
        "The sample is injected and served by control planes of revision canary, beside the default ones",
        "control planes of one cluster share its CA, root and registry; gateways stay with the default revision",
        own_revision,
        MP,
    ),
    Variant(
        "istiod-replicas",
        "East's control plane has two pods",
        "a proxy is connected to any of them",
        two_replicas,
        everywhere,
    ),
    Variant(
        "debug-off",
        "East's control plane has no debug interface (ENABLE_DEBUG_ON_HTTP=false)",
        "proxies and remote clusters are served by other ports; what istiod knows it does not say",
        debug_off,
        everywhere,
        frozenset({"CP-SKEW", "RS-SYNCED", "XDS-SYNCED"}),
    ),
    Variant(
        "injected-by-default",
        "Namespaces without a label are injected (enableNamespacesByDefault); the sample namespace has none",
        "the webhook takes in namespaces that say nothing",
        injected_by_default,
        everywhere,
    ),
)
