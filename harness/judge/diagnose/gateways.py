"""Causes in the east-west gateways' Deployments and pods."""

import json
from collections.abc import Iterator
from shlex import quote

from harness.judge.diagnose.facts import (
    IMAGE_REASONS,
    events,
    failed_steps,
    few,
    read,
    short,
    trouble,
    waiting,
)
from harness.judge.diagnose.graph import Layer
from harness.judge.diagnose.registry import Found, cause
from harness.judge.diagnose.repair import kubectl, manifest, noted, restart
from harness.model import expectations, gateways
from harness.model.cluster import ClusterObservation, Container, Pod, Subject, Workload
from harness.model.data_plane import DataPlane
from harness.model.observation import Observation
from harness.model.topology import Cluster, Role


def _pods(observation: Observation, observed: ClusterObservation) -> tuple[Pod, ...]:
    if services := gateways.services(observed):
        return tuple(pod for service in services for pod in gateways.pods(observed, service))
    return observed.pods_with(observation.asked.system_namespace, istio="eastwestgateway")


def named(observation: Observation, observed: ClusterObservation, kind: str) -> str:
    """Kind, namespace and name of the gateway's Service or Deployment."""
    found = expectations.gateway_service(observed) if kind == "Service" else expectations.gateway_workload(observed)
    default = f"{_namespace(observation, observation.topology[observed.name])}/{expectations.GATEWAY}"
    return f"{kind} {found.namespace}/{found.name}" if found else f"{kind} {default}"


def _namespace(observation: Observation, cluster: Cluster) -> str:
    """Where the suite puts a cluster's gateway."""
    outside = cluster.role is Role.EXTERNAL
    return gateways.OUTSIDE_NAMESPACE if outside else observation.asked.system_namespace


@cause("gateway-down", Layer.GATEWAYS, "GW-AVAILABLE")
def gateway_down(observation: Observation) -> Iterator[Found]:
    """The east-west gateway is missing or scaled to 0.

    Nothing answers at its address: other networks reach none of this cluster's services, and where it is a primary's
    its remotes reach no control plane.
    """
    for cluster, observed in read(observation, Subject.WORKLOADS, among=expectations.gateways(observation.topology)):
        deployment = expectations.gateway_workload(observed)
        if observation.asked.ambient and not observed.api_gateways:
            continue  # istiod makes it of a Gateway, and that is what is missing
        if deployment is None or deployment.desired == 0:
            scale = (
                kubectl(observed, "-n", deployment.namespace, f"scale deployment/{deployment.name} --replicas=1")
                if deployment
                else install(observation, cluster)
            )
            yield Found(
                cluster=cluster.name,
                object=named(observation, observed, "Deployment"),
                field="spec.replicas",
                expected="at least 1",
                found="0" if deployment else "no such Deployment",
                repair=scale,
                evidence=few(failed_steps(observation, cluster.name)),
            )


def install(observation: Observation, cluster: Cluster) -> str:
    """A command that creates the east-west gateway as the chapter does."""
    values = {"namespace": _namespace(observation, cluster), "network": cluster.network}
    return manifest(observation[cluster], "east-west-gateway-service", "east-west-gateway", **values)


@cause("gateway-image-pull", Layer.GATEWAYS, "GW-AVAILABLE")
def gateway_image_pull(observation: Observation) -> Iterator[Found]:
    """The gateway's image can't be pulled.

    With `image: auto` the API server sets imagePullPolicy to Always before injection puts the real image in, since
    "auto" has no tag. Nodes that were given the image beforehand, with no registry to ask, then never start the pod:
    ImagePullBackOff.
    """
    for _, observed in read(observation, Subject.PODS, among=expectations.gateways(observation.topology)):
        for pod in _pods(observation, observed):
            container = waiting(pod)
            if container is None or container.reason not in IMAGE_REASONS or _uninjected(container):
                continue
            yield _unpulled(observed, pod, container)
            break


