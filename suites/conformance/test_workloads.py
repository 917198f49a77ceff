"""Workloads: each version where the chapter puts it, each pod in the mesh."""

from harness.judge.evidence import Evidence
from harness.judge.judgement import Level
from harness.judge.requirement import requirement
from harness.model import clients, expectations, revisions
from harness.model.cluster import ClusterObservation, Pod, Subject, Workload
from harness.model.further_versions import further_versions
from harness.model.mesh_features import MeshFeature
from harness.model.observation import Observation
from harness.model.starting_pods import behind, only_starting
from harness.model.topology import Cluster

AREA = "workloads"


@requirement("WL-PLACED", Level.MUST, area=AREA, needs=(MeshFeature.SAMPLE,))
def test_wl_placed(observation: Observation, evidence: Evidence) -> None:
    """Helloworld is a Service everywhere and one version of it runs on each cluster; a client runs everywhere.

    Only if v1 runs on the first cluster alone, v2 on the second alone, and so on, does an answer say which cluster gave
    it. All of them must be Available. The client is the chapter's sleep; on a mesh that the suite did not install it
    may be curl, or another injected pod of the namespace with curl in its image, and a further version that runs on one
    cluster only is reported.

    Source: chapter, "Deploy sample applications and verify traffic on a multi-cluster topology".
    """
    sample, versions = observation.asked.sample_namespace, further_versions(observation)
    for cluster, observed in evidence.readable(observation, Subject.WORKLOADS, Subject.SERVICES):
        there = observed.service(sample, expectations.HELLOWORLD) is not None
        evidence.expect(
            there,
            cluster=cluster,
            object=f"Service {sample}/{expectations.HELLOWORLD}",
            field="exists",
            expected=True,
            found=there,
        )
        own = f"{expectations.HELLOWORLD}-{cluster.version}"
        client = clients.client_app(observed, observation.asked)
        there = clients.client_available(observation, cluster)
        _judge_available(evidence, observed, f"{sample}/{own}", observed.workload(sample, own))
        _judge_available(
            evidence, observed, f"{sample}/{client}", clients.client_workload(observed, observation.asked), also=there
        )
        others = [
            workload
            for workload in observed.workloads
            if workload.namespace == sample
            and expectations.is_helloworld(workload)
            and workload.name != own
            and workload.desired
        ]
        further = [workload.name for workload in others if workload.pod_labels.get("version") in versions]
        if further:
            evidence.fact(
                f"{cluster.name}: {', '.join(further)} beside {own}: answers of it count as {cluster.version}'s"
            )
        evidence.expect(
            len(further) == len(others),
            cluster=cluster,
            object=f"Namespace {sample}",
            field="versions of helloworld",
            expected=f"{cluster.version} only",
            found=", ".join(workload.name for workload in others) or f"{cluster.version} only",
        )


def _judge_available(
    evidence: Evidence, observed: ClusterObservation, name: str, workload: Workload | None, *, also: bool = False
) -> None:
    available = also or bool(workload and workload.available)
    reasons = "; ".join(f"{c.type}={c.status} {c.reason}" for c in workload.conditions) if workload else ""
    evidence.expect(
        available,
        waited=only_starting(behind(observed, workload)),
        cluster=observed,
        object=f"Deployment {name}",
        field="condition",
        expected="Available",
        found="Available" if available else reasons or "no such Deployment",
    )


@requirement("WL-INJECTED", Level.MUST, area=AREA, needs=(MeshFeature.SIDECARS, MeshFeature.SAMPLE))
def test_wl_injected(observation: Observation, evidence: Evidence) -> None:
    """The sample namespace is labelled for injection, and every pod has a ready sidecar of its cluster and network.

    Pods may be injected by another way on a mesh that the suite did not install: there the namespace's label is
    reported, each pod of helloworld and of the client must have its sidecar, and any revision that runs may serve it.
    A pod without a sidecar is not in the mesh; one that was injected for another cluster or network gets endpoints that
    it can't reach. Examined of each pod: the container istio-proxy (an init container that keeps running, since Istio
    1.27), the cluster, network and revision it was injected with, and that with the CNI plugin there is no istio-init.

    Source: chapter, "Label the application namespace to support sidecar injection".
    """
    asked = observation.asked
    for cluster, observed in evidence.readable(observation, Subject.NAMESPACES, Subject.PODS):
        _judge_namespace(observation, evidence, cluster, observed)
        pods = _meant(observation, evidence, cluster)
        if not pods:
            evidence.blocked("WL-PLACED", f"no pod runs in {asked.sample_namespace} on {cluster.name}")
        for pod in pods:
            _judge_pod(observation, evidence, cluster, pod)


