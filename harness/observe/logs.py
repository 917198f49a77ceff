"""Reads a few lines of the logs of what is not as it should be, before anything is cleaned up.

A mesh that is well costs no read. Which containers are asked is decided from what has been observed; istiod's own
warnings are read with the rest of what it says (control_plane.py).
"""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass

from kubernetes.client import ApiException
from urllib3.exceptions import HTTPError

from harness.base.container_log import last_words, telling_lines
from harness.base.parallel import in_parallel
from harness.kube.api import KubeApi, listed
from harness.model import expectations
from harness.model.cluster import ClusterObservation, Condition, Container, ContainerLog
from harness.model.traffic import Traffic
from harness.observe import api_objects
from harness.observe.reading import explain

LOG_SECONDS = 5.0
MOST_LOGS = 8
"""Containers of one cluster."""
_TAIL = 500
_OPERATOR = "control-plane in (sail-operator,servicemesh-operator3)"
_OPERATOR_PROXY = "kube-rbac-proxy"
_METALLB = "app=metallb,component=controller"
_UNSTARTED = frozenset({"PodInitializing", "ContainerCreating"})


@dataclass(frozen=True)
class LogSource:
    """A container whose log is worth reading."""

    namespace: str
    pod: str
    container: str
    ended: bool = False
    """It does not do its work: where nothing in its log is a warning, its last lines are kept."""
    previous: bool = False
    """The log of what ran before it was started again."""


def unready(observed: ClusterObservation) -> Iterator[LogSource]:
    """Containers that have been started and are not ready. Pure."""
    for pod in observed.pods:
        if pod.deleting or pod.phase == "Succeeded":
            continue
        for container in pod.containers:
            if not container.ready and _started(container):
                again = container.state == "running" and container.restarts > 0
                yield LogSource(pod.namespace, pod.name, container.name, ended=True, previous=again)


def _started(container: Container) -> bool:
    failed = container.state == "terminated" and container.reason not in {"", "Completed"}
    return container.state == "running" or container.restarts > 0 or failed


def cni_agents(observed: ClusterObservation) -> Iterator[LogSource]:
    """Agents of the CNI plugin on nodes where a pod does not get started: it may be what holds it up. Pure."""
    nodes = {pod.node for pod in observed.pods if not pod.deleting and any(map(_unstarted, pod.containers))}
    for pod in observed.pods:
        if expectations.is_of_cni(pod) and pod.node in nodes:
            yield from (LogSource(pod.namespace, pod.name, c.name) for c in pod.containers if c.state == "running")


def _unstarted(container: Container) -> bool:
    return container.reason in _UNSTARTED or (container.name == "istio-validation" and container.restarts > 0)


def requesters(observed: ClusterObservation, traffic: Traffic | None) -> Iterator[LogSource]:
    """Proxies of clients and gateways, where requests went wrong: their access logs say where to. Pure."""
    if traffic is None or not _went_wrong(traffic):
        return
    gateways = {(proxy.namespace, proxy.pod) for proxy in expectations.gateway_proxies(observed)}
    clients = {s.pod for s in (*traffic.coverage, *traffic.distribution) if s.client == observed.name}
    for pod in observed.pods:
        asked = pod.name in clients and pod.ready
        if expectations.has_proxy(pod) and (asked or (pod.namespace, pod.name) in gateways):
            yield LogSource(pod.namespace, pod.name, expectations.PROXY)


def _went_wrong(traffic: Traffic) -> bool:
    """A version did not answer, a request was not answered, or a proxy had to try again."""
    sequences = (*traffic.coverage, *traffic.distribution)
    return (
        any(not timed.converged for timed in traffic.convergence)
        or any(not request.version for sequence in sequences for request in sequence.requests)
        or any(host.errors or host.connect_failures for sequence in sequences for host in sequence.hosts)
    )


def others(kube: KubeApi, observed: ClusterObservation) -> Iterator[LogSource]:
    """Of what stands outside of the mesh's namespaces: the operator, the load balancer's controller.

    Raises:
        ApiException: its pods may not be listed.
        urllib3.exceptions.HTTPError: the API server did not answer.
    """
    gateway = expectations.gateway_service(observed)
    wanted = []
    if any(not _is_ready(resource.conditions) for resource in observed.sail):
        wanted.append(_OPERATOR)
    if gateway and gateway.type == "LoadBalancer" and not gateway.ingress:
        wanted.append(_METALLB)
    for selector in wanted:
        for raw in listed(kube, "/api/v1/pods", labelSelector=selector) or ():
            pod = api_objects.pod(raw)
            for container in pod.containers:
                if container.name != _OPERATOR_PROXY:
                    yield LogSource(pod.namespace, pod.name, container.name, ended=not container.ready)


def _is_ready(conditions: Iterable[Condition]) -> bool:
    return any((condition.type, condition.status) == ("Ready", "True") for condition in conditions)


def read_logs(
    kube: KubeApi, observed: ClusterObservation, traffic: Traffic | None, timeout: float
) -> tuple[ContainerLog, ...]:
    """The logs of one cluster that are worth a look, all side by side; never raises.

    Args:
        kube: the cluster.
        observed: all that was read of it so far.
        traffic: the requests that were sent; None where none were.
        timeout: seconds for one log.
    """
    sources = list[LogSource]()
    with suppress(ApiException, HTTPError):  # what may not be listed may not be read either
        sources += others(kube, observed)
    sources += [*unready(observed), *cni_agents(observed), *requesters(observed, traffic)]
    chosen = list(dict.fromkeys(sources))[:MOST_LOGS]
    found = in_parallel(lambda source: _read(kube, source, timeout), chosen)
    return tuple(log for log in found if log.lines)


def _read(kube: KubeApi, source: LogSource, timeout: float) -> ContainerLog:
    try:
        text = kube.logs(
            source.namespace, source.pod, source.container, lines=_TAIL, previous=source.previous, timeout=timeout
        )
        lines = last_words(text) if source.ended else telling_lines(text)
    except (ApiException, HTTPError) as failed:
        lines = (f"its log can't be read: {explain(failed)}",)
    return ContainerLog(namespace=source.namespace, pod=source.pod, container=source.container, lines=lines)