def _unpulled(observed: ClusterObservation, pod: Pod, container: Container) -> Found:
    workload = expectations.gateway_workload(observed)
    name = workload.name if workload else expectations.GATEWAY
    seen = f"{container.reason}: {container.image}"
    always = container.pull_policy in {"Always", ""}  # "" where the observation is older than this field
    if always:
        field, wanted = "imagePullPolicy", "IfNotPresent, or an image that can be pulled"
        seen += f", imagePullPolicy {container.pull_policy}" if container.pull_policy else ""
        containers = [{"name": container.name, "imagePullPolicy": "IfNotPresent"}]
        change = json.dumps({"spec": {"template": {"spec": {"containers": containers}}}}, separators=(",", ":"))
        repair = noted(
            kubectl(observed, "-n", pod.namespace, f"patch deployment/{name} -p {quote(change)}"),
            f"where the nodes hold {container.image}; else let them pull it",
        )
    else:
        field, wanted = "image", "one that can be pulled, or that the nodes hold"
        repair = noted(
            kubectl(observed, "-n", pod.namespace, f"delete pod {pod.name}"),
            f"once the nodes can pull {container.image} (registry, pull secret), or hold it",
        )
    return Found(
        cluster=observed.name,
        object=f"Pod {pod.namespace}/{pod.name} container {container.name}",
        field=field,
        expected=wanted,
        found=seen,
        repair=repair,
        evidence=few([container.message], events(observed, f"Pod/{pod.name}")),
    )


def _uninjected(container: Container) -> bool:
    """Injection would have put a real image in."""
    return container.image.rpartition("/")[2].partition(":")[0] == "auto"


@cause("gateway-not-injected", Layer.GATEWAYS, "GW-AVAILABLE", effect=True, plane=DataPlane.SIDECAR)
def gateway_not_injected(observation: Observation) -> Iterator[Found]:
    """The gateway's pod was not injected.

    Its image is still called "auto", which no registry has. It was created while the injection webhook was not there;
    injection works now, and a new pod gets the real image.
    """
    for cluster, observed in read(observation, Subject.PODS, among=expectations.gateways(observation.topology)):
        pods = [pod for pod in _pods(observation, observed) if any(map(_uninjected, pod.containers))]
        workload = expectations.gateway_workload(observed)
        if pods and workload:
            yield Found(
                cluster=cluster.name,
                object=f"Pod {pods[0].namespace}/{pods[0].name} container {expectations.PROXY}",
                field="image",
                expected="the proxy's, by injection",
                found="auto",
                repair=restart(observed, workload.namespace, f"deployment/{workload.name}"),
                evidence=few(events(observed, f"Pod/{pods[0].name}"), failed_steps(observation, cluster.name)),
            )


@cause("gateway-unavailable", Layer.GATEWAYS, "GW-AVAILABLE", effect=True)
def gateway_unavailable(observation: Observation) -> Iterator[Found]:
    """The gateway's pods don't become ready.

    They can't be scheduled or started, or their proxy gets no configuration or certificate.
    """
    for cluster, observed in read(
        observation, Subject.WORKLOADS, Subject.PODS, among=expectations.gateways(observation.topology)
    ):
        deployment = expectations.gateway_workload(observed)
        if deployment is None or deployment.desired == 0 or deployment.available:
            continue
        pods = _pods(observation, observed)
        evidence = few(trouble(observed, deployment, pods), failed_steps(observation, cluster.name))
        yield Found(
            cluster=cluster.name,
            object=named(observation, observed, "Deployment"),
            field="condition Available",
            expected="True",
            found=short(evidence, f"{deployment.ready} of {deployment.desired} pods ready"),
            repair=noted(
                kubectl(observed, "-n", deployment.namespace, f"describe pods -l istio={_label(deployment)}"),
                "mend what the evidence names",
            ),
            evidence=evidence,
        )


def _label(deployment: Workload) -> str:
    return deployment.labels.get("istio", "eastwestgateway")
