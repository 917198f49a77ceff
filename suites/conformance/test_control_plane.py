"""Control planes: ready in time, of one version, with one identity, and injecting."""

from harness.judge.evidence import Evidence
from harness.judge.judgement import Level
from harness.judge.requirement import requirement
from harness.model import admission, certificate_paths, expectations, revisions
from harness.model.cluster import InjectionWebhook, Subject
from harness.model.mesh_features import MeshFeature
from harness.model.observation import Observation
from harness.model.step import WAIT_FOR_CONTROL_PLANE, Outcome, Phase, Step
from harness.model.topology import Cluster
from suites.conformance.common import condition_ready, running_control_planes
from suites.conformance.dry_run import injects, istiod_starts

AREA = "control plane"
READY_WITHIN = 180.0
"""Seconds: the chapter's `--timeout=3m`."""


@requirement("CP-READY", Level.MUST, area=AREA)
def test_cp_ready(observation: Observation, evidence: Evidence) -> None:
    """The control plane of every cluster is ready within three minutes of waiting for it.

    Nothing after it in the chapter works without it. With an operator that is the condition Ready of the resource
    `Istio`, with reason and message where it is not True. Without one a primary is ready when the Deployment of istiod
    is Available and the Service that its webhook calls has endpoints, and a remote, where no control plane runs, when a
    pod comes back injected from a server-side dry run.
    The time counts from where the chapter starts to wait: on a remote after the annotation and the remote secret. Under
    verify-only it must be ready now.

    Source: chapter, "Wait for the control plane to return the Ready status condition".
    """
    for cluster in observation.topology.clusters:
        operator = (
            observation.asked.installer == "sail" or expectations.istio_resource(observation[cluster]) is not None
        )
        subject = Subject.SAIL if operator else Subject.WORKLOADS if cluster.is_primary else Subject.DRY_RUN
        for _ in evidence.readable(observation, subject, among=(cluster,)):
            if operator:
                ready = _resource_ready(observation, evidence, cluster)
            elif cluster.is_primary:
                ready = _istiod_available(observation, evidence, cluster)
            else:
                ready = injects(observation, evidence, cluster)
            if observation.asked.mode == "install":
                _judge_wait(observation, evidence, cluster, ready)


@requirement("CP-INJECTION-WEBHOOK", Level.SHOULD, area=AREA, needs=(MeshFeature.SIDECARS,))
def test_cp_injection_webhook(observation: Observation, evidence: Evidence) -> None:
    """The injection webhook trusts the control plane that it calls, and a pod comes back injected.

    A webhook without a caBundle, or with one of another root, refuses every pod, or lets it through without a
    sidecar. Examined on every cluster: that each rule of the webhook of the revision that serves the sample has a
    caBundle with which the certificate of the control plane it calls validates, what the API server answers to a
    dry-run pod in the sample namespace, and that no other webhook of Istio refuses objects because it leads nowhere.
    Under verify-only the answer counts more than the bundle: a pod that comes back injected shows that it is trusted.

    Source: chapter, "label namespace sample istio-injection=enabled"; Kubernetes, "Dynamic Admission Control".
    """
    for cluster, observed in evidence.readable(observation, Subject.WEBHOOKS, Subject.DRY_RUN):
        revision = revisions.revision(observation, cluster)
        webhooks = expectations.injection_webhooks(observed, revision)
        proven = observation.asked.mode == "verify-only" and bool(observed.dry_run and observed.dry_run.injected)
        evidence.expect(
            bool(webhooks) or proven,
            cluster=cluster,
            object="MutatingWebhookConfiguration",
            field="revision",
            expected=revision,
            found=", ".join(webhook.revision for webhook in webhooks) or "none",
        )
        _judge_bundles(observation, evidence, cluster, webhooks, proven=proven)
        for webhook, rule in admission.dead_validation(observed):
            evidence.expect(
                False,
                cluster=cluster,
                object=f"ValidatingWebhookConfiguration {webhook.name}",
                field=f"Service of {rule.name}",
                expected="leads to a control plane",
                found=admission.why_dead(observed, rule),
            )
        if note := revisions.without_effect(revisions.labels_of(observed, observation.asked.sample_namespace)):
            evidence.fact(f"{cluster.name}: Namespace {observation.asked.sample_namespace}: {note}")
        if injects(observation, evidence, cluster) and observed.dry_run and observed.dry_run.revision:
            evidence.expect(
                observed.dry_run.revision == revision,
                cluster=cluster,
                object="dry-run pod in the sample namespace",
                field="revision",
                expected=revision,
                found=observed.dry_run.revision,
            )


