"""Sends a pod to the API server as a server-side dry run, to see whether it comes back injected."""

from http import HTTPStatus

from kubernetes.client import ApiException

from harness.base.redaction import redact
from harness.kube.api import KubeApi, explain_api_error, metadata
from harness.mesh.injection import is_injected, probe_pod
from harness.model.cluster import DryRun
from harness.model.revisions import REVISION_LABEL, injection_labels


def dry_run(kube: KubeApi, namespace: str) -> DryRun:
    """Try whether a pod in this namespace would be injected, labelled as the pods there are.

    Raises:
        ApiException: creating pods is not permitted.
    """
    try:
        pods = (kube.read(f"/api/v1/namespaces/{namespace}/pods") or {}).get("items") or ()
        labels = injection_labels(metadata(pod).get("labels") or {} for pod in pods)
        found = kube.create(probe_pod(namespace, labels), dry_run=True)
        return DryRun(
            injected=is_injected(found), revision=(metadata(found).get("annotations") or {}).get(REVISION_LABEL, "")
        )
    except ApiException as refused:
        said = explain_api_error(refused)
        # Both are 403: the caller may not create pods; or admission (a webhook, a security standard) said no.
        if refused.status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN} and "cannot create resource" in said:
            raise
        return DryRun(injected=False, error=redact(said))
