"""The local registry: serves the images that were built to the nodes, under their usual names."""

import http.client
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

from harness.base.cache import digest_of, locked
from harness.base.command import CommandError
from harness.base.container_engine import DOCKER, ContainerEngine
from harness.base.errors import UserError
from harness.base.waiting import WaitError, wait_until
from harness.machine.images.layers import (
    MANIFEST_TYPE,
    Image,
    config_json,
    digest_of_bytes,
    manifest_json,
    split_reference,
)

NETWORK = "kind"
PORT = 5000
START_SECONDS = 30.0
OWNER_LABEL = "eastwest.owner"


@dataclass(frozen=True)
class Registry:
    """A registry that answers."""

    name: str
    """Of its container."""
    endpoint_for_nodes: str
    """URL by which nodes on the network `kind` reach it; the engine's name server knows the name."""
    endpoint_for_host: str
    """URL by which this machine reaches it."""
    engine: ContainerEngine = DOCKER


@dataclass(frozen=True)
class StoredImage:
    """An image as a registry stores it."""

    references: tuple[str, ...]
    """Full references: host/repository:tag."""
    manifest: bytes
    blobs: Mapping[str, Path | bytes]
    """Layers and configuration: `sha256:` and digest → content, or a file with it."""


def hosts_toml(registry: Registry) -> str:
    """Text for /etc/containerd/certs.d/_default/hosts.toml on a node: every registry is this one. Pure.

    It stands as server too: an image it does not have is then missing at once, and not looked for on the internet.
    """
    endpoint = registry.endpoint_for_nodes
    return f'server = "{endpoint}"\n\n[host."{endpoint}"]\n  capabilities = ["pull", "resolve"]\n'


def start_registry(engine: ContainerEngine, node_image: str, cache: Path) -> Registry:
    """See that the registry runs, as a container on the network `kind`.

    One registry serves all runs with this cache. It goes on running between runs, it costs some 20 MiB, until
    `make clean`.

    Args:
        engine: in which it runs.
        node_image: the image that holds the registry's program.
        cache: its storage is a directory in there.

    Raises:
        UserError: it does not answer in 30 s.
    """
    name = registry_name(cache)
    with locked(cache / "registry.lock"):
        if not (cache / "registry").exists():
            # Someone emptied the cache: a container left from before holds on to a directory that is gone.
            stop_registry(engine, cache)
        if _running(engine, name) is None:
            _ensure_network(engine)
            _start(engine, name, node_image, cache)
        registry = _registry(engine, name)
        _wait(registry)
    return registry


def running_registry(engine: ContainerEngine, cache: Path) -> Registry | None:
    """The registry of this cache if its container runs."""
    name = registry_name(cache)
    return _registry(engine, name) if _running(engine, name) else None


def stop_registry(engine: ContainerEngine, cache: Path) -> bool:
    """Remove the registry's container; what it stores stays in the cache.

    Returns:
        True if there was one.
    """
    name = registry_name(cache)
    if _running(engine, name) is None:
        return False
    engine.run("rm", "--force", name)
    return True


def registry_name(cache: Path) -> str:
    """Name of the container: one for each cache. Pure."""
    return f"eastwest-registry-{digest_of(str(cache))[:8]}"


def push(registry: Registry, images: Iterable[Image]) -> dict[str, str]:
    """Give images to the registry; what it has already is not sent again.

    Returns:
        Full reference to manifest digest.
    """
    return push_stored(registry, map(_stored, images))


def push_stored(registry: Registry, images: Iterable[StoredImage]) -> dict[str, str]:
    """`push` for images of which manifests and blobs are at hand."""
    digests: dict[str, str] = {}
    source: dict[str, str] = {}
    with _Client(registry) as client:
        for image in images:
            for reference in image.references:
                _, repository, tag = split_reference(reference)
                digests[reference] = digest_of_bytes(image.manifest)
                if client.has(f"/v2/{repository}/manifests/{tag}", digests[reference]):
                    continue
                for digest, blob in image.blobs.items():
                    client.blob(repository, digest, blob, source.get(digest, ""))
                    source.setdefault(digest, repository)
                client.manifest(repository, tag, image.manifest)
    return digests


def _stored(image: Image) -> StoredImage:
    config = config_json(image)
    layers = {f"sha256:{layer.digest}": layer.path for layer in image.layers}
    return StoredImage(image.references, manifest_json(image), {**layers, digest_of_bytes(config): config})


@contextmanager
def fetched(
    registry: Registry, repository: str, kind: Literal["manifests", "blobs"], digest: str
) -> Iterator[IO[bytes]]:
    """A manifest or blob of the registry, to be read.

    Raises:
        UserError: the registry does not have it.
    """
    with closing(http.client.HTTPConnection(registry.endpoint_for_host.removeprefix("http://"), timeout=60)) as asked:
        asked.request("GET", f"/v2/{repository}/{kind}/{digest}", headers={"Accept": MANIFEST_TYPE})
        answer = asked.getresponse()
        if answer.status != http.client.OK:
            raise UserError(
                f"The local registry lacks a part of {repository}",
                f"{kind}/{digest} was answered {answer.status}",
                "run `make clean`, which removes the registry, and try again",
            )
        yield answer


