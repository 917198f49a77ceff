"""Every probe and request that was sent, with its answer."""

from datetime import datetime
from enum import StrEnum

from harness.model.base import Model
from harness.model.certificate import Certificate
from harness.model.ztunnel import ZtunnelConnections


class ProbeKind(StrEnum):
    """What a probe looked at."""

    TCP = "tcp"
    """A TCP connection is accepted and, on 15021, the readiness endpoint answers."""
    TLS = "tls"
    """A TLS handshake with a given SNI and ALPN; the certificates of the peer are kept."""
    TLS_NO_CERTIFICATE = "tls without a client certificate"
    """The handshake and a request are tried to the end without a mesh certificate."""
    CSR_NO_TOKEN = "certificate request without a token"  # noqa: S105 - a name
    POD_ROUTE = "pod to pod"
    """A pod's address is reached directly, without a gateway."""
    PACKETS = "a request of 16 KiB"
    """It fills packets, which a short one before it does not. The probe's status is that of the short one."""
    API_SERVER = "API server"
    """The API server of another cluster answers to a remote secret's credentials."""


class ProbeResult(StrEnum):
    """How a probe ended."""

    ANSWERED = "answered"
    REFUSED = "refused"
    """Connection refused or reset, handshake refused, or status 401/403."""
    TIMEOUT = "timeout"
    UNREACHABLE = "unreachable"
    """No route, or the name does not resolve."""
    TRANSPORT = "transport"
    """The suite could not run the probe at all: never a verdict on the mesh."""
    NO_TOOL = "no tool"
    """The pod has no program to try it with."""


class Probe(Model):
    """One probe, sent from a pod of one cluster to another."""

    kind: ProbeKind
    source: str
    """Name of the cluster of the pod that sent it."""
    source_pod: str
    target: str
    """Name of the cluster it was meant for."""
    address: str
    port: int
    server_name: str = ""
    """SNI."""
    result: ProbeResult
    status: int = 0
    """HTTP status, where there is one."""
    detail: str = ""
    certificates: tuple[Certificate, ...] = ()
    """What the peer presented, leaf first."""
    permissions: dict[str, bool] = {}
    """API_SERVER only: `verb resource` → allowed, by SelfSubjectAccessReview with those credentials."""
    seconds: float = 0.0


class Request(Model):
    """One HTTP request from a client to helloworld."""

    sent: float
    """Seconds since the sequence began."""
    seconds: float
    status: int
    """HTTP status; 0 where there was no answer."""
    version: str = ""
    """The helloworld version that answered."""
    instance: str = ""
    """The pod that answered."""
    error: str = ""
    """curl's words, where there was no answer, or the body of an error."""


class HostStats(Model):
    """Counters of one endpoint in the client's proxy, the difference over a sequence."""

    address: str
    port: int
    requests: int
    """rq_total: attempts, retries included."""
    errors: int
    """rq_error."""
    connect_failures: int
    """cx_connect_fail."""
    priority: int | None = None
    """After the sequence: 0 is tried first; None where it was not observed."""
    healthy: bool | None = None
    """After the sequence: neither failed health checks nor ejected; None where it was not observed."""


class Sequence(Model):
    """Requests sent one after the other, each on a fresh connection, in one exec."""

    client: str
    """Name of the cluster of the client."""
    pod: str
    command: str
    started: datetime
    requests: tuple[Request, ...]
    hosts: tuple[HostStats, ...] = ()
    """By endpoint of helloworld, for this sequence; empty where the proxy could not be asked."""
    hosts_read: bool = False
    """Whether the proxy's counters were read before and after."""
    transport_error: str = ""
    """Set where the exec itself broke: never a verdict on the mesh."""


class Convergence(Model):
    """How long it took, after the workloads were ready, until each version had answered a client once."""

    client: str
    seconds: float
    """Until every version had answered, or until the phase was given up."""
    first_answer: dict[str, float]
    """helloworld version → seconds until its first answer."""
    converged: bool
    requests: int
    errors: dict[str, int] = {}
    """What went wrong meanwhile, in words → number of requests."""


class PeerIdentity(Model):
    """What a destination's own proxy saw of who called."""

    destination: str
    """Name of the cluster of the destination."""
    pod: str
    evidence: str
    """`access log`, `metrics`, or `ztunnel's access log`."""
    principal: str
    """SPIFFE URI of the caller; empty where the proxy saw none."""
    mutual_tls: bool
    requests: int
    """0 in the one row of a proxy that was asked and recorded no caller."""


class Latency(Model):
    """Answer times of one client, by where the answer came from."""

    client: str
    version: str
    local: bool
    p50: float
    """Seconds."""
    p95: float
    """Seconds."""
    requests: int


class Traffic(Model):
    """What was sent to find out whether the clusters form one mesh."""

    convergence: tuple[Convergence, ...] = ()
    coverage: tuple[Sequence, ...] = ()
    """TR-REACH: up to `cap` requests a client; the first ten are the chapter's loop."""
    cap: int
    """Requests after which a version that has not answered is taken for unreachable."""
    false_alarm: float
    """Probability that a good mesh misses a version within `cap` requests."""
    distribution: tuple[Sequence, ...] = ()
    """TR-DISTRIBUTION: a fixed number of requests a client."""
    peers: tuple[PeerIdentity, ...] | None = None
    """None where no evidence of the destination's proxies can be had; `peers_missing` says why."""
    peers_missing: str = ""
    connections: tuple[ZtunnelConnections, ...] | None = None
    """What ztunnels logged of the sample's connections meanwhile; None where there is no ztunnel, or no log that tells
    any: `peers_missing` says why."""
