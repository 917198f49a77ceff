"""Ambient: ztunnels where they are needed, pods in the mesh, and services known on every cluster."""

from harness.judge.evidence import Evidence
from harness.judge.judgement import Level
from harness.judge.requirement import requirement
from harness.model import captured, clients, expectations, requested, scopes
from harness.model.cluster import ClusterObservation, Pod, Subject
from harness.model.mesh_features import MeshFeature
from harness.model.observation import Observation
from harness.model.starting_pods import only_starting
from harness.model.topology import Cluster
from harness.model.ztunnel import Ztunnel

AREA = "ambient"
AMBIENT = (MeshFeature.AMBIENT,)
WITH_SAMPLE = (MeshFeature.AMBIENT, MeshFeature.SAMPLE)


@requirement("AMB-ZTUNNEL", Level.MUST, area=AREA, needs=AMBIENT)
def test_amb_ztunnel(observation: Observation, evidence: Evidence) -> None:
    """A ready ztunnel runs on every schedulable node, and is of its cluster and network.

    It carries the traffic of every pod of the mesh on its node; on a node without one such a pod does not start. One
    that was given the name of another cluster is not served, and one of another network sends to addresses that nothing
    routes. Examined are the pods with the label app=ztunnel, in whatever namespace, and what each says of itself. Under
    verify-only a node that has none is reported where no pod of the sample runs on it.

    Source: Istio, "Ambient mode architecture", ztunnel; its chart, multiCluster.clusterName and network.
    """
    for cluster, observed in evidence.readable(observation, Subject.NODES, Subject.PODS, Subject.ZTUNNELS):
        pods = captured.ztunnel_pods(observation, cluster)
        covered = {pod.node for pod in pods if pod.ready}
        bare = sorted(node.name for node in observed.nodes if node.schedulable and node.name not in covered)
        if observation.asked.mode == "verify-only":
            needing = {pod.node for pod in observed.lasting_pods if pod.namespace in observation.asked.namespaces}
            for name in (name for name in bare if name not in needing):
                evidence.fact(f"{cluster.name}: node {name} has no ztunnel, and no pod of the sample that needs it")
            bare = [name for name in bare if name in needing]
        starting = {pod.node for pod in pods if only_starting([pod])}
        evidence.expect(
            bool(covered) and not bare,
            waited=bool(bare) and starting.issuperset(bare),
            cluster=cluster,
            object=f"DaemonSet {expectations.ZTUNNEL}",
            field="nodes with a ready pod",
            expected="every schedulable node",
            found=f"none on {', '.join(bare)}" if bare else ", ".join(sorted(covered)) or "none",
        )
        for ztunnel in observed.ztunnels:
            _judge_place(evidence, cluster, ztunnel)


def _judge_place(evidence: Evidence, cluster: Cluster, ztunnel: Ztunnel) -> None:
    wanted = {"cluster id": cluster.cluster_name, "network": cluster.network}
    found = {"cluster id": ztunnel.cluster_id, "network": ztunnel.network}
    for field, value in wanted.items():
        evidence.expect(
            found[field] == value,
            cluster=cluster,
            object=f"Pod {ztunnel.namespace}/{ztunnel.pod}",
            field=field,
            expected=value,
            found=found[field] or "none",
        )


@requirement("AMB-CAPTURE", Level.MUST, area=AREA, needs=WITH_SAMPLE)
def test_amb_capture(observation: Observation, evidence: Evidence) -> None:
    """The sample namespace is labelled for ambient, and every pod's traffic goes through its node's ztunnel.

    A pod that is not captured has no identity in the mesh, and as a client it reaches the pods of its own cluster only.
    The label asks for it, the annotation that Istio's CNI plugin puts on the pod says that it was done. Under
    verify-only pods may ask for it themselves: there the namespace's label is reported, and each pod of helloworld and
    of the client must be captured.

    Source: Istio, "Add workloads to an ambient mesh"; annotation ambient.istio.io/redirection.
    """
    asked = observation.asked
    for cluster, observed in evidence.readable(observation, Subject.NAMESPACES, Subject.PODS):
        namespace = observed.namespace(asked.sample_namespace)
        mode = namespace.labels.get(expectations.MODE_LABEL, "none") if namespace else "no such namespace"
        if asked.mode == "verify-only":
            evidence.fact(f"{cluster.name}: Namespace {asked.sample_namespace} {expectations.MODE_LABEL}: {mode}")
        else:
            evidence.expect(
                mode == "ambient",
                cluster=cluster,
                object=f"Namespace {asked.sample_namespace}",
                field=f"label {expectations.MODE_LABEL}",
                expected="ambient",
                found=mode,
            )
        pods = _meant(observation, observed)
        if not pods:
            evidence.blocked("WL-PLACED", f"no pod runs in {asked.sample_namespace} on {cluster.name}")
        for pod in pods:
            evidence.expect(
                expectations.is_captured(pod),
                waited=only_starting([pod]),
                cluster=cluster,
                object=f"Pod {pod.namespace}/{pod.name}",
                field=f"annotation {expectations.REDIRECTION}",
                expected="enabled",
                found=pod.annotations.get(expectations.REDIRECTION, "none"),
            )


def _meant(observation: Observation, observed: ClusterObservation) -> tuple[Pod, ...]:
    """The pods that must be captured: none that is a gateway or a waypoint; on a mesh of others the sample's own."""
    asked = observation.asked
    pods = tuple(pod for pod in observed.pods_with(asked.sample_namespace) if not pod.is_gateway)
    if asked.mode == "install":
        return pods
    own = {expectations.HELLOWORLD, clients.client_app(observed, asked)}
    return tuple(pod for pod in pods if clients.app(pod) in own)


@requirement("AMB-SCOPE", Level.MUST, area=AREA, needs=(MeshFeature.AMBIENT, MeshFeature.TRAFFIC))
def test_amb_scope(observation: Observation, evidence: Evidence) -> None:
    """The service that is called across clusters is global on every cluster, in every control plane's eyes.

    Without that istiod gives ztunnels the endpoints of their own cluster only, and every request is answered at home.
    Profile ambient takes a Service for global that has the label istio.io/global=true; serviceScopeConfigs of the mesh
    configuration may select others, by the labels of Services and of namespaces. Examined is helloworld, or the service
    of --service, wherever it has pods.

    Source: Istio, "Global Mesh Options", serviceScopeConfigs; pilot, ambient's services.
    """
    asked = observation.asked
    named = requested.service(asked)
    for primary, planes in evidence.readable(observation, Subject.MESH_CONFIG, among=observation.topology.primaries):
        for cluster, observed in evidence.readable(observation, Subject.SERVICES, Subject.NAMESPACES):
            service = requested.found(observed, asked)
            if service is None:
                _without_service(observation, evidence, cluster)
                continue
            scope = scopes.scope(observation, planes, observed, service)
            evidence.expect(
                scope.is_global,
                cluster=cluster,
                object=f"Service {named.namespace}/{named.name}",
                field=f"scope to istiod of {primary.name}",
                expected="global",
                found="global" if scope.is_global else f"local: {scope.reason}",
            )


def _without_service(observation: Observation, evidence: Evidence, cluster: Cluster) -> None:
    named = requested.service(observation.asked)
    what = f"{cluster.name} has no Service {named.namespace}/{named.name}"
    if observation.asked.service:
        evidence.fact(what)
    else:
        evidence.blocked("WL-PLACED", what)
