"""Admission webhooks that lead nowhere: the API server refuses what it can't ask them about. Pure.

Source: Kubernetes, "Dynamic Admission Control", failurePolicy.
"""

from collections.abc import Iterator, Mapping

from harness.model.cluster import ClusterObservation, InjectionWebhook, ReadOutcome, Subject, WebhookRule
from harness.model.label_selector import selects


def calls(rule: WebhookRule, namespace: Mapping[str, str], pod: Mapping[str, str]) -> bool:
    """Whether the API server calls a webhook for a pod in a namespace; False where its selectors were not recorded."""
    if rule.namespace_selector is None or rule.object_selector is None:
        return False
    return selects(rule.namespace_selector, namespace) and selects(rule.object_selector, pod)


def dead_injection(
    observed: ClusterObservation, namespace: Mapping[str, str], pod: Mapping[str, str]
) -> Iterator[tuple[InjectionWebhook, WebhookRule]]:
    """The injection webhooks that refuse a pod because what they call is gone, one rule of each.

    Which ones the API server asks is known by their selectors, or by its answer to the dry run, which names one.

    Args:
        observed: the cluster.
        namespace: labels of the pod's namespace.
        pod: labels of the pod.
    """
    said = observed.dry_run.error if observed.dry_run else ""
    for webhook in observed.webhooks:
        for rule in webhook.webhooks:
            asked = calls(rule, namespace, pod) or f'"{rule.name}"' in said
            if asked and _refuses(observed, rule):
                yield webhook, rule
                break


def refusing_injection(observed: ClusterObservation, said: str) -> Iterator[tuple[InjectionWebhook, WebhookRule]]:
    """The injection webhooks that are named in what the API server said, and that reach nothing; one rule of each.

    Args:
        observed: the cluster.
        said: how the API server refused pods.
    """
    for webhook in observed.webhooks:
        for rule in webhook.webhooks:
            if f'"{rule.name}"' in said and _refuses(observed, rule, said):
                yield webhook, rule
                break


def dead_validation(observed: ClusterObservation) -> Iterator[tuple[InjectionWebhook, WebhookRule]]:
    """The validating webhooks that refuse every unlabelled object of Istio because what they call is gone."""
    for webhook in observed.validating_webhooks:
        for rule in webhook.webhooks:
            if _refuses(observed, rule) and selects(rule.object_selector or {}, {}):
                yield webhook, rule
                break


def why_dead(observed: ClusterObservation, rule: WebhookRule, said: str = "") -> str:
    """Why a webhook reaches nothing, in words; empty where it may reach something.

    Args:
        observed: the cluster.
        rule: the webhook.
        said: what the API server said of it, beside the dry run's answer.
    """
    namespace, _, name = rule.service.partition(":")[0].partition("/")
    reading = observed.reading(Subject.SERVICES)
    if not rule.service or reading is None or reading.outcome is not ReadOutcome.READ:
        return ""
    service = observed.service(namespace, name)
    if service is None and any(found.namespace == namespace for found in observed.services):
        return f"there is no Service {namespace}/{name}"
    said += observed.dry_run.error if observed.dry_run else ""
    if service is None and f'service "{name}" not found' in said:
        return f"there is no Service {namespace}/{name}"
    # The API server follows an external name: a remote's chart makes one where remotePilotAddress is a host name.
    reaches = service is None or service.type == "ExternalName" or service.ready_endpoints
    return "" if reaches else f"Service {namespace}/{name} has no ready endpoint"


def _refuses(observed: ClusterObservation, rule: WebhookRule, said: str = "") -> bool:
    # Without a failurePolicy it is Fail.
    return rule.failure_policy in {"", "Fail"} and bool(why_dead(observed, rule, said))
