"""Causes in the control plane, its identity, and the injection webhook."""

from collections.abc import Iterator

from harness import expected, x509
from harness.diagnose.facts import (
    events,
    few,
    kubectl,
    mesh,
    read,
    readiness,
    restart,
    short,
    taken_name,
    trouble,
    values,
)
from harness.diagnose.graph import Layer
from harness.diagnose.registry import Found, cause
from harness.model.cluster import ClusterObservation, Subject
from harness.model.observation import Observation
from harness.topology import Cluster


@cause("control-plane-down", Layer.CONTROL_PLANE, "CP-READY", effect=True)
def control_plane_down(observation: Observation) -> Iterator[Found]:
    """No control plane runs on a primary.

    istiod's Deployment is missing or none of its pods is ready. Nothing is injected or configured; proxies that run go
    on with what they have, for as long as their certificates last.
    """
    for cluster, observed in read(observation, Subject.WORKLOADS, Subject.PODS, among=observation.topology.primaries):
        deployments = expected.istiod_workloads(observed)
        if any(deployment.available for deployment in deployments):
            continue
        system = observation.asked.system_namespace
        deployment = next(iter(deployments), None)
        pods = expected.istiod_pods(observed, deployment.namespace if deployment else None)
        evidence = trouble(observed, deployment, pods)
        logs = (f"log {plane.pod}: {line}" for plane in observed.control_planes for line in plane.log_lines[-2:])
        scaled = deployment is not None and deployment.desired == 0
        missing = "scaled to 0" if scaled else "no such Deployment" if deployment is None else "not Available"
        name = deployment.name if deployment else "istiod"
        images = ", ".join(deployment.images) if deployment else ""
        act = f"scale deployment/{name} --replicas=1" if scaled else f"describe pods -l app=istiod; image: {images}"
        yield Found(
            cluster=cluster.name,
            object=f"Deployment {deployment.namespace if deployment else system}/{name}",
            field="condition Available",
            expected="True",
            found=short(evidence, missing),
            repair=kubectl(observed, "-n", system, act),
            evidence=few(evidence, logs),
        )


@cause("istio-not-ready", Layer.CONTROL_PLANE, "CP-READY", effect=True, fallback=True)
def istio_not_ready(observation: Observation) -> Iterator[Found]:
    """The operator does not report the Istio resource Ready.

    Reason and message of its conditions say why; on a remote the reason behind RemoteIstiodNotReady is in annotations
    of the injection webhook (sailoperator.io/readinessProbe.*), which the operator calls to find out.
    """
    for cluster, observed in read(observation, Subject.SAIL):
        for resource in observed.sail:
            ready = next((condition for condition in resource.conditions if condition.type == "Ready"), None)
            if resource.kind != "Istio" or (ready is not None and ready.status == "True"):
                continue
            said = [f"{c.type}={c.status} {c.reason}: {c.message}" for c in resource.conditions if c.status != "True"]
            yield Found(
                cluster=cluster.name,
                object=f"{resource.kind} {resource.name}",
                field="condition Ready",
                expected="True",
                found=f"{ready.status} {ready.reason}: {ready.message}" if ready else "no condition Ready",
                repair=kubectl(observed, f"get istio/{resource.name} -o yaml") + " and mend what its conditions name",
                evidence=few(readiness(observed), said),
            )


@cause("version-mixed", Layer.CONTROL_PLANE, "CP-VERSION", breaks=None)
def version_mixed(observation: Observation) -> Iterator[Found]:
    """A proxy or a control plane runs another version.

    It was not restarted after an upgrade, or was made with another revision or image.
    """
    wanted = observation.asked.istio_version.removeprefix("v").removesuffix("-latest")
    for cluster, observed in read(observation, Subject.CONTROL_PLANE, Subject.PROXIES):
        system = observation.asked.system_namespace
        found = [(system, plane.pod, plane.version) for plane in observed.control_planes]
        found += [(proxy.namespace, proxy.pod, proxy.version) for proxy in observed.proxies]
        for namespace, pod, version in found:
            wanted = wanted or version
            if version and not (version == wanted or version.startswith((f"{wanted}.", f"{wanted}-"))):
                yield Found(
                    cluster=cluster.name,
                    object=f"Pod {namespace}/{pod}",
                    field="Istio version",
                    expected=wanted,
                    found=version,
                    repair=kubectl(observed, "-n", namespace, f"delete pod {pod}"),
                )


