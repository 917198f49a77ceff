"""What detectors have in common: evidence in a few lines, and what may be looked at. Pure."""

from collections.abc import Callable, Hashable, Iterable, Iterator
from itertools import chain, islice
from typing import TypeVar

from harness.model import clients, expectations, requested, revisions
from harness.model.cluster import ClusterObservation, Container, Pod, Subject, Workload
from harness.model.observation import Observation
from harness.model.step import Outcome
from harness.model.topology import Cluster
from harness.model.traffic import Probe, ProbeKind, ProbeResult

LINES = 6
CRASHED = "CrashLoopBackOff"
MOST_LOGGED = 3
"""Of those, at most so many of one workload's logs."""
WIDTH = 240
SILENT = frozenset({ProbeResult.REFUSED, ProbeResult.TIMEOUT, ProbeResult.UNREACHABLE})
Key = TypeVar("Key", bound=Hashable)
IMAGE_REASONS = frozenset({"ImagePullBackOff", "ErrImagePull", "ErrImageNeverPull", "InvalidImageName"})


def few(*lines: Iterable[str]) -> tuple[str, ...]:
    """The first lines, each once and shortened: evidence, not a wall of text."""
    unique = dict.fromkeys(" ".join(line.split())[:WIDTH] for line in chain(*lines) if line)
    return tuple(islice(unique, LINES))


def attempt(probe: Probe) -> str:
    """What was tried, and how it ended."""
    return f"{probe.source} → {probe.address}:{probe.port}: {probe.result} {probe.detail}"


def silent(observation: Observation, kind: ProbeKind, by: Callable[[Probe], Key]) -> dict[Key, list[Probe]]:
    """The probes of a kind that the mesh did not answer, grouped."""
    found: dict[Key, list[Probe]] = {}
    for probe in observation.probes:
        if probe.kind is kind and probe.result in SILENT:
            found.setdefault(by(probe), []).append(probe)
    return found


def read(
    observation: Observation, *subjects: Subject, among: tuple[Cluster, ...] | None = None
) -> Iterator[tuple[Cluster, ClusterObservation]]:
    """The clusters of which all these subjects were read."""
    for cluster in observation.topology.clusters if among is None else among:
        observed = observation[cluster]
        if observed.was_read(*subjects):
            yield cluster, observed


def events(observed: ClusterObservation, *objects: str) -> Iterator[str]:
    """Warning events of objects whose `Kind/name` begins so."""
    for event in observed.events:
        if event.object.startswith(objects):
            yield f"event {event.object} {event.reason}: {event.message} (×{event.count})"


def waiting(pod: Pod) -> Container | None:
    """The first container of a pod that cannot run, with a reason."""
    return next((c for c in pod.containers if not c.ready and c.reason and c.reason != "Completed"), None)


def failed_steps(observation: Observation, cluster: str, most: int = 2) -> Iterator[str]:
    """The first steps of the run that did not reach their goal on a cluster, with their own words."""
    failed = (step for step in observation.steps if step.cluster == cluster and step.outcome is Outcome.FAILED)
    return (f"step failed: {step.title}: {step.detail}" for step in islice(failed, most))


def logged(observed: ClusterObservation, pods: Iterable[Pod]) -> Iterator[str]:
    """What containers of pods logged, where it was read."""
    names = {(pod.namespace, pod.name) for pod in pods}
    for log in observed.logs:
        if (log.namespace, log.pod) in names:
            yield from (f"log {log.pod} {log.container}: {line}" for line in log.lines)


def logged_elsewhere(observation: Observation, observed: ClusterObservation) -> Iterator[str]:
    """What the operator and the load balancer logged: whatever stands outside of the mesh's namespaces."""
    asked = observation.asked
    own = {asked.system_namespace, asked.cni_namespace, asked.sample_namespace}
    for log in observed.logs:
        if log.namespace not in own:
            yield from (f"log {log.namespace}/{log.pod}: {line}" for line in log.lines)


def logged_by_control_planes(observed: ClusterObservation) -> Iterator[str]:
    """The last warnings and errors of a cluster's istiod."""
    for plane in observed.control_planes:
        yield from (f"log {plane.pod}: {line}" for line in plane.log_lines[-MOST_LOGGED:])


def requests_logged(observation: Observation, *words: str) -> Iterator[str]:
    """What proxies and ztunnels logged of what went wrong; only lines with one of these words, where any are given."""
    for observed in observation.clusters:
        for log in observed.logs:
            for line in log.lines:
                if line.startswith("access ") and (not words or any(word in line for word in words)):
                    yield f"log {observed.name} {log.pod}: {line.removeprefix('access ')}"
    for row in (observation.traffic.connections if observation.traffic else None) or ():
        way = f"{row.direction} {row.source} → {row.destination} at {row.address}"
        line = f"{row.ztunnel} on {row.cluster}: {row.count} × {way}: {row.error}"
        if row.error and (not words or any(word in line for word in words)):
            yield line


