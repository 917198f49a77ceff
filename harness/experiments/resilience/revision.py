"""The control plane is upgraded by revision: a second one beside the first, workloads moved over, the first removed.

Source: Istio, "Canary Upgrades"; "Install Primary-Remote" for what a remote needs of a control plane.
"""

from collections.abc import Iterable
from dataclasses import replace

from harness.base.parallel import in_parallel
from harness.experiments.resilience.stage import Stage
from harness.experiments.testbed import ready_pods
from harness.kube.api import Object
from harness.mesh import gateways
from harness.mesh.injection import await_injection
from harness.mesh.istioctl import LAST, primary_operator, remote_operator, rendered, webhook_pending
from harness.mesh.readiness import await_deployment
from harness.mesh.settings import CONTROL_PLANE_SECONDS, INJECTION_SECONDS
from harness.model import expectations
from harness.model.resilience import ACTED, MENDED, RevisionReading
from harness.model.topology import Cluster

DEFAULT, NEXT = "default", "next"
REVISION_LABEL, INJECTION_LABEL = "istio.io/rev", "istio-injection"
LINGER_SECONDS = 4.0
_WEBHOOKS = ("admissionregistration.k8s.io/v1", "MutatingWebhookConfiguration")
_DELETIONS = (*LAST, "")
"""Kinds that act are deleted before those that they act upon."""


def upgrade(stage: Stage) -> None:
    """Move the whole mesh to another revision of the same build; then back, as the next upgrade would."""
    for old, new in ((DEFAULT, NEXT), (NEXT, DEFAULT)):
        stage.note(ACTED, detail=f"{old} → {new}")
        _install(stage, old, new)
        stage.note(f"{new} installed")
        for cluster in stage.clusters:
            _move(stage, cluster, new)
        _remove(stage, old, new)
        stage.note(MENDED, detail=f"{old} removed")
        stage.linger(LINGER_SECONDS)
        stage.await_whole()
        stage.revisions += [_reading(stage, cluster) for cluster in stage.clusters]


def _install(stage: Stage, old: str, new: str) -> None:
    """Bring the new revision's control planes up beside the old one's, primaries first."""

    def primary(cluster: Cluster) -> None:
        with stage.step(f"Install revision {new}", cluster) as opened:
            _apply(stage, cluster, only_in(_objects(stage, cluster, new), _objects(stage, cluster, old)))
            timeout = stage.seconds(CONTROL_PLANE_SECONDS)
            await_deployment(stage.kube(cluster), stage.system_namespace, istiod_of(new), timeout, opened)
            if stage.mesh.topology.serves_remotes(cluster) and new != DEFAULT:
                values = {"namespace": stage.system_namespace, "revision": new}
                stage.mesh.apply_manifest(cluster, "expose-istiod-revision", **values)
            _await_injector(stage, cluster, new)

    def remote(cluster: Cluster) -> None:
        with stage.step(f"Install revision {new}", cluster) as opened:
            _apply(stage, cluster, only_in(_objects(stage, cluster, new), _objects(stage, cluster, old)))
            stage.kube(cluster).wait(
                *_WEBHOOKS,
                "istio-sidecar-injector" + suffix(new),
                pending=webhook_pending,
                timeout=stage.seconds(CONTROL_PLANE_SECONDS),
                step=opened,
            )
            _await_injector(stage, cluster, new)

    in_parallel(primary, stage.mesh.topology.primaries)
    in_parallel(remote, stage.mesh.topology.remotes)


def _move(stage: Stage, cluster: Cluster, new: str) -> None:
    """Let the new revision inject the workloads and the gateway of a cluster, and restart them."""
    kube = stage.kube(cluster)
    with stage.step(f"Label the sample namespace for revision {new}", cluster) as opened:
        labels = namespace_labels(new)
        kube.merge("v1", "Namespace", stage.sample_namespace, {"metadata": {"labels": labels}})
        await_injection(kube, stage.sample_namespace, stage.seconds(INJECTION_SECONDS), opened)
    stage.restart(cluster, stage.sample_namespace, f"helloworld-{cluster.version}")
    stage.restart(cluster, stage.sample_namespace, expectations.SLEEP)
    if stage.mesh.topology.has_gateway(cluster):
        label = {REVISION_LABEL: None if new == DEFAULT else new}
        change = {"spec": {"template": {"metadata": {"labels": label}}}}
        stage.restart(cluster, stage.system_namespace, gateways.NAME, change)


