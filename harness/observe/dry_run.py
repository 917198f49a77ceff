"""Sends a pod to the API server as a server-side dry run, to see whether it comes back injected."""

from collections.abc import Sequence
from contextlib import suppress
from http import HTTPStatus

from kubernetes.client import ApiException

from harness.base.redaction import redact
from harness.kube.api import KubeApi, Object, explain_api_error, listed, metadata
from harness.mesh.injection import is_injected, probe_pod
from harness.model.cluster import DryRun
from harness.model.revisions import INJECT_LABEL, REVISION_LABEL, injection_labels


def dry_run(kube: KubeApi, namespace: str, *, as_there: bool = False) -> DryRun:
    """Try whether a pod in this namespace would be injected, labelled as the pods there are.

    Args:
        kube: the cluster.
        namespace: where.
        as_there: send what a Deployment there would create. Policies of somebody's cluster may demand what the suite's
            own pod does not have: resources, a registry, labels.

    Raises:
        ApiException: creating pods is not permitted.
    """
    try:
        templates: list[Object] = []
        if as_there:
            with suppress(ApiException):  # they may not be read
                found = listed(kube, f"/apis/apps/v1/namespaces/{namespace}/deployments") or ()
                templates = [each["spec"]["template"] for each in found]
        pods = listed(kube, f"/api/v1/namespaces/{namespace}/pods") or ()
        labels = injection_labels(metadata(pod).get("labels") or {} for pod in pods)
        created = kube.create(created_from(templates, probe_pod(namespace, labels)), dry_run=True)
        return DryRun(
            injected=is_injected(created), revision=(metadata(created).get("annotations") or {}).get(REVISION_LABEL, "")
        )
    except ApiException as refused:
        said = explain_api_error(refused)
        # Both are 403: the caller may not create pods; or admission (a webhook, a security standard) said no.
        if refused.status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN} and "cannot create resource" in said:
            raise
        return DryRun(injected=False, error=redact(said))


def created_from(templates: Sequence[Object], otherwise: Object) -> Object:
    """The pod of the first template that does not refuse injection, under the probe's name; else the probe. Pure.

    Args:
        templates: pod templates of Deployments.
        otherwise: the suite's own pod.
    """
    for template in templates:
        described = template.get("metadata") or {}
        if (described.get("labels") or {}).get(INJECT_LABEL) != "false":
            kept = {key: described[key] for key in ("labels", "annotations") if key in described}
            own = {key: otherwise["metadata"][key] for key in ("name", "namespace")}
            return {"apiVersion": "v1", "kind": "Pod", "metadata": {**kept, **own}, "spec": template["spec"]}
    return otherwise
