"""What was seen when the run acted: policies in the sample namespace, requests under them, the procedure run again."""

from typing import Any

from harness.model.base import Model
from harness.model.traffic import ProbeResult, Sequence

TCP, PAYLOAD, GRPC = "TR-TCP", "TR-PAYLOAD", "TR-GRPC"
STRICT, AUTHORIZATION, RERUN = "MTLS-STRICT", "AUTHZ-IDENTITY", "IDEMPOTENT"
IDS = frozenset({TCP, PAYLOAD, GRPC, STRICT, AUTHORIZATION, RERUN})
"""The requirements that an experiment is made for."""
WITHOUT_SIDECARS = IDS - {GRPC}
"""Those that can be made in an ambient mesh: the other one needs balancing within a connection."""
LABEL = "eastwest/experiment"
"""On everything that is there for experiments only; what bears it is no part of the sample that is observed."""
ECHO = "echo"
"""Istio's echo server, in the cluster's version on every cluster; also the name of its service account."""
PLAIN = "plain"
"""A client that is no part of the mesh."""
TCP_PORT, GRPC_PORT, HTTP_PORT = 9090, 7070, 8080
PAYLOAD_BYTES = 65536
"""Of one message that goes out and comes back: more than a packet or a buffer on the way holds."""


class Exchange(Model):
    """Requests from one pod to one host, sent in one exec."""

    source: str
    """Name of the cluster of the pod that sent them."""
    pod: str
    account: str
    """The pod's service account, in the sample namespace."""
    target: str
    """Name of the only cluster whose pods stand behind the host; empty where those of every cluster do."""
    url: str
    sent: int
    """Requests: connections for TCP, calls on one connection for gRPC."""
    result: ProbeResult
    """ANSWERED only if every one of them was."""
    status: int = 0
    """HTTP status, where there is one; 200 for what the echo server answers over TCP."""
    answers: dict[str, int] = {}
    """Version that answered → number of answers."""
    returned: int = 0
    """Bytes of a payload that came back; 0 where none was sent."""
    detail: str = ""
    """Why it was not answered."""
    seconds: float


class Policy(Model):
    """An Istio policy that was applied, and withdrawn again."""

    kind: str
    namespace: str
    name: str
    clusters: tuple[str, ...]
    """Where it was applied: on every cluster with a control plane, for that is where policies are read."""
    spec: dict[str, Any]
    seconds: float
    """Until every destination's proxy had it, or until that was no longer waited for."""
    pending: tuple[str, ...] = ()
    """`cluster: pod` of proxies that did not have it by then."""


class StrictExperiment(Model):
    """Plaintext from a pod that is no part of the mesh, before and under STRICT."""

    control: tuple[Exchange, ...]
    """The same requests without the policy: one for each pod of helloworld that is reached without a gateway."""
    policy: Policy
    plaintext: tuple[Exchange, ...]
    loop: tuple[Sequence, ...]
    """The chapter's loop under STRICT, from every cluster."""


class AuthorizationExperiment(Model):
    """Requests of two callers to the other clusters, before and under a policy that allows one of them."""

    allowed: str
    """Service account of the caller that the policy names."""
    denied: str
    control: tuple[Exchange, ...]
    """The same requests without the policy."""
    policy: Policy
    exchanges: tuple[Exchange, ...]


class ResourceChange(Model):
    """An object that is not what it was before the procedure ran again."""

    cluster: str
    kind: str
    namespace: str
    name: str
    change: str
    """`changed`, `made again`, `added` or `removed`."""
    fields: tuple[str, ...] = ()
    """Paths of the fields that differ; never their values."""
    generations: tuple[int, int] = (0, 0)
    """Before and after."""


class Rerun(Model):
    """The procedure, run again on the mesh that it has made."""

    seconds: float
    failed_steps: tuple[str, ...]
    """`cluster: title: why` of steps that failed this time."""
    certificates_before: dict[str, dict[str, str]]
    """Cluster → where it stands → SHA-256 of the certificate of a CA."""
    certificates_after: dict[str, dict[str, str]]
    compared: dict[str, int]
    """Cluster → number of objects that were compared: what the run applies, and the workloads of its namespaces."""
    changes: tuple[ResourceChange, ...]
    aside: tuple[str, ...]
    """Fields that were not compared, each with who writes them."""


class Experiments(Model):
    """What the experiment stage saw. An experiment that is None was left out, unless `prevented` or `errors` has it."""

    tcp: tuple[Exchange, ...] | None = None
    payload: tuple[Exchange, ...] | None = None
    grpc: tuple[Exchange, ...] | None = None
    strict: StrictExperiment | None = None
    authorization: AuthorizationExperiment | None = None
    rerun: Rerun | None = None
    prevented: dict[str, str] = {}
    """Requirement id → what of the mesh or the environment kept its experiment from being made, `what: why`."""
    errors: dict[str, str] = {}
    """Requirement id → how the suite itself failed."""