def _judge_bundles(
    observation: Observation,
    evidence: Evidence,
    cluster: Cluster,
    webhooks: tuple[InjectionWebhook, ...],
    *,
    proven: bool,
) -> None:
    """Judge each rule's caBundle by the certificate of the control plane of the webhook's revision."""
    planes = [plane for plane in observation[cluster.primary].control_planes if plane.serving_chain]
    # While several revisions run each webhook calls its own.
    own = [plane for plane in planes if plane.revision == revisions.revision(observation, cluster)] or planes
    chain = own[0].serving_chain if own else ()
    for webhook in webhooks:
        for rule in webhook.webhooks:
            reason = None if rule.ca_bundle else "the caBundle is empty"
            if rule.ca_bundle and chain:
                at = observation.observed
                reason = certificate_paths.validates(chain, rule.ca_bundle, at, purpose="serverAuth")
            evidence.expect(
                reason is None or proven,
                cluster=cluster,
                object=f"MutatingWebhookConfiguration {webhook.name}",
                field=f"caBundle of {rule.name}",
                waited=not rule.ca_bundle and istiod_starts(observation, cluster),
                expected="validates istiod's certificate",
                found=reason or ("validates" if chain else "a certificate"),
            )
    if webhooks and not chain and not proven:
        running_control_planes(observation, evidence, observation.topology[cluster.primary])


def _judge_wait(observation: Observation, evidence: Evidence, cluster: Cluster, ready: bool) -> None:
    """How long the chapter's wait took; a step left out (a mesh that was kept) says nothing about time."""
    waits = [step for step in observation.steps if _is_wait(step, cluster)]
    if not waits:
        if ready:
            evidence.unknown(f"{cluster.name} is ready, but the run has no record of waiting for it")
        return
    wait = waits[-1]
    if wait.outcome is Outcome.ERROR:
        evidence.unknown(f"{cluster.name}: the wait broke: {wait.detail}")
    elif wait.outcome is not Outcome.SKIPPED:
        evidence.expect(
            wait.outcome is Outcome.DONE and wait.seconds <= READY_WITHIN,
            cluster=cluster,
            object="control plane",
            field="time to ready",
            waited=True,
            expected=f"at most {READY_WITHIN:.0f} s",
            found=f"{wait.seconds:.1f} s" + (f": {wait.detail}" if wait.outcome is Outcome.FAILED else ""),
        )


def _is_wait(step: Step, cluster: Cluster) -> bool:
    return step.phase is Phase.MESH and step.cluster == cluster.name and step.title.startswith(WAIT_FOR_CONTROL_PLANE)


def _resource_ready(observation: Observation, evidence: Evidence, cluster: Cluster) -> bool:
    observed = observation[cluster]
    resource = expectations.istio_resource(observed)
    name, starts = resource.name if resource else "default", istiod_starts(observation, cluster)
    return condition_ready(evidence, observed, "Istio", name, waited=starts)


def _istiod_available(observation: Observation, evidence: Evidence, cluster: Cluster) -> bool:
    deployments = revisions.workloads(observation, cluster, expectations.istiod_workloads(observation[cluster]))
    ready = bool(deployments)
    for found in deployments or (None,):
        conditions = [f"{c.type}={c.status} {c.reason}: {c.message}" for c in found.conditions] if found else []
        available = found is not None and found.available
        ready &= evidence.expect(
            available,
            waited=istiod_starts(observation, cluster),
            cluster=cluster,
            object=f"Deployment {found.namespace}/{found.name}" if found else "Deployment istiod",
            field="condition",
            expected="Available",
            found="Available" if available else "; ".join(conditions) or "no such Deployment",
        )
    return ready and _leads_to_istiod(observation, evidence, cluster)


def _leads_to_istiod(observation: Observation, evidence: Evidence, cluster: Cluster) -> bool:
    """Judge that the Service by which a revision's webhook and its proxies call istiod has endpoints."""
    observed = observation[cluster]
    hooks = expectations.injection_webhooks(observed, revisions.revision(observation, cluster))
    called = {rule.service.partition(":")[0] for hook in hooks for rule in hook.webhooks}
    dead = [
        service
        for service in observed.services
        # Without a selector its endpoints are somebody's own, or an external name.
        if f"{service.namespace}/{service.name}" in called and service.selector and not service.ready_endpoints
    ]
    for service in dead:
        evidence.expect(
            False,
            cluster=cluster,
            object=f"Service {service.namespace}/{service.name}",
            field="ready endpoints",
            expected="a pod of istiod",
            found="none",
        )
    return not dead
