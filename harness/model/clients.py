"""Which workload of a cluster sends the suite's requests, and what belongs to it. Pure.

A mesh that the suite installed has the chapter's `sleep`. On somebody else's mesh it is `sleep`, or `curl` (Istio's
sample client since 1.24), or another injected pod of the sample namespace whose image holds curl.
"""

import re

from harness.model import captured
from harness.model.cluster import ClusterObservation, Pod, Workload
from harness.model.expectations import HELLOWORLD, PROXY, SLEEP, in_mesh
from harness.model.observation import Asked, Observation
from harness.model.proxy import Proxy
from harness.model.topology import Cluster

CURL = "curl"
_HAS_CURL = re.compile(r"curl|netshoot", re.IGNORECASE)
"""Names of images that are made to send requests. What a container holds, the API server does not say."""


def app(pod: Pod) -> str:
    """What a pod is called in the mesh: its label `app`, else its canonical name."""
    return pod.labels.get("app") or pod.labels.get("service.istio.io/canonical-name") or ""


def client_app(observed: ClusterObservation, asked: Asked) -> str:
    """The `app` of the workload that a cluster's requests are sent from.

    One with a ready pod comes before one without. Where nothing on the cluster can be a client it is `sleep`, of which
    there is then no pod.
    """
    if asked.mode == "install":
        return SLEEP
    pods = observed.pods_with(asked.sample_namespace)
    others = sorted({app(pod) for pod in pods if app(pod) not in {"", HELLOWORLD} and _can_ask(pod)})
    known = [name for name in (SLEEP, CURL) if _workload(observed, asked, name) or any(app(p) == name for p in pods)]
    candidates = list(dict.fromkeys([*known, *others]))
    ready = {app(pod) for pod in pods if pod.ready}
    return next((name for name in candidates if name in ready), next(iter(candidates), SLEEP))


def _can_ask(pod: Pod) -> bool:
    own = pod.container(client_container(pod))
    image = own.image.rpartition("/")[2] if own else ""
    return in_mesh(pod) and bool(_HAS_CURL.search(image))


def _workload(observed: ClusterObservation, asked: Asked, name: str) -> Workload | None:
    there = [workload for workload in observed.workloads if workload.namespace == asked.sample_namespace]
    return next(
        (workload for workload in there if workload.name == name),
        next((workload for workload in there if workload.labels.get("app") == name), None),
    )


def client_workload(observed: ClusterObservation, asked: Asked) -> Workload | None:
    """The Deployment of a cluster's client: the one of its name, else the one with its label."""
    return _workload(observed, asked, client_app(observed, asked))


def client_pods(observed: ClusterObservation, asked: Asked) -> tuple[Pod, ...]:
    """The pods of a cluster's client, by name."""
    if asked.client:
        return tuple(
            sorted(observed.pods_with(asked.client.namespace, **asked.client.labels), key=lambda pod: pod.name)
        )
    name = client_app(observed, asked)
    pods = (pod for pod in observed.pods_with(asked.sample_namespace) if app(pod) == name)
    return tuple(sorted(pods, key=lambda pod: pod.name))


def client_container(pod: Pod) -> str:
    """The container of a client's pod that requests are sent from: the one of its name, else the first of its own."""
    own = [container.name for container in pod.containers if not container.init and container.name != PROXY]
    return next((name for name in own if name == app(pod)), next(iter(own), ""))


def client_available(observation: Observation, cluster: Cluster) -> bool:
    """Whether the client that sends probes and requests is there."""
    observed, asked = observation[cluster], observation.asked
    workload = None if asked.client else client_workload(observed, asked)
    if workload is None and asked.mode == "verify-only":
        return any(pod.ready for pod in client_pods(observed, asked))
    return workload is not None and workload.available


def client_proxies(observation: Observation, cluster: Cluster) -> tuple[Proxy, ...]:
    """The proxies of a cluster's client; where its node's ztunnel carries its traffic what that does for it."""
    asked = observation.asked
    if asked.ambient:
        mine = {(pod.namespace, pod.name) for pod in client_pods(observation[cluster], asked)}
        return tuple(v for v in captured.views(observation, cluster) if (v.namespace, v.pod) in mine)
    if asked.client:
        mine = {(pod.namespace, pod.name) for pod in client_pods(observation[cluster], asked)}
        return tuple(proxy for proxy in observation[cluster].proxies if (proxy.namespace, proxy.pod) in mine)
    name = client_app(observation[cluster], asked)
    return tuple(p for p in observation[cluster].proxies if p.namespace == asked.sample_namespace and p.role == name)