def serves(registry: Registry, images: Mapping[str, str]) -> bool:
    """Whether the registry has all these images: full reference to manifest digest."""
    with _Client(registry) as client:
        for reference, digest in images.items():
            _, repository, tag = split_reference(reference)
            if not client.has(f"/v2/{repository}/manifests/{tag}", digest):
                return False
    return True


class _Client:
    """The part of the OCI distribution specification that is needed here."""

    def __init__(self, registry: Registry) -> None:
        self._connection = http.client.HTTPConnection(registry.endpoint_for_host.removeprefix("http://"), timeout=60)

    def __enter__(self) -> "_Client":
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def has(self, path: str, digest: str) -> bool:
        headers = self._ask("HEAD", path, accept=(200, 404), headers={"Accept": MANIFEST_TYPE})
        return headers.get("Docker-Content-Digest") == digest

    def blob(self, repository: str, digest: str, content: Path | bytes, source: str = "") -> None:
        if self.has(f"/v2/{repository}/blobs/{digest}", digest):
            return
        mount = f"?mount={digest}&from={source}" if source else ""
        headers = self._ask("POST", f"/v2/{repository}/blobs/uploads/{mount}", accept=(201, 202))
        if headers.get("Docker-Content-Digest") == digest:
            return
        place = headers["Location"].removeprefix("http://").partition("/")[2]
        place = f"/{place}{'&' if '?' in place else '?'}digest={digest}"
        size = content.stat().st_size if isinstance(content, Path) else len(content)
        kind = {"Content-Type": "application/octet-stream", "Content-Length": str(size)}
        if isinstance(content, Path):
            with content.open("rb") as file:
                self._ask("PUT", place, accept=(201,), headers=kind, body=file)
        else:
            self._ask("PUT", place, accept=(201,), headers=kind, body=content)

    def manifest(self, repository: str, tag: str, manifest: bytes) -> None:
        kind = {"Content-Type": MANIFEST_TYPE}
        self._ask("PUT", f"/v2/{repository}/manifests/{tag}", accept=(201,), headers=kind, body=manifest)

    def _ask(
        self,
        method: str,
        path: str,
        *,
        accept: tuple[int, ...],
        headers: dict[str, str] | None = None,
        body: object = None,
    ) -> http.client.HTTPMessage:
        self._connection.blocksize = 1 << 20
        self._connection.request(method, path, body=body, headers=headers or {})  # type: ignore[arg-type]
        answer = self._connection.getresponse()
        text = answer.read().decode(errors="replace")
        if answer.status not in accept:
            raise UserError(
                "The local registry refused an image",
                f"{method} {path} was answered {answer.status}: {text.strip()[:200]}",
                "run `make clean`, which removes the registry, and try again",
            )
        return answer.headers


def _ensure_network(engine: ContainerEngine) -> None:
    """The network that kind makes for its nodes, made as kind would if this comes first."""
    try:
        engine.run("network", "inspect", NETWORK)
    except CommandError:
        engine.run("network", "create", "--driver=bridge", *engine.network_options, NETWORK)


def _running(engine: ContainerEngine, name: str) -> bool | None:
    """Whether the container runs; None if there is none."""
    try:
        return engine.run("container", "inspect", "--format", "{{.State.Running}}", name).strip() == "true"
    except CommandError:
        return None


def _start(engine: ContainerEngine, name: str, node_image: str, cache: Path) -> None:
    storage = cache / "registry"
    storage.mkdir(parents=True, exist_ok=True)
    options = [
        "--detach", f"--name={name}", f"--network={NETWORK}", "--restart=unless-stopped",
        f"--label={OWNER_LABEL}=registry", f"--publish=127.0.0.1::{PORT}", f"--volume={storage}:/registry",
        "--env=OTEL_TRACES_EXPORTER=none", "--entrypoint=/usr/bin/docker-registry",
        "--security-opt=label=disable",  # SELinux would keep it from the cache
    ]  # fmt: skip
    engine.run("run", *options, node_image, "serve", "/etc/eastwest/registry.yml")


def _registry(engine: ContainerEngine, name: str) -> Registry:
    """The registry of this name; started, if it was stopped."""
    if not _running(engine, name):
        engine.run("start", name)
    address = engine.run("port", name, f"{PORT}/tcp").strip().splitlines()[0]
    return Registry(name, f"http://{name}:{PORT}", f"http://{address}", engine)


def _wait(registry: Registry) -> None:
    def pending() -> str:
        try:
            with _Client(registry) as client:
                client._ask("GET", "/v2/", accept=(200,))
        except (OSError, http.client.HTTPException, json.JSONDecodeError) as failed:
            return str(failed) or type(failed).__name__
        return ""

    try:
        wait_until(pending, START_SECONDS)
    except WaitError as expired:
        reason, repair = expired.last, f"see `{registry.engine.name} logs {registry.name}`"
        raise UserError("The local registry does not answer", reason, repair) from None
