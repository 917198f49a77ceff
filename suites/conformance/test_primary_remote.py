"""Primary-remote: a primary that serves remotes, and remotes that leave everything to it."""

from urllib.parse import urlsplit

from harness.judge.evidence import Evidence
from harness.judge.judgement import Level
from harness.judge.requirement import requirement
from harness.model import expectations, remote_addresses, remotes, revisions
from harness.model.cluster import ClusterObservation, Subject
from harness.model.observation import Observation
from harness.model.topology import Cluster, Feature

AREA = "control plane"


@requirement("CP-EXTERNAL", Level.MUST, Feature.PRIMARY_REMOTE, area=AREA)
def test_cp_external(observation: Observation, evidence: Evidence) -> None:
    """The primary is configured to serve remote clusters.

    Without it istiod neither takes over the namespaces of remotes (root certificate, webhooks) nor leads for them.
    Examined is EXTERNAL_ISTIOD of the running istiod, and where that can't be seen `global.externalIstiod` in its
    values.

    Source: chapter, "externalIstiod: true (1)".
    """
    for cluster, observed in evidence.readable(
        observation, Subject.PODS, Subject.MESH_CONFIG, among=expectations.serving_primaries(observation.topology)
    ):
        pods = revisions.pods(observation, cluster, expectations.istiod_pods(observed))
        containers = [c for pod in pods for c in pod.containers if not c.init]
        running = {c.env["EXTERNAL_ISTIOD"] for c in containers if "EXTERNAL_ISTIOD" in c.env}
        config = expectations.mesh_config(observed, revisions.revision(observation, observed))
        value = ((config.values.get("global") or {}) if config else {}).get("externalIstiod")
        configured = str(value).lower() if value is not None else "not set"
        evidence.expect(
            running == {"true"} if running else configured == "true",
            cluster=cluster,
            object=f"istiod in {observation.asked.system_namespace}",
            field="EXTERNAL_ISTIOD" if running else "global.externalIstiod",
            expected="true",
            found=", ".join(sorted(running)) or configured,
        )


@requirement("CP-REMOTE-NO-ISTIOD", Level.MUST, Feature.PRIMARY_REMOTE, area=AREA)
def test_cp_remote_no_istiod(observation: Observation, evidence: Evidence) -> None:
    """No control plane runs on a remote cluster.

    One that does takes the proxies over without anyone noticing: the mesh looks like primary-remote and is not.
    Examined are Deployments and pods of istiod; the Service istiod is meant to be there, it leads to the primary.

    Source: chapter, "No control plane runs on any of the other clusters, called remote clusters".
    """
    for cluster, observed in evidence.readable(
        observation, Subject.WORKLOADS, Subject.PODS, among=observation.topology.remotes
    ):
        found = [f"Deployment {w.namespace}/{w.name}" for w in expectations.istiod_workloads(observed) if w.desired]
        found += [f"Pod {pod.namespace}/{pod.name}" for pod in expectations.istiod_pods(observed)]
        evidence.expect(
            not found,
            cluster=cluster,
            object="istiod",
            field="Deployments and pods",
            expected="none",
            found=", ".join(found) or "none",
        )


@requirement("CP-REMOTE-PROFILE", Level.MUST, Feature.PRIMARY_REMOTE, area=AREA)
def test_cp_remote_profile(observation: Observation, evidence: Evidence) -> None:
    """A remote asks its primary for injection and configuration, at the present address of the primary's gateway.

    The injection path tells the primary for which cluster and network it injects; with another one the sidecars join
    the wrong cluster. The address is fixed when the remote is installed: if the gateway's Service is created again it
    may get another, and the remote is cut off. With several gateways, addresses or host names each one that leads to
    the primary's 15012 is right. The config cluster of an external control plane is such a remote too. Examined are the
    path in the injection webhook; where there is an operator, profile and values of the resource `Istio`; and every
    address that the remote uses for its control plane: `remotePilotAddress`, the webhook's URL, the endpoints of the
    Service istiod. Under verify-only a path need not name the network, and addresses, profile and values are reported
    where a pod comes back injected and proxies of the remote are connected to the primary: its control plane may be
    reached by another gateway or name.

    Source: chapter, "Create an Istio resource on the West cluster", `profile: remote`.
    """
    for cluster, observed in evidence.readable(
        observation, Subject.WEBHOOKS, Subject.SERVICES, among=observation.topology.served_elsewhere
    ):
        path = f"/inject/cluster/{cluster.cluster_name}/net/{cluster.network}"
        _judge_resource(observation, evidence, cluster, observed, path)
        webhooks = expectations.injection_webhooks(observed, revisions.revision(observation, observed))
        rules = [(webhook, rule) for webhook in webhooks for rule in webhook.webhooks]
        if not rules:
            evidence.blocked("CP-INJECTION-WEBHOOK", f"{cluster.name} has no injection webhook")
        for webhook, rule in rules:
            found = rule.path or urlsplit(rule.url).path
            evidence.expect(
                remotes.path_fits(observation, cluster, rule),
                cluster=cluster,
                object=f"MutatingWebhookConfiguration {webhook.name}",
                field=f"injection path of {rule.name}",
                expected=path,
                found=found or "none",
            )
        _judge_address(observation, evidence, cluster, observed)