def known_endpoints(observation: Observation) -> Iterator[str]:
    """Where each client's proxy would send requests, and what it holds against an endpoint."""
    name = requested.service(observation.asked).name
    for observed in observation.clusters:
        for proxy in clients.client_proxies(observation, observation.topology[observed.name]):
            found = requested.endpoints(proxy, observation.asked)
            if found:
                told = (
                    f"{e.address}:{e.port}" + (f" ({', '.join(e.flags) or 'unhealthy'})" if not e.healthy else "")
                    for e in found.endpoints
                )
                yield f"{proxy.pod} on {observed.name} knows {name} at {', '.join(told) or 'no address'}"


def container_lines(pods: Iterable[Pod]) -> Iterator[str]:
    """Why containers do not run."""
    for pod in pods:
        if (container := waiting(pod)) is not None:
            restarts = f", {container.restarts} restarts" if container.restarts else ""
            # Of a crash kubelet says only for how long it will not try again.
            message = f": {container.message}" if container.message and container.reason != CRASHED else ""
            last = f"; last: {container.last_end}" if container.last_end else ""
            yield f"pod {pod.name} container {container.name}: {container.reason}{restarts}{message}{last}"
        elif not pod.ready and pod.phase != "Running":
            yield f"pod {pod.name}: {pod.phase}"


def readiness(observed: ClusterObservation) -> Iterator[str]:
    """What the operator noted on the injection webhook: the reason behind RemoteIstiodNotReady."""
    for webhook in observed.webhooks:
        for key, text in webhook.annotations.items():
            yield f"{key}: {text}"


def condition_lines(workload: Workload | None) -> Iterator[str]:
    """Conditions of a Deployment that are not as they should be."""
    for condition in workload.conditions if workload else ():
        if condition.status != ("False" if condition.type == "ReplicaFailure" else "True"):
            said = f"{condition.type}={condition.status} {condition.reason}: {condition.message}"
            yield f"{workload.kind if workload else ''}/{workload.name if workload else ''} {said}"


def trouble(observed: ClusterObservation, workload: Workload | None, pods: tuple[Pod, ...]) -> tuple[str, ...]:
    """What is known of why a workload is not available."""
    names = [f"Pod/{pod.name}" for pod in pods]
    if workload is not None:
        names += [f"{workload.kind}/{workload.name}", f"ReplicaSet/{workload.name}-"]
    found = events(observed, *names) if names else ()
    return few(container_lines(pods), islice(logged(observed, pods), MOST_LOGGED), condition_lines(workload), found)


def short(evidence: tuple[str, ...], otherwise: str) -> str:
    """The first line of the evidence, or something else to say."""
    return evidence[0] if evidence else otherwise


def values(observation: Observation, observed: ClusterObservation) -> dict[str, object]:
    """The `global` values that a control plane was installed with; {} where they are not known."""
    config = expectations.mesh_config(observed, revisions.revision(observation, observed))
    found = config.values.get("global") if config else None
    return found if isinstance(found, dict) else {}


def mesh(observation: Observation, observed: ClusterObservation) -> dict[str, object]:
    """The mesh configuration of a control plane; {} where it is not known."""
    config = expectations.mesh_config(observed, revisions.revision(observation, observed))
    return config.mesh if config else {}


def network_label(observation: Observation, observed: ClusterObservation) -> str | None:
    """What the system namespace says of its network."""
    namespace = observed.namespace(observation.asked.system_namespace)
    return namespace.labels.get(expectations.NETWORK_LABEL) if namespace else None


def applied(observation: Observation, cluster: Cluster) -> ClusterObservation:
    """The cluster whose policies count for a cluster's proxies: that of its control plane."""
    return observation[cluster.primary]


def taken_name(observation: Observation, cluster: Cluster) -> str:
    """The name of another cluster under which a cluster joins the mesh; empty where it has its own.

    A primary says it in its configuration. A remote is called so by its injection path and by its primary's remote
    secret: where only one of them is wrong, that is a fault of its own.
    """
    observed, primary = observation[cluster], observation[cluster.primary]
    others = {other.cluster_name for other in observation.topology.others(cluster)}
    if cluster.is_primary:
        multi = values(observation, observed).get("multiCluster")
        name = str(multi.get("clusterName") or "") if isinstance(multi, dict) else ""
        return name if name in others else ""
    paths = [rule.path or rule.url for webhook in observed.webhooks for rule in webhook.webhooks]
    keys = {key for secret in primary.remote_secrets for key in secret.clusters}
    if cluster.cluster_name in keys:
        return ""
    return next((name for name in sorted(others & keys) if any(f"/cluster/{name}/" in path for path in paths)), "")
