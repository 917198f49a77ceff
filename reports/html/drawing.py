"""The drawing of a topology: clusters by network, what stands on them, and what connects them. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from harness.model.observation import Observation
from harness.topology import Cluster, Topology
from reports.conformance import gateway_addresses
from reports.html.condition import Fault, Part, State, faults, part_state, secret_state, traffic_state
from reports.result import TopologyResult

BOX, SPACE, PADDING, MARGIN = 268, 132, 20, 24
"""Widths: a cluster, the space between two, from a network's frame to its clusters, around everything."""
HEADER, ROW = 58, 44
LIFT, FALL = 34, 34
"""How much higher, or lower, an arrow goes for each cluster that it passes."""


@dataclass(frozen=True)
class RowView:
    """A part of a cluster."""

    y: float
    label: str
    text: str
    state: State
    why: str


@dataclass(frozen=True)
class BoxView:
    """A cluster."""

    x: float
    y: float
    height: float
    name: str
    role: str
    subtitle: str
    state: State
    why: str
    rows: tuple[RowView, ...]


@dataclass(frozen=True)
class FrameView:
    """A network with the clusters on it."""

    x: float
    y: float
    width: float
    height: float
    name: str
    state: State
    why: str


@dataclass(frozen=True)
class ArrowView:
    """Something that leads from one cluster to another."""

    path: str
    kind: str
    """secret, traffic or config."""
    state: State
    label: str
    why: str
    x: float
    y: float
    """Where its mark stands when it is broken."""


@dataclass(frozen=True)
class Drawing:
    """Everything, in the units of the SVG's view box."""

    width: float
    height: float
    row_width: float
    frames: tuple[FrameView, ...]
    boxes: tuple[BoxView, ...]
    arrows: tuple[ArrowView, ...]
    description: str


def draw(result: TopologyResult) -> Drawing:
    """Draw the topology of a result, in red where it is broken."""
    observation, found = result.observation, faults(result)
    topology = observation.topology
    count = len(topology.clusters)
    rows = 4 if any(topology.has_gateway(cluster) for cluster in topology.clusters) else 3
    height = HEADER + rows * ROW + 10
    top = MARGIN + 34 + LIFT * count + PADDING
    boxes = tuple(
        _box(observation, found, cluster, (MARGIN + PADDING + n * (BOX + SPACE), top), height)
        for n, cluster in enumerate(topology.clusters)
    )
    arrows = (
        *_secrets(observation, found, boxes),
        *_traffic(observation, boxes),
        *_configuration(observation, boxes),
    )
    return Drawing(
        width=2 * (MARGIN + PADDING) + count * BOX + (count - 1) * SPACE,
        height=top + height + 34 + PADDING + FALL * count + MARGIN,
        row_width=BOX - 24,
        frames=_frames(topology, found, boxes),
        boxes=boxes,
        arrows=arrows,
        description=_description(topology, arrows),
    )


def _box(
    observation: Observation, found: Sequence[Fault], cluster: Cluster, corner: tuple[float, float], height: float
) -> BoxView:
    x, y = corner
    topology, observed = observation.topology, observation[cluster]
    lines = [
        (Part.CERTIFICATES, "CA", _authority(observation, cluster)),
        (Part.CONTROL_PLANE, "control plane", _control_plane(observation, cluster)),
    ]
    if topology.has_gateway(cluster):
        address = ", ".join(gateway_addresses(observed)) or "no address"
        lines.append((Part.GATEWAY, "east-west gateway", address))
    lines.append((Part.WORKLOADS, "workloads", f"sleep, helloworld {cluster.version}"))
    rows = tuple(
        RowView(y + HEADER + n * ROW, label, text, *part_state(found, cluster.name, part))
        for n, (part, label, text) in enumerate(lines)
    )
    version = f" · Kubernetes {observed.kubernetes_version}" if observed.kubernetes_version else ""
    state, why = part_state(found, cluster.name, Part.API_SERVER)
    return BoxView(x, y, height, cluster.name, cluster.role, f"{cluster.cluster_name}{version}", state, why, rows)


def _authority(observation: Observation, cluster: Cluster) -> str:
    secret = observation[cluster].ca_secret
    if secret is None or not secret.exists:
        return "no cacerts"
    if secret.ca_cert is None or secret.root_cert is None:
        return "cacerts incomplete"
    return f"{secret.ca_cert.sha256[:8]} under root {secret.root_cert.sha256[:8]}"


def _control_plane(observation: Observation, cluster: Cluster) -> str:
    versions = sorted({plane.version for plane in observation[cluster].control_planes if plane.version})
    if versions:
        return f"istiod {', '.join(versions)}"
    return "istiod not observed" if cluster.is_primary else f"served by {cluster.primary}"


def _frames(topology: Topology, found: Sequence[Fault], boxes: Sequence[BoxView]) -> tuple[FrameView, ...]:
    """One frame for each run of neighbours on the same network."""
    runs: list[tuple[str, list[int]]] = []
    for n, cluster in enumerate(topology.clusters):
        if runs and runs[-1][0] == cluster.network:
            runs[-1][1].append(n)
        else:
            runs.append((cluster.network, [n]))
    return tuple(_frame(name, [boxes[n] for n in members], found) for name, members in runs)


