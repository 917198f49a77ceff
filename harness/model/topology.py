"""Which clusters form the mesh, in which roles and on which networks. Pure.

Source: the chapter's "multi-cluster topologies": two control plane models × two network models. With more than two
clusters every cluster of a multi-network mesh has a network of its own, and the first is the primary of a
primary-remote mesh. Istio, "Install Istio with an External Control Plane": the first cluster of the mesh, from which
the control plane takes its configuration, counts as the primary, and a host outside of the mesh runs its istiod.
"""

from enum import StrEnum

from pydantic import field_validator, model_validator

from harness.base.errors import UserError
from harness.model.base import Model

NAMES = ("east", "west", "north", "south")


class ControlPlaneModel(StrEnum):
    """Where the control planes are."""

    MULTI_PRIMARY = "multi-primary"
    PRIMARY_REMOTE = "primary-remote"
    EXTERNAL = "external"


CHAPTER_MODELS = (ControlPlaneModel.MULTI_PRIMARY, ControlPlaneModel.PRIMARY_REMOTE)
"""The chapter's own."""
HOST = "control"
"""The name of the cluster outside of the mesh on which an external control plane runs."""


class NetworkModel(StrEnum):
    """Whether pods of different clusters reach each other directly."""

    SINGLE = "single"
    MULTI = "multi"


class Role(StrEnum):
    """What a cluster is in the mesh: with a control plane of its own, or served by another cluster's."""

    PRIMARY = "primary"
    REMOTE = "remote"
    EXTERNAL = "external"
    """Outside of the mesh: it runs the control plane of a primary."""


class Feature(StrEnum):
    """What a topology has; a requirement applies where it finds one of those it names."""

    MULTI_PRIMARY = "MP"
    """More than one primary."""
    PRIMARY_REMOTE = "PR"
    """At least one remote."""
    SINGLE_NETWORK = "SN"
    """At least two clusters share a network."""
    MULTI_NETWORK = "MN"
    """At least two networks."""


class Cluster(Model):
    """One cluster's place in the mesh."""

    name: str
    """The suite's name: east, west, north, south, then cluster5 and so on."""
    cluster_name: str
    """Istio's name (`global.multiCluster.clusterName`), for instance cluster1."""
    network: str
    """Istio's network name, for instance network1."""
    role: Role
    primary: str
    """The `name` of the cluster whose control plane serves this one; a primary names itself."""
    version: str
    """The helloworld version that runs here and nowhere else: v1 on the first cluster."""
    host: str = ""
    """The cluster outside of the mesh that runs this primary's control plane; empty where it runs here."""

    @property
    def is_primary(self) -> bool:
        """Whether a control plane takes its configuration from here, and knows this cluster as its own."""
        return self.role is Role.PRIMARY

    @property
    def runs_control_plane(self) -> bool:
        """Whether istiod's pods are here."""
        return self.role is Role.EXTERNAL or (self.is_primary and not self.host)


