"""Image layers, configurations and manifests, as the OCI image specification has them."""

import hashlib
import io
import json
import tarfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar"
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
CHUNK = 1 << 20
OCI_LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'
"""Content of the file oci-layout."""


@dataclass(frozen=True)
class LayerFile:
    """A file, directory or symbolic link in a layer."""

    path: str
    """Absolute path in the image."""
    source: Path | None = None
    """File of this machine whose content it has."""
    content: bytes | None = None
    """Its content, where there is no source."""
    link: str | None = None
    """Target, for a symbolic link."""
    mode: int = 0o644
    user: int = 0


@dataclass(frozen=True)
class Layer:
    """An uncompressed layer on disk: it is read from the disk it lies on, compressing it would only cost time."""

    digest: str
    """SHA-256 of the tar, in hex; digest and diff id at once."""
    size: int
    path: Path


@dataclass(frozen=True)
class Image:
    """An image under all its references."""

    references: tuple[str, ...]
    """Full references: host/repository:tag."""
    layers: tuple[Layer, ...]
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    user: str = ""
    directory: str = ""
    stop_signal: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)


def executable(path: str, source: Path) -> LayerFile:
    """A program in a layer."""
    return LayerFile(path, source=source, mode=0o755)


def write_layer(directory: Path, files: Iterable[LayerFile]) -> Layer:
    """Write files as a layer into a directory; the same files give the same bytes."""
    unfinished = directory / f".{id(files):x}.tar"
    with unfinished.open("wb") as raw, tarfile.open(fileobj=raw, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for file in files:
            _add(archive, file)
    return keep_layer(directory, unfinished)


def _add(archive: tarfile.TarFile, file: LayerFile) -> None:
    member = tarfile.TarInfo(file.path.lstrip("/"))
    member.mode, member.uid, member.gid = file.mode, file.user, file.user
    if file.link is not None:
        member.type, member.linkname = tarfile.SYMTYPE, file.link
        archive.addfile(member)
    elif file.source is not None:
        member.size = file.source.stat().st_size
        with file.source.open("rb") as content:
            archive.addfile(member, content)
    elif file.content is not None:
        member.size = len(file.content)
        archive.addfile(member, io.BytesIO(file.content))
    else:
        member.type = tarfile.DIRTYPE
        archive.addfile(member)


def keep_layer(directory: Path, tar: Path) -> Layer:
    """Move a finished tar to its place in a directory, named by its digest."""
    digest = digest_of_file(tar)
    path = directory / f"{digest}.tar"
    tar.rename(path)
    return Layer(digest, path.stat().st_size, path)


def kept_layer(directory: Path) -> Layer:
    """The one layer that was kept in a directory."""
    tar = next(directory.glob("*.tar"))
    return Layer(tar.stem, tar.stat().st_size, tar)


def digest_of_file(path: Path) -> str:
    """SHA-256 of a file in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def config_json(image: Image) -> bytes:
    """The image's configuration object: pure."""
    container: dict[str, object] = {
        "Entrypoint": list(image.entrypoint) or None,
        "Cmd": list(image.command) or None,
        "Env": [f"{name}={value}" for name, value in image.environment.items()] or None,
        "User": image.user,
        "WorkingDir": image.directory,
        "StopSignal": image.stop_signal,
        "Labels": dict(image.labels) or None,
    }
    return _json(
        {
            "architecture": "amd64",
            "os": "linux",
            "created": "1970-01-01T00:00:00Z",
            "config": {key: value for key, value in container.items() if value},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layer.digest}" for layer in image.layers]},
        }
    )


def manifest_json(image: Image) -> bytes:
    """The image's manifest: pure."""
    return manifest_of(config_json(image), [(layer.digest, layer.size) for layer in image.layers])


