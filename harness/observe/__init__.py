"""Reads clusters and mesh into an observation. It changes nothing and keeps no secret."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from harness.kube.api import KubeApi
from harness.model.observation import Asked, Environment, Observation, SuiteVersion
from harness.model.service import ServiceTraffic
from harness.model.step_log import StepLog
from harness.model.topology import Topology
from harness.model.traffic import Convergence, Probe, Traffic
from harness.observe.conditions import ConditionsMeter
from harness.observe.observer import Observer


def observe(
    topology: Topology,
    kubes: Mapping[str, KubeApi],
    asked: Asked,
    *,
    environment: Environment,
    suite: SuiteVersion,
    run_id: str,
    started: datetime,
    deviations: tuple[str, ...] = (),
    log: StepLog,
    requests: int = 400,
    send: bool | Callable[[Observation], bool] = True,
    timeout_scale: float = 1.0,
) -> Observation:
    """Read everything that requirements look at, and send the requests that they judge.

    Never raises for a fault of the mesh: what could not be read is noted with each cluster's readings, and a failure of
    the suite itself under `errors`. A healthy mesh of two clusters takes about 10 s, a broken one at most 30 s.

    Args:
        topology: the clusters.
        kubes: each cluster of the topology, by its name.
        asked: what the run was asked for.
        environment: where it runs.
        suite: which suite this is.
        run_id: id of the run.
        started: when the run began.
        deviations: what was done that the chapter does not say.
        log: its steps so far become part of the observation, and those of observing.
        requests: requests a client for the distribution of answers.
        send: whether probes and requests are sent; else only what is there is read. A function decides by what was
            read.
        timeout_scale: factor for every deadline.
    """
    observed, observer = datetime.now(UTC), Observer(topology, kubes, asked, log, timeout_scale)

    def found(sent: _Sent) -> Observation:
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
            clusters=tuple(map(observer.observed, topology.clusters)),
            hosts=tuple(observer.complete(host.name) for host in topology.hosts),
            probes=sent.probes,
            traffic=sent.traffic,
            service_traffic=sent.service,
            errors=observer.errors,
        )

    decided = (lambda: send(found(_Sent()))) if callable(send) else send
    with ConditionsMeter(kubes, observer.shell, environment.platform == "kind") as meter:
        sent = _look(observer, decided, service=asked.service is not None, requests=requests)
    return found(sent).model_copy(update={"conditions": meter.conditions})


@dataclass(frozen=True)
class _Sent:
    """What was sent, with the answers; empty where nothing was sent, or sending failed."""

    probes: tuple[Probe, ...] = ()
    traffic: Traffic | None = None
    service: ServiceTraffic | None = None


def _look(observer: Observer, send: bool | Callable[[], bool], *, service: bool, requests: int) -> _Sent:
    """Read and send everything, step by step; `service` says whether the requests go to a service of the user's."""
    observer.step("Read the objects of every cluster", observer.read_objects)
    # Before processes are asked: what is timed is the mesh, not the suite.
    timed = _converge(observer) if send is True and not service else None
    observer.step("Ask control planes and proxies", observer.ask_processes)
    sent = _Sent()
    if send() if callable(send) else send:
        probes = observer.step("Probe what clusters need of each other", observer.probe) or ()
        if service:
            sent = _Sent(probes, service=observer.step("Send requests to the service", observer.send_to_service))
        else:
            convergence = _converge(observer) if timed is None else timed
            title = "Send requests from every cluster"
            sent = _Sent(probes, observer.step(title, lambda: observer.send(convergence, requests)))
    observer.step("Read the logs of what is not as it should be", lambda: observer.read_logs(sent.traffic))
    observer.step("See whether it is all still there", observer.look_again)
    return sent


def _converge(observer: Observer) -> tuple[Convergence, ...]:
    return observer.step("Time until every version answers", observer.converge) or ()
