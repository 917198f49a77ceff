"""Causes in the sample workloads and their injection."""

from collections.abc import Iterator

from harness.judge.diagnose.facts import events, failed_steps, few, logged, read, short, trouble, waiting
from harness.judge.diagnose.graph import Layer
from harness.judge.diagnose.registry import Found, cause
from harness.judge.diagnose.repair import kubectl, manifest, noted, patch, restart, set_value, steps
from harness.model import clients, expectations, requested, revisions
from harness.model.cluster import ClusterObservation, Pod, Subject, Workload
from harness.model.data_plane import DataPlane
from harness.model.further_versions import further_versions
from harness.model.mesh_features import MeshFeature, has_feature
from harness.model.observation import Observation
from harness.model.topology import Cluster


@cause("service-missing", Layer.WORKLOADS, "WL-PLACED", "CONFIG-CONSISTENT")
def service_missing(observation: Observation) -> Iterator[Found]:
    """The Service helloworld, or the one that --service names, is missing in a cluster.

    Its name does not resolve there, and without a Service the pods of that cluster are endpoints of nothing, for
    clients anywhere.
    """
    meant = requested.service(observation.asked)
    if not has_feature(observation, MeshFeature.TRAFFIC):
        return
    for cluster, observed in read(observation, Subject.SERVICES):
        if requested.found(observed, observation.asked) is None:
            yield Found(
                cluster=cluster.name,
                object=f"Service {meant.namespace}/{meant.name}",
                field="exists",
                expected="on every cluster",
                found="none",
                repair=manifest(observed, "helloworld-service", namespace=meant.namespace),
                change=f"Apply Service {meant.namespace}/{meant.name} to {cluster.name} as on the other clusters",
            )


@cause("workload-misplaced", Layer.WORKLOADS, "WL-PLACED", "TR-DISTRIBUTION", breaks=None)
def workload_misplaced(observation: Observation) -> Iterator[Found]:
    """A version of helloworld runs on a cluster that is not its own.

    An answer then no longer says which cluster gave it: a mesh whose clusters do not reach each other looks whole.
    """
    sample, further = observation.asked.sample_namespace, further_versions(observation)
    for cluster, observed in read(observation, Subject.WORKLOADS):
        own = f"{expectations.HELLOWORLD}-{cluster.version}"
        for workload in observed.workloads:
            of_helloworld = workload.namespace == sample and expectations.is_helloworld(workload)
            if workload.pod_labels.get("version") in further:
                continue
            if of_helloworld and workload.name != own and workload.desired:
                yield Found(
                    cluster=cluster.name,
                    object=f"Deployment {sample}/{workload.name}",
                    field="exists",
                    expected=f"{own} only",
                    found=f"{workload.ready} of {workload.desired} pods ready",
                    repair=kubectl(observed, "-n", sample, f"scale deployment/{workload.name} --replicas=0"),
                    change=f"Run {own} only on {cluster.name}: scale Deployment {sample}/{workload.name} to 0",
                )


@cause("injection-off", Layer.WORKLOADS, "WL-INJECTED", "CP-INJECTION-WEBHOOK", plane=DataPlane.SIDECAR)
def injection_off(observation: Observation) -> Iterator[Found]:
    """The sample namespace is not labelled for injection.

    Pods that are created in it start without a sidecar.
    """
    sample = observation.asked.sample_namespace
    for cluster, observed in read(observation, Subject.NAMESPACES):
        if observation.asked.mode == "verify-only" and all(map(expectations.has_proxy, observed.pods_with(sample))):
            continue  # injected by a label of the pods, or by default
        revision = revisions.revision(observation, cluster)
        namespace = observed.namespace(sample)
        labels = namespace.labels if namespace else {}
        selected = labels.get("istio.io/rev") in revisions.selecting_labels(observed, revision)
        if namespace and labels.get("istio-injection") != "enabled" and not selected:
            label = "istio-injection=enabled" if revision == "default" else f"istio.io/rev={revision}"
            yield Found(
                cluster=cluster.name,
                object=f"Namespace {sample}",
                field="label istio-injection",
                expected=label,
                found=", ".join(f"{key}={value}" for key, value in labels.items() if "istio" in key) or "none",
                repair=steps(
                    kubectl(observed, f"label namespace {sample} {label} --overwrite"), restart(observed, sample)
                ),
            )