def manifest_of(config: bytes, layers: Iterable[tuple[str, int]]) -> bytes:
    """A manifest: pure.

    Args:
        config: the image's configuration object.
        layers: digest in hex and size in bytes of each.
    """
    return _json(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": {"mediaType": CONFIG_TYPE, "digest": digest_of_bytes(config), "size": len(config)},
            "layers": [
                {"mediaType": LAYER_TYPE, "digest": f"sha256:{digest}", "size": size} for digest, size in layers
            ],
        }
    )


def digest_of_bytes(content: bytes) -> str:
    """`sha256:` and the digest in hex."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def split_reference(reference: str) -> tuple[str, str, str]:
    """Host, repository and tag of a full reference: pure."""
    host, _, rest = reference.partition("/")
    repository, _, tag = rest.rpartition(":")
    return host, repository, tag


def write_oci_archive(output: IO[bytes], images: Iterable[Image]) -> None:
    """Write images as one OCI layout in a tar, layers they share only once; containerd imports it."""
    written: set[str] = set()
    entries = []
    with tarfile.open(fileobj=output, mode="w|") as archive:
        _add(archive, LayerFile("oci-layout", content=OCI_LAYOUT))
        for image in images:
            manifest, config = manifest_json(image), config_json(image)
            for content in (manifest, config):
                _add_blob(archive, written, digest_of_bytes(content).removeprefix("sha256:"), content)
            for layer in image.layers:
                _add_blob(archive, written, layer.digest, layer.path)
            described = (digest_of_bytes(manifest), len(manifest))
            entries += [(reference, *described) for reference in image.references]
        _add(archive, LayerFile("index.json", content=index_json(entries)))


def index_json(entries: Iterable[tuple[str, str, int]]) -> bytes:
    """The index of an OCI layout: pure.

    Args:
        entries: reference, digest of the manifest with `sha256:`, and its size in bytes.
    """
    manifests = [
        {
            "mediaType": MANIFEST_TYPE,
            "digest": digest,
            "size": size,
            "platform": {"architecture": "amd64", "os": "linux"},
            # The first is containerd's name for it, the second that of skopeo, crane and the specification.
            "annotations": {"io.containerd.image.name": reference, "org.opencontainers.image.ref.name": reference},
        }
        for reference, digest, size in entries
    ]
    return _json({"schemaVersion": 2, "manifests": manifests})


def _add_blob(archive: tarfile.TarFile, written: set[str], digest: str, blob: bytes | Path) -> None:
    if digest in written:
        return
    written.add(digest)
    name = f"blobs/sha256/{digest}"
    _add(archive, LayerFile(name, source=blob) if isinstance(blob, Path) else LayerFile(name, content=blob))


def docker_archive(image: Image) -> Iterator[LayerFile]:
    """The members of an archive that `docker load` takes: pure."""
    return docker_members(image.references, config_json(image), image.layers)


def docker_members(references: Iterable[str], config: bytes, layers: Sequence[Layer]) -> Iterator[LayerFile]:
    """`docker_archive` of an image whose configuration object is at hand: pure."""
    name = digest_of_bytes(config).removeprefix("sha256:")
    yield LayerFile(f"{name}.json", content=config)
    for layer in layers:
        yield LayerFile(f"{layer.digest}/layer.tar", source=layer.path)
    paths = [f"{layer.digest}/layer.tar" for layer in layers]
    # To a name without a host Podman would give another one, localhost, than kind looks for.
    tags = [ref if "." in ref.partition("/")[0] else f"docker.io/{ref}" for ref in references]
    entry = {"Config": f"{name}.json", "RepoTags": tags, "Layers": paths}
    yield LayerFile("manifest.json", content=_json([entry]))


def write_tar(output: IO[bytes], files: Iterable[LayerFile]) -> None:
    """Write files as a tar into a stream."""
    with tarfile.open(fileobj=output, mode="w|") as archive:
        for file in files:
            _add(archive, file)


def _json(content: object) -> bytes:
    return json.dumps(content, separators=(",", ":"), sort_keys=True).encode()
