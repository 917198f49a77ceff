"""All images, built here where no registry can be reached, and ready for use."""

import json
import platform
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from harness.base.cache import cache_directory, digest_of, digest_of_files, locked, require_space, shown
from harness.base.command import CommandError
from harness.base.container_engine import ContainerEngine
from harness.base.errors import UserError
from harness.machine.images import by_hand, versions
from harness.machine.images.layers import Image, Layer, docker_archive
from harness.machine.images.node import build_node_image, load, loaded
from harness.machine.images.programs import GO_MODULES, HELM, build_programs, go_command, programs_path
from harness.machine.images.recipes import Ingredients, istio_references, registry_images
from harness.machine.images.registry import Registry, push, running_registry, serves, start_registry
from harness.machine.images.rootfs import BASE, NODE, build_rootfs, require_debootstrap
from harness.machine.images.wheels import ENVOY, unpacked
from harness.model.step import Phase
from harness.model.step_log import OpenStep, StepLog

ARCHIVE_FILES = ("archive.py", "archive_list.py", "archive_writing.py")
"""Modules of this package that take no part in building."""
NEEDED_GIBIBYTES = 20.0
"""Go's caches, the images and the container engine's copies of them, in a first build."""


@dataclass(frozen=True)
class Tools:
    """Programs for this machine, of the versions that the images have."""

    kind: Path
    kubectl: Path
    istioctl: Path


@dataclass(frozen=True)
class LocalImages:
    """Images that were built here."""

    node_image: str
    """Reference of kind's node image in the container engine."""
    registry: Registry
    """Serves all others; see `hosts_toml`."""
    images: Mapping[str, str]
    """Full reference to manifest digest of each image the registry serves."""
    tools: Tools
    metallb_manifest: Path
    """MetalLB's own manifest for layer 2."""
    gateway_api: Path
    """The definitions of the Kubernetes Gateway API."""
    versions: Mapping[str, str]
    """What went in: name to version."""
    built: bool
    """Something was built in this call; False: all came from the cache."""

    @property
    def has_ztunnel(self) -> bool:
        """Whether ztunnel is among them."""
        return istio_references("ztunnel")[0] in self.images


def local_images(log: StepLog, engine: ContainerEngine, cache: Path | None = None) -> LocalImages:
    """Build every image that is not in the cache, load the node image, and see that the registry serves the rest.

    Args:
        log: told of the progress, phase images.
        engine: is given the node image, and runs the registry.
        cache: directory to keep everything in; the user's cache directory by default.

    Raises:
        UserError: Go, root or disk space is missing (before anything is built), or a part could not be had.
    """
    cache = cache or cache_directory()
    begun = time.monotonic()
    with (
        log.step(Phase.IMAGES, "Provide images built from packages") as step,
        locked(cache / "images.lock", lambda: step.waiting("another run that builds them")),
    ):
        index = cache / "images" / f"{_inputs_digest(by_hand.ztunnel(cache))}.json"
        if (ready := _from_cache(index, engine, cache)) is not None:
            step.skip(f"all in {shown(cache)}")
            return ready
        images = _build(engine, cache, index, step)
        done = "built" if images.built else "put together from what was built before"
        step.note(f"{done} in {time.monotonic() - begun:.0f} s, kept in {shown(cache)}")
        return images


def helm_program(log: StepLog, cache: Path | None = None) -> Path:
    """Helm, built if it is not in the cache. Only an operator that arrives as a chart needs it.

    Raises:
        UserError: it could not be built.
    """
    cache = cache or cache_directory()
    with (
        log.step(Phase.IMAGES, "Provide Helm") as step,
        locked(cache / "images.lock", lambda: step.waiting("another run that builds images")),
    ):
        return build_programs(cache, step, (HELM,))[HELM.name] / "helm"


def pinned_versions() -> dict[str, str]:
    """What the images, and programs beside them, are made of: name to version."""
    return {
        **versions.MODULES,
        "istio": versions.ISTIO,
        "envoy": versions.ENVOY,
        "debian": versions.DEBIAN,
        "pause": versions.PAUSE,
    }


def _inputs_digest(ztunnel: Path | None) -> str:
    own = digest_of_files(Path(__file__).parent, exclude=("__pycache__", "__main__.py", *ARCHIVE_FILES))
    return digest_of(own, ztunnel.parent.name) if ztunnel else own


