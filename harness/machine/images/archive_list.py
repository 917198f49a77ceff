"""What an archive of images holds: the list that is its first member, and stands beside it to be read by people."""

import json
import platform
import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError, model_validator

from harness.base.errors import UserError
from harness.machine.images.local import Tools, pinned_versions
from harness.model.base import Model
from harness.model.observation import SuiteVersion

LIST = "eastwest-archive.json"
"""Name of the list in the archive."""
METALLB = "metallb-native.yaml"
GATEWAY_API = "gateway-api.yaml"
SCHEMA_VERSION = 3
PLATFORM = "linux/amd64"
TOOLS = tuple(field.name for field in fields(Tools))
PATHS = re.compile(
    rf"oci-layout|index\.json|blobs/sha256/[0-9a-f]{{64}}|tools/({'|'.join(TOOLS)})"
    rf"|{re.escape(METALLB)}|{re.escape(GATEWAY_API)}"
    r"|wheels/[A-Za-z0-9_][A-Za-z0-9_.+-]*\.whl"
)
"""Everything else that a list may name; no path leads out of the directory it is unpacked into."""
AGAIN = "write it with `make archive` of this version of the suite, where there is a network, and bring it here"

Hex = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Digest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]


class ArchivedFile(Model):
    """One file of the archive."""

    sha256: Hex
    size: Annotated[int, Field(ge=0)]
    """Bytes."""


class ArchiveList(Model):
    """Everything that an archive holds."""

    schema_version: int
    suite: SuiteVersion
    """That wrote it."""
    platform: str
    """Of its images and programs, as in image indexes."""
    python: str
    """Version of Python that its wheels are for: major and minor."""
    versions: dict[str, str]
    """What went in: name → version."""
    node_image: str
    """Reference of kind's node image."""
    node_manifest: Digest
    images: dict[str, Digest]
    """Full reference → digest of the manifest, for each image that the registry serves."""
    files: dict[str, ArchivedFile]
    """Path in the archive → digest and size, in their order there."""

    @model_validator(mode="after")
    def _whole(self) -> "ArchiveList":
        """Each path is one that the suite writes, and nothing that it needs is missing."""
        if strange := [path for path in self.files if not PATHS.fullmatch(path)]:
            raise ValueError(f"it names {strange[0]!r}, which no archive holds")
        needed = {
            *map(blob, (self.node_manifest, *self.images.values())),
            *(f"tools/{name}" for name in TOOLS),
            METALLB,
            GATEWAY_API,
        }
        if absent := sorted(needed - set(self.files)):
            raise ValueError(f"it does not name {absent[0]}")
        return self


def blob(digest: str) -> str:
    """Path of a blob in an OCI layout: pure."""
    return f"blobs/sha256/{digest.removeprefix('sha256:')}"


def parsed(content: bytes, name: str) -> ArchiveList:
    """The list, checked against this suite and this machine's kind.

    Args:
        content: of the member of that name.
        name: of the archive, for messages.

    Raises:
        UserError: it is damaged, for another platform, or of another version of the suite.
    """
    try:
        raw = json.loads(content)
        number = raw.get("schema_version")
    except (ValueError, AttributeError) as failed:
        raise damaged(name, f"its list can't be read ({failed})") from None
    if number != SCHEMA_VERSION:
        raise UserError(
            f"The archive {name} can't be used by this version of the suite",
            f"its list is of schema {number}, and schema {SCHEMA_VERSION} is understood",
            AGAIN,
        )
    try:
        known = ArchiveList.model_validate(raw)
    except ValidationError as failed:
        first = failed.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise damaged(name, f"its list is wrong: {f'{place}: ' if place else ''}{first['msg']}") from None
    require_platform(known, name, f"{platform.system()}/{platform.machine()}")
    require_versions(known, name, pinned_versions())
    return known


def require_platform(known: ArchiveList, name: str, machine: str) -> None:
    """Refuse an archive for machines of another kind.

    Args:
        known: its list.
        name: of the archive.
        machine: system and processor as Python's platform module names them.

    Raises:
        UserError: this is another kind of machine.
    """
    here = machine.lower().replace("x86_64", "amd64").replace("aarch64", "arm64")
    if here != known.platform:
        raise UserError(
            f"The archive {name} can't be used on this machine",
            f"it holds programs for {known.platform}, and this is {here}",
            f"use it on a machine of {known.platform}, or --images=registry",
        )


def require_versions(known: ArchiveList, name: str, pins: dict[str, str]) -> None:
    """Refuse an archive of other versions than those this suite works with.

    Raises:
        UserError: versions differ; the first is named.
    """
    for part in sorted({*known.versions, *pins}):
        if known.versions.get(part) != pins.get(part):
            raise UserError(
                f"The archive {name} was written by another version of the suite ({known.suite.commit or 'no commit'})",
                f"it holds {part} {known.versions.get(part, 'not at all')}, "
                f"and this suite works with {pins.get(part, 'none')}",
                AGAIN,
            )


def damaged(name: str, why: str) -> UserError:
    """The error for an archive whose content is not what it should be."""
    return UserError(f"The archive {name} is damaged", why, "bring it here again, and compare its size; or " + AGAIN)


def written(known: ArchiveList) -> bytes:
    """The list as it stands in the archive and beside it: pure."""
    return (json.dumps(known.model_dump(mode="json"), indent=2) + "\n").encode()


def described(known: ArchiveList) -> Iterator[str]:
    """The list in lines for people, digests first: pure."""
    yield f"{known.node_manifest}  {known.node_image}"
    yield from (f"{digest}  {reference}" for reference, digest in sorted(known.images.items()))
    for path, file in known.files.items():
        if path in (METALLB, GATEWAY_API) or Path(path).parent.name in ("tools", "wheels"):
            yield f"sha256:{file.sha256}  {path}"
