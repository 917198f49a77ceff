"""Asks every Envoy, sidecar or gateway, over its admin interface."""

import json
import re
from collections.abc import Sequence
from typing import Any

from harness.kube.api import KubeApi, TransportError
from harness.model.cluster import ClusterObservation, Pod
from harness.model.kubernetes import PROXY
from harness.model.proxy import Proxy
from harness.observe import envoy

SECRETS = "config_dump?resource=dynamic_active_secrets"
LISTENERS = "config_dump?resource=dynamic_listeners"
REFUSED = "config_dump?resource=dynamic_listeners&mask=name,error_state"
SERVER_INFO = "server_info"
_MARK = "@@eastwest@@ "
_NO_PROGRAM = re.compile(r"executable file not found|no such file or directory|command not found", re.IGNORECASE)


def clusters(host: str) -> str:
    """The path that answers with the clusters whose name has this in it: a proxy may know very many.

    Source: Envoy, administration interface, /clusters?filter; Envoy before 1.38 does not know it, and answers with all.
    """
    return f"clusters?format=json&filter=.*{host}.*"


def clusters_in(namespace: str) -> str:
    """The path that answers with the clusters of a namespace's Services."""
    return clusters(f".{namespace}.svc.")


def no_program(failed: TransportError) -> bool:
    """Whether a command could not be run because the container does not have it."""
    return bool(_NO_PROGRAM.search(str(failed)))


def admin(kube: KubeApi, namespace: str, pod: str, paths: Sequence[str], timeout: float) -> dict[str, Any]:
    """What Envoy's admin interface answers to each path: parsed JSON, or None where it is none.

    Raises:
        TransportError: the proxy could not be asked.
    """
    return {path: _json(text) for path, text in admin_texts(kube, namespace, pod, paths, timeout).items()}


def host_counters(
    kube: KubeApi, namespace: str, pod: str, *, port: int, service: str, timeout: float
) -> envoy.Counters | None:
    """The counters of a service's endpoints in a pod's Envoy; None where it could not be asked.

    Args:
        kube: the pod's cluster.
        namespace: of the pod.
        pod: its name.
        port: of the service.
        service: how the service's host begins, for instance `helloworld.sample.svc.`.
        timeout: seconds.
    """
    path = clusters(service)
    try:
        answer = admin(kube, namespace, pod, (path,), timeout).get(path)
    except TransportError:
        return None
    return None if answer is None else envoy.host_counters(answer, port, service)


def admin_texts(kube: KubeApi, namespace: str, pod: str, paths: Sequence[str], timeout: float) -> dict[str, str]:
    """What Envoy's admin interface answers to each path.

    Asked by curl, all paths in one exec; where the image has no shell, by pilot-agent, one exec each. By name: with
    IPv6 addresses only, Envoy listens on [::1] (Istio, pkg/bootstrap/config.go).

    Raises:
        TransportError: the proxy could not be asked.
    """
    script = "command -v curl >/dev/null || exit 127\n" + "".join(
        f"printf '\\n{_MARK}%s\\n' '{path}'\ncurl -s -g --noproxy '*' --max-time 10 'http://localhost:15000/{path}'\n"
        for path in paths
    )
    try:
        answer = kube.exec(namespace, pod, PROXY, ("sh", "-c", script), timeout=timeout)
    except TransportError as failed:
        if not no_program(failed):
            raise
    else:
        if answer.status != 127:  # noqa: PLR2004 - the shell's "not found"
            return split(answer.stdout)
    return {
        path: kube.exec(namespace, pod, PROXY, ("pilot-agent", "request", "GET", path), timeout=timeout).stdout
        for path in paths
    }


def split(output: str) -> dict[str, str]:
    """The answers by path, from the output of the script of `admin_texts`."""
    parts = (part.partition("\n") for part in output.split(_MARK)[1:])
    return {path: body for path, _, body in parts}


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def proxy_pods(observed: ClusterObservation) -> tuple[Pod, ...]:
    """The pods with a proxy that runs."""
    return tuple(
        pod for pod in observed.pods if not pod.deleting and pod.proxy is not None and pod.proxy.state == "running"
    )


def read_proxy(kube: KubeApi, pod: Pod, sample_namespace: str, timeout: float) -> Proxy | None:
    """What one Envoy says of itself; None where it runs and does not answer yet.

    Raises:
        TransportError: the pod could not be asked.
    """
    # A sidecar's listeners are of no interest, except those it refused.
    sidecar = "sidecar.istio.io/status" in pod.annotations and pod.namespace == sample_namespace
    listeners = REFUSED if sidecar else LISTENERS
    paths = (SERVER_INFO, clusters_in(sample_namespace), SECRETS, listeners)
    texts = admin_texts(kube, pod.namespace, pod.name, paths, timeout)
    answers = {path: _json(text) for path, text in texts.items()}
    if not answers.get(SERVER_INFO):
        return None
    for path in paths[1:]:
        # What Envoy does not have it says in words; nothing, or half of something, was lost on the way.
        text = texts.get(path, "").strip()
        if not text or (text.startswith("{") and answers[path] is None):
            raise TransportError(f"{pod.name}: {path}: {'the answer was cut short' if text else 'answered nothing'}")
    return proxy(pod, answers, sample_namespace)


def proxy(pod: Pod, answers: dict[str, Any], sample_namespace: str) -> Proxy:
    """Distil the answers of Envoy's admin interface. Pure."""
    info = answers.get(SERVER_INFO) or {}
    node = (info.get("node") or {}).get("metadata") or {}
    chain, roots = envoy.secret_certificates(answers.get(SECRETS))
    return Proxy(
        pod=pod.name,
        namespace=pod.namespace,
        role=pod.labels.get("app") or pod.labels.get("service.istio.io/canonical-name") or "",
        cluster_id=str(node.get("CLUSTER_ID") or ""),
        network=str(node.get("NETWORK") or ""),
        version=str(node.get("ISTIO_VERSION") or ""),
        envoy_version=envoy.envoy_version(str(info.get("version") or "")),
        chain=chain,
        roots=roots,
        connected_to=str((node.get("PROXY_CONFIG") or {}).get("discoveryAddress") or ""),
        endpoints=envoy.endpoint_sets(answers.get(clusters_in(sample_namespace)), sample_namespace),
        listeners=envoy.listeners(answers.get(LISTENERS)),
        rejected=envoy.rejected(answers.get(LISTENERS) or answers.get(REFUSED)),
    )
