"""Sends a few GET requests, or TCP connections, to a service of somebody's own, and reads from proxies who answered."""

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from kubernetes.client import ApiException
from urllib3.exceptions import HTTPError

from harness.base.parallel import in_parallel
from harness.base.redaction import redact
from harness.kube.api import ExecResult, KubeApi, TransportError
from harness.model import clients, expectations, odds, requested, service_target
from harness.model.cluster import ClusterObservation, Pod
from harness.model.observation import Asked
from harness.model.service import OwnService, ServiceProtocol, ServiceRequest, ServiceSequence, ServiceTraffic
from harness.model.topology import Topology
from harness.model.traffic import HostStats
from harness.observe import envoy, ztunnel_service
from harness.observe.proxies import host_counters, no_program
from harness.observe.reading import explain
from harness.observe.sequence import new_request_id

REQUEST_SECONDS = 5
_MARK = "@@eastwest "
_FORMAT = f"\\n{_MARK}%{{http_code}} %{{exitcode}} %{{errormsg}}\\n"
_STATUS = re.compile(r"^\s*HTTP/\S+ (\d{3})", re.MULTILINE)
_UPSTREAM = "x-envoy-upstream-service-time"
_ERROR = 400
_LOCAL = re.compile(
    r"upstream connect error or disconnect/reset before headers|no healthy upstream|upstream request timeout|"
    r"RBAC: access denied",
)
"""What Envoy itself replies (Envoy, source/common/router and rbac filter)."""
_FLAGS = re.compile(r"\b(UH|UF|UO|NR|URX|NC|DT|UT|LR|UR|UC|DC|LH|UMSDR|DPE|UPE)\b")
"""Envoy, "Access logging", response flags that stand for an answer that the service did not give."""


Plan = tuple[ServiceProtocol, int]
"""How requests are sent, and how many by each client."""


@dataclass(frozen=True)
class _Sender:
    """A client pod with a program."""

    kube: KubeApi
    pod: Pod
    container: str
    program: str


def plan_requests(topology: Topology, asked: Asked, observed: Mapping[str, ClusterObservation]) -> Plan:
    """How requests are sent, and how many by each client: as many as show every cluster's pods (TR-REACH)."""
    service = asked.service
    assert service is not None  # noqa: S101 - asked for with --service only
    pods = [len(requested.ready_pods(observed[cluster.name], asked)) for cluster in topology.clusters]
    shares = [count / sum(pods) for count in pods if count]
    return service_target.protocol(observed.values(), service), odds.coverage_cap(shares) if shares else 1


def announced(topology: Topology, asked: Asked, plan: Plan) -> str:
    """How many requests are sent, in words."""
    protocol, cap = plan
    what = "TCP connections" if protocol is ServiceProtocol.TCP else f"GET requests ({protocol})"
    return f"{cap} {what} to {asked.service} from each of {len(topology.clusters)} clusters"


def send(
    topology: Topology,
    asked: Asked,
    observed: Mapping[str, ClusterObservation],
    kubes: Mapping[str, KubeApi],
    *,
    plan: Plan,
    timeout_scale: float,
) -> ServiceTraffic:
    """Send the requests as planned, all clusters side by side; never raises for a fault of the mesh."""
    protocol, cap = plan

    def of_cluster(name: str) -> ServiceSequence:
        return _send(name, kubes[name], asked, observed[name], plan, timeout_scale)

    names = [cluster.name for cluster in topology.clusters]
    return ServiceTraffic(protocol=protocol, cap=cap, sequences=tuple(in_parallel(of_cluster, names)))


