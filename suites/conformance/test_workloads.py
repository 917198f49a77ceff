"""Workloads: each version where the chapter puts it, each pod in the mesh."""

from harness.judge.requirement import Evidence, Level, requirement
from harness.model import expectations
from harness.model.cluster import ClusterObservation, Pod, Subject
from harness.model.observation import Observation
from harness.model.topology import Cluster

AREA = "workloads"


@requirement("WL-PLACED", Level.MUST, area=AREA)
def test_wl_placed(observation: Observation, evidence: Evidence) -> None:
    """Helloworld is a Service everywhere and one version of it runs on each cluster; sleep runs everywhere.

    Only if v1 runs on the first cluster alone, v2 on the second alone, and so on, does an answer say which cluster gave
    it. All of them must be Available.

    Source: chapter, "Deploy sample applications and verify traffic on a multi-cluster topology".
    """
    sample = observation.asked.sample_namespace
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
        for name in (own, expectations.SLEEP):
            workload = observed.workload(sample, name)
            reasons = "; ".join(f"{c.type}={c.status} {c.reason}" for c in workload.conditions) if workload else ""
            evidence.expect(
                bool(workload and workload.available),
                cluster=cluster,
                object=f"Deployment {sample}/{name}",
                field="condition",
                expected="Available",
                found="Available" if workload and workload.available else reasons or "no such Deployment",
            )
        others = [
            workload.name
            for workload in observed.workloads
            if workload.namespace == sample
            and expectations.is_helloworld(workload)
            and workload.name != own
            and workload.desired
        ]
        evidence.expect(
            not others,
            cluster=cluster,
            object=f"Namespace {sample}",
            field="versions of helloworld",
            expected=f"{cluster.version} only",
            found=", ".join(others) or f"{cluster.version} only",
        )


@requirement("WL-INJECTED", Level.MUST, area=AREA)
def test_wl_injected(observation: Observation, evidence: Evidence) -> None:
    """The sample namespace is labelled for injection, and every pod has a ready sidecar of its cluster and network.

    A pod without a sidecar is not in the mesh; one that was injected for another cluster or network gets endpoints that
    it can't reach. Examined of each pod: the container istio-proxy (an init container that keeps running, since Istio
    1.27), the cluster, network and revision it was injected with, and that with the CNI plugin there is no istio-init.

    Source: chapter, "Label the application namespace to support sidecar injection".
    """
    asked = observation.asked
    for cluster, observed in evidence.readable(observation, Subject.NAMESPACES, Subject.PODS):
        _judge_namespace(observation, evidence, cluster, observed)
        pods = observed.pods_with(asked.sample_namespace)
        if not pods:
            evidence.blocked("WL-PLACED", f"no pod runs in {asked.sample_namespace} on {cluster.name}")
        for pod in pods:
            _judge_pod(observation, evidence, cluster, pod)


def _judge_namespace(
    observation: Observation, evidence: Evidence, cluster: Cluster, observed: ClusterObservation
) -> None:
    name, revision = observation.asked.sample_namespace, observation.asked.revision
    namespace = observed.namespace(name)
    labels = namespace.labels if namespace else {}
    found = {key: labels[key] for key in ("istio-injection", "istio.io/rev") if key in labels}
    selecting = expectations.revision_labels(observed, revision)
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
    sidecar = pod.container(expectations.PROXY)
    if sidecar is None or not sidecar.ready:
        found = "no sidecar" if sidecar is None else f"{sidecar.state} {sidecar.reason} {sidecar.message}".strip()
        evidence.expect(
            False, cluster=cluster, object=name, field="sidecar", expected="ready", found=found or "not ready"
        )
    if sidecar is None:
        return
    if sidecar.ready:
        form = "a native sidecar" if sidecar.sidecar else "a container beside the others"
        evidence.fact(f"{cluster.name}: {name} has a ready sidecar, {form}")
    if observation.asked.cni:
        init = pod.container("istio-init") is not None
        evidence.expect(
            not init,
            cluster=cluster,
            object=name,
            field="istio-init",
            expected="absent",
            found="present" if init else "absent",
        )
    network = sidecar.env.get("ISTIO_META_NETWORK") or pod.labels.get(expectations.NETWORK_LABEL, "")
    revision = pod.annotations.get("istio.io/rev", observation.asked.revision)
    for field, wanted, found in (
        ("cluster id", cluster.cluster_name, sidecar.env.get("ISTIO_META_CLUSTER_ID", "")),
        ("network", cluster.network, network),
        ("revision", observation.asked.revision, revision),
    ):
        evidence.expect(
            found == wanted, cluster=cluster, object=name, field=field, expected=wanted, found=found or "none"
        )