@cause("trust-domains-differ", Layer.CONTROL_PLANE, "CP-IDENTITY", "CERT-WORKLOAD", "GW-DATAPATH", breaks=Layer.TRAFFIC)
def trust_domains_differ(observation: Observation) -> Iterator[Found]:
    """A control plane has another trust domain.

    Its workloads are called spiffe://OTHER/…, and the other clusters' proxies, who expect the mesh's trust domain in a
    peer's name, refuse them, unless the domain is listed among the aliases.
    """
    wanted = expected.trust_domain(observation)
    for cluster, observed in read(observation, Subject.MESH_CONFIG, among=observation.topology.primaries):
        if not mesh(observation, observed):
            continue
        seen = str(mesh(observation, observed).get("trustDomain") or "cluster.local")
        if seen != wanted:
            yield _misconfigured(observation, cluster, observed, "meshConfig.trustDomain", wanted, seen)


@cause("mesh-ids-differ", Layer.CONTROL_PLANE, "CP-IDENTITY", breaks=None)
def mesh_ids_differ(observation: Observation) -> Iterator[Found]:
    """A control plane has another mesh id.

    Mostly without a symptom: the id is a label of telemetry, and decides what counts as one's own mesh when meshes are
    federated.
    """
    primaries, install = observation.topology.primaries, observation.asked.mode == "install"
    wanted = observation.topology.mesh_id if install else ""
    for cluster, observed in read(observation, Subject.MESH_CONFIG, among=primaries):
        seen = str(values(observation, observed).get("meshID") or "")
        if seen and seen != (wanted := wanted or seen):
            yield _misconfigured(observation, cluster, observed, "global.meshID", wanted, seen)


@cause("cluster-names-equal", Layer.CONTROL_PLANE, "CP-IDENTITY", "CP-REMOTE-PROFILE", "RS-PRESENT", "RS-SYNCED")
def cluster_names_equal(observation: Observation) -> Iterator[Found]:
    """Two clusters have one name.

    istiod keeps endpoints, and checks the tokens of proxies, by cluster name: clusters of one name hide each other.
    """
    for cluster in observation.topology.clusters:
        if name := taken_name(observation, cluster):
            owner = next(other.name for other in observation.topology.clusters if other.cluster_name == name)
            field, seen = "global.multiCluster.clusterName", f"{name}, the name of {owner}"
            yield _misconfigured(observation, cluster, observation[cluster], field, cluster.cluster_name, seen)


def _misconfigured(observation: Observation, cluster: Cluster, observed: ClusterObservation, *texts: str) -> Found:
    field, wanted, seen = texts
    system = observation.asked.system_namespace
    resource = expected.istio_resource(observed)
    setting = f"--set values.{field}={wanted}" if field.startswith("global") else f"--set {field}={wanted}"
    act = (
        kubectl(observed, f"edit istio/{resource.name}") + f" and set spec.values.{field}={wanted}"
        if resource
        else f"istioctl --context {observed.context} install {setting} with the other settings as they were"
    )
    return Found(
        cluster=cluster.name,
        object=f"Istio {resource.name}" if resource else f"ConfigMap {system}/istio",
        field=field,
        expected=wanted,
        found=seen,
        repair=act
        + ", then "
        + restart(observed, system)
        + " && "
        + restart(observed, observation.asked.sample_namespace),
    )


@cause("webhook-not-serving", Layer.CONTROL_PLANE, "CP-INJECTION-WEBHOOK")
def webhook_not_serving(observation: Observation) -> Iterator[Found]:
    """The Service behind the injection webhook leads to no control plane.

    Its selector matches no ready pod, or it has no endpoint, although the control plane runs. Pods are then refused
    ("no endpoints available for service") or let through without a sidecar, as the webhook's failurePolicy says.
    """
    for cluster, observed in read(observation, Subject.SERVICES, Subject.WEBHOOKS):
        if not any(w.available for w in expected.istiod_workloads(observation[cluster.primary])):
            continue
        for namespace, name in sorted(set(_webhook_services(observation, observed))):
            service = observed.service(namespace, name)
            if service is not None and service.ready_endpoints:
                continue
            selector = ", ".join(f"{key}={value}" for key, value in service.selector.items()) if service else ""
            dry_run = observed.dry_run.error if observed.dry_run else ""
            patch = f'patch service {name} -p \'{{"spec":{{"selector":{{"app":"istiod"}}}}}}\''
            yield Found(
                cluster=cluster.name,
                object=f"Service {namespace}/{name}",
                field="ready endpoints",
                expected="those of istiod" if cluster.is_primary else "the primary's gateway",
                found=f"none (selector {selector or 'empty'})" if service else "no such Service",
                repair=kubectl(observed, "-n", namespace, patch)
                if cluster.is_primary
                else kubectl(
                    observed, "-n", namespace, f"get endpointslices -l kubernetes.io/service-name={name} -o yaml"
                ),
                evidence=few([f"dry run: {dry_run}" if dry_run else ""], events(observed, f"Service/{name}")),
            )


