"""Sends a pod to the API server as a server-side dry run, to see whether it comes back injected."""

from http import HTTPStatus

from kubernetes.client import ApiException

from harness.base.redaction import redact
from harness.kube.client import Kube, explain_api_error
from harness.mesh.injection import is_injected, probe_pod
from harness.model.cluster import DryRun


def dry_run(kube: Kube, namespace: str) -> DryRun:
    """Try whether a pod in this namespace would be injected.

    Raises:
        ApiException: creating pods is not permitted.
    """
    try:
        return DryRun(injected=is_injected(kube.create(probe_pod(namespace), dry_run=True)))
    except ApiException as refused:
        said = explain_api_error(refused)
        # Both are 403: the caller may not create pods; or admission (a webhook, a security standard) said no.
        if refused.status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN} and "cannot create resource" in said:
            raise
        return DryRun(injected=False, error=redact(said))
