"""Options of what is formed: the mesh and its clusters."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from harness.base.container_engine import CHOICES
from harness.mesh import distributions
from harness.mesh.distributions import Distribution
from harness.model.data_plane import DataPlane
from harness.model.topology import CHAPTER_MODELS, ControlPlaneModel, NetworkModel
from harness.runs.options import values
from harness.runs.options.option import Given, Option
from harness.runs.options.values import Images


def _data_plane(option: str, given: Given) -> DataPlane | None:
    value = values.one_of(*DataPlane, or_none=True)(option, given)
    return DataPlane(value) if value else None


@dataclass(frozen=True)
class MeshOptions:
    """The mesh."""

    topology: Annotated[
        tuple[str, ...],
        Option(
            "control plane models: multi-primary, primary-remote, external; all: the first two",
            values.all_or_some(tuple(ControlPlaneModel), CHAPTER_MODELS),
            default="all",
            values="A,B",
        ),
    ]
    network: Annotated[
        tuple[str, ...],
        Option(
            "network models: multi, single, or all",
            values.all_or_some(tuple(NetworkModel)),
            default="multi",
            values="A,B",
        ),
    ]
    clusters: Annotated[int, Option("number of clusters of the mesh", values.whole(2), default="2", values="N")]
    topology_files: Annotated[
        tuple[Path, ...],
        Option(
            "any other topology, described in YAML",
            values.paths,
            name="topology-file",
            values="FILE",
            repeatable=True,
            paths=True,
            page="topology-files.md",
        ),
    ]
    given_data_plane: Annotated[
        DataPlane | None,
        Option(
            "what carries the traffic of workloads: sidecar or ambient, which needs --topology=multi-primary; default "
            "sidecar, with --verify-only what is found",
            _data_plane,
            values="NAME",
            name="data-plane",
            page="ambient.md",
        ),
    ]
    distribution: Annotated[
        Distribution,
        Option(
            "what is installed: istio, sail, ossm, or a YAML file",
            lambda option, given: distributions.load(values.text(option, given)),
            default="istio",
            values="NAME",
            page="distributions.md",
        ),
    ]
    installer: Annotated[
        str,
        Option(
            "what installs it: istioctl or sail; default the distribution's",
            values.one_of("istioctl", "sail", or_none=True),
            values="NAME",
            page="distributions.md",
        ),
    ]
    istio_version: Annotated[
        str,
        Option("version of Istio; default the distribution's, or the newest known", values.version, values="VERSION"),
    ]
    pki: Annotated[
        Path | None,
        Option(
            "directory with CLUSTER/{ca-cert,ca-key,root-cert,cert-chain}.pem; by default they are made",
            values.path,
            values="DIR",
        ),
    ]
    namespace: Annotated[
        str, Option("namespace of the sample workloads", values.namespace, default="sample", values="NAME")
    ]


@dataclass(frozen=True)
class ClusterOptions:
    """The clusters."""

    contexts: Annotated[
        tuple[str, ...],
        Option(
            "kubeconfig contexts of existing clusters, east first; without them kind clusters are created",
            values.different,
            values="A,B",
            page="existing-clusters.md",
        ),
    ]
    kubeconfigs: Annotated[
        tuple[Path, ...],
        Option(
            "kubeconfig of existing clusters; default KUBECONFIG",
            values.paths,
            name="kubeconfig",
            values="FILE",
            repeatable=True,
            paths=True,
            page="existing-clusters.md",
        ),
    ]
    peer_servers: Annotated[
        Mapping[str, str],
        Option(
            "API server address that other clusters must use",
            values.pairs("="),
            name="peer-server",
            values="CONTEXT=URL",
            repeatable=True,
            page="existing-clusters.md",
        ),
    ]
    container_engine: Annotated[
        Literal["auto", "docker", "podman"],
        Option(
            "what kind clusters run in: docker, podman, or auto, which is the first of them that answers",
            values.one_of(*CHOICES),
            default="auto",
            values="NAME",
            page="podman.md",
        ),
    ]
    images: Annotated[
        Images,
        Option(
            "where images come from: registry, local (built from packages), archive:FILE, or auto, which is registry "
            "where one answers and local where none does",
            values.images,
            default="auto",
            values="SOURCE",
            page="disconnected.md",
        ),
    ]
    nodes: Annotated[
        int,
        Option(
            "nodes of each kind cluster; all of them take pods, the first is the control plane",
            values.whole(1),
            default="1",
            values="N",
        ),
    ]
    node_image: Annotated[
        str, Option("node image of kind clusters; default the one that kind publishes", values.text, values="IMAGE")
    ]
    registry_mirror: Annotated[
        str, Option("registry from which nodes of kind clusters pull every image", values.url, values="URL")
    ]
    load_balancer: Annotated[
        Literal["auto", "cloud-provider-kind", "metallb"],
        Option(
            "cloud-provider-kind, metallb, or auto: cloud-provider-kind where it is on PATH",
            values.one_of("auto", "cloud-provider-kind", "metallb"),
            default="auto",
            values="NAME",
        ),
    ]
    keep: Annotated[bool, Option("keep the clusters and the mesh of the last topology", values.flag, flag=True)]
    reuse: Annotated[bool, Option("use clusters that an earlier run kept", values.flag, flag=True)]
