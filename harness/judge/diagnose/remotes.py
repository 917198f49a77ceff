"""Causes in how a remote cluster is tied to its primary."""

from collections.abc import Iterator
from urllib.parse import urlsplit

from harness.judge.diagnose.facts import few, read, readiness, taken_name
from harness.judge.diagnose.graph import Layer
from harness.judge.diagnose.registry import Found, cause
from harness.judge.diagnose.repair import kubectl, patch, readdress, restart, set_value, steps
from harness.model import expectations, remote_addresses, remotes, revisions
from harness.model.cluster import ClusterObservation, Subject, Workload
from harness.model.observation import Observation

ANNOTATION = "topology.istio.io/controlPlaneClusters"


@cause("external-off", Layer.CONTROL_PLANE, "CP-EXTERNAL")
def external_off(observation: Observation) -> Iterator[Found]:
    """The primary is not configured to serve remotes.

    Without `externalIstiod` (EXTERNAL_ISTIOD) istiod neither patches remotes' webhooks nor hands its root out in their
    namespaces: a remote's pods are refused or find no root certificate.
    """
    system = observation.asked.system_namespace
    for cluster, observed in read(
        observation, Subject.PODS, among=expectations.serving_primaries(observation.topology)
    ):
        env = [
            (pod.name, container.env.get("EXTERNAL_ISTIOD", ""))
            for pod in revisions.pods(observation, cluster, expectations.istiod_pods(observed, system))
            if (container := pod.container("discovery"))
        ]
        wrong = [(pod, value) for pod, value in env if value.lower() != "true"]
        if wrong:
            yield Found(
                cluster=cluster.name,
                object=f"Deployment {system}/istiod",
                field="env EXTERNAL_ISTIOD",
                expected="true",
                found=wrong[0][1] or "not set",
                repair=set_value(observation, cluster, "global.externalIstiod", True),
            )


@cause("istiod-on-remote", Layer.CONTROL_PLANE, "CP-REMOTE-NO-ISTIOD")
def istiod_on_remote(observation: Observation) -> Iterator[Found]:
    """A remote has a control plane of its own.

    It injects and configures the remote's workloads without knowing the primary's policies: the mesh looks like
    primary-remote and is not.
    """
    for cluster, observed in read(observation, Subject.WORKLOADS, among=observation.topology.remotes):
        for workload in expectations.istiod_workloads(observed):
            if workload.desired:
                yield Found(
                    cluster=cluster.name,
                    object=f"Deployment {workload.namespace}/{workload.name}",
                    field="exists",
                    expected="no control plane on a remote",
                    found=f"{workload.ready} of {workload.desired} pods ready",
                    repair=steps(_demote(observed, workload), restart(observed, observation.asked.sample_namespace)),
                    change=f"Install {cluster.name} with the profile remote, so that {cluster.primary} serves it alone",
                )


def _demote(observed: ClusterObservation, workload: Workload) -> str:
    resource = expectations.istio_resource(observed)
    if resource and resource.spec.get("profile") != "remote":
        return patch(observed, f"istio/{resource.name}", {"spec": {"profile": "remote"}})
    return kubectl(observed, "-n", workload.namespace, f"scale deployment/{workload.name} --replicas=0")


@cause("injection-path", Layer.CONTROL_PLANE, "CP-REMOTE-PROFILE", "WL-INJECTED", "CP-IDENTITY", breaks=Layer.WORKLOADS)
def injection_path(observation: Observation) -> Iterator[Found]:
    """A remote's injection path names another cluster or network.

    The path tells the primary for whom it injects. Sidecars that are told another cluster's name are refused by istiod
    (it checks their token at that cluster's API server) or get the endpoints of another network.
    """
    for cluster, observed in read(observation, Subject.WEBHOOKS, among=observation.topology.served_elsewhere):
        wanted = f"/inject/cluster/{cluster.cluster_name}/net/{cluster.network}"
        rules = [(webhook.name, rule) for webhook in observed.webhooks for rule in webhook.webhooks]
        wrong = next(((name, rule) for name, rule in rules if not remotes.path_fits(observation, cluster, rule)), None)
        if wrong is None or taken_name(observation, cluster):
            continue
        field, then = "istiodRemote.injectionPath", restart(observed, observation.asked.sample_namespace)
        yield Found(
            cluster=cluster.name,
            object=f"MutatingWebhookConfiguration {wrong[0]}",
            field=f"path (values.{field})",
            expected=wanted,
            found=wrong[1].path or urlsplit(wrong[1].url).path or "none",
            repair=set_value(observation, cluster, field, wanted, then),
        )


@cause("discovery-address", Layer.CONTROL_PLANE, "CP-REMOTE-PROFILE")
def discovery_address(observation: Observation) -> Iterator[Found]:
    """A remote has a wrong address of its control plane.

    remotePilotAddress is none of the addresses at which the primary's istiod is reached. Its webhook calls nobody, and
    its proxies find no control plane. The address is fixed when the remote is installed: where it was right then, the
    gateway's Service has been created again since, and the load balancer gave it another.
    """
    among = observation.topology.served_elsewhere
    for cluster, observed in read(observation, Subject.WEBHOOKS, Subject.SERVICES, among=among):
        present = remote_addresses.present(observation, observation.topology[cluster.primary])
        wrong = [each for each in remote_addresses.used(observation, observed) if each.address not in present]
        if not present or not wrong or remotes.is_served(observation, cluster):
            continue
        first, *others = wrong
        handed_out = any(first.address in step.detail.replace(",", " ").split() for step in observation.steps)
        yield Found(
            cluster=cluster.name,
            object=first.object,
            field=first.field,
            expected=f"{' or '.join(present)}, the gateway of {observation.topology.control_plane_of(cluster).name}",
            found=f"{first.address}, which it was before" if handed_out else first.address,
            repair=readdress(observation, cluster),
            evidence=few(f"{each.object} {each.field}: {each.address}" for each in others),
            title="A remote uses an address that its primary's gateway had before" if handed_out else "",
        )


@cause("control-plane-clusters", Layer.CONTROL_PLANE, "CP-CONTROL-PLANE-CLUSTERS")
def control_plane_clusters(observation: Observation) -> Iterator[Found]:
    """A remote's system namespace does not name its primary.

    istiod serves a remote's namespace only where this annotation names its cluster: without it neither the webhook's
    caBundle nor the root certificate in the remote's namespaces is kept.
    """
    for cluster, observed in read(observation, Subject.NAMESPACES, among=observation.topology.remotes):
        system = observation.asked.system_namespace
        namespace = observed.namespace(system)
        value = namespace.annotations.get(ANNOTATION, "") if namespace else ""
        wanted = observation.topology[cluster.primary].cluster_name
        if not {name.strip() for name in value.split(",")} & {wanted, "*"}:
            yield Found(
                cluster=cluster.name,
                object=f"Namespace {system}",
                field=f"annotation {ANNOTATION}",
                expected=wanted,
                found=value or "none",
                repair=kubectl(observed, f"annotate namespace {system} {ANNOTATION}={wanted} --overwrite"),
                evidence=few(readiness(observed)),
            )
