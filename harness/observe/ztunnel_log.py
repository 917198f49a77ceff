"""Which connections the ztunnels carried, from their access logs: who called whom, and whether over mutual TLS."""

import json
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from kubernetes.client import ApiException
from urllib3.exceptions import HTTPError

from harness.base.parallel import in_parallel
from harness.base.waiting import pause
from harness.kube.api import KubeApi
from harness.model import requested
from harness.model.cluster import ClusterObservation, Pod
from harness.model.kubernetes import PROXY
from harness.model.observation import Asked
from harness.model.traffic import PeerIdentity
from harness.model.ztunnel import ZtunnelConnections
from harness.observe.peers import Evidence
from harness.observe.ztunnels import ztunnel_pods

EVIDENCE = "ztunnel's access log"
_COMPLETE = "connection complete"
_FAILED = "connection failed"
_MOST_LINES = 20000
"""Of one log; one that is longer since the first request is not counted."""
LOOKS = 4
PAUSE = 1.0
_FIELD = re.compile(r'([\w.]+)=("(?:[^"\\]|\\.)*"|\S+)')
Fields = Mapping[str, str]


@dataclass(frozen=True)
class Source:
    """A ztunnel whose log is read."""

    cluster: str
    kube: KubeApi
    pod: Pod


def sources(seen: Mapping[str, ClusterObservation], kubes: Mapping[str, KubeApi]) -> tuple[Source, ...]:
    """Every ztunnel that runs."""
    return tuple(Source(name, kubes[name], pod) for name, found in seen.items() for pod in ztunnel_pods(found))


def collect(
    found: tuple[Source, ...], since: Callable[[], float], namespaces: Collection[str], answered: Collection[str]
) -> tuple[tuple[ZtunnelConnections, ...] | None, str]:
    """The connections of the sample since the first request, or None and why there is no evidence of them.

    ztunnel writes a line when a connection has ended: where one of the pods that answered was not called by anybody
    yet, it is looked again.

    Args:
        found: the ztunnels.
        since: seconds since the first request was sent, now.
        namespaces: of the sample and its clients; connections of others are left out.
        answered: the names of the pods that answered.
    """
    if not found:
        return None, "no ztunnel runs whose access log could be read"
    for _ in range(LOOKS):
        texts = in_parallel(lambda source: read(source, since()), found)
        rows = tuple(
            row
            for source, text in zip(found, texts, strict=True)
            for row in connections(source.cluster, source.pod.name, text or "", namespaces)
        )
        if set(answered) <= {row.destination for row in rows if row.direction == "inbound"}:
            break
        pause(PAUSE)
    unread = [source.pod.name for source, text in zip(found, texts, strict=True) if text is None]
    if unread:
        return None, f"the access log of {', '.join(unread)} could not be read, or is too long to be counted"
    if not rows:
        return None, "no ztunnel logged a connection of the sample: its access log may be off (RUST_LOG)"
    return rows, ""


def read(source: Source, since: float) -> str | None:
    """The access log of the last seconds; None where it could not be read, or is too long to be counted."""
    pod = source.pod
    try:
        text = source.kube.logs(pod.namespace, pod.name, PROXY, lines=_MOST_LINES, since=since)
    except (ApiException, HTTPError):
        return None
    return text if text.count("\n") < _MOST_LINES else None


def evidence(
    seen: Mapping[str, ClusterObservation],
    kubes: Mapping[str, KubeApi],
    asked: Asked,
    since: Callable[[], float],
    answered: Collection[str],
) -> Evidence:
    """Who called helloworld, and over which connections, as the ztunnels logged it; never raises.

    Args:
        seen: what was read of each cluster.
        kubes: each cluster.
        asked: names of namespaces.
        since: seconds since the first request was sent, now.
        answered: the names of the pods that answered.
    """
    rows, missing = collect(sources(seen, kubes), since, asked.namespaces, answered)
    if rows is None:
        return Evidence(None, missing)
    pods = {name: requested.ready_pods(found, asked) for name, found in seen.items()}
    return Evidence(callers(rows, {name: {pod.name for pod in of} for name, of in pods.items()}), connections=rows)


def connections(cluster: str, ztunnel: str, text: str, namespaces: Collection[str]) -> Iterator[ZtunnelConnections]:
    """The connections in an access log, alike ones counted together. Pure.

    Source: ztunnel, src/proxy/metrics.rs (`access_log`), src/telemetry.rs (its text and its JSON).
    """
    counted = Counter[tuple[str, ...]]()
    for line in text.splitlines():
        fields = _fields(line)
        if fields and _concerns(fields, namespaces):
            counted[_key(fields)] += 1
    for key, count in sorted(counted.items()):
        values = dict(zip(_KEPT, key, strict=True))
        yield ZtunnelConnections.model_validate(
            {**values, "hbone": bool(values["hbone"]), "cluster": cluster, "ztunnel": ztunnel, "count": count}
        )


def _fields(line: str) -> Fields:
    """The fields of a line of the access log; empty for any other line."""
    if _COMPLETE not in line and _FAILED not in line:
        return {}
    if line.startswith("{"):
        try:
            entry = json.loads(line)
        except ValueError:
            return {}
        return {key: str(value) for key, value in entry.items()} if entry.get("scope") == "access" else {}
    if "\taccess\t" not in line:
        return {}
    return {key: value.strip('"') for key, value in _FIELD.findall(line.rpartition("\t")[2])}


def _concerns(fields: Fields, namespaces: Collection[str]) -> bool:
    return bool({fields.get("src.namespace"), fields.get("dst.namespace")} & {*namespaces}) or any(
        f".{name}.svc." in fields.get("dst.service", "") for name in namespaces
    )


_KEPT = (
    "direction",
    "source",
    "source_namespace",
    "source_identity",
    "destination",
    "destination_namespace",
    "destination_identity",
    "service",
    "address",
    "hbone",
    "error",
)


def _key(fields: Fields) -> tuple[str, ...]:
    return (
        fields.get("direction", ""),
        fields.get("src.workload") or _host(fields.get("src.addr", "")),
        fields.get("src.namespace", ""),
        fields.get("src.identity", ""),
        fields.get("dst.workload", "").replace("/", ":") or _host(fields.get("dst.addr", "")),
        fields.get("dst.namespace", ""),
        fields.get("dst.identity", ""),
        fields.get("dst.service", ""),
        fields.get("dst.addr", ""),
        "yes" if fields.get("dst.hbone_addr") else "",
        fields.get("error", ""),
    )


def _host(address: str) -> str:
    return address.rpartition(":")[0].strip("[]")


def callers(seen: Iterable[ZtunnelConnections], called: Mapping[str, Collection[str]]) -> tuple[PeerIdentity, ...]:
    """Who called, as the ztunnels of those who were called saw it.

    Args:
        seen: the connections.
        called: cluster → the names of its helloworld pods.
    """
    counted = Counter[tuple[str, str, str]]()
    for row in seen:
        if row.direction == "inbound" and not row.error and row.destination in called.get(row.cluster, ()):
            counted[row.cluster, row.destination, row.source_identity] += row.count
    return tuple(
        PeerIdentity(
            destination=cluster,
            pod=pod,
            evidence=EVIDENCE,
            principal=identity,
            mutual_tls=bool(identity),
            requests=count,
        )
        for (cluster, pod, identity), count in sorted(counted.items())
    )
