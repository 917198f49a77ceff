"""Causes in API servers and nodes: nothing of a cluster works, or can be read, without them."""

from collections.abc import Iterator

from harness.judge.diagnose.facts import IMAGE_REASONS, events, few, read, trouble, waiting
from harness.judge.diagnose.graph import Layer
from harness.judge.diagnose.registry import Found, cause
from harness.judge.diagnose.repair import applied, kubectl, noted, patch
from harness.model import expectations
from harness.model.cluster import ClusterObservation, ReadOutcome, Subject, Workload
from harness.model.observation import Observation


@cause("api-server-down", Layer.API_SERVERS, "RS-USABLE", "RS-SYNCED")
def api_server_down(observation: Observation) -> Iterator[Found]:
    """An API server does not answer.

    It did not answer from the first read on. Control planes of other clusters keep what they knew of its endpoints and
    learn nothing new; what runs there goes on running. Nothing of this cluster could be read.
    """
    for observed in observation.clusters:
        silent = [reading for reading in observed.readings if reading.outcome is ReadOutcome.UNREACHABLE]
        if silent and all(reading.outcome is not ReadOutcome.READ for reading in observed.readings):
            yield Found(
                cluster=observed.name,
                object=f"API server {observed.api_server}",
                field="answer",
                expected="answers",
                found=silent[0].detail or "no answer",
                repair=noted(
                    kubectl(observed, "get --raw='/readyz?verbose'"),
                    "start it again; on its node: crictl ps -a --name kube-apiserver, crictl logs ID",
                ),
                evidence=few(f"{reading.subject}: {reading.detail}" for reading in silent[:3]),
            )


@cause("node-not-ready", Layer.NODES)
def node_not_ready(observation: Observation) -> Iterator[Found]:
    """A node is not ready.

    Its pods are not started or are counted as gone.
    """
    for cluster, observed in read(observation, Subject.NODES):
        for node in observed.nodes:
            if not node.ready:
                yield Found(
                    cluster=cluster.name,
                    object=f"Node {node.name}",
                    field="condition Ready",
                    expected="True",
                    found="not True",
                    repair=noted(
                        kubectl(observed, f"describe node {node.name}"),
                        "mend what its conditions name; on it: systemctl restart kubelet",
                    ),
                    evidence=few(events(observed, f"Node/{node.name}")),
                )


@cause("image-not-pulled", Layer.NODES, "WL-PLACED")
def image_not_pulled(observation: Observation) -> Iterator[Found]:
    """A workload's image can't be pulled.

    The registry does not have it or does not answer, the name is wrong, or a pull secret is missing. On nodes that
    were given their images beforehand imagePullPolicy Always asks the registry nevertheless.
    """
    for cluster, observed in read(observation, Subject.PODS):
        for pod in observed.pods_with(observation.asked.sample_namespace):
            container = waiting(pod)
            if container is None or container.reason not in IMAGE_REASONS:
                continue
            yield Found(
                cluster=cluster.name,
                object=f"Pod {pod.namespace}/{pod.name} container {container.name}",
                field="image",
                expected="pulled",
                found=f"{container.reason}: {container.image}",
                repair=noted(
                    kubectl(observed, "-n", pod.namespace, f"delete pod {pod.name}"),
                    f"once the nodes can pull {container.image} (registry, pull secret), or hold it already",
                ),
                evidence=few([container.message], events(observed, f"Pod/{pod.name}")),
            )


@cause("cni-uncovered-node", Layer.NODES, "CP-CNI-READY")
def cni_uncovered_node(observation: Observation) -> Iterator[Found]:
    """Istio's CNI plugin does not run on every node.

    Pods that start on such a node do so without their traffic redirected into the sidecar, or never start.
    """
    if not observation.asked.cni:
        return
    name, foreign = expectations.CNI_PLUGIN, observation.asked.mode == "verify-only"
    for cluster, observed in read(observation, Subject.NODES, Subject.PODS, Subject.WORKLOADS):
        pods = [pod for pod in observed.pods if expectations.is_of_cni(pod) and not pod.deleting]
        elsewhere = observed.cni_plugins if foreign and not pods else None
        if not expectations.uses_cni(observation, observed) or any(each.ready for each in elsewhere or ()):
            continue
        namespace = elsewhere[0].namespace if elsewhere else observation.asked.cni_namespace
        covered = {pod.node for pod in pods if pod.ready}
        bare = sorted(node.name for node in observed.nodes if node.schedulable and node.name not in covered)
        if not bare and covered:
            continue
        daemon_set = elsewhere[0] if elsewhere else observed.workload(namespace, name, "DaemonSet")
        counts = f", DaemonSet wants {daemon_set.desired}, has {daemon_set.ready}" if daemon_set else ""
        yield Found(
            cluster=cluster.name,
            object=f"DaemonSet {namespace}/{name}",
            field="nodes with a ready pod",
            expected="every schedulable node",
            found=(f"none on {', '.join(bare)}" if daemon_set else "no such DaemonSet") + counts,
            repair=_cover(observation, observed, daemon_set, len(bare) + len(covered)),
            evidence=trouble(observed, daemon_set, tuple(pod for pod in pods if not pod.ready)),
        )


def _cover(observation: Observation, observed: ClusterObservation, daemon_set: Workload | None, nodes: int) -> str:
    """Make the plugin run on every node: install it, let it onto the nodes, or see why its pods are not ready."""
    asked, resource = observation.asked, next((r for r in observed.sail if r.kind == "IstioCNI"), None)
    istio = expectations.istio_resource(observed)
    if daemon_set is None and istio:
        spec = {"namespace": asked.cni_namespace, "version": istio.spec.get("version")}
        cni = {"apiVersion": istio.api_version, "kind": "IstioCNI", "metadata": {"name": "default"}, "spec": spec}
        return applied(observed, cni)
    if daemon_set is None:
        options = f"--set components.cni.enabled=true --set components.cni.namespace={asked.cni_namespace}"
        apply = kubectl(observed, "apply --server-side --force-conflicts -f -")
        return f"istioctl manifest generate --set profile=empty {options} | {apply}"
    if daemon_set.desired >= nodes:
        return kubectl(observed, "-n", asked.cni_namespace, f"describe pods -l k8s-app={daemon_set.name}")
    if resource:
        note = "take nodeSelector and affinity out of spec.values.cni"
        return noted(kubectl(observed, f"edit istiocni/{resource.name}"), note)
    change = {"spec": {"template": {"spec": {"nodeSelector": None, "affinity": None}}}}
    return patch(observed, f"daemonset/{daemon_set.name}", change, namespace=asked.cni_namespace)
