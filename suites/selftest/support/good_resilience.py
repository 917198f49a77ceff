"""What would be recorded of a good mesh while it is changed, for any topology: made up, as `good` is."""

from datetime import UTC, datetime

from harness.model.expectations import GATEWAY, HELLOWORLD, SLEEP
from harness.model.proxy import RemoteClusterSync
from harness.model.resilience import (
    ACTED,
    MENDED,
    SCENARIOS,
    WHOLE,
    EndpointReading,
    Interruption,
    Moment,
    Resilience,
    RevisionReading,
    Scenario,
    Stream,
    SyncReading,
    TokenReading,
    TrustReading,
)
from harness.model.topology import Cluster, Topology
from harness.model.traffic import Request

RATE, SECONDS, LIMIT = 5.0, 100.0, 5
BEGIN, END, CALM = 10.0, 30.0, 35.0
"""When a scenario acts, mends, and is over."""


def resilience(topology: Topology) -> Resilience:
    """Every scenario, played and passed."""
    return Resilience(scenarios={name: _scenario(topology, name) for name in SCENARIOS})


def _scenario(topology: Topology, name: str) -> Scenario:
    return Scenario(
        started=datetime(2026, 11, 24, 6, tzinfo=UTC),
        seconds=SECONDS,
        rate=RATE,
        limit=LIMIT,
        moments=_moments(topology, name),
        streams=_streams(topology, name),
        **_readings(topology, name),
    )


def _moments(topology: Topology, name: str) -> tuple[Moment, ...]:
    first = topology.clusters[0].name
    cluster = first if name in {"local-out", "gateway-restart", "istiod-restart"} else ""
    detail = "default → next" if name == "revision-upgrade" else ""
    back = {"local-out": "available", "istiod-restart": "connected"}.get(name)
    between = (Moment(name=back, at=END + 1, cluster=cluster),) if back else ()
    workloads = ((f"{HELLOWORLD}-v1", 15.0), (SLEEP, 20.0))
    restarted = {"intermediate-rotation": workloads, "revision-upgrade": (*workloads, (GATEWAY, 25.0))}
    return (
        Moment(name=WHOLE, at=3.0),
        Moment(name=ACTED, at=BEGIN, cluster=cluster, detail=detail),
        *(Moment(name=f"{app} restarted", at=at, cluster=first) for app, at in restarted.get(name, ())),
        Moment(name=MENDED, at=END, cluster=cluster),
        *between,
        Moment(name=WHOLE, at=CALM),
    )


def _streams(topology: Topology, name: str) -> tuple[Stream, ...]:
    away = topology.clusters[0] if name == "local-out" else None
    sent = (_stream(topology, client, away, cut=name == "network-cut") for client in topology.clusters)
    return tuple(_paused(stream) if name == "idle-minute" else stream for stream in sent)


def _paused(stream: Stream) -> Stream:
    """Nothing was sent from its act on until it was mended."""
    idle = Interruption(at=BEGIN, seconds=END - BEGIN, pod="sleep-x", reason="paused by the scenario", intended=True)
    requests = tuple(each for each in stream.requests if not BEGIN < each.sent < END)
    return stream.model_copy(update={"requests": requests, "interruptions": (idle,)})


def _stream(topology: Topology, client: Cluster, away: Cluster | None, *, cut: bool) -> Stream:
    """Answers in turn; without those of a cluster that is away, or cut off."""
    requests = []
    for number in range(int(SECONDS * RATE)):
        sent = round(number / RATE, 3)
        changed = BEGIN <= sent < END
        answering = topology.clusters[number % len(topology.clusters)]
        if changed and away is answering:
            answering = topology.others(answering)[0]
        lost = changed and cut and answering is not client
        requests.append(
            Request(
                sent=sent,
                seconds=float(LIMIT) if lost else 0.01,
                status=0 if lost else 200,
                version="" if lost else answering.version,
                instance="" if lost else f"helloworld-{answering.version}-x",
                error="Operation timed out" if lost else "",
            )
        )
    return Stream(client=client.name, requests=tuple(requests))


def _readings(topology: Topology, name: str) -> dict[str, object]:
    if name == "secret-rotation":
        return _rotated_secret(topology)
    if name == "intermediate-rotation":
        return _trust(topology, (("new", ("old root",)),))
    if name == "root-rotation":
        both = ("new root", "old root")
        return _trust(topology, (("old", ("old root",)), ("old", both), ("new", both), ("new", ("new root",))))
    if name == "revision-upgrade":
        return {
            "revisions": tuple(
                RevisionReading(
                    at=CALM,
                    cluster=cluster.name,
                    control_planes=("next",) if cluster.is_primary else (),
                    proxies={"sleep-x": "next", f"helloworld-{cluster.version}-x": "next"},
                )
                for cluster in topology.clusters
            )
        }
    return {}


def _rotated_secret(topology: Topology) -> dict[str, object]:
    endpoints = ("10.0.0.1:5000", "172.18.0.9:15443")
    watched = [c for c in topology.clusters if any(c in topology.watched_by(p) for p in topology.primaries)]
    return {
        "endpoints": tuple(
            EndpointReading(at=at, client=cluster.name, endpoints=endpoints)
            for at in (BEGIN, END, CALM)
            for cluster in topology.clusters
        ),
        "tokens": tuple(TokenReading(watched=c.name, old_accepted=False, new_accepted=True) for c in watched),
        "syncs": tuple(
            SyncReading(
                at=END,
                cluster=primary.name,
                clusters=tuple(
                    RemoteClusterSync(id=c.cluster_name, secret_name="istio-system/x", sync_status="synced")  # noqa: S106
                    for c in topology.clusters
                ),
            )
            for primary in topology.primaries
        ),
    }


def _trust(topology: Topology, steps: tuple[tuple[str, tuple[str, ...]], ...]) -> dict[str, object]:
    """One reading of every proxy after each step: the age of its issuer, and the roots it trusts."""
    names = ["old root", "new root"]
    names += [f"{age} intermediate of {primary.name}" for age in ("old", "new") for primary in topology.primaries]
    prints = {name: f"{number:064x}" for number, name in enumerate(names, start=1)}
    readings = [
        TrustReading(
            at=CALM - len(steps) + number,
            cluster=cluster.name,
            pod=f"sleep-{cluster.name}",
            issuer=prints[f"{age} intermediate of {cluster.primary}"],
            roots=tuple(sorted(prints[root] for root in roots)),
        )
        for number, (age, roots) in enumerate(steps)
        for cluster in topology.clusters
    ]
    return {"trust": tuple(readings), "authorities": {value: name for name, value in prints.items()}}
