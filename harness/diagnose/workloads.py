"""Causes in the sample workloads and their injection."""

from collections.abc import Iterator

from harness import expected
from harness.diagnose.facts import few, read, short, trouble, waiting
from harness.diagnose.graph import Layer
from harness.diagnose.registry import Found, cause
from harness.diagnose.repair import kubectl, restart
from harness.model.cluster import Subject
from harness.model.observation import Observation


@cause("service-missing", Layer.WORKLOADS, "WL-PLACED", "CONFIG-CONSISTENT")
def service_missing(observation: Observation) -> Iterator[Found]:
    """The Service helloworld is missing in a cluster.

    Its name does not resolve there, and without a Service the pods of that cluster are endpoints of nothing, for
    clients anywhere.
    """
    sample = observation.asked.sample_namespace
    for cluster, observed in read(observation, Subject.SERVICES):
        if observed.service(sample, expected.HELLOWORLD) is None:
            yield Found(
                cluster=cluster.name,
                object=f"Service {sample}/{expected.HELLOWORLD}",
                field="exists",
                expected="on every cluster",
                found="none",
                repair=kubectl(observed, "-n", sample, "apply -f helloworld.yaml -l service=helloworld"),
            )


@cause("workload-misplaced", Layer.WORKLOADS, "WL-PLACED", "TR-DISTRIBUTION", breaks=None)
def workload_misplaced(observation: Observation) -> Iterator[Found]:
    """A version of helloworld runs on a cluster that is not its own.

    An answer then no longer says which cluster gave it: a mesh whose clusters do not reach each other looks whole.
    """
    sample = observation.asked.sample_namespace
    for cluster, observed in read(observation, Subject.WORKLOADS):
        own = f"{expected.HELLOWORLD}-{cluster.version}"
        for workload in observed.workloads:
            of_helloworld = workload.labels.get("app") == expected.HELLOWORLD or workload.name.startswith("helloworld-")
            if workload.namespace == sample and of_helloworld and workload.name != own and workload.desired:
                yield Found(
                    cluster=cluster.name,
                    object=f"Deployment {sample}/{workload.name}",
                    field="exists",
                    expected=f"{own} only",
                    found=f"{workload.ready} of {workload.desired} pods ready",
                    repair=kubectl(observed, "-n", sample, f"delete deployment {workload.name}"),
                )


@cause("injection-off", Layer.WORKLOADS, "WL-INJECTED", "CP-INJECTION-WEBHOOK")
def injection_off(observation: Observation) -> Iterator[Found]:
    """The sample namespace is not labelled for injection.

    Pods that are created in it start without a sidecar.
    """
    sample, revision = observation.asked.sample_namespace, observation.asked.revision
    for cluster, observed in read(observation, Subject.NAMESPACES):
        namespace = observed.namespace(sample)
        labels = namespace.labels if namespace else {}
        if namespace and labels.get("istio-injection") != "enabled" and labels.get("istio.io/rev") != revision:
            label = "istio-injection=enabled" if revision == "default" else f"istio.io/rev={revision}"
            yield Found(
                cluster=cluster.name,
                object=f"Namespace {sample}",
                field="label istio-injection",
                expected=label,
                found=", ".join(f"{key}={value}" for key, value in labels.items() if "istio" in key) or "none",
                repair=kubectl(observed, f"label namespace {sample} {label} --overwrite")
                + " && "
                + restart(observed, sample),
            )


@cause("sidecar-missing", Layer.WORKLOADS, "WL-INJECTED", effect=True)
def sidecar_missing(observation: Observation) -> Iterator[Found]:
    """A pod has no sidecar.

    It was created while the webhook did not serve, or says itself that it wants none (sidecar.istio.io/inject:
    "false"). It has no identity in the mesh, and as a client it goes to the Service's own address: the local pods.
    """
    sample = observation.asked.sample_namespace
    for cluster, observed in read(observation, Subject.PODS):
        for pod in observed.pods_with(sample):
            if expected.has_proxy(pod) or pod.phase in {"Succeeded", "Failed"}:
                continue
            key = "sidecar.istio.io/inject"
            asked = pod.labels.get(key) or pod.annotations.get(key)
            app = pod.labels.get("app", pod.name)
            yield Found(
                cluster=cluster.name,
                object=f"Pod {sample}/{pod.name}",
                field="container istio-proxy",
                expected="injected",
                found=f"none ({key}: {asked})" if asked else "none",
                repair=f"take {key} out of the pod template of {app}"
                if asked == "false"
                else kubectl(observed, "-n", sample, f"delete pod {pod.name}"),
            )


@cause("sidecar-not-ready", Layer.WORKLOADS, "WL-INJECTED", effect=True)
def sidecar_not_ready(observation: Observation) -> Iterator[Found]:
    """A sidecar does not become ready.

    It waits for its certificate or its first configuration; its log says which.
    """
    for cluster, observed in read(observation, Subject.PODS):
        for pod in observed.pods_with(observation.asked.sample_namespace):
            container = pod.container(expected.PROXY)
            if container is None or container.ready or pod.phase in {"Succeeded", "Failed"}:
                continue
            state = f"{container.state} {container.reason} {container.message}".strip()
            yield Found(
                cluster=cluster.name,
                object=f"Pod {pod.namespace}/{pod.name} container {expected.PROXY}",
                field="ready",
                expected="True",
                found=state or "not ready",
                repair=kubectl(observed, "-n", pod.namespace, f"logs {pod.name} -c {expected.PROXY} --tail=50"),
                evidence=trouble(observed, None, (pod,)),
            )


@cause("workload-unavailable", Layer.WORKLOADS, "WL-PLACED", effect=True)
def workload_unavailable(observation: Observation) -> Iterator[Found]:
    """A sample workload is missing or not available.

    Nothing answers, or nothing can be asked, on that cluster.
    """
    sample = observation.asked.sample_namespace
    for cluster, observed in read(observation, Subject.WORKLOADS, Subject.PODS):
        for app, name in (
            (expected.HELLOWORLD, f"{expected.HELLOWORLD}-{cluster.version}"),
            (expected.SLEEP, expected.SLEEP),
        ):
            workload = observed.workload(sample, name)
            if workload is not None and workload.available:
                continue
            pods = tuple(pod for pod in observed.pods_with(sample, app=app) if waiting(pod) or not pod.ready)
            evidence = trouble(observed, workload, pods)
            scaled = workload is not None and workload.desired == 0
            yield Found(
                cluster=cluster.name,
                object=f"Deployment {sample}/{name}",
                field="condition Available",
                expected="True",
                found="scaled to 0"
                if scaled
                else short(evidence, "not Available" if workload else "no such Deployment"),
                repair=kubectl(observed, "-n", sample, f"scale deployment/{name} --replicas=1")
                if scaled
                else kubectl(observed, "-n", sample, f"describe deployment {name}"),
                evidence=few(evidence),
            )
