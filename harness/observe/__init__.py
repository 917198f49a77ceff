"""Reads clusters and mesh into an observation. It changes nothing and keeps no secret."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from harness.kube.api import KubeApi
from harness.model.observation import Asked, Environment, Observation, SuiteVersion
from harness.model.service import ServiceTraffic
from harness.model.step_log import StepLog
from harness.model.topology import Topology
from harness.model.traffic import Convergence, Probe, Traffic
from harness.observe.conditions import ConditionsMeter
from harness.observe.session import Session


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
        asked: what the run was asked to bring about.
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
    observed = datetime.now(UTC)
    session = Session(topology, kubes, asked, log, timeout_scale)
    sent_probes: tuple[Probe, ...] = ()
    sent_traffic: Traffic | None = None
    sent_to_service: ServiceTraffic | None = None
    convergence: tuple[Convergence, ...] | None = None

    def found() -> Observation:
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
            service_traffic=sent_to_service,
            errors=session.errors,
        )

    def converge() -> tuple[Convergence, ...]:
        return session.step("Time until every version answers", session.converge) or ()

    with ConditionsMeter(kubes, session.shell, environment.platform == "kind") as meter:
        own = asked.service is not None
        session.step("Read the objects of every cluster", session.read_objects)
        if send is True and not own:
            # Before processes are asked: what is timed is the mesh, not the suite.
            convergence = converge()
        session.step("Ask control planes and proxies", session.ask_processes)
        sending = send(found()) if callable(send) else send
        if sending:
            sent_probes = session.step("Probe what clusters need of each other", session.probe) or ()
        if sending and own:
            sent_to_service = session.step("Send requests to the service", session.send_to_service)
        elif sending:
            timed = converge() if convergence is None else convergence
            sent_traffic = session.step("Send requests from every cluster", lambda: session.send(timed, requests))
        session.step("Read the logs of what is not as it should be", lambda: session.read_logs(sent_traffic))
        session.step("See whether it is all still there", session.look_again)
    return found().model_copy(update={"conditions": meter.conditions})
