"""Topologies that a user describes in a YAML file: more clusters, mixed roles and networks (docs/topology-files.md)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import yaml
from pydantic import ConfigDict, Field, ValidationError, field_validator, model_validator

from harness.base.errors import UserError
from harness.mesh.distributions.profile import explained
from harness.model.base import Model
from harness.model.topology import Cluster, Role, Topology, outside

DOCUMENTATION = "docs/topology-files.md"
_LABEL = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"


class ClusterEntry(Model):
    """One cluster of a topology file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=_LABEL, max_length=20)
    """The suite's name, for instance east; a part of the names of clusters that it makes."""
    role: Literal["", "external"] = ""
    """`external`: it is no part of the mesh, and runs the control plane of those that name it as their primary."""
    network: str = Field(default="", pattern=f"{_LABEL}|^$", max_length=63)
    """Istio's network name; clusters that name the same one share it."""
    primary: str = ""
    """The `name` of the cluster whose control plane serves this one; without it, it has one of its own."""
    cluster_name: str = Field(default="", pattern=f"{_LABEL}|^$", max_length=63)
    """Istio's name; default cluster1 for the first, and so on."""

    @model_validator(mode="after")
    def _network_in_mesh(self) -> "ClusterEntry":
        if self.role and (self.network or self.primary):
            raise ValueError(f"{self.name} is outside of the mesh, and so has neither network nor primary")
        if not self.role and not self.network:
            raise ValueError(f"{self.name} names no network")
        return self


class TopologyEntry(Model):
    """A topology file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(default="", pattern=f"{_LABEL}|^$", max_length=63)
    """Default the file's name, without its ending."""
    mesh_id: str = Field(default="mesh1", pattern=_LABEL)
    trust_domain: str = Field(default="cluster.local", min_length=1)
    clusters: tuple[ClusterEntry, ...]

    @field_validator("clusters")
    @classmethod
    def _outside_first(cls, clusters: tuple[ClusterEntry, ...]) -> tuple[ClusterEntry, ...]:
        roles = [bool(cluster.role) for cluster in clusters]
        if roles != sorted(roles, reverse=True):
            raise ValueError("clusters of role external come before those of the mesh")
        return clusters


def load(path: Path) -> Topology:
    """The topology that a file describes.

    Raises:
        UserError: it can't be read, is not YAML, has an unknown key (the nearest known one is named), or describes no
            mesh.
    """
    try:
        found = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError) as missing:
        raise UserError(f"{path} can't be read.", str(missing), "correct --topology-file") from None
    except yaml.YAMLError as broken:
        raise UserError(f"{path} is not YAML.", " ".join(str(broken).split()), "correct it") from None
    return parse(found, str(path), path.stem)


def load_all(paths: Sequence[Path]) -> tuple[Topology, ...]:
    """The topologies of several files.

    Raises:
        UserError: as `load`, or two have the same name.
    """
    topologies = tuple(load(path) for path in paths)
    names = [topology.name for topology in topologies]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UserError(
            f"Two topology files describe {twice[0]}.",
            "their observations would have the same name",
            "give each a key name of its own",
        )
    return topologies


def parse(found: object, where: str, default_name: str = "") -> Topology:
    """A topology from the data in a file: pure.

    Raises:
        UserError: an unknown key, an unusable value, or no mesh.
    """
    if not isinstance(found, Mapping):
        raise UserError(f"{where} is no topology file.", "it holds no mapping", f"see {DOCUMENTATION}")
    known = (*TopologyEntry.model_fields, *ClusterEntry.model_fields)
    try:
        return _topology(TopologyEntry.model_validate({"name": default_name, **found}))
    except ValidationError as invalid:
        raise explained(invalid, where, known, DOCUMENTATION) from None


def _topology(entry: TopologyEntry) -> Topology:
    hosts = [cluster.name for cluster in entry.clusters if cluster.role]
    members = [cluster for cluster in entry.clusters if not cluster.role]
    config = {each.primary: each.name for each in reversed(members) if each.primary in hosts}
    return Topology(
        name=entry.name,
        mesh_id=entry.mesh_id,
        trust_domain=entry.trust_domain,
        clusters=tuple(_cluster(number, cluster, config) for number, cluster in enumerate(members, start=1)),
        hosts=tuple(outside(host) for host in hosts),
    )


def _cluster(number: int, entry: ClusterEntry, config: Mapping[str, str]) -> Cluster:
    """A cluster of the mesh; `config` names the first of those that each cluster outside of it serves."""
    primary = config.get(entry.primary, entry.primary) or entry.name
    return Cluster(
        name=entry.name,
        cluster_name=entry.cluster_name or f"cluster{number}",
        network=entry.network,
        role=Role.PRIMARY if primary == entry.name else Role.REMOTE,
        primary=primary,
        version=f"v{number}",
        host=entry.primary if entry.primary in config and primary == entry.name else "",
    )