def _frame(name: str, members: Sequence[BoxView], found: Sequence[Fault]) -> FrameView:
    states = [part_state(found, box.name, Part.NETWORK) for box in members]
    state = next((s for s in (State.CAUSE, State.BROKEN) if any(s is each for each, _ in states)), State.GOOD)
    first, last = members[0], members[-1]
    return FrameView(
        x=first.x - PADDING,
        y=first.y - PADDING - 14,
        width=last.x + BOX - first.x + 2 * PADDING,
        height=first.height + 2 * PADDING + 14,
        name=name,
        state=state,
        why="\n".join(dict.fromkeys(why for _, why in states if why)),
    )


def _secrets(observation: Observation, found: Sequence[Fault], boxes: Sequence[BoxView]) -> tuple[ArrowView, ...]:
    """Above: from each control plane to the API servers it must watch."""
    topology, arrows = observation.topology, []
    for watcher in topology.primaries:
        for watched in topology.watched_by(watcher):
            state, why = secret_state(observation, found, watcher, watched)
            label = f"remote secret: {watcher.name} reads {watched.name}"
            arrows.append(_arc("secret", boxes, _ends(topology, watcher, watched), state, (label, why)))
    return tuple(arrows)


def _traffic(observation: Observation, boxes: Sequence[BoxView]) -> tuple[ArrowView, ...]:
    """Below: from each client to each other cluster's version."""
    topology, arrows = observation.topology, []
    for client in topology.clusters:
        for target in topology.others(client):
            state, why = traffic_state(observation, client, target)
            through = f" through {target.name}'s gateway" if client.network != target.network else ""
            label = f"requests of {client.name} to {target.version} of {target.name}{through}"
            arrows.append(_arc("traffic", boxes, _ends(topology, client, target), state, (label, why)))
    return tuple(arrows)


def _configuration(observation: Observation, boxes: Sequence[BoxView]) -> tuple[ArrowView, ...]:
    """Between neighbours: a remote's proxies are served by its primary."""
    topology, arrows = observation.topology, []
    for remote in topology.remotes:
        start, end = _ends(topology, topology[remote.primary], remote)
        if abs(end - start) != 1:
            continue
        y = boxes[start].rows[1].y + ROW / 2 - 4
        left, right = (boxes[start].x + BOX, boxes[end].x) if end > start else (boxes[start].x, boxes[end].x + BOX)
        row = boxes[end].rows[1]
        label = f"configuration and certificates: {remote.primary} serves {remote.name}"
        path = f"M{left} {y} H{right - (5 if end > start else -5)}"
        arrows.append(ArrowView(path, "config", row.state, label, row.why, (left + right) / 2, y))
    return tuple(arrows)


def _ends(topology: Topology, start: Cluster, end: Cluster) -> tuple[int, int]:
    names = [cluster.name for cluster in topology.clusters]
    return names.index(start.name), names.index(end.name)


def _arc(kind: str, boxes: Sequence[BoxView], ends: tuple[int, int], state: State, words: tuple[str, str]) -> ArrowView:
    """An arrow with rounded corners over, or under, the clusters; one way lies outside the other."""
    start, end = ends
    forth, far = end > start, abs(end - start)
    above = kind == "secret"
    side = 1 if forth else -1
    outer = 12 if forth else 0
    # Every cluster has a slot for each partner, so that no two arrows share a line.
    x1 = boxes[start].x + BOX / 2 + side * (40 + 26 * (len(boxes) - far)) + (0 if forth else -6)
    x2 = boxes[end].x + BOX / 2 - side * (40 + 26 * (len(boxes) - far)) + (0 if forth else 6)
    x1, x2 = x1 + (-8 if forth else 14), x2 + (8 if forth else -14)
    if above:
        edge = boxes[start].y
        y = edge - PADDING - 14 - LIFT * far - outer + 6
        radius = 10
        path = _bent(x1, x2, edge, y, radius, tip=4)
    else:
        edge = boxes[start].y + boxes[start].height
        y = edge + PADDING + FALL * far + outer - 8
        radius = -10
        path = _bent(x1, x2, edge, y, radius, tip=-4)
    return ArrowView(path, kind, state, words[0], words[1], (x1 + x2) / 2 + (18 if forth else -18), y)


def _bent(x1: float, x2: float, edge: float, y: float, radius: float, tip: float) -> str:
    turn = abs(radius) if x2 > x1 else -abs(radius)
    return (
        f"M{x1:g} {edge:g} V{y + radius:g} Q{x1:g} {y:g} {x1 + turn:g} {y:g} "
        f"H{x2 - turn:g} Q{x2:g} {y:g} {x2:g} {y + radius:g} V{edge - tip:g}"
    )


def _description(topology: Topology, arrows: Sequence[ArrowView]) -> str:
    clusters = "; ".join(
        f"{c.name} is a {c.role}{'' if c.is_primary else f' of {c.primary}'} on {c.network}" for c in topology.clusters
    )
    broken = [arrow.label for arrow in arrows if arrow.state in {State.CAUSE, State.BROKEN}]
    return f"{clusters}. {'Broken: ' + '; '.join(broken) if broken else 'No connection is broken'}."
