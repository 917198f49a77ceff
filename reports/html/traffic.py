"""Traffic as each client saw it: time to the first answers, the chapter's loop, shares against expected ones. Pure."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from http import HTTPStatus

from harness.model import balancing
from harness.model.observation import Observation
from harness.model.topology import Cluster
from harness.model.traffic import Request, Sequence

LOOP = 10
"""Requests of the chapter's loop."""
ERRORS = "errors"


@dataclass(frozen=True)
class ShownAnswer:
    """One request of the loop, as the loop shows it."""

    text: str
    version: int
    """Index of the cluster that answered; -1 for an error."""


@dataclass(frozen=True)
class BarPart:
    """How often one version answered, or none did."""

    label: str
    version: int
    """Index of its cluster; -1 for errors."""
    count: int
    start: float
    """Where its part of the bar begins, in per cent."""
    width: float
    """Per cent."""


@dataclass(frozen=True)
class VersionRow:
    """What one client had of one version."""

    version: str
    index: int
    """Of its cluster."""
    remote: bool
    """It runs on another cluster than the client."""
    observed: float
    """Its share of the answers, in per cent."""
    promised: float | None
    """Its share by the endpoints' weights; None where that is not known."""
    first_answer: float | None
    """Seconds until its first answer; None where there was none."""


@dataclass(frozen=True)
class ClientView:
    """The traffic of one cluster's client."""

    name: str
    sent: int
    """Requests over which shares are taken."""
    observed: tuple[BarPart, ...]
    promised: tuple[BarPart, ...]
    """By the weights of the endpoints in the client's proxy; none where these can't be told by cluster."""
    rows: tuple[VersionRow, ...]
    first_remote: float | None
    """Seconds until the first answer from another cluster; None where there was none."""
    timed: bool
    """Whether first answers were waited for at all."""
    gave_up: float
    """Seconds of the convergence phase."""
    loop: tuple[ShownAnswer, ...]
    broken: tuple[str, ...]
    """Why sequences could not be sent."""


def clients(observation: Observation) -> tuple[ClientView, ...]:
    """One view for each cluster's client; none where no traffic was observed."""
    if observation.traffic is None:
        return ()
    return tuple(_client(observation, cluster) for cluster in observation.topology.clusters)


def answering(observation: Observation, client: Cluster) -> dict[str, int] | None:
    """How often each version answered a client, over every request; None where it sent none."""
    requests = [request for sequence in _sequences(observation, client) for request in sequence.requests]
    return dict(Counter(request.version for request in requests if _good(request))) if requests else None


def _client(observation: Observation, client: Cluster) -> ClientView:
    traffic = observation.traffic
    assert traffic is not None  # noqa: S101 - clients() looked
    coverage = [sequence for sequence in traffic.coverage if sequence.client == client.name]
    distribution = [sequence for sequence in traffic.distribution if sequence.client == client.name]
    counted = [r for sequence in distribution or coverage for r in sequence.requests]
    first = [request for sequence in coverage for request in sequence.requests][:LOOP]
    convergence = next((each for each in traffic.convergence if each.client == client.name), None)
    versions = [cluster.version for cluster in observation.topology.clusters]
    observed, promised = _observed(counted, versions), _promised(observation, client, versions)
    rows = tuple(
        VersionRow(
            version=cluster.version,
            index=index,
            remote=cluster.name != client.name,
            observed=_width(observed, cluster.version) or 0.0,
            promised=_width(promised, cluster.version),
            first_answer=convergence.first_answer.get(cluster.version) if convergence else None,
        )
        for index, cluster in enumerate(observation.topology.clusters)
    )
    return ClientView(
        name=client.name,
        sent=len(counted),
        observed=observed,
        promised=promised,
        rows=rows,
        first_remote=min((r.first_answer for r in rows if r.remote and r.first_answer is not None), default=None),
        timed=convergence is not None,
        gave_up=convergence.seconds if convergence else 0.0,
        loop=tuple(_answer(request, versions) for request in first),
        broken=tuple(s.transport_error for s in (*coverage, *distribution) if s.transport_error),
    )


def _sequences(observation: Observation, client: Cluster) -> list[Sequence]:
    traffic = observation.traffic
    found = (*traffic.coverage, *traffic.distribution) if traffic else ()
    return [sequence for sequence in found if sequence.client == client.name]


def _good(request: Request) -> bool:
    return request.status == HTTPStatus.OK and bool(request.version)


def _answer(request: Request, versions: list[str]) -> ShownAnswer:
    if _good(request):
        known = versions.index(request.version) if request.version in versions else -1
        return ShownAnswer(f"Hello version: {request.version}, instance: {request.instance}", known)
    status = f"HTTP {request.status}: " if request.status else ""
    return ShownAnswer(status + (request.error or "no answer"), -1)


def _observed(requests: Iterable[Request], versions: list[str]) -> tuple[BarPart, ...]:
    counts = Counter(request.version if _good(request) else ERRORS for request in requests)
    others = [version for version in counts if version not in versions and version != ERRORS]
    return _shares({name: counts[name] for name in (*versions, *others, ERRORS) if counts[name]}, versions)


def _promised(observation: Observation, client: Cluster, versions: list[str]) -> tuple[BarPart, ...]:
    weights = balancing.promised_weights(observation, client)
    return _shares({version: weights[version] for version in versions if weights.get(version)}, versions)


def _shares(counts: dict[str, int], versions: list[str]) -> tuple[BarPart, ...]:
    whole, start, shares = sum(counts.values()) or 1, 0.0, []
    for label, count in counts.items():
        width = 100 * count / whole
        index = versions.index(label) if label in versions else -1
        shares.append(BarPart(label, index, count, round(start, 3), round(width, 3)))
        start += width
    return tuple(shares)


def _width(shares: tuple[BarPart, ...], version: str) -> float | None:
    return next((share.width for share in shares if share.label == version), None)
