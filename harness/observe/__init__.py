"""Reads clusters and mesh into an observation. It changes nothing and keeps no secret."""

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

from harness import expected
from harness.kube import Kube
from harness.model.cluster import ClusterObservation, Pod, Subject
from harness.model.observation import Asked, Environment, Observation, SuiteVersion
from harness.model.proxy import ControlPlane, Proxy
from harness.model.step import Phase, Step
from harness.model.traffic import Convergence, Probe, Sequence, Traffic
from harness.observe import control_plane, peers, probe_plan, probes, proxies, traffic
from harness.observe.cluster import ClusterObjects, read_cluster
from harness.observe.reading import Reader, explain
from harness.parallel import in_parallel
from harness.steps import StepLog
from harness.topology import Topology

CONNECT_SECONDS = 5.0
"""After which an API server that has not answered at all counts as unreachable."""
ASK_SECONDS = 15.0
"""For one question to a pod."""
Item = TypeVar("Item")
Found = TypeVar("Found")


def observe(
    topology: Topology,
    kubes: Mapping[str, Kube],
    asked: Asked,
    *,
    environment: Environment,
    suite: SuiteVersion,
    run_id: str,
    started: datetime,
    deviations: tuple[str, ...] = (),
    log: StepLog,
    requests: int = 400,
    send: bool = True,
    timeout_scale: float = 1.0,
) -> Observation:
    """Read everything that requirements look at, and send the requests that they judge.

    Never raises for a fault of the mesh: what could not be read is noted with each cluster's readings, and a failure of
    the suite itself under `errors`. A healthy mesh of two clusters takes about 10 s, a broken one at most 30 s.

    Args:
        topology: the clusters.
        kubes: each cluster of the topology, by its name.
        asked: what the run was asked to bring about.
        environment: where it runs.
        suite: which suite this is.
        run_id: id of the run.
        started: when the run began.
        deviations: what was done that the chapter does not say.
        log: its steps so far become part of the observation, and those of observing.
        requests: requests a client for the distribution of answers.
        send: whether probes and requests are sent; else only what is there is read.
        timeout_scale: factor for every deadline.
    """
    observed = datetime.now(UTC)
    session = _Session(topology, kubes, asked, log, timeout_scale)
    sent_probes: tuple[Probe, ...] = ()
    sent_traffic: Traffic | None = None
    session.step("Read the objects of every cluster", session.read_objects)
    if send:
        convergence = session.step("Time until every version answers", session.converge) or ()
    session.step("Ask control planes and proxies", session.ask_processes)
    if send:
        sent_probes = session.step("Probe what clusters need of each other", session.probe) or ()
        sent_traffic = session.step("Send requests from every cluster", lambda: session.send(convergence, requests))
    return Observation(
        suite=suite,
        run_id=run_id,
        started=started,
        observed=observed,
        topology=topology,
        asked=asked,
        environment=environment,
        deviations=deviations,
        steps=log.steps,
        clusters=tuple(session.complete(cluster.name) for cluster in topology.clusters),
        probes=sent_probes,
        traffic=sent_traffic,
        errors=session.errors,
    )


@dataclass
class _Processes:
    """What the pods of one cluster said of themselves."""

    control_planes: tuple[ControlPlane, ...] = ()
    proxies: tuple[Proxy, ...] = ()