def _from_cache(index: Path, engine: ContainerEngine, cache: Path) -> LocalImages | None:
    """The images if nothing is to be built, loaded or sent; None otherwise."""
    if not index.exists():
        return None
    known = json.loads(index.read_text())
    tools = Tools(**{name: Path(path) for name, path in known["tools"].items()})
    manifest, gateway_api = Path(known["metallb_manifest"]), Path(known["gateway_api"])
    registry = running_registry(engine, cache)
    node_image: str = known["node_image"]
    files = (*vars(tools).values(), manifest, gateway_api)
    if not (all(path.exists() for path in files) and _is_there(engine, node_image)):
        return None
    registry = registry or start_registry(engine, node_image, cache)
    if not serves(registry, known["images"]):
        return None
    return LocalImages(
        node_image, registry, known["images"], tools, manifest, gateway_api, pinned_versions(), built=False
    )


def _is_there(engine: ContainerEngine, image: str) -> bool:
    try:
        engine.run("image", "inspect", image)
    except CommandError:
        return False
    return True


def _build(engine: ContainerEngine, cache: Path, index: Path, step: OpenStep) -> LocalImages:
    _require(cache, step)
    built = any(not programs_path(module, cache).exists() for module in GO_MODULES)
    # Go keeps the processors busy, debootstrap the network and the disk.
    with ThreadPoolExecutor(2) as pool:
        programs_built = pool.submit(build_programs, cache, step)
        packages_built = pool.submit(_build_packages, cache, step)
        (base, node, envoy), programs = packages_built.result(), programs_built.result()
    (cache / "layers").mkdir(exist_ok=True)
    have = Ingredients(cache, base, programs, envoy, by_hand.ztunnel(cache))
    step.waiting("the node image")
    image = build_node_image(have, node)
    if not loaded(engine, image.references[0], image.layers):
        step.waiting(f"{engine.name} load of the node image")
        load(engine, docker_archive(image))
    step.waiting("images for the registry")
    registry = start_registry(engine, image.references[0], cache)
    served = registry_images(have)
    result = LocalImages(
        image.references[0],
        registry,
        push(registry, served),
        _tools(programs, cache),
        have.program("metallb", "metallb-native.yaml"),
        have.program("shared", "gateway-api.yaml"),
        pinned_versions(),
        built,
    )
    _remember(index, result)
    _prune(cache / "layers", [image, *served])
    return result


def _prune(directory: Path, images: Iterable[Image]) -> None:
    """Remove layers that none of the images has: an earlier build's, or one that was interrupted."""
    needed = {layer.path for image in images for layer in image.layers}
    for file in directory.iterdir():
        if file not in needed:
            file.unlink()


def _remember(index: Path, images: LocalImages) -> None:
    known = {
        "node_image": images.node_image,
        "images": dict(images.images),
        "tools": {name: str(path) for name, path in asdict(images.tools).items()},
        "metallb_manifest": str(images.metallb_manifest),
        "gateway_api": str(images.gateway_api),
    }
    index.parent.mkdir(exist_ok=True)
    unfinished = index.with_suffix(".unfinished")
    unfinished.write_text(json.dumps(known, indent=2))
    unfinished.rename(index)


def _require(cache: Path, step: OpenStep) -> None:
    """Everything a build needs, asked for before it begins."""
    require_linux_amd64(platform.system(), platform.machine())
    if any(not programs_path(module, cache).exists() for module in GO_MODULES):
        require_space(cache, NEEDED_GIBIBYTES, "Building the images")
        go_command(cache, step)
    require_debootstrap(step)


def require_linux_amd64(system: str, machine: str) -> None:
    """Refuse machines for which there is no Envoy package.

    Raises:
        UserError: this is not Linux on x86-64.
    """
    if (system, machine) != ("Linux", "x86_64"):
        raise UserError(
            "Images cannot be built on this machine",
            f"this is {system} on {machine}; the packages they are built from are for Linux on x86_64",
            "use --images=registry",
        )


def _build_packages(cache: Path, step: OpenStep) -> tuple[Layer, Layer, Path]:
    return build_rootfs(BASE, cache, step), build_rootfs(NODE, cache, step), unpacked(ENVOY, cache, step)


def _tools(programs: Mapping[str, Path], cache: Path) -> Tools:
    shared = programs["shared"]
    kubectl = cache / "tools" / shared.name / "kubectl"
    if not kubectl.exists():
        kubectl.parent.mkdir(parents=True, exist_ok=True)
        kubectl.symlink_to(shared / "kubernetes")
    return Tools(shared / "kind", kubectl, shared / "istioctl")
