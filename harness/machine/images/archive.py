"""Images and programs out of one file, for a machine that reaches no network (`--images=archive:FILE`)."""

import hashlib
import json
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from harness.base.cache import cache_directory, digest_of, entry, require_space, shown
from harness.base.container_engine import ContainerEngine
from harness.base.errors import UserError
from harness.base.locks import locked
from harness.machine.images.archive_list import GATEWAY_API, LIST, METALLB, TOOLS, ArchiveList, blob, damaged, parsed
from harness.machine.images.layers import CHUNK, Layer, docker_members
from harness.machine.images.local import LocalImages, Tools
from harness.machine.images.node import load, loaded
from harness.machine.images.registry import StoredImage, push_stored, serves, start_registry
from harness.model.step import Phase
from harness.model.step_log import OpenStep, StepLog

COPIES = 3
"""Of what the archive holds: unpacked, in the registry, in the container engine."""


@dataclass(frozen=True)
class Unpacked:
    """An archive in the cache, each file with the digest that its list gives."""

    directory: Path
    known: ArchiveList

    def blob(self, digest: str) -> Path:
        """File of a blob, by its digest with `sha256:`."""
        return self.directory / blob(digest)


def read_list(path: Path) -> tuple[ArchiveList, bytes]:
    """The list of an archive, checked, and its bytes; nothing else is read.

    Raises:
        UserError: there is no such file, or it is no archive of this version of the suite for this machine.
    """
    with _opened(path) as archive:
        first = archive.next()
        content = archive.extractfile(first) if first and first.name == LIST else None
        if content is None:
            raise UserError(
                f"{path.name} is no archive of images",
                f"it does not begin with {LIST}",
                "give the file that `make archive` wrote",
            )
        text = content.read()
    return parsed(text, path.name), text


def unpack(path: Path, log: StepLog, cache: Path | None = None) -> Unpacked:
    """See that an archive is whole, and unpack it into the cache; one that was unpacked before is not read again.

    It needs no container engine and changes nothing but the cache, where it appears whole or not at all.

    Args:
        path: the archive.
        log: where the progress is recorded, phase images.
        cache: directory to keep it in; the user's cache directory by default.

    Raises:
        UserError: it is missing, damaged, for another platform or of another version of the suite; or the disk is full.
    """
    cache = cache or cache_directory()
    with log.step(Phase.IMAGES, "Unpack the archive of images") as step:
        known, content = read_list(path)
        place = cache / "archives" / digest_of(content)
        if place.exists():
            step.skip(f"unpacked before, in {shown(place)}")
        else:
            size = sum(file.size for file in known.files.values())
            require_space(cache, round(COPIES * size / 2**30, 1), f"Unpacking {path.name}")
            step.waiting(f"{size / 2**30:.1f} GiB to be unpacked and compared with their digests")
            entry(place, lambda directory: _extract(path, known, directory))
            step.note(f"{len(known.files)} files, every digest is right; in {shown(place)}")
    return Unpacked(place, known)


def provide(unpacked: Unpacked, engine: ContainerEngine, log: StepLog, cache: Path | None = None) -> LocalImages:
    """Give the container engine the node image, and see that the registry serves the rest; no network is asked.

    Raises:
        UserError: it did not take the node image, or the registry does not answer.
    """
    cache, known = cache or cache_directory(), unpacked.known
    with (
        log.step(Phase.IMAGES, "Provide images from the archive") as step,
        locked(cache / "images.lock", lambda: step.waiting("another run that provides them")),
    ):
        _load_node(unpacked, engine, step)
        registry = start_registry(engine, known.node_image, cache)
        if serves(registry, known.images):
            step.skip("the registry serves all of them already")
        else:
            step.waiting("images for the registry")
            push_stored(registry, _stored(unpacked))
            step.note(f"{len(known.images)} images of suite {known.suite.commit or known.suite.version}")
    tools = Tools(**{name: unpacked.directory / "tools" / name for name in TOOLS})
    manifest, gateway_api = unpacked.directory / METALLB, unpacked.directory / GATEWAY_API
    return LocalImages(
        known.node_image, registry, known.images, tools, manifest, gateway_api, known.versions, built=False
    )


@contextmanager
def _opened(path: Path) -> Iterator[tarfile.TarFile]:
    try:
        with tarfile.open(path, "r:") as archive:
            yield archive
    except (tarfile.TarError, EOFError) as failed:
        raise damaged(path.name, str(failed)) from None
    except OSError as failed:
        raise UserError(
            f"The archive {path} can't be read",
            failed.strerror or str(failed),
            "give the file that `make archive` wrote: --images=archive:FILE",
        ) from None


def _extract(path: Path, known: ArchiveList, directory: Path) -> None:
    left = dict(known.files)
    # Only reading is the archive's fault: a disk that is full while writing is told by the cache.
    with _opened(path) as archive:
        members = iter(archive)
        next(members)
        for member in members:
            wanted, content = left.pop(member.name, None), archive.extractfile(member) if member.isfile() else None
            if wanted is None or content is None or member.size != wanted.size:
                raise damaged(path.name, f"{member.name} is not as its list says")
            if _copy(content, directory / member.name) != wanted.sha256:
                raise damaged(path.name, f"{member.name} does not have the digest that the list gives")
    if left:
        raise damaged(path.name, f"it ends before {next(iter(left))}")
    for name in TOOLS:
        (directory / "tools" / name).chmod(0o755)


def _copy(source: IO[bytes], target: Path) -> str:
    """Copy to a file; SHA-256 of what was read, in hex."""
    target.parent.mkdir(parents=True, exist_ok=True)
    total = hashlib.sha256()
    with target.open("wb") as output:
        while chunk := source.read(CHUNK):
            total.update(chunk)
            output.write(chunk)
    return total.hexdigest()


def _load_node(unpacked: Unpacked, engine: ContainerEngine, step: OpenStep) -> None:
    config, layers = _parts(unpacked, unpacked.known.node_manifest)
    found = [Layer(path.name, path.stat().st_size, path) for path in map(unpacked.blob, layers)]
    if not loaded(engine, unpacked.known.node_image, found):
        step.waiting(f"{engine.name} load of the node image")
        content = unpacked.blob(config).read_bytes()
        load(engine, docker_members([unpacked.known.node_image], content, found))


def _stored(unpacked: Unpacked) -> Iterator[StoredImage]:
    for reference, digest in unpacked.known.images.items():
        config, layers = _parts(unpacked, digest)
        blobs: dict[str, Path | bytes] = {part: unpacked.blob(part) for part in (*layers, config)}
        yield StoredImage((reference,), unpacked.blob(digest).read_bytes(), blobs)


def _parts(unpacked: Unpacked, manifest: str) -> tuple[str, tuple[str, ...]]:
    """Digests of the configuration and of the layers that a manifest names."""
    content = json.loads(unpacked.blob(manifest).read_bytes())
    return content["config"]["digest"], tuple(layer["digest"] for layer in content["layers"])
