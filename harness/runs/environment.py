"""What a run works with on this machine: images, programs, and where each comes from."""

import platform
import shutil
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from urllib3 import PoolManager, ProxyManager, Timeout
from urllib3.exceptions import HTTPError

from harness.base.cache import cache_directory
from harness.base.command import CommandError, run
from harness.base.container_engine import DOCKER, ContainerEngine
from harness.base.errors import UserError
from harness.clusters import preflight
from harness.clusters.kind import Nodes, nodes_of
from harness.machine.engine import Engine, ensure_engine
from harness.machine.images import LocalImages, archive, by_hand, helm_program, hosts_toml, local_images, versions
from harness.machine.images.registry import Registry
from harness.mesh.settings import Images
from harness.model.data_plane import DataPlane
from harness.model.observation import Environment
from harness.model.step_log import StepLog
from harness.runs.options import Options
from harness.runs.options.ambient import require_version_for

REGISTRY = "https://registry-1.docker.io/v2/"
"""Answers 401 to anybody; where it answers at all, images can be pulled."""
REGISTRY_SECONDS = 3.0
UPSTREAM_ENVOY = "upstream Envoy without Istio's own filters"


@dataclass(frozen=True)
class Provisions:
    """Where images and programs come from."""

    images: Images
    local: LocalImages | None
    """Set where images were built here, or where an archive was written."""
    istioctl: Path
    istio_version: str
    engine: Engine | None
    """The container engine; None where none is used."""
    helm: Path | None = None
    """Set where it is there."""
    node_image: str = ""
    """In place of the one that kind publishes."""
    registry_mirror: str = ""
    """URL of a registry from which nodes pull every image."""

    @property
    def nodes(self) -> Nodes:
        """What the nodes of kind clusters are made of."""
        if self.local:
            return nodes_of(self.local)
        mirror = hosts_toml(Registry("", self.registry_mirror, self.registry_mirror)) if self.registry_mirror else ""
        engine = self.engine.client if self.engine else DOCKER
        own = bool(self.node_image) and _sets_up_network(engine, self.node_image)
        return Nodes(image=self.node_image, own_network=own, hosts_toml=mirror, engine=engine)

    @property
    def gateway_api(self) -> Path | None:
        """File with the definitions of the Kubernetes Gateway API, where it came with the images."""
        return self.local.gateway_api if self.local else None

    def environment(self, *, existing: bool) -> Environment:
        """As it is recorded in the observation."""
        return Environment(
            platform="existing" if existing else "kind",
            container_engine=str(self.engine) if self.engine else "",
            kind_version="" if existing else _kind_version(self.nodes.kind),
            node_image=self.nodes.image,
            images=dict(self.local.images) if self.local else {},
            data_plane=UPSTREAM_ENVOY if self.local else "",
        )


def provide(options: Options, log: StepLog) -> Provisions:
    """See to it that there are an engine, images and programs; builds them where no registry answers.

    Raises:
        UserError: something is missing that can't be had here; nothing has been created on any cluster.
    """
    if options.verify_only:
        return Provisions("registry", None, Path("istioctl"), options.istio_version, None)
    source = _image_source(options)
    if options.existing:
        return _from_registries(options, None)
    unpacked = archive.unpack(options.images.archive, log) if options.images.archive else None
    _require_ztunnel(options, source)
    engine = ensure_engine(log, options.container_engine)
    _raise_first(preflight.check(needs(options, source)))
    if source == "registry":
        return _from_registries(options, engine)
    if options.istio_version not in ("", versions.ISTIO, short(versions.ISTIO)):
        raise UserError(
            f"Istio {options.istio_version} can't be built here.",
            f"from packages only {versions.ISTIO} can be had with every check of the package clients on",
            "leave --istio-version out, or use --images=registry where one answers",
        )
    local = archive.provide(unpacked, engine.client, log) if unpacked else local_images(log, engine.client)
    if options.data_plane is DataPlane.AMBIENT and not local.has_ztunnel:
        raise by_hand.absent()
    helm = helm_program(log) if source == "local" and options.distribution.needs_helm else _on_path("helm")
    return Provisions(source, local, local.tools.istioctl, versions.ISTIO, engine, helm=helm)


