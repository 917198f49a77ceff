"""Writes everything that a site without a network needs into one file (`make archive`).

It is a tar with an OCI image layout in it, so that other tools (skopeo, crane) can take images out of it too.
"""

import hashlib
import io
import json
import sys
import tarfile
import tempfile
import tomllib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import IO, Any

from harness.base.cache import require_space
from harness.base.command import CommandError, run
from harness.base.container_engine import ContainerEngine
from harness.base.errors import UserError
from harness.machine.images.archive_list import (
    GATEWAY_API,
    LIST,
    METALLB,
    PLATFORM,
    SCHEMA_VERSION,
    TOOLS,
    ArchivedFile,
    ArchiveList,
    blob,
    written,
)
from harness.machine.images.layers import (
    OCI_LAYOUT,
    digest_of_bytes,
    digest_of_file,
    index_json,
    manifest_of,
    split_reference,
)
from harness.machine.images.local import LocalImages
from harness.machine.images.registry import Registry, fetched
from harness.machine.suite_version import suite_version
from harness.model.step import Phase
from harness.model.step_log import StepLog

PROJECT = Path(__file__).parents[3]
NEEDED_GIBIBYTES = 4.0
"""The archive, and the container engine's copy of the node image while it is written."""
Opened = Callable[[], AbstractContextManager[IO[bytes]]]


@dataclass(frozen=True)
class Content:
    """One file that goes into the archive, opened only when its turn comes."""

    sha256: str
    """In hex."""
    size: int
    opened: Opened


def write(path: Path, images: LocalImages, log: StepLog) -> ArchiveList:
    """Write an archive, and its list beside it under the same name with .json after it.

    Args:
        path: the file; it appears there when it is whole.
        images: what goes in, with the programs.
        log: where the progress is recorded, phase images.

    Returns:
        The list.

    Raises:
        UserError: the disk is full, or the registry or the container engine lacks what it should have.
    """
    path = path.absolute()
    unfinished = path.with_name(path.name + ".unfinished")
    with log.step(Phase.IMAGES, f"Write the archive {path.name}") as step:
        try:
            require_space(path.parent, NEEDED_GIBIBYTES, f"Writing {path.name}")
            with tempfile.TemporaryDirectory(prefix=".eastwest-", dir=path.parent) as scratch:
                step.waiting("the container engine's copy of the node image, and the suite's own Python packages")
                known, contents = _gathered(images, Path(scratch))
                step.waiting(f"{sum(content.size for content in contents.values()) / 2**30:.1f} GiB to be written")
                with unfinished.open("wb") as output:
                    _write_tar(output, written(known), contents)
            path.with_name(path.name + ".json").write_bytes(written(known))
            unfinished.rename(path)
        except OSError as failed:
            raise UserError(
                f"Could not write {path.name}", failed.strerror or str(failed), "choose another place: ARCHIVE=FILE"
            ) from failed
        finally:
            unfinished.unlink(missing_ok=True)
        step.note(
            f"{path.stat().st_size / 2**30:.1f} GiB, {len(images.images)} images, the node image, {len(TOOLS)} tools"
        )
    return known


def _gathered(images: LocalImages, scratch: Path) -> tuple[ArchiveList, dict[str, Content]]:
    """The list, and the files in their order: every digest is known before anything is written."""
    node_manifest, node = _node(images.registry.engine, images.node_image, scratch / "node.tar")
    blobs, sizes = dict(node), {node_manifest: node[blob(node_manifest)].size}
    for reference, digest in images.images.items():
        sizes[digest] = _gather_image(blobs, images.registry, reference, digest)
    named = {images.node_image: node_manifest, **images.images}
    index = index_json((reference, digest, sizes[digest]) for reference, digest in named.items())
    contents = {
        "oci-layout": _bytes(OCI_LAYOUT),
        "index.json": _bytes(index),
        METALLB: _file(images.metallb_manifest),
        GATEWAY_API: _file(images.gateway_api),
        **{f"tools/{name}": _file(getattr(images.tools, name)) for name in TOOLS},
        **{f"wheels/{file.name}": _file(file) for file in _wheels(scratch / "wheels")},
        **blobs,
    }
    known = ArchiveList(
        schema_version=SCHEMA_VERSION,
        suite=suite_version(),
        platform=PLATFORM,
        python=f"{sys.version_info.major}.{sys.version_info.minor}",
        versions=dict(images.versions),
        node_image=images.node_image,
        node_manifest=node_manifest,
        images=dict(images.images),
        files={name: ArchivedFile(sha256=content.sha256, size=content.size) for name, content in contents.items()},
    )
    return known, contents


