#!/usr/bin/python3 -IS
"""An OCI runtime that asks for no more than this machine grants, then becomes runc, or crun where that is not there.

Where the bounding set lacks capabilities (most often CAP_SYS_RESOURCE), runc refuses privileged containers with
"unable to apply caps". This program takes out of the container's configuration what cannot be granted, the
capabilities, a lowered OOM score and resource limits above the hard ones, and passes everything else on.

It runs once for every container and every `exec` in one, with the system's Python and no site packages: only
modules that load fast.
"""

from __future__ import annotations  # older systems have an older Python

import contextlib
import json
import os
import resource
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Process = dict[str, Any]

# Their order is the kernel's, include/uapi/linux/capability.h; the position is the bit.
CAPABILITIES = (
    "CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP",
    "LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER",
    "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT",
    "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE", "SYS_RESOURCE",
    "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE",
    "AUDIT_CONTROL", "SETFCAP", "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM",
    "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF", "CHECKPOINT_RESTORE",
)  # fmt: skip


def granted(status: str) -> set[str]:
    """Names of the capabilities in the bounding set, read from the text of /proc/self/status."""
    mask = next(int(line.split()[1], 16) for line in status.splitlines() if line.startswith("CapBnd:"))
    return {f"CAP_{name}" for bit, name in enumerate(CAPABILITIES) if mask >> bit & 1}


def within(process: Process, capabilities: set[str], hard_limits: dict[str, int]) -> Process:
    """The OCI `process` object with nothing in it that this machine refuses.

    Args:
        process: as the OCI runtime specification has it; not changed.
        capabilities: the names that can be granted.
        hard_limits: resource limit name (RLIMIT_NOFILE) to this process's hard limit, -1 for none.
    """
    allowed = dict(process)
    if "capabilities" in process:
        allowed["capabilities"] = {
            kind: [name for name in names if name in capabilities] for kind, names in process["capabilities"].items()
        }
    if "CAP_SYS_RESOURCE" not in capabilities:
        allowed.pop("oomScoreAdj", None)
        if "rlimits" in process:
            allowed["rlimits"] = [clamped(limit, hard_limits.get(limit["type"], -1)) for limit in process["rlimits"]]
    return allowed


def clamped(limit: Process, hard: int) -> Process:
    """One entry of `rlimits`, no higher than the hard limit; -1 means there is none."""
    if hard < 0:
        return limit
    return {**limit, "soft": min(limit["soft"], hard), "hard": min(limit["hard"], hard)}


def process_file(arguments: list[str]) -> tuple[str | None, bool]:
    """The file among runc's arguments that holds the process, and whether it is a bundle's configuration.

    Returns:
        (path, True) for create and run, (path, False) for exec, (None, False) for everything else.
    """
    command = next((word for word in arguments if word in ("create", "run", "exec")), None)
    if command == "exec":
        return option(arguments, "--process", "-p"), False
    if command:
        return os.path.join(option(arguments, "--bundle", "-b") or ".", "config.json"), True  # noqa: PTH118
    return None, False


def option(arguments: list[str], long: str, short: str) -> str | None:
    """Value of an option given as `--name value` or `--name=value`, or None."""
    for position, word in enumerate(arguments):
        if word in (long, short) and position + 1 < len(arguments):
            return arguments[position + 1]
        if word.startswith(long + "="):
            return word.partition("=")[2]
    return None


def rewrite(path: str, bundle: bool) -> None:
    """Take out of the file what this machine refuses."""
    with open("/proc/self/status") as status:  # noqa: PTH123 - pathlib doubles the start-up time
        capabilities = granted(status.read())
    hard_limits = {
        name: resource.getrlimit(getattr(resource, name))[1] for name in dir(resource) if name.startswith("RLIMIT_")
    }
    with open(path) as file:  # noqa: PTH123
        content = json.load(file)
    if bundle:
        content["process"] = within(content["process"], capabilities, hard_limits)
    else:
        content = within(content, capabilities, hard_limits)
    with open(path, "w") as file:  # noqa: PTH123
        json.dump(content, file)


def main() -> None:
    """Rewrite the configuration if there is one, then become the machine's own runtime."""
    path, bundle = process_file(sys.argv[1:])
    if path:
        rewrite(path, bundle)
    for program in ("runc", "crun"):
        with contextlib.suppress(FileNotFoundError):
            os.execvp(program, [program, *sys.argv[1:]])  # noqa: S606 - replaces this program; there is no shell in it
    sys.exit("neither runc nor crun is on PATH")


if __name__ == "__main__":
    main()
