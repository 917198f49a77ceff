"""What Podman must have for kind's nodes: https://kind.sigs.k8s.io/docs/user/rootless/ and what shows in practice."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.base.command import CommandError, run
from harness.base.container_engine import PODMAN
from harness.base.errors import UserError

OLDEST = 4
"""Major version; older ones have another network stack, and describe networks in another form."""
CONTROLLERS = ("cpu", "memory", "pids")
"""Of cgroup v2, that a node without root needs to have delegated."""
HELPERS = ("/usr/libexec/podman", "/usr/lib/podman", "/usr/local/libexec/podman", "/usr/local/lib/podman")
"""Where Podman looks for the programs of its network (helper_binaries_dir of containers.conf)."""
NAME_SERVER = "aardvark-dns"
MODULES = Path("/lib/modules")
"""kind mounts it into every node; unlike Docker, Podman does not make a directory that is missing."""
BRIDGED = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")
"""Holds 1 where packets between containers of one network pass the machine's firewall."""


@dataclass(frozen=True)
class PodmanFacts:
    """What was found out about Podman."""

    version: str
    rootless: bool
    cgroup: str
    """v1 or v2."""
    controllers: tuple[str, ...]
    """Of cgroups, that its containers can have."""
    backend: str
    """Of its networks: netavark or cni."""
    helpers: frozenset[str]
    """The programs of its network."""
    modules: bool
    """Whether /lib/modules is there."""
    drops: bool = False
    """Whether the machine's firewall drops what pods send to other nodes."""


def examine() -> PodmanFacts:
    """Ask Podman and look around.

    Raises:
        CommandError: it does not answer.
    """
    helpers = frozenset(file.name for place in HELPERS for file in Path(place).glob("*"))
    info = json.loads(PODMAN.run("info", "--format", "json", timeout=20))
    return facts_of(info, helpers, modules=MODULES.exists(), drops=_drops())


def _drops() -> bool:
    """Whether forwarded packets are dropped unless a rule lets them pass: Docker sets that, and it stays."""
    if not BRIDGED.exists() or BRIDGED.read_text().strip() != "1":
        return False
    try:
        return "-P FORWARD DROP" in run(["iptables", "--list-rules", "FORWARD"])
    except CommandError:  # without root it can't be seen
        return False


def facts_of(info: dict[str, Any], helpers: frozenset[str], *, modules: bool, drops: bool = False) -> PodmanFacts:
    """`examine` from what `podman info` says: pure."""
    host = info["host"]
    return PodmanFacts(
        version=info["version"]["Version"],
        rootless=host["security"]["rootless"],
        cgroup=host["cgroupVersion"],
        controllers=tuple(host.get("cgroupControllers") or ()),
        backend=host.get("networkBackend", "cni"),
        helpers=helpers,
        modules=modules,
        drops=drops and not host["security"]["rootless"],
    )


def problems(facts: PodmanFacts | None) -> Sequence[UserError]:
    """What stands in the way of clusters; nothing where it is another engine. Pure."""
    return tuple(_problems(facts)) if facts else ()


def _problems(facts: PodmanFacts) -> Iterator[UserError]:
    if int(facts.version.split(".")[0]) < OLDEST:
        yield UserError(
            "Podman is too old.", f"it is {facts.version}", f"install Podman {OLDEST} or newer, or use Docker"
        )
    if facts.backend == "netavark" and NAME_SERVER not in facts.helpers:
        yield UserError(
            "Podman's networks have no name server.",
            f"{NAME_SERVER} is in none of {', '.join(HELPERS)}, and nodes find the registry and each other by name",
            f"install {NAME_SERVER}",
        )
    if not facts.modules:
        yield UserError(
            f"{MODULES} is missing.", "kind mounts it into every node, and Podman does not make it", f"mkdir {MODULES}"
        )
    if facts.drops:
        yield UserError(
            "The machine's firewall drops what pods send to other nodes.",
            "the policy of its chain FORWARD is DROP, which Docker sets, and Podman lets only its containers' own"
            " addresses pass",
            "iptables --policy FORWARD ACCEPT, or use Docker",
        )
    if facts.rootless and facts.cgroup != "v2":
        yield UserError(
            "Podman can't run kind's nodes without root here.",
            f"that needs cgroup v2, and this machine has {facts.cgroup}",
            "run as root, or boot with systemd.unified_cgroup_hierarchy=1",
        )
    elif facts.rootless and (missing := [name for name in CONTROLLERS if name not in facts.controllers]):
        yield UserError(
            "Podman can't run kind's nodes without root here.",
            f"cgroup controllers that are not delegated to this user: {', '.join(missing)}",
            "run as root, or set Delegate=yes for user@.service: https://kind.sigs.k8s.io/docs/user/rootless/",
        )