class _Session:
    """One observation under way."""

    def __init__(
        self, topology: Topology, kubes: Mapping[str, Kube], asked: Asked, log: StepLog, timeout_scale: float
    ) -> None:
        self._topology, self._kubes, self._asked, self._log = topology, kubes, asked, log
        self._scale = timeout_scale
        self._objects: dict[str, ClusterObjects] = {}
        self._processes: dict[str, _Processes] = {}
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

    def _ordered(self) -> list[Kube]:
        return [self._kubes[cluster.name] for cluster in self._topology.clusters]

    def ask_processes(self) -> None:
        """Ask every istiod and every Envoy, all side by side."""

        def of_cluster(kube: Kube) -> None:
            objects = self._objects[kube.name]
            if not objects.reader.answered:
                return
            seen, reader, limit = objects.observed, objects.reader, ASK_SECONDS * self._scale
            planes, sidecars = control_plane.istiod_pods(seen), proxies.proxy_pods(seen)
            sample = self._asked.sample_namespace
            work: list[Callable[[], ControlPlane | Proxy | None]] = [
                *(_asking(lambda p: control_plane.read_control_plane(kube, p, limit), p) for p in planes),
                *(_asking(lambda p: proxies.read_proxy(kube, p, sample, limit), p) for p in sidecars),
            ]
            subjects = [Subject.CONTROL_PLANE] * len(planes) + [Subject.PROXIES] * len(sidecars)
            for subject in (Subject.CONTROL_PLANE, Subject.PROXIES):
                reader.read(subject, lambda: None, None)
            tasks = list(zip(subjects, (*planes, *sidecars), work, strict=True))
            found = in_parallel(lambda task: _ask(reader, *task), tasks)
            self._processes[kube.name] = _Processes(
                tuple(answer for answer in found if isinstance(answer, ControlPlane)),
                tuple(answer for answer in found if isinstance(answer, Proxy)),
            )

        in_parallel(of_cluster, self._ordered())

    def _clients(self) -> tuple[traffic.Client, ...]:
        return traffic.clients(self._topology, self._asked, self._seen(), self._kubes, self._scale)

    def converge(self) -> tuple[Convergence, ...]:
        """Time how long it takes until every version has answered every client."""
        began = time.monotonic() - self._since_workloads()
        return tuple(in_parallel(lambda client: traffic.converge(client, began, self._scale), self._clients()))

    def _since_workloads(self) -> float:
        """Seconds since the workloads were ready; 0 where this run did not deploy them."""
        last: Step | None = next((step for step in reversed(self._log.steps) if step.phase is Phase.WORKLOADS), None)
        return (datetime.now(UTC) - last.started).total_seconds() - last.seconds if last else 0.0

    def probe(self) -> tuple[Probe, ...]:
        """Send the probes, from inside each cluster."""
        seen = self._seen()
        credentials = {name: objects.credentials for name, objects in self._objects.items()}
        planned = probe_plan.plan(self._topology, self._asked, seen, credentials)
        found = {name: probe_plan.source_of(cluster, self._asked.sample_namespace) for name, cluster in seen.items()}
        sources = {name: source for name, source in found.items() if source}
        return probes.send(self._kubes, planned, sources, self._asked.trust_domain, self._scale)

    def send(self, convergence: tuple[Convergence, ...], count: int) -> Traffic:
        """Send coverage and distribution, all clients side by side, and collect what the destinations saw."""
        began, limit = time.monotonic(), ASK_SECONDS * self._scale
        seen, senders = self._seen(), self._clients()
        odds = traffic.odds(self._topology, self._asked, seen)
        destinations = tuple(
            peers.Destination(name, self._kubes[name], pod)
            for name, cluster in seen.items()
            for pod in expected.helloworld_pods(cluster, self._asked.sample_namespace)
            if expected.has_proxy(pod)
        )
        before = peers.metrics(destinations, limit)

        converged = {timed.client for timed in convergence if timed.converged}

        def both(client: traffic.Client) -> tuple[Sequence, Sequence | None]:
            coverage = traffic.cover(client, odds.cap, client.cluster in converged)
            return coverage, traffic.distribute(client, count, coverage)

        sent = in_parallel(both, senders)
        sequences = [sequence for pair in sent for sequence in pair if sequence]
        answered = {request.instance for sequence in sequences for request in sequence.requests if request.instance}
        found, missing = peers.peers(destinations, answered, before, lambda: time.monotonic() - began, limit)
        return Traffic(
            convergence=convergence,
            coverage=tuple(coverage for coverage, _ in sent),
            cap=odds.cap,
            false_alarm=odds.false_alarm,
            distribution=tuple(distribution for _, distribution in sent if distribution),
            peers=found,
            peers_missing=missing,
        )

    def complete(self, name: str) -> ClusterObservation:
        """All that was read of one cluster."""
        objects = self._objects.get(name)
        if objects is None:
            access = self._kubes[name].access
            return ClusterObservation(name=name, context=access.context, api_server=access.peer_server)
        said = self._processes.get(name, _Processes())
        return objects.observed.model_copy(
            update={
                "readings": objects.reader.readings,
                "control_planes": said.control_planes,
                "proxies": said.proxies,
            }
        )


def _asking(ask: Callable[[Pod], Found], pod: Pod) -> Callable[[], Found]:
    return lambda: ask(pod)


def _ask(reader: Reader, subject: Subject, pod: Pod, work: Callable[[], Found]) -> Found | None:
    """What a pod says; one that is not ready may well say nothing, and that is no failure of the suite."""
    try:
        return work()
    except Exception as failed:  # noqa: BLE001 - whatever fails is noted, nothing may stop an observation
        if pod.ready:
            reader.failed(subject, failed)
        return None