def _gather_image(blobs: dict[str, Content], registry: Registry, reference: str, digest: str) -> int:
    """Add an image's manifest and blobs to those that are not there yet; returns the manifest's size."""
    _, repository, _ = split_reference(reference)
    with fetched(registry, repository, "manifests", digest) as answer:
        manifest = answer.read()
    parts = json.loads(manifest)
    for part in (parts["config"], *parts["layers"]):
        name = part["digest"].removeprefix("sha256:")
        source = partial(fetched, registry, repository, "blobs", part["digest"])
        blobs.setdefault(blob(name), Content(name, part["size"], source))
    blobs.setdefault(blob(digest), _bytes(manifest))
    return len(manifest)


def _wheels(directory: Path) -> list[Path]:
    """Wheels of everything the suite needs and is built with, for this Python."""
    names = requirements((PROJECT / "pyproject.toml").read_text())
    options = ["--quiet", "--disable-pip-version-check", "--constraint", str(PROJECT / "constraints.txt")]
    try:
        run([sys.executable, "-m", "pip", "wheel", *options, "--wheel-dir", directory, *names], timeout=900)
    except CommandError as failed:
        raise UserError(
            "Could not fetch the suite's own Python packages",
            (failed.output.strip().splitlines() or [str(failed)])[-1],
            "see that pip works on this machine",
        ) from failed
    return sorted(directory.glob("*.whl"))


def requirements(pyproject: str) -> list[str]:
    """What a project needs to be installed with all that its developers use: pure.

    Args:
        pyproject: text of its pyproject.toml.
    """
    known = tomllib.loads(pyproject)
    optional = known["project"]["optional-dependencies"].values()
    return [*known["build-system"]["requires"], *known["project"]["dependencies"], *chain.from_iterable(optional)]


def _node(engine: ContainerEngine, reference: str, saved: Path) -> tuple[str, dict[str, Content]]:
    """Digest of a manifest for the node image, and its blobs, as the container engine has them."""
    try:
        engine.run("save", "--output", saved, reference)
    except CommandError as failed:
        raise UserError(
            f"{engine.name} does not give out the node image",
            (failed.output.strip().splitlines() or [str(failed)])[-1],
            "see that it works and has disk space",
        ) from failed
    with tarfile.open(saved) as archive:
        entry = json.loads(_member(archive, "manifest.json"))[0]
        config = _member(archive, entry["Config"])
        digests = [digest.removeprefix("sha256:") for digest in json.loads(config)["rootfs"]["diff_ids"]]
        sizes = [_size(archive, name) for name in entry["Layers"]]
    layers = {
        blob(digest): Content(digest, size, partial(_saved_layer, saved, name))
        for digest, size, name in zip(digests, sizes, entry["Layers"], strict=True)
    }
    manifest = manifest_of(config, zip(digests, sizes, strict=True))
    contents = {blob(digest_of_bytes(part)): _bytes(part) for part in (config, manifest)}
    return digest_of_bytes(manifest), {**layers, **contents}


def _member(archive: tarfile.TarFile, name: str) -> bytes:
    content = archive.extractfile(name)
    if content is None:
        raise tarfile.ReadError(f"{name} is no file")
    return content.read()


def _size(archive: tarfile.TarFile, name: str) -> int:
    """Of a member, or of what it is a link to: engines store equal layers once."""
    member: Any = archive.extractfile(name)
    size: int = member.seek(0, io.SEEK_END)
    return size


@contextmanager
def _saved_layer(saved: Path, name: str) -> Iterator[IO[bytes]]:
    with tarfile.open(saved) as archive:
        content = archive.extractfile(name)
        if content is None:
            raise tarfile.ReadError(f"{name} is no file")
        yield content


def _bytes(content: bytes) -> Content:
    return Content(hashlib.sha256(content).hexdigest(), len(content), partial(io.BytesIO, content))


def _file(path: Path) -> Content:
    return Content(digest_of_file(path), path.stat().st_size, lambda: path.open("rb"))


class _Digesting(io.RawIOBase):
    """Reads from a file, and knows the digest of what was read."""

    def __init__(self, source: IO[bytes]) -> None:
        self._source = source
        self.total = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        """At most that many bytes."""
        chunk = self._source.read(size)
        self.total.update(chunk)
        return chunk


def _write_tar(output: IO[bytes], listed: bytes, contents: dict[str, Content]) -> None:
    with tarfile.open(fileobj=output, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, content in {LIST: _bytes(listed), **contents}.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = content.size, 0o755 if name.startswith("tools/") else 0o644
            with content.opened() as source:
                reading = _Digesting(source)
                archive.addfile(member, reading)
            if reading.total.hexdigest() != content.sha256:
                raise UserError(
                    f"{name} is not what its name says",
                    "its digest is another one than that of what was read",
                    "the cache or the engine's store is damaged: remove the cache (~/.cache/eastwest) and build again",
                )
