"""Sidecar injection as the API server does it: a pod that is sent as a dry run."""

from collections.abc import Mapping
from dataclasses import dataclass

from kubernetes.client import ApiException
from urllib3.exceptions import HTTPError

from harness.base.waiting import wait_until
from harness.kube.api import KubeApi, Object, explain_api_error
from harness.model.expectations import PROXY
from harness.model.step_log import OpenStep

NAME = "eastwest-injection-dry-run"
INJECT = {"sidecar.istio.io/inject": "true"}
"""Asks for injection where the namespace's label does not."""


@dataclass(frozen=True)
class Injection:
    """The outcome of a pod that was sent as a dry run."""

    injected: bool
    error: str = ""
    """What the API server said instead."""


def probe_pod(namespace: str, labels: Mapping[str, str] | None = None) -> Object:
    """A pod for a server-side dry run, never stored. Pure.

    Every Pod Security Standard admits it, and so does OpenShift's SCC restricted-v2, which assigns the user itself.
    Source: Kubernetes, "Pod Security Standards", profile Restricted.
    """
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": NAME, "namespace": namespace, "labels": dict(labels or {})},
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


def is_injected(pod: Object) -> bool:
    """Whether a pod has a sidecar, as a container or as a native sidecar. Pure."""
    spec = pod.get("spec") or {}
    containers = [*(spec.get("containers") or []), *(spec.get("initContainers") or [])]
    return any(container["name"] == PROXY for container in containers)


def dry_run(kube: KubeApi, namespace: str, labels: Mapping[str, str] | None = None) -> Injection:
    """Send a pod to the API server as a server-side dry run: nothing is stored, but every webhook is called."""
    try:
        return Injection(is_injected(kube.create(probe_pod(namespace, labels), dry_run=True)))
    except ApiException as refused:
        return Injection(False, explain_api_error(refused))
    except HTTPError as unreachable:
        return Injection(False, str(unreachable))


def await_injection(
    kube: KubeApi, namespace: str, timeout: float, step: OpenStep, labels: Mapping[str, str] | None = None
) -> None:
    """Wait until a pod of that namespace comes back injected.

    A control plane that is ready may not serve its webhook yet (istio #61049), and pods created before it does are
    refused, not queued.

    Raises:
        WaitError: it did not in time; says what the API server answered.
    """

    def pending() -> str:
        found = dry_run(kube, namespace, labels)
        return "" if found.injected else found.error or "no webhook added a proxy to the pod"

    wait_until(
        pending,
        timeout,
        unmet=f"pods of namespace {namespace} are not injected",
        waiting=lambda last: step.waiting(f"injection into namespace {namespace}: {last}"),
    )
