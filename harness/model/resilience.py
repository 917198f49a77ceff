"""What was seen while something changed: requests that never paused, and what was done meanwhile."""

from datetime import datetime

from harness.model.base import Model
from harness.model.proxy import RemoteClusterSync
from harness.model.traffic import Request

SCENARIOS = (
    "local-out",
    "gateway-restart",
    "istiod-restart",
    "network-cut",
    "idle-minute",
    "secret-rotation",
    "intermediate-rotation",
    "root-rotation",
    "revision-upgrade",
)
"""The ids of all scenarios, in the order in which they are played."""
ACTED, MENDED, WHOLE, FAILED = "acted", "mended", "whole", "failed"
"""Names of moments: something was changed, it was changed back or is over, every client is served again, a step
failed."""


class Moment(Model):
    """Something that was done, or happened, while requests were sent."""

    name: str
    """What, in a few words; the same in every run."""
    at: float
    """Seconds since the scenario's first request."""
    cluster: str = ""
    """The cluster it concerns; empty where it concerns all of them."""
    detail: str = ""


class Interruption(Model):
    """A time in which a client sent nothing: its pod was replaced, the way to it broke, or the scenario paused it."""

    at: float
    """Seconds since the scenario's first request."""
    seconds: float
    pod: str
    reason: str
    """What the exec ended with: the suite's words, never a verdict on the mesh."""
    intended: bool = False
    """The scenario itself had requests pause."""


class Stream(Model):
    """The requests of one client: at a fixed rate, whether the earlier ones have been answered or not."""

    client: str
    """Name of the cluster of the sleep pod."""
    requests: tuple[Request, ...]
    """In the order in which they were sent; `sent` counts from the scenario's first request, exact to about 50 ms."""
    interruptions: tuple[Interruption, ...] = ()


class TrustReading(Model):
    """What one proxy holds and trusts, at one time."""

    at: float
    """Seconds since the scenario's first request."""
    cluster: str
    pod: str
    issuer: str
    """SHA-256 of the intermediate that signed its certificate; empty where its chain has none."""
    roots: tuple[str, ...]
    """SHA-256 of the roots it trusts, sorted."""


class EndpointReading(Model):
    """How many endpoints of helloworld one client's proxy has, at one time."""

    at: float
    """Seconds since the scenario's first request."""
    client: str
    """Name of the cluster of the sleep pod."""
    endpoints: tuple[str, ...]
    """address:port, sorted."""


class SyncReading(Model):
    """How one control plane stands to the clusters it watches, at one time (istiod's /debug/clusterz)."""

    at: float
    """Seconds since the scenario's first request."""
    cluster: str
    """Name of the control plane's cluster."""
    clusters: tuple[RemoteClusterSync, ...]


class TokenReading(Model):
    """Which of a remote secret's tokens an API server takes; never a token itself."""

    watched: str
    """Name of the cluster it is for."""
    old_accepted: bool
    """The former token, after it was revoked."""
    new_accepted: bool
    """The new token, from the control plane: the API server has noted its use."""


class RevisionReading(Model):
    """Which control planes and proxies there are, at one time."""

    at: float
    """Seconds since the scenario's first request."""
    cluster: str
    control_planes: tuple[str, ...]
    """Revisions of the istiod Deployments that are left."""
    proxies: dict[str, str]
    """Pod → revision that injected it."""


class Scenario(Model):
    """One change on a mesh that serves, from before it to after it was mended."""

    started: datetime
    seconds: float
    rate: float
    """Requests a second that each client sends."""
    limit: int
    """Seconds after which a request counts as failed."""
    moments: tuple[Moment, ...]
    """In the order in which they came."""
    streams: tuple[Stream, ...]
    """One for each cluster, in the topology's order."""
    trust: tuple[TrustReading, ...] = ()
    authorities: dict[str, str] = {}
    """What a certificate's SHA-256 stands for: `old root`, `new intermediate of east` …"""
    endpoints: tuple[EndpointReading, ...] = ()
    syncs: tuple[SyncReading, ...] = ()
    tokens: tuple[TokenReading, ...] = ()
    revisions: tuple[RevisionReading, ...] = ()


class Resilience(Model):
    """What the resilience stage saw. A scenario that is in none of the three was left out."""

    scenarios: dict[str, Scenario] = {}
    """By the scenario's id."""
    prevented: dict[str, str] = {}
    """Scenario id → what of the mesh or the environment kept it from being played, `what: why`."""
    errors: dict[str, str] = {}
    """Scenario id → how the suite itself failed."""
