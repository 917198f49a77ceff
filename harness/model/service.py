"""A service and clients of somebody's own, in place of the sample; and the requests sent to it."""

from datetime import datetime
from enum import StrEnum

from harness.model.base import Model
from harness.model.traffic import HostStats


class OwnService(Model):
    """What --service names."""

    name: str
    namespace: str
    port: int
    path: str = "/"

    def __str__(self) -> str:
        """As the option has it."""
        return f"{self.name}.{self.namespace}:{self.port}{self.path}"


class OwnClient(Model):
    """What --client names: the pods of a namespace that have these labels."""

    namespace: str
    labels: dict[str, str]

    def __str__(self) -> str:
        """As the option has it."""
        return f"{self.namespace}/{','.join(f'{key}={value}' for key, value in self.labels.items())}"


class ServiceProtocol(StrEnum):
    """How requests are sent to a service."""

    HTTP = "http"
    GRPC = "grpc"
    TCP = "tcp"


class ServiceRequest(Model):
    """One request, or one TCP connection."""

    status: int = 0
    """HTTP status; 0 where there was none."""
    error: str = ""
    """Why it has no answer of the service: the client program's words, or what a proxy replied in its place."""


class ServiceSequence(Model):
    """The requests of one client, with what its proxy counted meanwhile."""

    client: str
    """Name of the cluster of the client."""
    pod: str = ""
    program: str = ""
    """curl or wget, and the container that has it; empty where there is none."""
    prevented: str = ""
    """Why nothing was sent: no client, no program, no proxy."""
    command: str = ""
    started: datetime | None = None
    requests: tuple[ServiceRequest, ...] = ()
    hosts: tuple[HostStats, ...] = ()
    """By endpoint of the service."""
    hosts_read: bool = False
    """Whether the proxy's counters were read before and after, or the ztunnel's access log told the connections."""
    transport_error: str = ""
    """Set where the exec itself broke: never a verdict on the mesh."""

    @property
    def foreign(self) -> int:
        """How many requests beyond its own the proxy counted: those of others, or tries that were repeated."""
        return max(0, sum(host.requests for host in self.hosts) - len(self.requests))


class ServiceTraffic(Model):
    """The requests of every client to a service of somebody's own."""

    protocol: ServiceProtocol
    cap: int
    """Requests of each client."""
    sequences: tuple[ServiceSequence, ...] = ()