@cause("sidecar-missing", Layer.WORKLOADS, "WL-INJECTED", effect=True, plane=DataPlane.SIDECAR)
def sidecar_missing(observation: Observation) -> Iterator[Found]:
    """A pod has no sidecar.

    It was created while the webhook did not serve, or asks for none itself (sidecar.istio.io/inject:
    "false"). It has no identity in the mesh, and as a client it goes to the Service's own address: the local pods.
    """
    sample = observation.asked.sample_namespace
    for cluster, observed in read(observation, Subject.PODS):
        for pod in observed.pods_with(sample):
            if expectations.has_proxy(pod):
                continue
            key = "sidecar.istio.io/inject"
            asked = pod.labels.get(key) or pod.annotations.get(key)
            yield Found(
                cluster=cluster.name,
                object=f"Pod {sample}/{pod.name}",
                field="container istio-proxy",
                expected="injected",
                found=f"none ({key}: {asked})" if asked else "none",
                repair=_inject(observed, pod, key)
                if asked == "false"
                else kubectl(observed, "-n", sample, f"delete pod {pod.name}"),
                change=f"Take {key}: {asked} out of the pod template of {pod.name}"
                if asked == "false"
                else f"Create {pod.name} again, through what declares it: it started before injection worked",
                evidence=few(events(observed, f"Pod/{pod.name}", "ReplicaSet/")),
            )


def _inject(observed: ClusterObservation, pod: Pod, key: str) -> str:
    """Remove the opt-out of injection from the pod's template."""
    where = "labels" if key in pod.labels else "annotations"
    name = next(
        (
            workload.name
            for workload in observed.workloads
            if workload.namespace == pod.namespace and pod.name.startswith(f"{workload.name}-")
        ),
        pod.labels.get("app", pod.name),
    )
    path = f"/spec/template/metadata/{where}/{key.replace('/', '~1')}"
    return patch(observed, f"deployment/{name}", [{"op": "remove", "path": path}], namespace=pod.namespace)


@cause("cni-not-enabled", Layer.WORKLOADS, "WL-INJECTED", plane=DataPlane.SIDECAR)
def cni_not_enabled(observation: Observation) -> Iterator[Found]:
    """Pods redirect their traffic themselves although Istio's CNI plugin is there.

    They start with istio-init, which needs NET_ADMIN, and where pods may not have it they are refused. The plugin's
    resource alone does not change injection: pilot.cni.enabled must be true. On OpenShift the operator sets it by
    itself, on plain Kubernetes it does not.
    """
    for cluster, observed in read(observation, Subject.PODS) if observation.asked.cni else ():
        sample = observation.asked.sample_namespace
        pods = [pod for pod in observed.pods_with(sample) if pod.container("istio-init")]
        if pods:
            primary = observation.topology[cluster.primary]
            then = (restart(observed, sample),)
            yield Found(
                cluster=cluster.name,
                object=f"Pod {sample}/{pods[0].name} container istio-init",
                field="pilot.cni.enabled",
                expected="true: istio-validation in its place",
                found=f"istio-init in {len(pods)} of {len(observed.pods_with(sample))} pods",
                repair=set_value(observation, primary, "pilot.cni.enabled", True, *then),
                evidence=few(events(observed, *(f"Pod/{pod.name}" for pod in pods), "ReplicaSet/")),
            )


