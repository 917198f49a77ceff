"""Who called, as the destination's own proxy saw it: from its access log, else from its metrics."""

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from kubernetes.client import ApiException
from urllib3.exceptions import HTTPError

from harness.base.parallel import in_parallel
from harness.base.waiting import pause
from harness.kube.api import KubeApi, TransportError
from harness.model import expectations
from harness.model.cluster import Pod
from harness.model.traffic import PeerIdentity
from harness.model.ztunnel import ZtunnelConnections
from harness.observe.proxies import admin_texts

_SAN = "downstream_peer_uri_san"
_METRICS = "stats/prometheus?filter=istio_requests_total"
_LOG_LINES = 5000
_FLUSH_SECONDS = 1.2
"""Istio has Envoy flush its access log every second."""
_FLUSHES = 3
"""As many are waited for before a log is said to tell nothing."""
_NONE = ("", "-", "unknown")
_TOLD = {"source_principal", "connection_security_policy"}
"""Labels of istio_requests_total that tell who called, and how."""
Callers = Counter[tuple[str, bool]]
"""Requests by the caller's identity and whether they came over mutual TLS."""
_NOBODY: Callers = Counter({("", False): 0})


@dataclass(frozen=True)
class Evidence:
    """Who called, and how that is known."""

    peers: tuple[PeerIdentity, ...] | None
    """None where there is no evidence."""
    missing: str = ""
    """Why there is none."""
    connections: tuple[ZtunnelConnections, ...] | None = None
    """Of ztunnels only."""


@dataclass(frozen=True)
class Destination:
    """A helloworld pod with a sidecar."""

    cluster: str
    kube: KubeApi
    pod: Pod


def access_log_callers(text: str, request_id: str, *, shared: bool) -> Callers | None:
    """The callers of helloworld in an access log of JSON lines; None where no line tells callers at all.

    Requests by address, as probes send them, are left out: they name no Service.

    Args:
        text: the log.
        request_id: of the suite's own requests; where a line has it, no other line counts.
        shared: others call helloworld, too: nothing but lines with that id counts.
    """
    found: Callers = Counter()
    tells = False
    lines = [line for line in text.splitlines() if _SAN in line]
    own = [line for line in lines if request_id in line]
    for line in own if own or shared else lines:
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        tells = True
        if str(entry.get("authority") or expectations.HELLOWORLD).startswith(expectations.HELLOWORLD):
            principal = str(entry.get(_SAN) or "")
            principal = "" if principal in _NONE else principal
            found[principal, bool(principal)] += 1
    return found if tells else None


def metric_callers(text: str) -> Callers:
    """The callers in `istio_requests_total` of a destination's proxy, in Prometheus' text format."""
    found: Callers = Counter()
    for labels, value in re.findall(r"^istio_requests_total\{([^}]*)\} (\d+)", text, re.MULTILINE):
        label = dict(re.findall(r'(\w+)="([^"]*)"', labels))
        # Istio writes `unknown` where there is none; a Telemetry may take either label away, which tells nothing.
        if label.get("reporter") == "destination" and label.keys() >= _TOLD:
            principal = label["source_principal"]
            principal = "" if principal in _NONE else principal
            found[principal, label["connection_security_policy"] == "mutual_tls"] += int(value)
    return found


def metrics(destinations: tuple[Destination, ...], timeout: float) -> dict[str, Callers]:
    """By pod, the callers in its proxy's metrics; pods that can't be asked are left out."""

    def of_pod(destination: Destination) -> Callers | None:
        pod = destination.pod
        try:
            answers = admin_texts(destination.kube, pod.namespace, pod.name, (_METRICS,), timeout)
        except TransportError:
            return None
        return metric_callers(answers[_METRICS]) if _METRICS in answers else None

    found = zip(destinations, in_parallel(of_pod, destinations), strict=True)
    return {destination.pod.name: callers for destination, callers in found if callers is not None}


def _access_logs(
    destinations: tuple[Destination, ...], since: float, request_id: str, *, shared: bool
) -> dict[str, Callers | None]:
    """By pod, the callers in its proxy's access log, None where it tells none; without pods whose log can't be read."""

    def of_pod(destination: Destination) -> str | None:
        pod, kube = destination.pod, destination.kube
        try:
            return kube.logs(pod.namespace, pod.name, expectations.PROXY, lines=_LOG_LINES, since=since)
        except (ApiException, HTTPError):
            return None

    found = zip(destinations, in_parallel(of_pod, destinations), strict=True)
    return {
        destination.pod.name: access_log_callers(text, request_id, shared=shared)
        for destination, text in found
        if text is not None
    }


def peers(
    destinations: tuple[Destination, ...],
    answered: set[str],
    before: Mapping[str, Callers],
    since: Callable[[], float],
    timeout: float,
    *,
    request_id: str,
    shared: bool,
) -> Evidence:
    """What the destinations' proxies recorded of their callers, or why there is no evidence.

    A proxy that can be asked and recorded none has a row of 0 requests, unless others use the mesh, too: then each
    proxy may keep another kind of evidence, or none. One that can't be asked has no row.

    Args:
        destinations: the helloworld pods.
        answered: the names of those that answered a request.
        before: the callers in their metrics before the requests were sent.
        since: seconds since the first request was sent, now.
        timeout: seconds for one exec.
        request_id: header x-request-id of the requests.
        shared: the mesh is used by others, too.
    """
    called = answered & {destination.pod.name for destination in destinations}

    def read_logs() -> dict[str, Callers | None]:
        return _access_logs(destinations, since(), request_id, shared=shared)

    logged = read_logs()
    for _ in range(_FLUSHES):
        if all(logged.get(name) for name in called):
            break
        pause(_FLUSH_SECONDS)
        logged = read_logs()
    if not shared and any(callers is not None for callers in logged.values()):
        return Evidence(_identities(destinations, logged, "access log"))
    told = {name: callers for name, callers in logged.items() if callers}
    left = tuple(destination for destination in destinations if destination.pod.name not in told)
    counted = {name: callers - before.get(name, Counter()) for name, callers in metrics(left, timeout).items()}
    if told or any(counted.values()):
        kept = {name: callers for name, callers in counted.items() if callers or not shared}
        return Evidence(_identities(destinations, told, "access log") + _identities(left, kept, "metrics"))
    if not answered or len(counted) < len(left):
        return Evidence(())  # nobody called, or it could not be asked who did: not a proxy that keeps no evidence
    return Evidence(
        None,
        f"the proxies of helloworld neither log their callers (an access log of JSON lines with {_SAN} and the "
        "request's id) nor count them (istio_requests_total)",
    )


def _identities(
    destinations: tuple[Destination, ...], found: Mapping[str, Callers | None], evidence: str
) -> tuple[PeerIdentity, ...]:
    return tuple(
        PeerIdentity(
            destination=destination.cluster,
            pod=destination.pod.name,
            evidence=evidence,
            principal=principal,
            mutual_tls=mutual,
            requests=count,
        )
        for destination in destinations
        if destination.pod.name in found
        for (principal, mutual), count in sorted((found[destination.pod.name] or _NOBODY).items())
    )
