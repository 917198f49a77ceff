"""Causes in a mesh without sidecars: its ztunnels, what they carry, and which Services are known on all clusters."""

from collections.abc import Iterator

from harness.judge.diagnose.facts import (
    events,
    failed_steps,
    few,
    known_endpoints,
    logged_by_control_planes,
    read,
    trouble,
)
from harness.judge.diagnose.facts import mesh as mesh_of
from harness.judge.diagnose.graph import Layer
from harness.judge.diagnose.registry import Found, cause
from harness.judge.diagnose.repair import edit_mesh_config, kubectl, noted
from harness.model import captured, expectations, requested, scopes
from harness.model.cluster import ClusterObservation, Subject, Workload
from harness.model.data_plane import DataPlane
from harness.model.observation import Observation
from harness.model.topology import Cluster

AMBIENT = DataPlane.AMBIENT


@cause("ztunnel-missing", Layer.WORKLOADS, "AMB-ZTUNNEL", plane=AMBIENT)
def ztunnel_missing(observation: Observation) -> Iterator[Found]:
    """No ztunnel is ready on a node.

    It carries the traffic of every pod of the mesh on that node: they reach nobody, and nobody reaches them. A pod that
    is made there does not start, for Istio's CNI plugin has no ztunnel to hand it to.
    """
    for cluster, observed in read(observation, Subject.NODES, Subject.PODS):
        pods = captured.ztunnel_pods(observation, cluster)
        covered = {pod.node for pod in pods if pod.ready}
        needing = {pod.node for pod in observed.lasting_pods if pod.namespace in observation.asked.namespaces}
        bare = sorted(node.name for node in observed.nodes if node.schedulable and node.name not in covered)
        if observation.asked.mode == "verify-only":
            bare = [name for name in bare if name in needing]
        if not bare:
            continue
        found = _daemon_set(observed)
        namespace = found.namespace if found else observation.asked.system_namespace
        evidence = few(
            trouble(observed, found, tuple(pod for pod in pods if not pod.ready)),
            events(observed, f"DaemonSet/{expectations.ZTUNNEL}", f"Pod/{expectations.ZTUNNEL}-"),
            failed_steps(observation, cluster.name),
        )
        yield Found(
            cluster=cluster.name,
            object=f"DaemonSet {namespace}/{expectations.ZTUNNEL}",
            field="nodes with a ready pod",
            expected="every schedulable node",
            found=(f"none on {', '.join(bare)}" if found else "no such DaemonSet"),
            repair=noted(
                kubectl(observed, "-n", namespace, f"describe daemonset,pods -l app={expectations.ZTUNNEL}"),
                "mend what keeps it from the node: a node selector, a taint, an image, the control plane it asks",
            ),
            change=f"Let a ztunnel run on {', '.join(bare)}: see its node selector, the node's taints and its image",
            evidence=evidence,
        )


def _daemon_set(observed: ClusterObservation) -> Workload | None:
    return next((w for w in observed.workloads if (w.kind, w.name) == ("DaemonSet", expectations.ZTUNNEL)), None)


@cause("ztunnel-misplaced", Layer.WORKLOADS, "AMB-ZTUNNEL", plane=AMBIENT)
def ztunnel_misplaced(observation: Observation) -> Iterator[Found]:
    """A ztunnel takes itself for one of another cluster or network.

    Its chart has values of its own, multiCluster.clusterName and network, which must be those of istiod's. With the
    name of another cluster istiod does not let it ask for its pods' certificates; with another network it takes pods
    beside it for strangers, and looks for a gateway.
    """
    for cluster, observed in read(observation, Subject.ZTUNNELS):
        for field, value, wanted in (
            ("multiCluster.clusterName", "cluster_id", cluster.cluster_name),
            ("network", "network", cluster.network),
        ):
            wrong = [each for each in observed.ztunnels if getattr(each, value) != wanted]
            if wrong:
                namespace = wrong[0].namespace
                yield Found(
                    cluster=cluster.name,
                    object=f"DaemonSet {namespace}/{expectations.ZTUNNEL}",
                    field=f"value {field}",
                    expected=wanted,
                    found=getattr(wrong[0], value) or "none",
                    repair=noted(
                        kubectl(observed, "-n", namespace, f"get daemonset {expectations.ZTUNNEL} -o yaml"),
                        f"set {field}={wanted} where ztunnel is installed from",
                    ),
                    change=f"Give ztunnel on {cluster.name} the value {field}={wanted}",
                    evidence=few(logged_by_control_planes(observation[cluster.primary])),
                )