def _send(  # noqa: PLR0917 - private, and called beside its definition
    name: str, kube: KubeApi, asked: Asked, observed: ClusterObservation, plan: Plan, scale: float
) -> ServiceSequence:
    protocol, cap = plan
    service = asked.service
    assert service is not None  # noqa: S101
    pod = next((pod for pod in clients.client_pods(observed, asked) if pod.ready), None)
    if pod is None:
        return ServiceSequence(client=name, prevented="there is no ready client pod")
    if reason := _outside(pod, asked):
        return ServiceSequence(client=name, pod=pod.name, prevented=reason)
    try:
        sender = _find_program(kube, pod, protocol)
    except TransportError as failed:
        return ServiceSequence(client=name, pod=pod.name, transport_error=explain(failed))
    if sender is None:
        what = "curl" if protocol is ServiceProtocol.TCP else "curl or wget"
        return ServiceSequence(client=name, pod=pod.name, prevented=f"no container of {pod.name} has {what}")
    started, request_id = datetime.now(UTC), new_request_id()
    reached = _watch_endpoints(name, sender, asked, observed, scale)
    found: tuple[ServiceRequest, ...] = ()
    error = ""
    try:
        found = _requests(sender, service, protocol, cap, request_id)
    except TransportError as failed:
        error = explain(failed)
    hosts = reached(found)
    return ServiceSequence(
        client=name,
        pod=pod.name,
        program=f"{sender.program} of container {sender.container}",
        command=f"{sender.program} {_url(service, protocol)}",
        started=started,
        requests=_with_flags(sender, found, request_id),
        hosts=hosts or (),
        hosts_read=hosts is not None,
        transport_error=error,
    )


def _watch_endpoints(
    name: str, sender: _Sender, asked: Asked, observed: ClusterObservation, scale: float
) -> Callable[[Sequence[ServiceRequest]], tuple[HostStats, ...] | None]:
    """What tells, after the requests, which endpoints they went to; None where that could not be read."""
    service = asked.service
    assert service is not None  # noqa: S101
    if not asked.ambient:
        before = _counters(sender, service, scale)
        return lambda _sent: _difference(before, _counters(sender, service, scale))
    ztunnel, began = ztunnel_service.source(name, sender.kube, observed, sender.pod), time.monotonic()
    if ztunnel is None:
        return lambda _sent: None
    return lambda sent: ztunnel_service.hosts(ztunnel, sender.pod, service, sent, lambda: time.monotonic() - began)


def _outside(pod: Pod, asked: Asked) -> str:
    """Why a client's requests don't go through the mesh; empty where they do."""
    if asked.ambient:
        return "" if expectations.is_captured(pod) else "no ztunnel carries the traffic of the client's pod"
    return "" if expectations.has_proxy(pod) else "the client's pod has no sidecar"


def _find_program(kube: KubeApi, pod: Pod, protocol: ServiceProtocol) -> _Sender | None:
    """A container of the application that can send; the proxy's own requests would not go through Envoy.

    Raises:
        TransportError: no container could be asked.
    """
    programs = ("curl",) if protocol is ServiceProtocol.TCP else ("curl", "wget")
    own = [c.name for c in pod.containers if not c.init and c.name != expectations.PROXY and c.state == "running"]
    for program in programs:
        for container in own:
            try:
                said = kube.exec(pod.namespace, pod.name, container, (program, "--help"))
            except TransportError as failed:
                if not no_program(failed):
                    raise
            else:
                if said.status not in {126, 127}:
                    return _Sender(kube, pod, container, program)
    return None


def _requests(
    sender: _Sender, service: OwnService, protocol: ServiceProtocol, cap: int, request_id: str
) -> tuple[ServiceRequest, ...]:
    url, header = _url(service, protocol), f"x-request-id: {request_id}"
    if sender.program == "wget":
        each = ("wget", "-S", "-O", "-", "-T", str(REQUEST_SECONDS), f"--header={header}", url)
        return tuple(wget_request(_exec(sender, each, REQUEST_SECONDS + 10)) for _ in range(cap))
    if protocol is ServiceProtocol.TCP:
        connect = ("curl", "-s", "--max-time", "1", "-w", _FORMAT, url)
        return tuple(found for _ in range(cap) for found in tcp_requests(_exec(sender, connect, 20).stdout))
    # A part of the URL that is never sent makes curl repeat the request without a shell.
    limits = ("--noproxy", "*", "--max-time", str(REQUEST_SECONDS))
    # Each on a connection of its own: a ztunnel leads connections, and knows no requests.
    headers = ("-H", header, "-H", "Connection: close")
    command = ("curl", "-s", *limits, "-w", _FORMAT, "-i", *headers, f"{url}#[1-{cap}]")
    return http_requests(_exec(sender, command, cap * REQUEST_SECONDS + 20).stdout)


