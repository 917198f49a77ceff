"""What a scenario is, and the table of them. Pure."""

from collections.abc import Callable
from dataclasses import dataclass

from harness.experiments.resilience import certificates, failover, network, remote_secret, restarts, revision
from harness.experiments.resilience.stage import Stage
from harness.mesh.pki import Pki
from harness.mesh.settings import MeshSettings
from harness.model.topology import Feature, Topology


@dataclass(frozen=True)
class Setting:
    """On what scenarios are to be played."""

    topology: Topology
    settings: MeshSettings
    certificates: Pki
    own_clusters: bool
    """The suite made the clusters, and so may change their nodes."""


def possible(_setting: Setting) -> str:
    """Nothing speaks against it."""
    return ""


def without_own_clusters(setting: Setting) -> str:
    """Why nodes can't be changed; empty where they can."""
    return "" if setting.own_clusters else "the clusters are not the suite's own: it does not touch their nodes"


def without_root_key(setting: Setting) -> str:
    """Why nothing can be signed under the root; empty where it can."""
    return "" if setting.certificates.root else "the root's key is with whoever made the certificates (--pki)"


def with_operator(setting: Setting) -> str:
    """Why no second revision can be installed; empty where one can."""
    return "" if setting.settings.installer == "istioctl" else "made with istioctl so far, not by the operator"


@dataclass(frozen=True)
class ScenarioSpec:
    """One change on a mesh that serves: act, record, mend."""

    id: str
    title: str
    act: Callable[[Stage], None]
    features: frozenset[Feature] = frozenset()
    """It makes sense where the topology has one of these; everywhere when empty."""
    unfit: Callable[[Setting], str] = possible
    """Why it can't be played; empty where it can."""

    def applies_to(self, topology: Topology) -> bool:
        """Whether the topology has what it is about."""
        return not self.features or bool(self.features & topology.features)


_GATEWAYS = frozenset({Feature.MULTI_NETWORK, Feature.PRIMARY_REMOTE})

TABLE = (
    ScenarioSpec("local-out", "The local helloworld goes away and comes back", failover.local_out),
    ScenarioSpec("gateway-restart", "The east-west gateways are restarted", restarts.gateways, _GATEWAYS),
    ScenarioSpec("istiod-restart", "The control planes are ended and come back", restarts.control_planes),
    ScenarioSpec("network-cut", "The network between the clusters is cut", network.cut, unfit=without_own_clusters),
    ScenarioSpec("idle-minute", "The clients send nothing for a minute, and go on", network.idle),
    ScenarioSpec("secret-rotation", "Remote secrets get new tokens, the old ones are revoked", remote_secret.rotate),
    ScenarioSpec(
        "intermediate-rotation",
        "The intermediate CAs are rotated under the same root",
        certificates.intermediate,
        unfit=without_root_key,
    ),
    ScenarioSpec("root-rotation", "The root is rotated through a bundle of both", certificates.root),
    ScenarioSpec(
        "revision-upgrade",
        "The control plane is upgraded by revision",
        revision.upgrade,
        unfit=with_operator,
    ),
)
"""In the order in which they are played."""
