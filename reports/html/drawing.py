"""The drawing of a topology: clusters by network, what stands on them, and what connects them. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from harness.model.observation import Observation
from harness.model.topology import Cluster, Role, Topology
from reports.conformance import gateway_addresses
from reports.html.condition import Mark, Part, State, marks, part_state, secret_state, traffic_state
from reports.html.traffic import answering
from reports.result import TopologyResult

BOX, SPACE, PADDING, MARGIN = 268, 132, 20, 24
"""Widths: a cluster, the space between two, from a network's frame to its clusters, around everything."""
HEADER, ROW = 58, 44
FRAME = PADDING + 14
"""From a cluster to its network's frame, above and below."""
LIFT, PAIR, TURN, TIP = 44, 20, 9, 4
"""Arrows: how much farther out for each cluster that is passed; between the two of a pair; radius; room for the tip."""


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
    said: str
    """What stands beside it."""
    middle: float
    """The x of the middle of those words."""


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

    @property
    def broken(self) -> bool:
        """Whether anything is drawn in red."""
        rows = [row.state for box in self.boxes for row in box.rows]
        parts = [*(f.state for f in self.frames), *(b.state for b in self.boxes), *(a.state for a in self.arrows)]
        return bool({State.CAUSE, State.BROKEN} & {*rows, *parts})


def draw(result: TopologyResult) -> Drawing:
    """Draw the topology of a result, in red where it is broken."""
    observation, found = result.observation, marks(result)
    topology = observation.topology
    count = len(topology.every)
    rows = 4 if any(topology.has_gateway(cluster) for cluster in topology.clusters) else 3
    height = HEADER + rows * ROW + 10
    reach = FRAME + LIFT * (count - 1)
    top = MARGIN + reach
    boxes = tuple(
        _box(observation, found, cluster, (MARGIN + PADDING + n * (BOX + SPACE), top), height)
        for n, cluster in enumerate(topology.every)
    )
    arrows = (
        *_secrets(observation, found, boxes),
        *_traffic(observation, found, boxes),
        *_configuration(observation, boxes),
    )
    return Drawing(
        width=2 * (MARGIN + PADDING) + count * BOX + (count - 1) * SPACE,
        height=top + height + reach + MARGIN,
        row_width=BOX - 24,
        frames=_frames(topology, found, boxes),
        boxes=boxes,
        arrows=arrows,
        description=_description(topology, arrows),
    )


def _box(
    observation: Observation, found: Sequence[Mark], cluster: Cluster, corner: tuple[float, float], height: float
) -> BoxView:
    x, y = corner
    topology, observed, outside = observation.topology, observation[cluster], cluster.role is Role.EXTERNAL
    lines = [
        (Part.CERTIFICATES, "CA", _authority(observation, cluster)),
        (Part.CONTROL_PLANE, "control plane", _control_plane(observation, cluster)),
    ]
    if topology.has_gateway(cluster):
        address = ", ".join(gateway_addresses(observed)) or "no address"
        lines.append((Part.GATEWAY, "gateway" if outside else "east-west gateway", address))
    if not outside:
        lines.append((Part.WORKLOADS, "workloads", f"sleep, helloworld {cluster.version}"))
    rows = tuple(
        RowView(y + HEADER + n * ROW, label, text, *part_state(found, cluster.name, part))
        for n, (part, label, text) in enumerate(lines)
    )
    version = f"Kubernetes {observed.kubernetes_version}" if observed.kubernetes_version else ""
    subtitle = " · ".join(filter(None, ("" if outside else cluster.cluster_name, version)))
    state, why = part_state(found, cluster.name, Part.API_SERVER)
    return BoxView(x, y, height, cluster.name, cluster.role, subtitle, state, why, rows)


def _authority(observation: Observation, cluster: Cluster) -> str:
    if cluster.host:
        return f"that of {cluster.host}"
    secret = observation[cluster].ca_secret
    if secret is None or not secret.exists:
        return "no cacerts"
    if secret.ca_cert is None or secret.root_cert is None:
        return "cacerts incomplete"
    return f"{secret.ca_cert.sha256[:8]} under root {secret.root_cert.sha256[:8]}"


def _control_plane(observation: Observation, cluster: Cluster) -> str:
    versions = sorted({plane.version for plane in observation[cluster].control_planes if plane.version})
    if versions and not cluster.host:
        return f"istiod {', '.join(versions)}"
    server = observation.topology.control_plane_of(cluster)
    return "istiod not observed" if server == cluster else f"served by {server.name}"


def _frames(topology: Topology, found: Sequence[Mark], boxes: Sequence[BoxView]) -> tuple[FrameView, ...]:
    """One frame for each run of neighbours on the same network."""
    runs: list[tuple[str, list[int]]] = []
    for n, cluster in enumerate(topology.every):
        name = "outside of the mesh" if cluster in topology.hosts else cluster.network
        if runs and runs[-1][0] == name:
            runs[-1][1].append(n)
        else:
            runs.append((name, [n]))
    return tuple(_frame(name, [boxes[n] for n in members], found) for name, members in runs)


