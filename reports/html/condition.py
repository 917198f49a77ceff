"""Which parts of which clusters are broken, for the drawing: from causes, findings and what was observed. Pure."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from harness.judge.diagnose.graph import Layer, judged_at
from harness.judge.diagnose.registry import detectors
from harness.judge.judgement import Verdict
from harness.model.cluster import ReadOutcome, RemoteSecret, Subject
from harness.model.observation import Observation
from harness.model.topology import Cluster
from harness.model.traffic import ProbeKind, ProbeResult
from reports.html.traffic import answering
from reports.result import TopologyResult


class Part(StrEnum):
    """A part of a cluster that the drawing shows."""

    API_SERVER = "API server"
    CERTIFICATES = "certificates"
    CONTROL_PLANE = "control plane"
    GATEWAY = "gateway"
    WORKLOADS = "workloads"
    NETWORK = "network"
    REMOTE_SECRETS = "remote secrets"
    TRAFFIC = "traffic"


class State(StrEnum):
    """How a part is."""

    GOOD = "good"
    CAUSE = "cause"
    """It is at fault."""
    BROKEN = "broken"
    """Something about it is not as required."""
    UNSEEN = "unseen"
    """It was not observed."""


_PART_OF_LAYER = {
    Layer.API_SERVERS: Part.API_SERVER,
    Layer.NODES: Part.CONTROL_PLANE,
    Layer.CERTIFICATES: Part.CERTIFICATES,
    Layer.CONTROL_PLANE: Part.CONTROL_PLANE,
    Layer.GATEWAYS: Part.GATEWAY,
    Layer.REMOTE_SECRETS: Part.REMOTE_SECRETS,
    Layer.NETWORK: Part.NETWORK,
    Layer.WORKLOADS: Part.WORKLOADS,
    Layer.PROXIES: Part.WORKLOADS,
    Layer.POLICIES: Part.CONTROL_PLANE,
    Layer.ENDPOINTS: Part.WORKLOADS,
    Layer.TRAFFIC: Part.TRAFFIC,
}
_PART_OF_AREA = {
    "certificates": Part.CERTIFICATES,
    "control plane": Part.CONTROL_PLANE,
    "network": Part.NETWORK,
    "gateways": Part.GATEWAY,
    "remote secrets": Part.REMOTE_SECRETS,
    "workloads": Part.WORKLOADS,
    "proxies": Part.WORKLOADS,
    "endpoints": Part.WORKLOADS,
    "traffic": Part.TRAFFIC,
    "mtls": Part.TRAFFIC,
}


@dataclass(frozen=True)
class Mark:
    """Something to draw in red."""

    cluster: str
    """Empty for all clusters."""
    part: Part
    is_cause: bool
    text: str
    about: str
    """What it is about: object and field, without what was expected and found there."""


def marks(result: TopologyResult) -> tuple[Mark, ...]:
    """What causes and findings say of each part; causes first."""
    layers = {detector.id: detector.layer for detector in detectors()} if result.causes else {}
    found = []
    for cause in result.causes:
        layer = layers.get(cause.id) or next(filter(None, map(judged_at, cause.explains)), None)
        if layer and (part := _PART_OF_LAYER.get(layer)):
            about = f"{cause.object} {cause.field}"
            found.append(Mark(cause.cluster, part, True, f"{cause.title}: {about}", about))
    for judgement in result.judgements:
        if part := _PART_OF_AREA.get(judgement.area):
            found += [
                Mark(finding.cluster, part, False, f"{judgement.id}: {finding}", f"{finding.object} {finding.field}")
                for finding in judgement.findings
                if judgement.verdict is Verdict.FAIL
            ]
    for cluster in (*result.observation.clusters, *result.observation.hosts):
        reading = cluster.reading(Subject.API_SERVER)
        if reading and reading.outcome is ReadOutcome.UNREACHABLE:
            found.append(Mark(cluster.name, Part.API_SERVER, False, reading.detail or "did not answer", ""))
    return tuple(found)


def part_state(found: Iterable[Mark], cluster: str, part: Part) -> tuple[State, str]:
    """The state of one part of one cluster, and why."""
    mine = [fault for fault in found if fault.part is part and fault.cluster in {cluster, ""}]
    if not mine:
        return State.GOOD, ""
    return _worst(mine), "\n".join(fault.text for fault in mine)


def secret_state(
    observation: Observation, found: Iterable[Mark], watcher: Cluster, watched: Cluster
) -> tuple[State, str]:
    """How a control plane's access to another cluster's API server is, and why."""
    alone = len(observation.topology.watched_by(watcher)) == 1
    mine = [
        fault
        for fault in found
        if fault.part is Part.REMOTE_SECRETS and fault.cluster in {watcher.name, ""}
        if alone or _names(fault.about, watched.name, watched.cluster_name)
    ]
    texts = [*_secret_faults(observation, watcher, watched), *(fault.text for fault in mine)]
    if texts:
        return _worst(mine), "\n".join(texts)
    read = observation[watcher].reading(Subject.REMOTE_SECRETS)
    seen = read is not None and read.outcome is ReadOutcome.READ
    return (State.GOOD, "") if seen else (State.UNSEEN, "not observed")


def _secret_faults(observation: Observation, watcher: Cluster, watched: Cluster) -> list[str]:
    observed = observation[watcher]
    read = observed.reading(Subject.REMOTE_SECRETS)
    texts = []
    if read and read.outcome is ReadOutcome.READ and not any(_opens(s, watched) for s in observed.remote_secrets):
        texts.append(f"{watcher.name} has no remote secret for {watched.cluster_name}")
    texts += [
        f"API server of {watched.name} from {watcher.name}: {probe.result}"
        for probe in observation.probes
        if probe.kind is ProbeKind.API_SERVER
        and (probe.source, probe.target) == (watcher.name, watched.name)
        and probe.result not in {ProbeResult.ANSWERED, ProbeResult.TRANSPORT, ProbeResult.NO_TOOL}
    ]
    texts += [
        f"{plane.pod} reports {watched.cluster_name} as {sync.sync_status}"
        for plane in observed.control_planes
        for sync in plane.clusters
        if sync.id == watched.cluster_name and sync.sync_status != "synced"
    ]
    return texts


def _opens(secret: RemoteSecret, watched: Cluster) -> bool:
    return secret.labelled and watched.cluster_name in secret.clusters


def traffic_state(
    observation: Observation, found: Iterable[Mark], client: Cluster, target: Cluster
) -> tuple[State, str]:
    """Whether a cluster's client is answered by another cluster's version as it must be, and why."""
    answers = answering(observation, client)
    if answers is None:
        return State.UNSEEN, "no requests were observed"
    count = answers.get(target.version, 0)
    said = f"{target.version} of {target.name} answered {client.name} {count} times"
    mine = [fault for fault in found if fault.part is Part.TRAFFIC and fault.cluster in {client.name, ""}]
    named = [fault for fault in mine if _names(fault.about, target.name, target.cluster_name, target.version)]
    blamed = mine if count == 0 else named
    if count and not blamed:
        return State.GOOD, said
    return _worst(blamed), "\n".join([said, *(fault.text for fault in blamed)])


def _worst(found: Iterable[Mark]) -> State:
    return State.CAUSE if any(fault.is_cause for fault in found) else State.BROKEN


def _names(text: str, *names: str) -> bool:
    return any(re.search(rf"\b{re.escape(name)}\b", text) for name in names)