def _remove(stage: Stage, old: str, new: str) -> None:
    """Remove what only the old revision needs: from remotes first, whose webhooks lead to the primary."""

    def of_cluster(cluster: Cluster) -> None:
        with stage.step(f"Remove revision {old}", cluster):
            doomed = only_in(_objects(stage, cluster, old), _objects(stage, cluster, new))
            for kind in _DELETIONS:
                for found in doomed:
                    if found["kind"] == kind or (not kind and found["kind"] not in LAST):
                        metadata = found["metadata"]
                        stage.kube(cluster).delete(
                            found["apiVersion"], found["kind"], metadata["name"], metadata.get("namespace")
                        )
            if stage.mesh.topology.serves_remotes(cluster) and old != DEFAULT:
                name = f"istiod-{old}-vs"
                stage.kube(cluster).delete("networking.istio.io/v1", "VirtualService", name, stage.system_namespace)

    in_parallel(of_cluster, stage.mesh.topology.remotes)
    in_parallel(of_cluster, stage.mesh.topology.primaries)


def _objects(stage: Stage, cluster: Cluster, revision: str) -> list[Object]:
    """What istioctl renders for a cluster and a revision."""
    settings = replace(stage.mesh.settings, revision=revision.removeprefix(DEFAULT))
    if cluster.is_primary:
        resource = primary_operator(stage.mesh.topology, cluster, settings)
    else:
        service = stage.kube(stage.mesh.topology[cluster.primary]).get(
            "v1", "Service", gateways.NAME, stage.system_namespace
        )
        resource = remote_operator(cluster, gateways.addresses(service)[0], settings)
    return rendered(stage.kube(cluster), settings, resource)


def only_in(objects: Iterable[Object], others: Iterable[Object]) -> list[Object]:
    """The objects that the others do not have by kind and name. Pure."""
    known = {_reference(other) for other in others}
    return [found for found in objects if _reference(found) not in known]


def _reference(found: Object) -> tuple[str, str, str]:
    return found["kind"], str(found["metadata"].get("namespace") or ""), found["metadata"]["name"]


def _apply(stage: Stage, cluster: Cluster, objects: list[Object]) -> None:
    for last in (False, True):
        batch = [found for found in objects if (found["kind"] in LAST) is last]
        in_parallel(lambda manifest: stage.mesh.apply(cluster, manifest), batch)


def suffix(revision: str) -> str:
    """What the charts add to names in a revision. Pure."""
    return "" if revision == DEFAULT else f"-{revision}"


def istiod_of(revision: str) -> str:
    """The name of a revision's Deployment. Pure."""
    return f"istiod{suffix(revision)}"


def namespace_labels(revision: str) -> dict[str, str | None]:
    """The labels by which a namespace is injected by a revision; None takes one away. Pure."""
    if revision == DEFAULT:
        return {INJECTION_LABEL: "enabled", REVISION_LABEL: None}
    return {INJECTION_LABEL: None, REVISION_LABEL: revision}


def _await_injector(stage: Stage, cluster: Cluster, revision: str) -> None:
    """Wait until a pod that asks for this revision is injected, in a namespace that asks for none."""
    labels = {"sidecar.istio.io/inject": "true"}
    if revision != DEFAULT:
        labels[REVISION_LABEL] = revision
    with stage.step(f"Wait for revision {revision} to inject", cluster) as opened:
        timeout = stage.seconds(INJECTION_SECONDS)
        await_injection(stage.kube(cluster), stage.system_namespace, timeout, opened, labels)


def _reading(stage: Stage, cluster: Cluster) -> RevisionReading:
    kube = stage.kube(cluster)
    deployments = kube.list("apps/v1", "Deployment", stage.system_namespace, label_selector="app=istiod")
    pods = [
        pod
        for app in (expectations.SLEEP, expectations.HELLOWORLD)
        for pod in ready_pods(kube, stage.sample_namespace, app)
    ]
    if stage.mesh.topology.has_gateway(cluster):
        pods += ready_pods(kube, stage.system_namespace, expectations.GATEWAY)
    return RevisionReading(
        at=stage.load.now,
        cluster=cluster.name,
        control_planes=tuple(sorted(found["metadata"]["labels"].get(REVISION_LABEL, "") for found in deployments)),
        proxies={pod["metadata"]["name"]: _revision_of(pod) for pod in pods},
    )


def _revision_of(pod: Object) -> str:
    return str((pod["metadata"].get("annotations") or {}).get(REVISION_LABEL) or DEFAULT)
