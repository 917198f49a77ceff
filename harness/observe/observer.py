"""The parts of one observation: none of them raises, each notes what it could not find out."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from kubernetes.client import ApiException
from urllib3.exceptions import HTTPError

from harness.base.parallel import in_parallel
from harness.kube.api import KubeApi, TransportError
from harness.model import expectations, odds
from harness.model.cluster import ClusterObservation, ContainerLog, Pod, ReadOutcome, Subject
from harness.model.observation import Asked
from harness.model.service import ServiceTraffic
from harness.model.step import Phase
from harness.model.step_log import StepLog
from harness.model.topology import Cluster, Topology
from harness.model.traffic import Convergence, Probe, Sequence, Traffic
from harness.observe import (
    logs,
    peers,
    probe_plan,
    probes,
    service_traffic,
    traffic,
    ztunnel_log,
    ztunnels,
)
from harness.observe.cluster import ClusterObjects, read_cluster, read_pods
from harness.observe.hosting import with_control_plane
from harness.observe.processes import Processes, ask_all
from harness.observe.reading import explain
from harness.observe.sequence import new_request_id

CONNECT_SECONDS = 5.0
"""After which an API server that has not answered at all counts as unreachable."""
ASK_SECONDS = 15.0
"""For one question to a pod."""
Found = TypeVar("Found")


class Observer:
    """Makes one observation, step by step.

    Args:
        topology: the clusters.
        kubes: each of them, by its name.
        asked: what the run was asked for.
        log: where its steps are recorded.
        timeout_scale: factor for every deadline.
    """

    def __init__(
        self, topology: Topology, kubes: Mapping[str, KubeApi], asked: Asked, log: StepLog, timeout_scale: float
    ) -> None:
        self._topology, self._kubes, self._asked, self._log = topology, kubes, asked, log
        self._scale = timeout_scale
        self._objects: dict[str, ClusterObjects] = {}
        self._processes: dict[str, Processes] = {}
        self._logs: dict[str, tuple[ContainerLog, ...]] = {}
        self._errors: list[str] = []

    @property
    def errors(self) -> tuple[str, ...]:
        """Failures of the suite itself."""
        return (*self._errors, *(error for objects in self._objects.values() for error in objects.reader.errors))

    def step(self, title: str, work: Callable[[], Found]) -> Found | None:
        """Do a part of observing as a step; what it raises is noted, and the next part goes on."""
        with suppress(Exception), self._log.step(Phase.OBSERVE, title):
            try:
                return work()
            except Exception as failed:
                self._errors.append(f"{title}: {explain(failed)}")
                raise
        return None

    def _seen(self) -> dict[str, ClusterObservation]:
        return {name: objects.observed for name, objects in self._objects.items()}

    def read_objects(self) -> None:
        """Read the API objects, all clusters side by side."""
        connect = CONNECT_SECONDS * self._scale
        found = in_parallel(lambda kube: read_cluster(kube, self._asked, connect), self._ordered())
        self._objects = {objects.observed.name: objects for objects in found}

    def _ordered(self) -> list[KubeApi]:
        return [self._kubes[cluster.name] for cluster in self._topology.every]

    def ask_processes(self) -> None:
        """Ask every istiod, every Envoy and every ztunnel, all side by side."""
        answering = [objects for objects in self._objects.values() if objects.reader.answered]
        found = in_parallel(self._ask_cluster, answering)
        self._processes = {objects.observed.name: said for objects, said in zip(answering, found, strict=True)}

    def _ask_cluster(self, objects: ClusterObjects) -> Processes:
        kube, limit = self._kubes[objects.observed.name], ASK_SECONDS * self._scale
        return ask_all(kube, objects.observed, objects.reader, self._asked, limit)

    def _clients(self) -> tuple[traffic.Client, ...]:
        return traffic.clients(self._topology, self._asked, self._seen(), self._kubes, self._scale)

    def shell(self, cluster: str) -> tuple[str, str, str] | None:
        """Namespace, pod and container of a cluster's client; None while none is known."""
        found = self._clients() if self._objects else ()
        return next(((each.namespace, each.pod, each.container) for each in found if each.cluster == cluster), None)

    def converge(self) -> tuple[Convergence, ...]:
        """Time how long it takes until every version has answered every client."""
        began = time.monotonic() - self._since_workloads()
        return tuple(in_parallel(lambda client: traffic.converge(client, began, self._scale), self._clients()))

    def _since_workloads(self) -> float:
        """Seconds since the workloads were ready; 0 where this run did not deploy them."""
        ends = [
            step.started + timedelta(seconds=step.seconds) for step in self._log.steps if step.phase is Phase.WORKLOADS
        ]
        return (datetime.now(UTC) - max(ends)).total_seconds() if ends else 0.0

    def probe(self) -> tuple[Probe, ...]:
        """Send the probes, from inside each cluster."""
        seen = {name: self.complete(name) for name in self._seen()}
        credentials = {name: objects.credentials for name, objects in self._objects.items()}
        planned = probe_plan.plan(self._topology, self._asked, seen, credentials)
        found = {name: probe_plan.source_of(cluster, self._asked) for name, cluster in seen.items()}
        sources = {name: source for name, source in found.items() if source}
        return probes.send(self._kubes, planned, sources, self._asked.trust_domain, self._scale)

    def send(self, convergence: tuple[Convergence, ...], count: int) -> Traffic:
        """Send coverage and distribution, all clients side by side, and collect what the destinations saw."""
        began, limit = time.monotonic(), ASK_SECONDS * self._scale
        own_id = new_request_id()
        seen, senders = self._seen(), [replace(client, request_id=own_id) for client in self._clients()]
        planned = traffic.coverage(self._topology, self._asked, seen)
        count = odds.scaled_requests(count, planned.shares, len(self._topology.clusters))
        destinations = () if self._asked.ambient else self._destinations(seen)
        before = peers.metrics(destinations, limit)
        converged = {timed.client for timed in convergence if timed.converged}

        def both(client: traffic.Client) -> tuple[Sequence, Sequence | None]:
            coverage = traffic.cover(client, planned.cap, client.cluster in converged)
            return coverage, traffic.distribute(client, count, coverage)

        sent = in_parallel(both, senders)
        sequences = [sequence for pair in sent for sequence in pair if sequence]
        answered = {request.instance for sequence in sequences for request in sequence.requests if request.instance}
        if self._asked.ambient:
            evidence = ztunnel_log.evidence(seen, self._kubes, self._asked, lambda: time.monotonic() - began, answered)
        else:
            evidence = peers.peers(
                destinations,
                answered,
                before,
                lambda: time.monotonic() - began,
                limit,
                request_id=own_id,
                shared=self._asked.mode == "verify-only",
            )
        return Traffic(
            convergence=convergence,
            coverage=tuple(coverage for coverage, _ in sent),
            cap=planned.cap,
            false_alarm=planned.false_alarm,
            distribution=tuple(distribution for _, distribution in sent if distribution),
            peers=evidence.peers,
            peers_missing=evidence.missing,
            connections=evidence.connections,
        )

    def _destinations(self, seen: Mapping[str, ClusterObservation]) -> tuple[peers.Destination, ...]:
        """The helloworld pods that can tell who called."""
        return tuple(
            peers.Destination(name, self._kubes[name], pod)
            for name, cluster in seen.items()
            for pod in expectations.helloworld_pods(cluster, self._asked.sample_namespace)
            if expectations.has_proxy(pod)
        )

    def send_to_service(self) -> ServiceTraffic:
        """Say how many requests are sent to the service that the user named, and send them from every cluster."""
        topology, asked, seen = self._topology, self._asked, self._seen()
        plan = service_traffic.plan_requests(topology, asked, seen)
        with self._log.step(Phase.OBSERVE, service_traffic.announced(topology, asked, plan)):
            return service_traffic.send(topology, asked, seen, self._kubes, plan=plan, timeout_scale=self._scale)

    def read_logs(self, sent: Traffic | None) -> None:
        """Read the logs of what is not as it should be, all side by side."""
        answering = [objects.observed.name for objects in self._objects.values() if objects.reader.answered]

        def read(name: str) -> tuple[ContainerLog, ...]:
            return logs.read_logs(self._kubes[name], self.complete(name), sent, logs.LOG_SECONDS * self._scale)

        self._logs = dict(zip(answering, in_parallel(read, answering), strict=True))

    def look_again(self) -> None:
        """See whether every API server still answers, and whether pods that were ready are still the same ones.

        Where they are not, what was read before and what was read after do not belong together: it is lost.
        """
        in_parallel(self._look_again_at, [objects for objects in self._objects.values() if objects.reader.answered])

    def _look_again_at(self, objects: ClusterObjects) -> None:
        reader, before = objects.reader, objects.observed.pods
        if (known := reader.reading(Subject.PODS)) is None or known.outcome is not ReadOutcome.READ:
            return
        try:
            now = read_pods(self._kubes[objects.observed.name], self._asked)
        except (ApiException, HTTPError, OSError) as failed:
            for subject in (Subject.API_SERVER, Subject.PODS):
                reader.failed(subject, failed)
            return
        for pod, what in changed(before, now):
            said_by = {"istiod": {Subject.CONTROL_PLANE}, ztunnels.APP: {Subject.ZTUNNELS}}
            for subject in (Subject.PODS, Subject.PROXIES, *said_by.get(pod.labels.get("app", ""), set())):
                reader.failed(subject, TransportError(f"{pod.namespace}/{pod.name} {what} while it was observed"))

    def observed(self, cluster: Cluster) -> ClusterObservation:
        """All that is known of a cluster of the mesh, with its control plane, wherever that runs."""
        own = self.complete(cluster.name)
        return (
            with_control_plane(own, self.complete(cluster.host), self._asked.system_namespace) if cluster.host else own
        )

    def complete(self, name: str) -> ClusterObservation:
        """All that was read of one cluster."""
        objects = self._objects.get(name)
        if objects is None:
            access = self._kubes[name].access
            return ClusterObservation(name=name, context=access.context, api_server=access.peer_server)
        said = self._processes.get(name, Processes())
        return objects.observed.model_copy(
            update={
                "readings": objects.reader.readings,
                "control_planes": said.control_planes,
                "proxies": said.proxies,
                "ztunnels": said.ztunnels,
                "logs": self._logs.get(name, ()),
            }
        )


def changed(before: Iterable[Pod], now: Iterable[Pod]) -> Iterator[tuple[Pod, str]]:
    """The pods that were ready and are not the same any more, each with what happened to it. Pure."""
    there = {(pod.namespace, pod.name): pod for pod in now}
    for pod in before:
        if not pod.ready or pod.deleting:
            continue
        found = there.get((pod.namespace, pod.name))
        if found is None or found.deleting:
            yield pod, "went away"
        elif (found.created, found.ip) != (pod.created, pod.ip):
            yield pod, "was made again"
        elif sum(c.restarts for c in found.containers) > sum(c.restarts for c in pod.containers):
            yield pod, "restarted"