@cause("ambient-off", Layer.WORKLOADS, "AMB-CAPTURE", plane=AMBIENT)
def ambient_off(observation: Observation) -> Iterator[Found]:
    """The sample namespace is not labelled for ambient.

    The traffic of its pods passes its node's ztunnel by: they have no identity, other networks do not reach them, and
    as clients they reach the pods of their own cluster only.
    """
    sample = observation.asked.sample_namespace
    for cluster, observed in read(observation, Subject.NAMESPACES, Subject.PODS):
        namespace = observed.namespace(sample)
        mode = namespace.labels.get(expectations.MODE_LABEL, "") if namespace else ""
        pods = [pod for pod in observed.pods_with(sample) if not pod.is_gateway]
        by_itself = observation.asked.mode == "verify-only" and all(map(expectations.is_captured, pods))
        if namespace is None or mode == "ambient" or by_itself:
            continue
        yield Found(
            cluster=cluster.name,
            object=f"Namespace {sample}",
            field=f"label {expectations.MODE_LABEL}",
            expected="ambient",
            found=mode or "none",
            repair=kubectl(observed, f"label namespace {sample} {expectations.MODE_LABEL}=ambient --overwrite"),
            evidence=few(_uncaptured(observation, cluster)),
        )


def _uncaptured(observation: Observation, cluster: Cluster) -> Iterator[str]:
    for pod in observation[cluster].pods_with(observation.asked.sample_namespace):
        if not expectations.in_mesh(pod):
            yield f"pod {pod.name}: annotation {expectations.REDIRECTION}: none"


@cause("pod-not-captured", Layer.WORKLOADS, "AMB-CAPTURE", effect=True, plane=AMBIENT)
def pod_not_captured(observation: Observation) -> Iterator[Found]:
    """A pod's traffic does not go through its node's ztunnel.

    Its namespace asks for it. The pod may ask for none itself (istio.io/dataplane-mode: none), use the host's network,
    or have started on a node whose CNI plugin did not take it up.
    """
    sample = observation.asked.sample_namespace
    for cluster, observed in read(observation, Subject.PODS):
        for pod in observed.pods_with(sample):
            if expectations.in_mesh(pod):
                continue
            asked = pod.labels.get(expectations.MODE_LABEL, "")
            name = next(
                (w.name for w in observed.workloads if w.namespace == sample and pod.name.startswith(f"{w.name}-")),
                pod.name,
            )
            yield Found(
                cluster=cluster.name,
                object=f"Pod {sample}/{pod.name}",
                field=f"annotation {expectations.REDIRECTION}",
                expected="enabled",
                found=f"none ({expectations.MODE_LABEL}: {asked})" if asked else "none",
                repair=noted(
                    kubectl(observed, "-n", sample, f"rollout restart deployment/{name}"),
                    f"after taking {expectations.MODE_LABEL} out of its pod template" if asked else "made again",
                ),
                change=f"Take {expectations.MODE_LABEL}: {asked} out of the pod template of {name}"
                if asked
                else f"Create {pod.name} again, through what declares it",
                evidence=few(events(observed, f"Pod/{pod.name}")),
            )


@cause("service-not-global", Layer.POLICIES, "AMB-SCOPE", "AMB-VIEW", breaks=Layer.ENDPOINTS, plane=AMBIENT)
def service_not_global(observation: Observation) -> Iterator[Found]:
    """The service that is called across clusters is local on one of them.

    Where a Service is not global, istiod hands out none of its endpoints to other clusters, and to its own cluster none
    of theirs. What makes it global is the label istio.io/global=true, or what serviceScopeConfigs select.
    """
    asked, said = observation.asked, set[str]()
    for primary in observation.topology.primaries:
        for cluster, observed in read(observation, Subject.SERVICES, Subject.NAMESPACES):
            service = requested.found(observed, asked)
            if service is None or not observation[primary].was_read(Subject.MESH_CONFIG):
                continue
            scope = scopes.scope(observation, observation[primary], observed, service)
            if scope.is_global or cluster.name in said:
                continue
            if _has_no_scopes(observation, primary):
                if primary.name not in said:
                    said.add(primary.name)
                    yield _no_scopes(observation, primary)
                continue
            said.add(cluster.name)
            label = f"{expectations.GLOBAL_LABEL}=true"
            yield Found(
                cluster=cluster.name,
                object=f"Service {service.namespace}/{service.name}",
                field=f"label {expectations.GLOBAL_LABEL}",
                expected="true, or what serviceScopeConfigs select",
                found=service.labels.get(expectations.GLOBAL_LABEL) or "none",
                repair=kubectl(observed, "-n", service.namespace, f"label service {service.name} {label} --overwrite"),
                change=f"Label Service {service.namespace}/{service.name} on {cluster.name} with {label}",
                evidence=few(known_endpoints(observation)),
            )


def _has_no_scopes(observation: Observation, primary: Cluster) -> bool:
    return not mesh_of(observation, observation[primary]).get("serviceScopeConfigs")


def _no_scopes(observation: Observation, primary: Cluster) -> Found:
    note = "serviceScopeConfigs: one of scope GLOBAL that selects the label istio.io/global=true, as in profile ambient"
    return Found(
        cluster=primary.name,
        object=f"ConfigMap {observation.asked.system_namespace}/istio",
        field="mesh serviceScopeConfigs",
        expected="one of scope GLOBAL that selects the service",
        found="none",
        repair=edit_mesh_config(observation, primary, note),
        evidence=few(known_endpoints(observation)),
    )
