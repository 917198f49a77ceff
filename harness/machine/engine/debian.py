"""Installs Debian packages, where that may be done."""

import os

from harness.base.command import CommandError, run
from harness.base.errors import UserError
from harness.model.step_log import OpenStep


def is_debian(os_release: str) -> bool:
    """Whether the text of /etc/os-release describes Debian, Ubuntu or a relative of theirs."""
    fields = dict(line.split("=", 1) for line in os_release.splitlines() if "=" in line)
    family = f"{fields.get('ID', '')} {fields.get('ID_LIKE', '')}".replace('"', "").split()
    return bool({"debian", "ubuntu"} & set(family))


def require_debian_root(os_release: str, user: int, reason: str) -> None:
    """Refuse to install an engine anywhere but on Debian or Ubuntu as root.

    Args:
        os_release: text of /etc/os-release.
        user: id of the user.
        reason: why there is no engine.

    Raises:
        UserError: this is another system or another user.
    """
    if is_debian(os_release) and user == 0:
        return
    refused = "only root can have one installed" if user else "one is installed only on Debian and Ubuntu"
    raise UserError(
        "No container engine answers",
        f"{reason}; {refused}",
        "start Docker (https://docs.docker.com/engine/install/), set DOCKER_HOST to one that runs, or install Podman",
    )


def install_packages(packages: list[str], step: OpenStep) -> None:
    """Install Debian packages without those they only recommend.

    Raises:
        UserError: apt-get failed.
    """
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    get = ["apt-get", "-qq", "-o", "DPkg::Lock::Timeout=300"]
    try:
        step.waiting("Debian's package lists")
        run([*get, "update"], env=environment, timeout=600)
        step.waiting(f"apt-get install {' '.join(packages)}")
        run([*get, "install", "--yes", "--no-install-recommends", *packages], env=environment, timeout=1200)
    except CommandError as failed:
        raise UserError(
            f"Could not install {', '.join(packages)}",
            failed.output.strip().splitlines()[-1] if failed.output.strip() else str(failed),
            "see that apt-get works on this machine, or install the packages yourself",
        ) from failed
