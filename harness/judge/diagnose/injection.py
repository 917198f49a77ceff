"""Causes in the injection webhook."""

import re
from collections.abc import Iterator

from harness.judge.diagnose.ca_secret import istiod_says
from harness.judge.diagnose.facts import events, few, read, readiness
from harness.judge.diagnose.graph import Layer
from harness.judge.diagnose.refused_pods import is_known, refusals
from harness.judge.diagnose.registry import Found, cause
from harness.judge.diagnose.repair import install, kubectl, noted, patch, readdress, restart_control_plane
from harness.model import admission, certificate_paths, expectations, revisions
from harness.model.cluster import ClusterObservation, InjectionWebhook, Subject, WebhookRule
from harness.model.data_plane import DataPlane
from harness.model.observation import Observation
from harness.model.topology import Cluster

_FAILED_WEBHOOK = re.compile(r'failed calling webhook "([^"]+)"')


@cause("webhook-not-serving", Layer.CONTROL_PLANE, "CP-INJECTION-WEBHOOK", plane=DataPlane.SIDECAR)
def webhook_not_serving(observation: Observation) -> Iterator[Found]:
    """The Service behind the injection webhook leads to no control plane.

    Its selector matches no ready pod, or it has no endpoint, although the control plane runs. Pods are then refused
    ("no endpoints available for service") or let through without a sidecar, as the webhook's failurePolicy says.
    """
    topology = observation.topology
    for cluster, observed in read(observation, Subject.SERVICES, Subject.WEBHOOKS, among=topology.every):
        primary = topology.hosted_by(cluster) if cluster in topology.hosts else topology[cluster.primary]
        running = revisions.workloads(observation, primary, expectations.istiod_workloads(observation[primary]))
        if not any(workload.available for workload in running):
            continue
        for namespace, name in _behind_webhooks(observation, cluster):
            service = observed.service(namespace, name)
            if service is not None and service.ready_endpoints:
                continue
            selector = ", ".join(f"{key}={value}" for key, value in service.selector.items()) if service else ""
            dry_run = observed.dry_run.error if observed.dry_run else ""
            yield Found(
                cluster=cluster.name,
                felt_at=primary.name if cluster in topology.hosts else "",
                object=f"Service {namespace}/{name}",
                field="ready endpoints",
                expected="those of istiod" if cluster.runs_control_plane else "the primary's gateway",
                found=f"none (selector {selector or 'empty'})" if service else "no such Service",
                repair=_lead(observation, cluster, namespace, name),
                evidence=few([f"dry run: {dry_run}" if dry_run else ""], events(observed, f"Service/{name}")),
            )


def _behind_webhooks(observation: Observation, cluster: Cluster) -> list[tuple[str, str]]:
    """The Services by which a cluster's webhooks are served; outside of the mesh that of the control plane itself."""
    if cluster in observation.topology.hosts:
        return [(observation.asked.system_namespace, "istiod")]
    return sorted(set(_webhook_services(observation, observation[cluster])))


def _lead(observation: Observation, cluster: Cluster, namespace: str, name: str) -> str:
    """Let the webhook's Service lead to the control plane again."""
    observed = observation[cluster]
    service = observed.service(namespace, name)
    if not cluster.runs_control_plane:
        return readdress(observation, cluster)
    if service is None:
        resource = expectations.istio_resource(observed)
        again = noted(kubectl(observed, f"describe istio/{resource.name}"), "the operator makes it") if resource else ""
        return again or install(observation, cluster)
    # A merge takes away only what is set to nothing: what no pod of istiod bears must go.
    labels = next((pod.labels for pod in expectations.istiod_pods(observed, namespace)), {"app": "istiod"})
    wrong = {key: None for key, value in service.selector.items() if labels.get(key) != value}
    change = {"spec": {"selector": {**wrong, "app": "istiod"}}}
    return patch(observed, f"service/{name}", change, namespace=namespace)


def _webhook_services(observation: Observation, observed: ClusterObservation) -> Iterator[tuple[str, str]]:
    revision = revisions.revision(observation, observed)
    for webhook in observed.webhooks:
        for rule in webhook.webhooks if revision in {webhook.revision, webhook.tag} else ():
            if rule.service:
                namespace, _, name = rule.service.partition(":")[0].partition("/")
                yield namespace, name


