"""Whether a mesh is whole again after a change was undone, and the wait until it is."""

from collections.abc import Callable, Collection, Iterable

from harness.base.waiting import wait_until
from harness.judge.judgement import Judgement, Verdict
from harness.judge.requirement import Requirement, judge
from harness.model import expectations
from harness.model.experiment import IDS
from harness.model.observation import Observation
from harness.model.step_log import OpenStep

PAUSE_SECONDS = 1.0
SHOWN = 3
"""As many of the pending things are named while waiting."""
NEVER_LIVE = frozenset({"IDEMPOTENT"})
"""Not judged on a mesh that is changed: it compares two runs of the procedure."""
AFTER_REMOVAL = frozenset({"CLEAN"})
"""Judged only after the mesh was removed."""


def judged(
    observation: Observation, requirements: Iterable[Requirement], leave_out: Collection[str] = ()
) -> tuple[Judgement, ...]:
    """The verdict on every requirement that applies to a mesh at rest, except those left out. Pure."""
    rows = [row for row in requirements if row.applies_to(observation.topology) and not row.scenario]
    return tuple(judge(row, observation) for row in rows if row.id not in leave_out)


def judged_while_it_stands(
    observation: Observation,
    requirements: Iterable[Requirement],
    experiments: frozenset[str] = frozenset(),
    *,
    removed: bool = False,
) -> tuple[Judgement, ...]:
    """The verdicts on a mesh that is changed on purpose. Pure.

    Args:
        observation: of the mesh.
        requirements: all there are.
        experiments: requirements whose experiments were made; the others' are left out.
        removed: the mesh was removed, so that the cleanup is judged as well.
    """
    leave_out = (frozenset(IDS) - experiments) | NEVER_LIVE | (frozenset() if removed else AFTER_REMOVAL)
    return judged(observation, requirements, leave_out)


def pending(observation: Observation, requirements: Iterable[Requirement]) -> tuple[str, ...]:
    """What is not whole yet, as far as it shows without sending a request. Pure.

    Every pod is ready and none is terminating, every proxy can be asked, and no requirement fails or is blocked; what
    requirements could not examine without requests is left aside.
    """
    asked = observation.asked
    ours = {asked.system_namespace, asked.cni_namespace, asked.sample_namespace}
    found = [
        f"{observed.name}: pod {pod.namespace}/{pod.name} {'is terminating' if pod.deleting else 'is not ready'}"
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
    for judgement in judged(observation, requirements):
        if judgement.verdict in {Verdict.FAIL, Verdict.BLOCKED}:
            found.append(f"{judgement.id}: {judgement.explanation.splitlines()[0]}")
    return tuple(found)


def await_whole(
    look: Callable[[Callable[[Observation], bool]], Observation],
    requirements: Collection[Requirement],
    timeout: float,
    step: OpenStep,
) -> Observation:
    """Look until nothing is pending, and return what that look saw, with the requests that it sent.

    Args:
        look: reads the mesh; sends requests only where the function that it is given says so of what was read.
        requirements: all there are.
        timeout: seconds.
        step: notified of what is pending.

    Raises:
        WaitError: the time is over; names what is still pending.
    """
    left: tuple[str, ...] = ()
    seen: list[Observation] = []

    def whole(read: Observation) -> bool:
        nonlocal left
        left = pending(read, requirements)
        return not left

    def few() -> str:
        seen[:] = [look(whole)]
        return "; ".join(left[:SHOWN]) + (f" and {len(left) - SHOWN} more" if len(left) > SHOWN else "")

    wait_until(few, timeout, unmet="not whole", pause_seconds=PAUSE_SECONDS, waiting=step.waiting)
    return seen[0]


def broken(judgements: Iterable[Judgement]) -> list[str]:
    """Every requirement that failed, is blocked or unknown, with its first reason. Pure."""
    return [
        f"{judgement.id} {judgement.verdict}: {judgement.explanation.splitlines()[0]}"
        for judgement in judgements
        if judgement.verdict in {Verdict.FAIL, Verdict.BLOCKED, Verdict.UNKNOWN}
    ]