def _frame(name: str, members: Sequence[BoxView], found: Sequence[Mark]) -> FrameView:
    states = [part_state(found, box.name, Part.NETWORK) for box in members]
    state = next((s for s in (State.CAUSE, State.BROKEN) if any(s is each for each, _ in states)), State.GOOD)
    first, last = members[0], members[-1]
    return FrameView(
        x=first.x - PADDING,
        y=first.y - FRAME,
        width=last.x + BOX - first.x + 2 * PADDING,
        height=first.height + FRAME + PADDING,
        name=name,
        state=state,
        why="\n".join(dict.fromkeys(why for _, why in states if why)),
    )


def _secrets(observation: Observation, found: Sequence[Mark], boxes: Sequence[BoxView]) -> tuple[ArrowView, ...]:
    """Above: from each control plane to the API servers it must watch."""
    topology, arrows = observation.topology, []
    for watcher in topology.primaries:
        for watched in topology.watched_by(watcher):
            state, why = secret_state(observation, found, watcher, watched)
            words = f"remote secret: {watcher.name} reads {watched.name}", why, f"remote secret for {watched.name}"
            arrows.append(_arc("secret", boxes, _ends(topology, watcher, watched), state, words))
    return tuple(arrows)


def _traffic(observation: Observation, found: Sequence[Mark], boxes: Sequence[BoxView]) -> tuple[ArrowView, ...]:
    """Below: from each client to each other cluster's version."""
    topology, arrows = observation.topology, []
    for client in topology.clusters:
        for target in topology.others(client):
            state, why = traffic_state(observation, found, client, target)
            through = f" through {target.name}'s gateway" if client.network != target.network else ""
            label = f"requests of {client.name} to {target.version} of {target.name}{through}"
            answered = (answering(observation, client) or {}).get(target.version, 0)
            said = f"{client.name} gets {'' if answered else 'no '}{target.version}"
            arrows.append(_arc("traffic", boxes, _ends(topology, client, target), state, (label, why, said)))
    return tuple(arrows)


def _configuration(observation: Observation, boxes: Sequence[BoxView]) -> tuple[ArrowView, ...]:
    """Between neighbours: proxies are served by a control plane that runs on another cluster."""
    topology, arrows = observation.topology, []
    for served in topology.clusters:
        server = topology.control_plane_of(served)
        start, end = _ends(topology, server, served)
        if abs(end - start) != 1:
            continue
        y = boxes[start].rows[1].y + ROW / 2 - 4
        left, right = (boxes[start].x + BOX, boxes[end].x) if end > start else (boxes[start].x, boxes[end].x + BOX)
        row = boxes[end].rows[1]
        label = f"configuration and certificates: {server.name} serves {served.name}"
        path = f"M{left} {y} H{right - (5 if end > start else -5)}"
        middle = (left + right) / 2
        arrows.append(ArrowView(path, "config", row.state, label, row.why, middle, y, "serves", middle))
    return tuple(arrows)


def _ends(topology: Topology, start: Cluster, end: Cluster) -> tuple[int, int]:
    names = [cluster.name for cluster in topology.every]
    return names.index(start.name), names.index(end.name)


def _arc(
    kind: str, boxes: Sequence[BoxView], ends: tuple[int, int], state: State, words: tuple[str, str, str]
) -> ArrowView:
    """An arrow with rounded corners over (remote secrets) or under (traffic) the clusters between its ends.

    Args:
        kind: secret or traffic.
        boxes: the clusters.
        ends: indices of those it leads from and to.
        state: how it is.
        words: what it is, why it is broken, and what stands beside it.
    """
    start, end = ends
    outer = end > start  # of a pair, the arrow to the right lies outside
    x1, x2 = (_slot(boxes, n, other, outer) for n, other in ((start, end), (end, start)))
    reach = FRAME + LIFT * abs(end - start) - (0 if outer else PAIR)
    up = -1 if kind == "secret" else 1
    edge = boxes[start].y + (0 if up < 0 else boxes[start].height)
    y, turn, across = edge + up * reach, -up * TURN, TURN if x2 > x1 else -TURN
    path = (
        f"M{x1:g} {edge:g} V{y + turn:g} Q{x1:g} {y:g} {x1 + across:g} {y:g} "
        f"H{x2 - across:g} Q{x2:g} {y:g} {x2:g} {y + turn:g} V{edge + up * TIP:g}"
    )
    label, why, said = words
    return ArrowView(path, kind, state, label, why, x1 + (x2 - x1) / 6, y, said, (x1 + x2) / 2)


def _slot(boxes: Sequence[BoxView], box: int, partner: int, outer: bool) -> float:
    """Where an arrow meets its cluster: arrows to farther clusters stand farther from these, so that none cross."""
    partners = [*reversed(range(box)), *reversed(range(box + 1, len(boxes)))]
    place = partners.index(partner) - (len(partners) - 1) / 2
    outwards = -1 if partner > box else 1
    return boxes[box].x + BOX / 2 + place * 2 * PAIR + outwards * (PAIR / 2 if outer else -PAIR / 2)


def _description(topology: Topology, arrows: Sequence[ArrowView]) -> str:
    hosts = [f"{c.name}, outside of the mesh, runs istiod for {topology.hosted_by(c).name}" for c in topology.hosts]
    members = [
        f"{c.name} is a {c.role}{'' if c.is_primary else f' of {c.primary}'} on {c.network}" for c in topology.clusters
    ]
    clusters = "; ".join([*hosts, *members])
    broken = [arrow.label for arrow in arrows if arrow.state in {State.CAUSE, State.BROKEN}]
    return f"{clusters}. {'Broken: ' + '; '.join(broken) if broken else 'No connection is broken'}."