@cause("webhook-missing", Layer.CONTROL_PLANE, "CP-INJECTION-WEBHOOK", effect=True, plane=DataPlane.SIDECAR)
def webhook_missing(observation: Observation) -> Iterator[Found]:
    """There is no injection webhook for the revision in use.

    Nothing asks istiod to inject: pods start without sidecars. On a mesh of others that has webhooks of other
    revisions the label that asks for this one is named: after a canary upgrade it is easily forgotten.
    """
    for cluster, observed in read(observation, Subject.WEBHOOKS):
        revision = revisions.revision(observation, observed)
        if not any(revision in {webhook.revision, webhook.tag} for webhook in observed.webhooks):
            known = _injecting(observed)
            if known and observation.asked.mode == "verify-only":
                # The webhook that is there serves others: what asks for another revision is to be changed, not it.
                yield _asks_for_none(observed, observation.asked.sample_namespace, revision, known)
                continue
            yield Found(
                cluster=cluster.name,
                object="MutatingWebhookConfiguration istio-sidecar-injector",
                field="revision",
                expected=revision,
                found=", ".join(webhook.revision for webhook in observed.webhooks) or "no such webhook",
                repair=noted(kubectl(observed, "describe istio,istiorevision"), "the operator makes the webhook")
                if expectations.istio_resource(observed)
                else install(observation, cluster),
            )


def _injecting(observed: ClusterObservation) -> tuple[str, ...]:
    """The revisions and tags for which an injection webhook leads somewhere."""
    living = (
        each for each in observed.webhooks if not any(admission.why_dead(observed, rule) for rule in each.webhooks)
    )
    return tuple(sorted({name for each in living for name in (each.revision, each.tag) if name}))


def _asks_for_none(observed: ClusterObservation, sample: str, revision: str, known: tuple[str, ...]) -> Found:
    """A namespace or workload asks for a revision that nothing injects for, though something does for others."""
    labels, what = revisions.labels_of(observed, sample), f"Namespace {sample}"
    label = revisions.INJECTION_LABEL if revisions.INJECTION_LABEL in labels else revisions.REVISION_LABEL
    if label not in labels:
        asking = (each for each in observed.workloads if each.namespace == sample and label in each.pod_labels)
        what = next((f"{each.kind} {each.namespace}/{each.name}" for each in asking), what)
    return Found(
        cluster=observed.name,
        object=what,
        field=f"label {label}",
        expected=f"{revisions.REVISION_LABEL} of a revision or tag that injects here: {', '.join(known)}",
        found=f"{labels.get(label, revision)}: revision {revision} has no injection webhook",
        repair=kubectl(observed, f"get namespace {sample} --show-labels"),
        change=f"Let {what} on {observed.name} ask for a revision or tag that is there "
        f"({revisions.REVISION_LABEL}: {', '.join(known)}) and restart its pods, or install revision {revision} again",
    )


@cause("webhook-untrusted", Layer.CONTROL_PLANE, "CP-INJECTION-WEBHOOK", effect=True, plane=DataPlane.SIDECAR)
def webhook_untrusted(observation: Observation) -> Iterator[Found]:
    """The injection webhook does not trust the control plane it calls.

    Its caBundle is empty or of another root, so the API server refuses istiod's certificate. istiod keeps the bundle
    right on its own cluster, and on remotes that are annotated with its cluster and whose API server it reaches.
    """
    for cluster, observed in read(observation, Subject.WEBHOOKS):
        planes = observation[cluster.primary].control_planes
        chain = next((plane.serving_chain for plane in planes if plane.serving_chain), ())
        for webhook in observed.webhooks:
            if revisions.revision(observation, cluster) not in {webhook.revision, webhook.tag}:
                continue
            for rule in webhook.webhooks:
                reason = "empty" if not rule.ca_bundle else None
                if rule.ca_bundle and chain:
                    reason = certificate_paths.validates(chain, rule.ca_bundle, observation.observed)
                if reason is None:
                    continue
                yield Found(
                    cluster=cluster.name,
                    object=f"MutatingWebhookConfiguration {webhook.name}",
                    field=f"caBundle of {rule.name}",
                    expected="validates istiod's certificate",
                    found=reason,
                    repair=noted(
                        restart_control_plane(observation, cluster),
                        "istiod writes the bundle where it reaches the API server",
                    ),
                    evidence=few(readiness(observed), istiod_says(observation[cluster.primary])),
                )
                break