@cause("sidecar-not-ready", Layer.WORKLOADS, "WL-INJECTED", effect=True, plane=DataPlane.SIDECAR)
def sidecar_not_ready(observation: Observation) -> Iterator[Found]:
    """A sidecar does not become ready.

    It waits for its certificate or its first configuration; its log says which.
    """
    for cluster, observed in read(observation, Subject.PODS):
        for pod in observed.pods_with(observation.asked.sample_namespace):
            container = pod.proxy
            if container is None or container.ready:
                continue
            state = f"{container.state} {container.reason} {container.message}".strip()
            yield Found(
                cluster=cluster.name,
                object=f"Pod {pod.namespace}/{pod.name} container {expectations.PROXY}",
                field="ready",
                expected="True",
                found=state or "not ready",
                repair=noted(
                    kubectl(observed, "-n", pod.namespace, f"logs {pod.name} -c {expectations.PROXY} --tail=50"),
                    "repair what it waits for",
                ),
                evidence=trouble(observed, None, (pod,)),
            )


@cause("workload-unavailable", Layer.WORKLOADS, "WL-PLACED", effect=True)
def workload_unavailable(observation: Observation) -> Iterator[Found]:
    """A sample workload is missing or not available.

    Nothing answers, or nothing can be asked, on that cluster.
    """
    sample = observation.asked.sample_namespace
    if observation.asked.service:
        return  # TR-REACH names the workloads of the user's service
    for cluster, observed in read(observation, Subject.WORKLOADS, Subject.PODS):
        client, own = clients.client_app(observed, observation.asked), f"{expectations.HELLOWORLD}-{cluster.version}"
        for app, name, workload in (
            (expectations.HELLOWORLD, own, observed.workload(sample, own)),
            (client, client, clients.client_workload(observed, observation.asked)),
        ):
            is_client = app == client and clients.client_available(observation, cluster)
            if is_client or (workload is not None and workload.available):
                continue
            yield _unavailable(observation, cluster, app, name, workload)


def _unavailable(observation: Observation, cluster: Cluster, app: str, name: str, workload: Workload | None) -> Found:
    sample, observed = observation.asked.sample_namespace, observation[cluster]
    pods = tuple(pod for pod in observed.pods_with(sample, app=app) if waiting(pod) or not pod.ready)
    evidence = few(
        trouble(observed, workload, pods),
        logged(observed, _cni_agents(observed, pods)),
        failed_steps(observation, cluster.name),
    )
    describe = kubectl(observed, "-n", sample, f"describe pods -l app={app}")
    found, repair = short(evidence, "not Available"), noted(describe, "repair what the evidence names")
    if workload is None:
        found, repair = short(evidence, "no such Deployment"), _deploy(observation, observed, app, cluster.version)
    elif workload.desired == 0:
        found, repair = "scaled to 0", kubectl(observed, "-n", sample, f"scale deployment/{name} --replicas=1")
    return Found(
        cluster=cluster.name,
        object=f"Deployment {sample}/{name}",
        field="condition Available",
        expected="True",
        found=found,
        repair=repair,
        evidence=evidence,
    )


def _cni_agents(observed: ClusterObservation, pods: tuple[Pod, ...]) -> tuple[Pod, ...]:
    """The CNI plugin's agents on the nodes of pods."""
    nodes = {pod.node for pod in pods}
    return tuple(pod for pod in observed.pods if expectations.is_of_cni(pod) and pod.node in nodes)


def _deploy(observation: Observation, observed: ClusterObservation, app: str, version: str) -> str:
    """The sample of Istio's own release, as the chapter deploys it."""
    release = ".".join(observation.asked.istio_version.removeprefix("v").split(".")[:2])
    branch = f"release-{release}" if release else "master"
    url = f"https://raw.githubusercontent.com/istio/istio/{branch}/samples/{app}/{app}.yaml"
    selector = f" -l version={version}" if app == expectations.HELLOWORLD else ""
    return kubectl(observed, "-n", observation.asked.sample_namespace, f"apply -f {url}{selector}")