def http_requests(output: str) -> tuple[ServiceRequest, ...]:
    """The requests in curl's output, each with its headers and body before the line that ends it."""
    found: list[ServiceRequest] = []
    body: list[str] = []
    for line in output.splitlines():
        if not line.startswith(_MARK):
            body.append(line)
            continue
        status, code, said = [*line.removeprefix(_MARK).split(maxsplit=2), "", ""][:3]
        found.append(_request(int(status), "\n".join(body), said or f"curl ended with {code}"))
        body = []
    return tuple(found)


def tcp_requests(output: str) -> tuple[ServiceRequest, ...]:
    """The connections in curl's output: to have connected, and to wait for something to be said, is no failure."""
    found = []
    for line in output.splitlines():
        if line.startswith(_MARK):
            _, code, said = [*line.removeprefix(_MARK).split(maxsplit=2), "", ""][:3]
            found.append(ServiceRequest(error="" if code in {"0", "28", "52", "56"} else said or f"curl: {code}"))
    return tuple(found)


def wget_request(said: ExecResult) -> ServiceRequest:
    """What one wget came to; busybox's and GNU's."""
    text = f"{said.stderr}\n{said.stdout}"
    statuses = _STATUS.findall(text) or re.findall(r"HTTP/\S+ (\d{3})", said.stderr)
    last = (said.stderr.strip().splitlines() or ["no answer"])[-1]
    return _request(int(statuses[-1]) if statuses else 0, text, last)


def _request(status: int, text: str, said: str) -> ServiceRequest:
    """A request: what Envoy replies in the service's place is no answer."""
    if not status:
        return ServiceRequest(error=redact(said, 200))
    local = _LOCAL.search(text) if status >= _ERROR else None
    return ServiceRequest(status=status, error=f"a proxy replied {status}: {local[0]}" if local else "")


def _with_flags(sender: _Sender, found: tuple[ServiceRequest, ...], request_id: str) -> tuple[ServiceRequest, ...]:
    """The requests with the response flags of the client's access log, where it logs the requests' id."""
    if all(request.error or request.status < _ERROR for request in found):
        return found
    try:
        pod = sender.pod
        text = sender.kube.logs(pod.namespace, pod.name, expectations.PROXY, lines=5000, since=300)
    except (ApiException, HTTPError):
        return found
    flags = [_FLAGS.search(line) for line in text.splitlines() if request_id in line]
    if len(flags) != len(found):
        return found
    return tuple(
        request.model_copy(update={"error": f"a proxy replied {request.status}: response flag {flag[0]}"})
        if flag and request.status >= _ERROR and not request.error
        else request
        for request, flag in zip(found, flags, strict=True)
    )


def _url(service: OwnService, protocol: ServiceProtocol) -> str:
    host = f"{service.name}.{service.namespace}:{service.port}"
    return f"telnet://{host}" if protocol is ServiceProtocol.TCP else f"http://{host}{service.path}"


def _exec(sender: _Sender, command: Sequence[str], timeout: float) -> ExecResult:
    return sender.kube.exec(sender.pod.namespace, sender.pod.name, sender.container, command, timeout=timeout)


def _difference(before: envoy.Counters | None, after: envoy.Counters | None) -> tuple[HostStats, ...] | None:
    return envoy.host_stats(before, after) if before is not None and after is not None else None


def _counters(sender: _Sender, service: OwnService, scale: float) -> envoy.Counters | None:
    host, pod = f"{service.name}.{service.namespace}.svc.", sender.pod
    return host_counters(sender.kube, pod.namespace, pod.name, port=service.port, service=host, timeout=15 * scale)