def checks(options: Options) -> tuple[preflight.Check, ...]:
    """What --preflight shows: whether a run could be made; creates and installs nothing."""
    if options.images.archive:
        archive.read_list(options.images.archive)
    _require_ztunnel(options, source := _image_source(options))
    return preflight.check(needs(options, source))


def needs(options: Options, source: Images) -> preflight.Needs:
    """What the run asks of the machine."""
    if options.verify_only:
        return preflight.Needs(clusters=0)
    clusters = 0 if options.existing else max(len(topology.every) for topology in options.topologies)
    # kind and istioctl come with the images; Helm only where it can be built.
    tools = [] if source != "registry" else ["istioctl"] if options.existing else ["istioctl", "kind"]
    if options.distribution.needs_helm and source != "local":
        tools.append("helm")
    return preflight.Needs(clusters, options.nodes, tuple(tools), engine=options.container_engine)


def short(version: str) -> str:
    """Major and minor of a version: 1.31 for 1.31.2 and for 1.31-alpha.1."""
    return ".".join(version.split("-", maxsplit=1)[0].split(".")[:2])


def _require_ztunnel(options: Options, source: Images) -> None:
    """See, before anything is built, that there is a ztunnel to make an image of; an archive has its own."""
    if options.data_plane is DataPlane.AMBIENT and source == "local" and not by_hand.ztunnel(cache_directory()):
        raise by_hand.absent()


def _raise_first(found: tuple[preflight.Check, ...]) -> None:
    for problem in preflight.problems(found):
        raise problem


def _image_source(options: Options) -> Images:
    if options.images.source != "auto":
        return options.images.source
    known = options.existing or options.registry_mirror or options.node_image
    return "registry" if known or _registry_answers() else "local"


def _registry_answers() -> bool:
    proxy = "" if proxy_bypass(urlsplit(REGISTRY).netloc) else getproxies().get("https")
    try:
        (ProxyManager(proxy) if proxy else PoolManager()).request(
            "GET", REGISTRY, retries=False, timeout=Timeout(total=REGISTRY_SECONDS)
        )
    except (HTTPError, OSError):
        return False
    return True


def _from_registries(options: Options, engine: Engine | None) -> Provisions:
    found = shutil.which("istioctl")
    if not found:
        raise UserError(
            "istioctl is missing.",
            "the chapter makes remote secrets with it, and no program of that name is on PATH",
            "install the istioctl of the version to be tested (https://istio.io/latest/docs/setup/getting-started)",
        )
    version = _istioctl_version(found)
    asked = options.istio_version
    if options.distribution.installer == "sail":
        version = asked or version  # istioctl then only makes the remote secrets
    elif asked not in ("", version, short(version)):
        raise UserError(
            f"istioctl is not of version {options.istio_version}.",
            f"{found} says {version}, and installs the charts of that version",
            f"put istioctl {options.istio_version} on PATH, or use --istio-version={version}",
        )
    require_version_for(options.data_plane, version)
    return Provisions(
        "registry",
        None,
        Path(found),
        version,
        engine,
        helm=_on_path("helm"),
        node_image=options.node_image,
        registry_mirror=options.registry_mirror,
    )


def _on_path(program: str) -> Path | None:
    found = shutil.which(program)
    return Path(found) if found else None


def _sets_up_network(engine: ContainerEngine, node_image: str) -> bool:
    """Whether it is one of the suite's own node images, which set up the pod network in kind's place."""
    try:
        return "eastwest-node" in engine.run("image", "inspect", "--format", "{{.Config.Entrypoint}}", node_image)
    except CommandError:
        return False  # kind pulls it


def _istioctl_version(program: str) -> str:
    try:
        return run([program, "version", "--remote=false", "--short"], timeout=20).split()[-1]
    except (CommandError, IndexError):
        raise UserError(
            "istioctl does not tell its version.",
            f"`{program} version --remote=false` failed",
            f"see that it is a program for this machine ({platform.system()} {platform.machine()})",
        ) from None


def _kind_version(program: str | Path) -> str:
    try:
        return run([program, "version", "--quiet"], timeout=20).strip()
    except CommandError:
        return "unknown"