class Topology(Model):
    """The clusters of one mesh."""

    name: str
    """Stable id, for instance `primary-remote-multi-network`; with more than two clusters `…-3-clusters`."""
    mesh_id: str = "mesh1"
    trust_domain: str = "cluster.local"
    clusters: tuple[Cluster, ...]
    hosts: tuple[Cluster, ...] = ()
    """The clusters outside of the mesh, each with the control plane of one primary."""

    @field_validator("clusters")
    @classmethod
    def _at_least_two(cls, clusters: tuple[Cluster, ...]) -> tuple[Cluster, ...]:
        if len(clusters) < 2:  # noqa: PLR2004 - a mesh over one cluster is not multi-cluster
            raise ValueError("a multi-cluster mesh has at least two clusters")
        return clusters

    @model_validator(mode="after")
    def _consistent(self) -> "Topology":
        for what in ("name", "cluster_name", "version"):
            values = [getattr(cluster, what) for cluster in (self.every if what == "name" else self.clusters)]
            twice = sorted({value for value in values if values.count(value) > 1})
            if twice:
                raise ValueError(f"two clusters have the same {what}: {', '.join(twice)}")
        primaries = {cluster.name for cluster in self.clusters if cluster.is_primary}
        for cluster in self.clusters:
            if cluster.primary not in primaries:
                raise ValueError(f"{cluster.name} names {cluster.primary} as its primary, which is none")
            if cluster.is_primary and cluster.primary != cluster.name:
                raise ValueError(f"{cluster.name} is a primary and is served by itself, not by {cluster.primary}")
        hosted = [primary.host for primary in self.primaries if primary.host]
        if sorted(hosted) != sorted(host.name for host in self.hosts):
            raise ValueError("each cluster outside of the mesh runs the control plane of one primary")
        return self

    def __getitem__(self, name: str) -> Cluster:
        """The cluster of that name, in the mesh or outside."""
        return next(cluster for cluster in self.every if cluster.name == name)

    @property
    def every(self) -> tuple[Cluster, ...]:
        """The clusters of the mesh, and before them those outside of it that run its control planes."""
        return (*self.hosts, *self.clusters)

    @property
    def primaries(self) -> tuple[Cluster, ...]:
        """The clusters that a control plane knows as its own."""
        return tuple(cluster for cluster in self.clusters if cluster.is_primary)

    @property
    def remotes(self) -> tuple[Cluster, ...]:
        """The clusters without one."""
        return tuple(cluster for cluster in self.clusters if not cluster.is_primary)

    @property
    def served_elsewhere(self) -> tuple[Cluster, ...]:
        """The clusters whose control plane runs on another one: remotes, and primaries with a host."""
        return tuple(cluster for cluster in self.clusters if not cluster.runs_control_plane)

    def hosted_by(self, host: Cluster) -> Cluster:
        """The primary whose control plane runs on a cluster outside of the mesh."""
        return next(primary for primary in self.primaries if primary.host == host.name)

    @property
    def networks(self) -> tuple[str, ...]:
        """The networks' names, in the clusters' order."""
        return tuple(dict.fromkeys(cluster.network for cluster in self.clusters))

    @property
    def features(self) -> frozenset[Feature]:
        """What requirements ask of a topology."""
        found = {
            Feature.MULTI_PRIMARY: len(self.primaries) > 1,
            Feature.PRIMARY_REMOTE: bool(self.remotes),
            Feature.SINGLE_NETWORK: len(self.networks) < len(self.clusters),
            Feature.MULTI_NETWORK: len(self.networks) > 1,
        }
        return frozenset(feature for feature, there in found.items() if there)

    def others(self, cluster: Cluster) -> tuple[Cluster, ...]:
        """Every other cluster."""
        return tuple(other for other in self.clusters if other.name != cluster.name)

    def served_by(self, primary: Cluster) -> tuple[Cluster, ...]:
        """The clusters whose proxies this control plane configures, itself first."""
        return tuple(cluster for cluster in self.clusters if cluster.primary == primary.name)

    def remotes_of(self, primary: Cluster) -> tuple[Cluster, ...]:
        """The remotes that depend on this cluster's control plane."""
        return tuple(cluster for cluster in self.remotes if cluster.primary == primary.name)

    def control_plane_of(self, cluster: Cluster) -> Cluster:
        """The cluster, in the mesh or outside, on which the istiod runs that serves this one."""
        return self.home_of(self[cluster.primary])

    def home_of(self, cluster: Cluster) -> Cluster:
        """The cluster on which this one's own istiod, cacerts and mesh configuration stand: its host if it has one."""
        return self[cluster.host or cluster.name]

    def dependents(self, cluster: Cluster) -> tuple[Cluster, ...]:
        """The clusters that reach their control plane through this cluster's gateway."""
        if cluster.role is Role.EXTERNAL:
            return self.served_by(self.hosted_by(cluster))
        return () if cluster.host else self.remotes_of(cluster)

    def watched_by(self, cluster: Cluster) -> tuple[Cluster, ...]:
        """The clusters whose API server this cluster's control plane must watch over a remote secret.

        Every other cluster for a primary, none for a remote.
        """
        return self.others(cluster) if cluster.is_primary else ()

    def has_gateway(self, cluster: Cluster) -> bool:
        """Whether the chapter puts an east-west gateway there.

        On every cluster of a multi-network mesh; on one network only where a control plane serves remotes.
        """
        return Feature.MULTI_NETWORK in self.features or self.serves_remotes(cluster)

    def serves_remotes(self, cluster: Cluster) -> bool:
        """Whether remotes reach their control plane through this cluster's gateway."""
        return bool(self.dependents(cluster))


def preset(control_plane: ControlPlaneModel, network: NetworkModel, clusters: int = 2) -> Topology:
    """One of the chapter's four topologies, or one with an external control plane, for two or more clusters.

    Args:
        control_plane: where the control planes are.
        network: whether pods of different clusters reach each other directly.
        clusters: those of the mesh; the host of an external control plane is one more.

    Raises:
        UserError: fewer than two clusters.
    """
    if clusters < 2:  # noqa: PLR2004
        raise UserError(
            f"{clusters} cluster(s) can't form a multi-cluster mesh.",
            "each of the chapter's topologies has at least two clusters",
            "give --clusters=2 or more",
        )
    names = [NAMES[n] if n < len(NAMES) else f"cluster{n + 1}" for n in range(clusters)]
    remote = control_plane is not ControlPlaneModel.MULTI_PRIMARY
    host = HOST if control_plane is ControlPlaneModel.EXTERNAL else ""
    suffix = "" if clusters == 2 else f"-{clusters}-clusters"  # noqa: PLR2004
    return Topology(
        name=f"{control_plane}-{network}-network{suffix}",
        clusters=tuple(
            Cluster(
                name=name,
                cluster_name=f"cluster{n}",
                network=f"network{n if network is NetworkModel.MULTI else 1}",
                role=Role.REMOTE if remote and n > 1 else Role.PRIMARY,
                primary=names[0] if remote else name,
                version=f"v{n}",
                host=host if n == 1 else "",
            )
            for n, name in enumerate(names, start=1)
        ),
        hosts=(outside(host),) if host else (),
    )


def outside(name: str) -> Cluster:
    """A cluster outside of the mesh, on which a control plane is to run."""
    return Cluster(name=name, cluster_name=name, network=name, role=Role.EXTERNAL, primary=name, version="")
