"""From an observation to causes: which object is at fault, and what repairs it. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from harness.judge.diagnose import foreign
from harness.judge.diagnose.cause import Cause
from harness.judge.diagnose.facts import few, requests_logged
from harness.judge.diagnose.graph import Layer, LayerNode, judged_at, upstream
from harness.judge.diagnose.registry import Detector, Found, detectors
from harness.judge.judgement import Judgement, Verdict
from harness.judge.placement import of_control_plane
from harness.model.observation import Observation
from harness.model.step import Outcome
from harness.model.topology import Topology

BROKEN = frozenset({Verdict.FAIL, Verdict.BLOCKED})
UNEXPLAINED = "unexplained"
STEP_FAILED = "step-failed"


@dataclass(frozen=True)
class Candidate:
    """Something broken, with the detector that found it."""

    detector: Detector
    found: Found
    explains: frozenset[str] = frozenset()


def diagnose(observation: Observation, judgements: tuple[Judgement, ...]) -> tuple[Cause, ...]:
    """Name what is at fault, the most fundamental first; what follows from a cause is listed under it.

    A cause that explains no failed or blocked requirement is left out: settings that hurt nobody are no faults. A
    failed requirement that no cause explains gets a cause of its own, made from its findings.

    Args:
        observation: the run.
        judgements: its verdicts.
    """
    broken = frozenset(judgement.id for judgement in judgements if judgement.verdict in BROKEN)
    if not broken:
        return ()
    causes = explained(observation.topology, candidates(observation), broken)
    named = frozenset().union(*(candidate.explains for candidate in causes))
    left = [j for j in judgements if j.id in broken - named]
    return tuple(_cause(observation, candidate) for candidate in causes) + _otherwise(observation, left)


def candidates(observation: Observation) -> tuple[Candidate, ...]:
    """Everything broken that does not follow from something else that is broken, in the order of the layers."""
    topology = observation.topology
    all_found = ((detector, found) for detector in detectors() for found in detector.find(observation))
    found = [Candidate(detector, placed(observation, each)) for detector, each in all_found]
    return tuple(
        each
        for index, each in enumerate(found)
        if not any(_follows(topology, each, other, earlier=at < index) for at, other in enumerate(found))
    )


def placed(observation: Observation, found: Found) -> Found:
    """With the cluster on which the object stands: what is a primary's control plane may be outside of the mesh."""
    primary = observation.topology[found.cluster] if found.cluster else None
    if primary is None or not primary.host or not of_control_plane(found.object):
        return found
    return replace(found, cluster=primary.host, felt_at=found.felt_at or primary.name)


def _follows(topology: Topology, effect: Candidate, other: Candidate, *, earlier: bool) -> bool:
    """Whether one thing that is seen by its effect may come from another that is broken."""
    if not effect.detector.effect or other.detector is effect.detector:
        return False
    mine, broken = _nodes(topology, effect, effect.detector.layer), _taken_down(topology, other)
    if other.detector.effect and broken & mine:
        # Two effects at one place: the one that is declared first says more.
        return earlier
    return any(broken & upstream(topology, node) for node in mine)


def explained(topology: Topology, causes: Sequence[Candidate], broken: frozenset[str]) -> tuple[Candidate, ...]:
    """The causes that explain something, each with what it explains.

    A requirement that proves a cause is listed under that cause; only where none does, under those it may follow from.
    """
    claims: list[set[str]] = [set() for _ in causes]
    for id in broken:  # noqa: A001 - the judgement's word
        proving = [index for index, candidate in enumerate(causes) if id in candidate.detector.proves]
        behind = [index for index, candidate in enumerate(causes) if _behind(topology, candidate, id)]
        for indices in (
            [index for index in proving if not causes[index].detector.fallback],
            [index for index in behind if not causes[index].detector.fallback],
            proving,
            behind,
        ):
            if indices:
                for index in indices:
                    claims[index].add(id)
                break
    return tuple(replace(causes[index], explains=frozenset(ids)) for index, ids in enumerate(claims) if ids)


