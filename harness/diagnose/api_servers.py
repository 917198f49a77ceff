"""Causes in API servers and nodes: nothing of a cluster works, or can be read, without them."""

from collections.abc import Iterator

from harness.diagnose.facts import IMAGE_REASONS, events, few, kubectl, read, waiting
from harness.diagnose.graph import Layer
from harness.diagnose.registry import Found, cause
from harness.model.cluster import ReadOutcome, Subject
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
                repair=kubectl(observed, "get --raw=/readyz?verbose") + "; on its node: crictl logs of kube-apiserver",
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
                    repair=kubectl(observed, f"describe node {node.name}"),
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
                repair=(
                    f"make {container.image} available to the nodes, then "
                    + kubectl(observed, "-n", pod.namespace, f"delete pod {pod.name}")
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
    namespace, name = observation.asked.cni_namespace, "istio-cni-node"
    for cluster, observed in read(observation, Subject.NODES, Subject.PODS, Subject.WORKLOADS):
        pods = [pod for pod in observed.pods if pod.labels.get("k8s-app") == name and not pod.deleting]
        covered = {pod.node for pod in pods if pod.ready}
        bare = sorted(node.name for node in observed.nodes if node.schedulable and node.name not in covered)
        if not bare and covered:
            continue
        daemon_set = observed.workload(namespace, name, "DaemonSet")
        counts = f", DaemonSet wants {daemon_set.desired}, has {daemon_set.ready}" if daemon_set else ""
        fix = (
            "patch daemonset istio-cni-node --type=json "
            '-p \'[{"op":"remove","path":"/spec/template/spec/nodeSelector"}]\''
        )
        yield Found(
            cluster=cluster.name,
            object=f"DaemonSet {namespace}/{name}",
            field="nodes with a ready pod",
            expected="every schedulable node",
            found=(f"none on {', '.join(bare)}" if daemon_set else "no such DaemonSet") + counts,
            repair=kubectl(observed, "-n", namespace, fix)
            if daemon_set
            else "install Istio's CNI plugin (chapter: create an IstioCNI resource)",
            evidence=few(events(observed, f"DaemonSet/{name}", *(f"Pod/{pod.name}" for pod in pods))),
        )