@cause("injector-left", Layer.CONTROL_PLANE, "CP-INJECTION-WEBHOOK", "GW-AVAILABLE")
def injector_left(observation: Observation) -> Iterator[Found]:
    """An injection webhook is left of a control plane that is gone.

    It selects the sample's pods, or others that are missing now, as a gateway's. Its failurePolicy is Fail and the
    Service that it calls is gone or has no endpoint: the API server refuses every such pod, although the control plane
    in use is as it should be.
    """
    for cluster, observed in read(observation, Subject.WEBHOOKS, Subject.SERVICES):
        used = revisions.revision(observation, cluster)
        sample = observation.asked.sample_namespace
        labels = revisions.labels_of(observed, sample), revisions.pod_labels(observed, sample)
        found = {webhook.name: (webhook, rule) for webhook, rule in admission.dead_injection(observed, *labels)}
        for webhook, rule in admission.refusing_injection(observed, "\n".join(refusals(observed))):
            found.setdefault(webhook.name, (webhook, rule))
        for webhook, rule in found.values():
            if used not in {webhook.revision, webhook.tag}:
                yield _left(observed, "MutatingWebhookConfiguration", webhook, rule)


@cause("validator-left", Layer.CONTROL_PLANE, "CP-INJECTION-WEBHOOK", breaks=None, plane=DataPlane.SIDECAR)
def validator_left(observation: Observation) -> Iterator[Found]:
    """A validating webhook is left of a control plane that is gone.

    Its failurePolicy is Fail and the Service that it calls is gone or has no endpoint: the API server refuses every
    change of Istio's configuration. What is configured already goes on working.
    """
    for _, observed in read(observation, Subject.WEBHOOKS, Subject.SERVICES):
        for webhook, rule in admission.dead_validation(observed):
            yield _left(observed, "ValidatingWebhookConfiguration", webhook, rule)


def _left(observed: ClusterObservation, kind: str, webhook: InjectionWebhook, rule: WebhookRule) -> Found:
    """A webhook that leads nowhere; who installed it must remove it, so it is only looked at."""
    said = observed.dry_run.error if observed.dry_run else ""
    refused = [line for line in refusals(observed) if f'"{rule.name}"' in line]
    return Found(
        cluster=observed.name,
        object=f"{kind} {webhook.name}",
        field=f"Service of {rule.name} (revision {webhook.revision})",
        expected="a control plane that runs",
        found=f"{admission.why_dead(observed, rule, ' '.join(refused))}, failurePolicy Fail",
        repair=noted(
            kubectl(observed, f"get {kind.lower()} {webhook.name} -o yaml"),
            f"remove it with what installed revision {webhook.revision}, or bring that control plane back",
        ),
        evidence=few([f"dry run: {said}" if said else ""], refused),
    )


@cause("injection-refused", Layer.CONTROL_PLANE, "CP-INJECTION-WEBHOOK", effect=True, plane=DataPlane.SIDECAR)
def injection_refused(observation: Observation) -> Iterator[Found]:
    """A pod is not injected.

    A dry-run pod in the sample namespace came back without a sidecar or was refused, although the webhook, its Service
    and the control plane behind it are as they should be.
    """
    for cluster, observed in read(observation, Subject.DRY_RUN):
        if observed.dry_run is None or observed.dry_run.injected:
            continue
        sample = observation.asked.sample_namespace
        if is_known(observed, observed.dry_run.error, sample):
            continue
        named = _FAILED_WEBHOOK.search(observed.dry_run.error)
        yield Found(
            cluster=cluster.name,
            object=f"admission webhook {named[1]}" if named else f"dry-run pod in {sample}",
            field="injection",
            expected="injected",
            found=observed.dry_run.error or "came back without a sidecar",
            repair=noted(
                kubectl(observed, "-n", sample, "run injected --image=none --dry-run=server -o name"),
                "stores nothing; mend what it says",
            ),
            evidence=few(
                readiness(observed), events(observed, "ReplicaSet/"), istiod_says(observation[cluster.primary])
            ),
        )
