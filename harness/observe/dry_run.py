"""Sends a pod to the API server as a server-side dry run, to see whether it comes back injected."""

from http import HTTPStatus

from kubernetes.client import ApiException

from harness.base.redaction import redact
from harness.kube.client import Kube, Object, explain_api_error
from harness.model.cluster import DryRun
from harness.observe.api_objects import PROXY

NAME = "eastwest-injection-dry-run"


def manifest(namespace: str) -> Object:
    """A pod that every Pod Security Standard admits, and OpenShift's SCC restricted-v2, which gives it a user itself.

    It is never stored.
    """
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": NAME, "namespace": namespace, "labels": {"app": NAME}},
        "spec": {
            "automountServiceAccountToken": False,
            "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [
                {
                    "name": "none",
                    "image": "registry.invalid/none",
                    "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
                }
            ],
        },
    }


def outcome(returned: Object) -> DryRun:
    """What the API server would have stored."""
    spec = returned.get("spec") or {}
    containers = [*(spec.get("containers") or []), *(spec.get("initContainers") or [])]
    return DryRun(injected=any(container["name"] == PROXY for container in containers))


def dry_run(kube: Kube, namespace: str) -> DryRun:
    """Try whether a pod in this namespace would be injected.

    Raises:
        ApiException: creating pods is not permitted.
    """
    try:
        return outcome(kube.create(manifest(namespace), dry_run=True))
    except ApiException as refused:
        said = explain_api_error(refused)
        # Both are 403: the caller may not create pods; or admission (a webhook, a security standard) said no.
        if refused.status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN} and "cannot create resource" in said:
            raise
        return DryRun(injected=False, error=redact(said))
