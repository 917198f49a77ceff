"""Root file systems of Debian packages, as layers."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from harness.base.cache import digest_of, entry
from harness.base.command import CommandError, run
from harness.base.errors import UserError
from harness.machine.engine.debian import install_packages
from harness.machine.images import versions
from harness.machine.images.layers import Layer, keep_layer, kept_layer
from harness.model.step_log import OpenStep

MIRROR = os.environ.get("EASTWEST_DEBIAN_MIRROR", "http://deb.debian.org/debian")
REMOVED = (
    "usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/info", "var/cache/apt", "var/lib/apt/lists",
    "var/log", "debootstrap",
)  # fmt: skip
"""Directories whose content is of no use in an image."""
HOST_PACKAGES = {
    "debootstrap": "/usr/sbin/debootstrap",
    "debian-archive-keyring": "/usr/share/keyrings/debian-archive-keyring.gpg",
}


@dataclass(frozen=True)
class RootFileSystem:
    """A minimal Debian with some packages more."""

    name: str
    packages: tuple[str, ...]


BASE = RootFileSystem("base", ("iptables", "curl", "ca-certificates", "procps", "iproute2", "openssl", "conntrack"))
"""Under the images that need a shell: proxies, kube-proxy, samples."""
NODE = RootFileSystem(
    "node",
    (
        "systemd", "systemd-sysv", "dbus", "runc", "iptables", "conntrack", "ethtool", "socat", "iproute2", "kmod",
        "mount", "procps", "curl", "ca-certificates", "docker-registry",
    ),
)  # fmt: skip
"""Under the node image; it holds the registry's program too, which runs from the same image."""


def rootfs_path(rootfs: RootFileSystem, cache: Path) -> Path:
    """Where the layer is kept."""
    key = digest_of(versions.DEBIAN, *rootfs.packages, *REMOVED)
    return cache / "rootfs" / f"{rootfs.name}-{key}"


def build_rootfs(rootfs: RootFileSystem, cache: Path, step: OpenStep) -> Layer:
    """The layer of a root file system, from the cache or built with debootstrap.

    Raises:
        UserError: not root, or debootstrap failed.
    """
    path = rootfs_path(rootfs, cache)
    if not path.exists():
        require_debootstrap(step)
        step.waiting(f"debootstrap {rootfs.name}")
        entry(path, lambda directory: _debootstrap(rootfs, directory, cache))
    return kept_layer(path)


def require_debootstrap(step: OpenStep) -> None:
    """See that debootstrap can be run; install it if need be.

    Raises:
        UserError: not root, or it cannot be installed.
    """
    if os.geteuid() != 0:
        raise UserError(
            "Images cannot be built by this user",
            "debootstrap makes root file systems only as root",
            "run as root, or use --images=registry",
        )
    missing = [name for name, file in HOST_PACKAGES.items() if not Path(file).exists()]
    if missing and not shutil.which("apt-get"):
        raise UserError("Images cannot be built on this machine", "debootstrap is missing", "install debootstrap")
    if missing:
        install_packages(missing, step)


def _debootstrap(rootfs: RootFileSystem, directory: Path, cache: Path) -> None:
    root, packages = directory / "root", cache / "debs"
    packages.mkdir(parents=True, exist_ok=True)
    options = ["--variant=minbase", f"--cache-dir={packages}", f"--include={','.join(rootfs.packages)}"]
    try:
        run(["debootstrap", *options, versions.DEBIAN, root, MIRROR], timeout=1800)
    except CommandError as failed:
        log = root / "debootstrap" / "debootstrap.log"
        lines = [*failed.output.splitlines(), *(log.read_text().splitlines() if log.exists() else ())]
        raise UserError(
            f"Could not make the {rootfs.name} root file system",
            lines[-1] if lines else str(failed),
            f"see that {MIRROR} can be reached, or set EASTWEST_DEBIAN_MIRROR to a mirror that can",
        ) from failed
    (directory / "packages.txt").write_text(
        run(["dpkg-query", f"--admindir={root}/var/lib/dpkg", "--show", "--showformat=${Package} ${Version}\n"])
    )
    for place in REMOVED:
        shutil.rmtree(root / place, ignore_errors=True)
    (root / "var/log").mkdir(parents=True, exist_ok=True)
    tar = directory / "layer.tar"
    stable = ["--sort=name", "--mtime=@0", "--numeric-owner", "--xattrs", "--format=pax"]
    run(["tar", *stable, "--exclude=./dev/*", "--create", "--file", tar, "--directory", root, "."])
    shutil.rmtree(root)
    keep_layer(directory, tar)