@requirement("CP-CONTROL-PLANE-CLUSTERS", Level.MUST, Feature.PRIMARY_REMOTE, area=AREA)
def test_cp_control_plane_clusters(observation: Observation, evidence: Evidence) -> None:
    """The system namespace of a remote is annotated with the primary that manages it.

    Only then does the primary's istiod patch the remote's webhook with its caBundle and hand out the root certificate
    there. `*` stands for every primary. Under verify-only a remote that is served all the same is reported: others may
    have given it the bundle and the root.

    Source: chapter, "Annotate the istio-system namespace", topology.istio.io/controlPlaneClusters.
    """
    for cluster, observed in evidence.readable(observation, Subject.NAMESPACES, among=observation.topology.remotes):
        system = observation.asked.system_namespace
        namespace = observed.namespace(system)
        value = namespace.annotations.get("topology.istio.io/controlPlaneClusters", "") if namespace else ""
        wanted = observation.topology[cluster.primary].cluster_name
        named = {name.strip() for name in value.split(",")}
        if not named & {wanted, "*"} and remotes.is_served(observation, cluster):
            evidence.fact(
                f"{cluster.name}: Namespace {system} names {value or 'no primary'}; {cluster.primary} serves it"
            )
            continue
        evidence.expect(
            bool(named & {wanted, "*"}),
            cluster=cluster,
            object=f"Namespace {system}",
            field="annotation topology.istio.io/controlPlaneClusters",
            expected=wanted,
            found=value or "none",
        )


def _judge_resource(
    observation: Observation, evidence: Evidence, cluster: Cluster, observed: ClusterObservation, path: str
) -> None:
    """Judge profile and injection path of the operator's resource, where there is an operator."""
    resource = expectations.istio_resource(observed)
    if resource is None:
        if observation.asked.installer == "sail":
            evidence.blocked("CP-READY", f"{cluster.name} has no Istio resource")
        return
    values = resource.spec.get("values") or {}
    injection_path = (values.get("istiodRemote") or {}).get("injectionPath")
    for field, wanted, found in (
        ("profile", "remote", resource.spec.get("profile")),
        ("values.istiodRemote.injectionPath", path, injection_path),
    ):
        evidence.expect(
            found == wanted or remotes.is_served(observation, cluster),
            cluster=cluster,
            object=f"Istio {resource.name}",
            field=field,
            expected=wanted,
            found=found or "none",
        )


def _judge_address(
    observation: Observation, evidence: Evidence, cluster: Cluster, observed: ClusterObservation
) -> None:
    present = remote_addresses.present(observation, observation.topology[cluster.primary])
    served = remotes.is_served(observation, cluster)
    if not present and not served:
        evidence.blocked("GW-ADDRESS", f"the gateway of {cluster.primary} has no address")
        return
    used = remote_addresses.used(observation, observed)
    if not used:
        evidence.expect(
            served,
            cluster=cluster,
            object=f"Service {observation.asked.system_namespace}/istiod",
            field="address of the control plane",
            expected=" or ".join(present),
            found="none",
        )
    for each in used:
        evidence.expect(
            each.address in present or served,
            cluster=cluster,
            object=each.object,
            field=f"{each.field}, address of the control plane",
            expected=" or ".join(present),
            found=each.address,
        )