def _nodes(topology: Topology, candidate: Candidate, layer: Layer) -> frozenset[LayerNode]:
    """The nodes of a layer that something concerns: those of all clusters where it names none."""
    one = candidate.found.felt_at or candidate.found.cluster
    return frozenset(LayerNode(layer, name) for name in ([one] if one else [each.name for each in topology.clusters]))


def _taken_down(topology: Topology, candidate: Candidate) -> frozenset[LayerNode]:
    layer = candidate.detector.breaks
    if layer is None or candidate.found.harmless:
        return frozenset()
    if layer is Layer.TRAFFIC:
        # Traffic has two ends: what disturbs it at one is seen at the other.
        return frozenset(LayerNode(layer, cluster.name) for cluster in topology.clusters)
    return _nodes(topology, candidate, layer)


def _behind(topology: Topology, candidate: Candidate, requirement: str) -> bool:
    """Whether what the requirement looks at needs what is broken."""
    layer, broken = judged_at(requirement), _taken_down(topology, candidate)
    if layer is None:
        return False
    return any(broken & upstream(topology, LayerNode(layer, cluster.name)) for cluster in topology.every)


def _cause(observation: Observation, candidate: Candidate) -> Cause:
    detector, found = candidate.detector, candidate.found
    repair, change = _remedy(observation, found, effect=detector.effect)
    return Cause(
        id=detector.id,
        title=found.title or detector.title,
        cluster=found.cluster,
        object=found.object,
        field=found.field,
        expected=found.expected,
        found=found.found,
        repair=repair,
        change=change,
        evidence=found.evidence,
        explains=tuple(sorted(candidate.explains)),
    )


def _remedy(observation: Observation, found: Found, *, effect: bool) -> tuple[str, str]:
    """A command, and what to change: one that repairs on the suite's own mesh, one that looks on any other."""
    if observation.asked.mode == "install":
        return found.repair, ""
    return foreign.look(observation, found), foreign.advice(observation, found, effect=effect)


def _otherwise(observation: Observation, left: list[Judgement]) -> tuple[Cause, ...]:
    """Causes for what nothing else explains: a step that failed, else the requirement's own findings."""
    step = next((step for step in observation.steps if step.outcome is Outcome.FAILED), None)
    if step is not None and left:
        return (
            Cause(
                id=STEP_FAILED,
                title=f"a step of the procedure did not reach its goal: {step.title}",
                cluster=step.cluster or "",
                object=f"step {step.title}",
                field="outcome",
                expected="done",
                found=step.detail or step.outcome,
                repair="# mend what the step reports, then run again",
                explains=tuple(sorted(judgement.id for judgement in left)),
            ),
        )
    requests = tuple(requests_logged(observation))
    return tuple(
        _unexplained(observation, judgement, left, requests if judged_at(judgement.id) is Layer.TRAFFIC else ())
        for judgement in left
        if judgement.findings
    )


def _unexplained(
    observation: Observation, judgement: Judgement, left: list[Judgement], evidence: Iterable[str]
) -> Cause:
    first, *rest = judgement.findings
    see = f"# see docs/requirements.md#{judgement.id.lower()}"
    found = placed(observation, Found(first.cluster, first.object, first.field, first.expected, first.found, see))
    repair, change = _remedy(observation, found, effect=True)
    blocked = [j.id for j in left if any(r.reason.startswith(f"blocked by {judgement.id}:") for r in j.reservations)]
    return Cause(
        id=UNEXPLAINED,
        title=f"not as required, for no known reason: {judgement.title}",
        cluster=found.cluster,
        object=found.object,
        field=first.field,
        expected=first.expected,
        found=first.found,
        repair=repair,
        change=change,
        evidence=few((str(finding) for finding in rest[:3]), evidence),
        explains=tuple(dict.fromkeys([judgement.id, *sorted(blocked)])),
    )