def _webhook_services(observation: Observation, observed: ClusterObservation) -> Iterator[tuple[str, str]]:
    revision = observation.asked.revision
    for webhook in observed.webhooks:
        for rule in webhook.webhooks if revision in {webhook.revision, webhook.tag} else ():
            if rule.service:
                namespace, _, name = rule.service.partition(":")[0].partition("/")
                yield namespace, name


@cause("webhook-missing", Layer.CONTROL_PLANE, "CP-INJECTION-WEBHOOK", effect=True)
def webhook_missing(observation: Observation) -> Iterator[Found]:
    """There is no injection webhook for the revision in use.

    Nothing asks istiod to inject: pods start without sidecars.
    """
    for cluster, observed in read(observation, Subject.WEBHOOKS):
        revision = observation.asked.revision
        if not any(revision in {webhook.revision, webhook.tag} for webhook in observed.webhooks):
            yield Found(
                cluster=cluster.name,
                object="MutatingWebhookConfiguration istio-sidecar-injector",
                field="revision",
                expected=revision,
                found=", ".join(webhook.revision for webhook in observed.webhooks) or "no such webhook",
                repair=f"istioctl --context {observed.context} install with the settings of this cluster",
            )


@cause("webhook-untrusted", Layer.CONTROL_PLANE, "CP-INJECTION-WEBHOOK", effect=True)
def webhook_untrusted(observation: Observation) -> Iterator[Found]:
    """The injection webhook does not trust the control plane it calls.

    Its caBundle is empty or of another root, so the API server refuses istiod's certificate. istiod keeps the bundle
    right on its own cluster, and on remotes that are annotated with its cluster and whose API server it reaches.
    """
    for cluster, observed in read(observation, Subject.WEBHOOKS):
        planes = observation[cluster.primary].control_planes
        chain = next((plane.serving_chain for plane in planes if plane.serving_chain), ())
        for webhook in observed.webhooks:
            if observation.asked.revision not in {webhook.revision, webhook.tag}:
                continue
            for rule in webhook.webhooks:
                reason = "empty" if not rule.ca_bundle else None
                if rule.ca_bundle and chain:
                    reason = x509.validates(chain, rule.ca_bundle, observation.observed)
                if reason is None:
                    continue
                yield Found(
                    cluster=cluster.name,
                    object=f"MutatingWebhookConfiguration {webhook.name}",
                    field=f"caBundle of {rule.name}",
                    expected="validates istiod's certificate",
                    found=reason,
                    repair=restart(
                        observation[cluster.primary], observation.asked.system_namespace, "deployment/istiod"
                    ),
                    evidence=few(readiness(observed)),
                )
                break


@cause("injection-refused", Layer.CONTROL_PLANE, "CP-INJECTION-WEBHOOK", effect=True)
def injection_refused(observation: Observation) -> Iterator[Found]:
    """A pod is not injected.

    A dry-run pod in the sample namespace came back without a sidecar or was refused, although the webhook, its Service
    and the control plane behind it are as they should be.
    """
    for cluster, observed in read(observation, Subject.DRY_RUN):
        if observed.dry_run is None or observed.dry_run.injected:
            continue
        sample = observation.asked.sample_namespace
        yield Found(
            cluster=cluster.name,
            object=f"dry-run pod in {sample}",
            field="injection",
            expected="injected",
            found=observed.dry_run.error or "came back without a sidecar",
            repair=kubectl(observed, f"label namespace {sample} istio-injection=enabled --overwrite"),
            evidence=few(events(observed, "ReplicaSet/")),
        )
