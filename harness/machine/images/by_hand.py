"""Programs that no package registry has: someone builds them by hand, and gives them to the suite."""

import os
import shutil
from pathlib import Path

from harness.base.cache import entry, locked
from harness.base.errors import UserError
from harness.machine.images.layers import digest_of_file

ZTUNNEL_SOURCE = "https://github.com/istio/ztunnel"
COMMAND = "python -m harness.machine.images ztunnel BINARY"
_ELF_X86_64 = (b"\x7fELF\x02\x01", b"\x3e\x00")
"""Magic number, 64 bits, little-endian; and the machine, at offset 18."""


def ztunnel(cache: Path) -> Path | None:
    """The ztunnel that was given, if any; its directory is named by the SHA-256 of the program, in hex."""
    return next(iter(sorted((cache / "by-hand").glob("ztunnel-*/ztunnel"))), None)


def keep_ztunnel(binary: Path, cache: Path) -> Path:
    """Keep a ztunnel in the cache, in place of the one before: images are put together with it from now on.

    Raises:
        UserError: it is no program for the nodes.
    """
    _require_program(binary)
    directory = cache / "by-hand"
    directory.mkdir(parents=True, exist_ok=True)
    place = directory / f"ztunnel-{digest_of_file(binary)}"
    with locked(cache / "images.lock"):  # a build may be reading the one before

        def fill(unfinished: Path) -> None:
            shutil.copyfile(binary, unfinished / "ztunnel")
            (unfinished / "ztunnel").chmod(0o755)

        entry(place, fill)
        for other in directory.glob("ztunnel-*/"):
            if other != place:
                shutil.rmtree(other)
    return place / "ztunnel"


def absent() -> UserError:
    """The error where an ambient mesh is to be made of images that have no ztunnel among them."""
    return UserError(
        "There is no image of ztunnel, which --data-plane=ambient needs.",
        f"no package registry has ztunnel; it is built by hand from its public repository, {ZTUNNEL_SOURCE}",
        f"build it there and give it to the suite with `{COMMAND}`, before an archive is written, too; "
        "or use --images=registry",
    )


def _require_program(binary: Path) -> None:
    try:
        with binary.open("rb") as file:
            header = file.read(20)
    except OSError as failed:
        raise UserError(
            f"{binary} can't be read.", failed.strerror or os.strerror(failed.errno or 0), f"give a file: {COMMAND}"
        ) from None
    magic, machine = _ELF_X86_64
    if not header.startswith(magic) or header[18:20] != machine:
        raise UserError(
            f"{binary} is no program for the nodes.",
            "they run Linux on x86_64, and it is no ELF file for that",
            f"build ztunnel for x86_64-unknown-linux-gnu from {ZTUNNEL_SOURCE}",
        )
