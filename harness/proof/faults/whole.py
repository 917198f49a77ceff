"""Whether a mesh that was mended is whole again, and the wait until it is."""

from collections.abc import Callable, Iterable

from harness.base.waiting import wait_until
from harness.judge.catalogue import catalogue
from harness.judge.requirement import Judgement, Verdict, judge
from harness.model import expectations
from harness.model.observation import Observation
from harness.model.step_log import OpenStep

PAUSE_SECONDS = 1.0
SHOWN = 3
"""As many of the things that are pending are named while waiting."""


def judged(observation: Observation, leave_out: Iterable[str] = ()) -> tuple[Judgement, ...]:
    """The verdict on every requirement that applies."""
    rows = [row for row in catalogue().values() if row.applies_to(observation.topology) and row.id not in leave_out]
    return tuple(judge(row, observation) for row in rows)


def pending(observation: Observation) -> tuple[str, ...]:
    """What is not whole yet, as far as it can be read without sending a request. Pure.

    Workloads available, every pod ready and none going, every proxy synced, every remote cluster synced, every client
    with its endpoints: all that requirements look at. What they could not examine for want of requests is left aside.
    """
    asked = observation.asked
    ours = {asked.system_namespace, asked.cni_namespace, asked.sample_namespace}
    found = [
        f"{observed.name}: pod {pod.namespace}/{pod.name} {'is going' if pod.deleting else 'is not ready'}"
        for observed in observation.clusters
        for pod in observed.pods
        if pod.namespace in ours and (pod.deleting or not (pod.ready or pod.ended))
    ]
    read = {(observed.name, proxy.pod) for observed in observation.clusters for proxy in observed.proxies}
    found += [
        f"{observed.name}: the proxy of {pod.name} can't be asked"
        for observed in observation.clusters
        for pod in observed.pods
        if pod.ready and not pod.deleting and expectations.has_proxy(pod) and (observed.name, pod.name) not in read
    ]
    for judgement in judged(observation):
        if judgement.verdict in {Verdict.FAIL, Verdict.BLOCKED}:
            found.append(f"{judgement.id}: {judgement.explanation.splitlines()[0]}")
    return tuple(found)


def await_whole(look: Callable[[], Observation], timeout: float, step: OpenStep) -> None:
    """Look until nothing is pending.

    Args:
        look: reads the mesh without sending requests.
        timeout: seconds.
        step: told what is pending.

    Raises:
        WaitError: the time is over; says what is still pending.
    """

    def few() -> str:
        left = pending(look())
        return "; ".join(left[:SHOWN]) + (f" and {len(left) - SHOWN} more" if len(left) > SHOWN else "")

    wait_until(few, timeout, unmet="not whole", pause_seconds=PAUSE_SECONDS, waiting=step.waiting)