def _meant(observation: Observation, evidence: Evidence, cluster: Cluster) -> tuple[Pod, ...]:
    """The pods that must have a sidecar; on a mesh of others what else stands in the namespace is reported."""
    asked, observed = observation.asked, observation[cluster]
    pods = observed.pods_with(asked.sample_namespace)
    if asked.mode == "install":
        return pods
    own = {expectations.HELLOWORLD, clients.client_app(observed, asked)}
    for pod in pods:
        if clients.app(pod) not in own:
            state = "with" if expectations.has_proxy(pod) else "without"
            evidence.fact(f"{cluster.name}: {pod.name} {state} a sidecar stands beside the sample")
    return tuple(pod for pod in pods if clients.app(pod) in own)


def _judge_namespace(
    observation: Observation, evidence: Evidence, cluster: Cluster, observed: ClusterObservation
) -> None:
    name, revision = observation.asked.sample_namespace, revisions.revision(observation, cluster)
    namespace = observed.namespace(name)
    labels = namespace.labels if namespace else {}
    found = {key: labels[key] for key in ("istio-injection", "istio.io/rev") if key in labels}
    selecting = revisions.selecting_labels(observed, revision)
    if observation.asked.mode == "verify-only":
        told = ", ".join(f"{key}={value}" for key, value in found.items()) or "no label for injection"
        evidence.fact(f"{cluster.name}: Namespace {name} has {told}")
        return
    evidence.expect(
        labels.get("istio-injection") == "enabled" or labels.get("istio.io/rev") in selecting,
        cluster=cluster,
        object=f"Namespace {name}",
        field="label",
        expected=f"istio-injection=enabled or istio.io/rev={' or '.join(selecting)}",
        found=", ".join(f"{key}={value}" for key, value in found.items()) or "none",
    )


def _judge_pod(observation: Observation, evidence: Evidence, cluster: Cluster, pod: Pod) -> None:
    name = f"Pod {pod.namespace}/{pod.name}"
    sidecar = pod.proxy
    if sidecar is None or not sidecar.ready:
        found = "no sidecar" if sidecar is None else f"{sidecar.state} {sidecar.reason} {sidecar.message}".strip()
        evidence.expect(
            False,
            waited=sidecar is not None and only_starting([pod]),
            cluster=cluster,
            object=name,
            field="sidecar",
            expected="ready",
            found=found or "not ready",
        )
    if sidecar is None:
        return
    if sidecar.ready:
        form = "a native sidecar" if sidecar.sidecar else "a container beside the others"
        evidence.fact(f"{cluster.name}: {name} has a ready sidecar, {form}")
    _judge_init(observation, evidence, cluster, pod)
    network = sidecar.env.get("ISTIO_META_NETWORK") or pod.labels.get(expectations.NETWORK_LABEL, "")
    if not network and observation.asked.mode == "verify-only" and len(observation.topology.networks) == 1:
        # Istio, pkg/util/identifier, IsSameOrEmpty: on one network what names none is reached directly.
        evidence.fact(f"{cluster.name}: {name} names no network; there is one only")
        network = cluster.network
    wanted_revision, revision = _revisions(observation, cluster, pod)
    for field, wanted, found in (
        ("cluster id", cluster.cluster_name, sidecar.env.get("ISTIO_META_CLUSTER_ID", "")),
        ("network", cluster.network, network),
        ("revision", wanted_revision, revision),
    ):
        evidence.expect(
            found == wanted, cluster=cluster, object=name, field=field, expected=wanted, found=found or "none"
        )


def _judge_init(observation: Observation, evidence: Evidence, cluster: Cluster, pod: Pod) -> None:
    """With the CNI plugin no pod needs istio-init; the plugin leaves alone those that have it."""
    if not expectations.uses_cni(observation, observation[cluster]):
        return
    found, name = pod.container("istio-init") is not None, f"Pod {pod.namespace}/{pod.name}"
    if found and observation.asked.mode == "verify-only":
        evidence.fact(f"{cluster.name}: {name} has istio-init: the CNI plugin leaves it alone")
        return
    evidence.expect(
        not found,
        cluster=cluster,
        object=name,
        field="istio-init",
        expected="absent",
        found="present" if found else "absent",
    )


def _revisions(observation: Observation, cluster: Cluster, pod: Pod) -> tuple[str, str]:
    """The revision that a pod should be injected by, and its own: on a mesh of others any one that runs."""
    asked = revisions.revision(observation, cluster)
    found = pod.annotations.get(revisions.REVISION_LABEL, asked)
    running = {plane.revision for plane in observation[cluster.primary].control_planes}
    return (found if observation.asked.mode == "verify-only" and found in running else asked), found
