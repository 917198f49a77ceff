"""Whether kind clusters can be made on this machine, found out before anything is."""

import shutil
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.base import processes
from harness.base.command import CommandError
from harness.base.container_engine import DOCKER, PODMAN, ContainerEngine, choose
from harness.base.errors import UserError
from harness.clusters import containers, podman
from harness.clusters.podman import PodmanFacts

GIBIBYTES_A_CLUSTER = 1.2
"""Memory of a one-node cluster with its part of the mesh and the sample."""
GIBIBYTES_A_FURTHER_NODE = 0.4
DISK_A_NODE = 1.5
"""GiB that a running node adds to the engine's directory."""
INOTIFY_INSTANCES_A_NODE = 30
"""Of root's: systemd, containerd, the kubelet and Kubernetes' components. Short of them a node's kubelet ends."""


@dataclass(frozen=True)
class Check:
    """One thing that was looked at."""

    name: str
    found: str
    problem: UserError | None = None
    """Why a run can't be made, if it can't."""

    def __str__(self) -> str:
        """One line."""
        return f"{'no' if self.problem else 'ok'}  {self.name}: {self.found}"


@dataclass(frozen=True)
class Needs:
    """What a run asks of the machine."""

    clusters: int
    """To be made; 0 when they are there."""
    nodes: int = 1
    """Of each cluster."""
    tools: tuple[str, ...] = ()
    """Programs that must be on PATH."""
    names: tuple[str, ...] = ()
    """Names of containers that are going to be made."""
    ports: tuple[int, ...] = ()
    """Ports of 127.0.0.1 that are going to be listened on."""
    engine: str = "auto"
    """docker, podman, or auto for the one that answers."""


@dataclass(frozen=True)
class Machine:
    """What was found out about the machine; None where it can't be told."""

    engine: str | None
    """The container engine's version."""
    client: ContainerEngine = DOCKER
    podman: PodmanFacts | None = None
    """Where that is the engine."""
    memory: float = 0.0
    """GiB available."""
    disk: float | None = None
    """GiB free where the engine keeps containers."""
    disk_path: str = ""
    inotify_limit: int | None = None
    """fs.inotify.max_user_instances."""
    inotify_used: int = 0
    """Instances that root has, as far as they can be seen."""
    tools: frozenset[str] = frozenset()
    """Of those needed, the ones that are there."""
    containers: frozenset[str] = frozenset()
    busy_ports: frozenset[int] = frozenset()


def check(needs: Needs) -> tuple[Check, ...]:
    """Look at the machine and compare it with what a run needs; creates nothing."""
    return judge(needs, examine(needs))


def problems(checks: Sequence[Check]) -> tuple[UserError, ...]:
    """What stands in the way of a run."""
    return tuple(check.problem for check in checks if check.problem)


def judge(needs: Needs, machine: Machine) -> tuple[Check, ...]:
    """One check for each need: pure."""
    found = [_tool(name, name in machine.tools) for name in needs.tools]
    if needs.clusters:
        found.append(_engine(machine.client, machine.engine))
        found += [Check("podman", problem.why, problem) for problem in podman.problems(machine.podman)]
        found.append(_memory(needs, machine.memory))
        found.append(_disk(needs.clusters * needs.nodes, machine))
        found.append(_inotify(needs.clusters * needs.nodes, machine.inotify_limit, machine.inotify_used))
    found += [_name(name, name in machine.containers) for name in needs.names]
    found += [_port(port, port in machine.busy_ports) for port in needs.ports]
    return tuple(found)


def _engine(client: ContainerEngine, version: str | None) -> Check:
    problem = UserError(
        "No container engine answers.",
        f"`{client.name} info` names no version",
        "start Docker (https://docs.docker.com/engine/install/), set DOCKER_HOST to one that runs, or install Podman",
    )
    return Check("container engine", f"{client.name} {version or 'does not answer'}", None if version else problem)


def _memory(needs: Needs, available: float) -> Check:
    needed = needs.clusters * (GIBIBYTES_A_CLUSTER + (needs.nodes - 1) * GIBIBYTES_A_FURTHER_NODE)
    missing = needed - available
    problem = UserError(
        f"There is not enough memory for {needs.clusters} clusters.",
        f"they need {needed:.1f} GiB, {available:.1f} GiB are available: {missing:.1f} GiB are missing",
        "end other programs, remove clusters of earlier runs (make clean), or ask for fewer with --clusters or --nodes",
    )
    return Check("memory", f"{available:.1f} GiB of {needed:.1f} needed", problem if missing > 0 else None)


def _disk(nodes: int, machine: Machine) -> Check:
    needed, free = nodes * DISK_A_NODE, machine.disk
    if free is None:
        return Check("disk", f"can't be told; {needed:.1f} GiB are needed where the engine keeps containers")
    problem = UserError(
        f"There is not enough disk space for {nodes} nodes.",
        f"they need {needed:.1f} GiB, {machine.disk_path} has {free:.1f} GiB free",
        f"free some space there: {machine.client.name} system df shows what the engine uses",
    )
    return Check("disk", f"{free:.1f} GiB of {needed:.1f} needed", problem if free < needed else None)


def _inotify(nodes: int, limit: int | None, used: int) -> Check:
    needed = nodes * INOTIFY_INSTANCES_A_NODE
    if limit is None:
        return Check("inotify instances", "can't be told")
    problem = UserError(
        f"The kernel grants too few inotify instances for {nodes} nodes.",
        f"they need about {needed}, fs.inotify.max_user_instances is {limit}, and {used} are in use",
        f"sysctl fs.inotify.max_user_instances={max(512, used + needed)}",
    )
    return Check("inotify instances", f"{limit - used} of {needed} needed", problem if limit - used < needed else None)


def _tool(name: str, there: bool) -> Check:
    problem = UserError(
        f"{name} is missing.",
        "no program of that name is on PATH, and none is built with --images=registry",
        f"install {name}, or use --images=local",
    )
    return Check(name, "on PATH" if there else "not on PATH", None if there else problem)


def _name(name: str, taken: bool) -> Check:
    problem = UserError(
        f"The name {name} is taken.",
        "a container of that name exists",
        "remove it if it is an earlier run's (make clean), or choose another name",
    )
    return Check(f"name {name}", "taken" if taken else "free", problem if taken else None)


def _port(port: int, taken: bool) -> Check:
    problem = UserError(
        f"The port {port} is taken.",
        "another program listens on it",
        f"end that program: ss --listening --tcp --processes 'sport = {port}'",
    )
    return Check(f"port {port}", "taken" if taken else "free", problem if taken else None)


def examine(needs: Needs) -> Machine:
    """Find out about the machine what the needs are compared with."""
    client = choose(needs.engine) if needs.clusters else DOCKER
    version = client.version() if needs.clusters else None
    root, names = _engine_facts(client) if version else ("", frozenset())
    path = Path(root) if root and Path(root).is_dir() else None
    return Machine(
        engine=version,
        client=client,
        podman=podman.examine() if version and client is PODMAN else None,
        memory=processes.available_memory(),
        disk=shutil.disk_usage(path).free / 2**30 if path else None,
        disk_path=root,
        inotify_limit=_inotify_limit(),
        inotify_used=_inotify_used(),
        tools=frozenset(name for name in needs.tools if shutil.which(name)),
        containers=names,
        busy_ports=frozenset(port for port in needs.ports if _listening(port)),
    )


def _engine_facts(client: ContainerEngine) -> tuple[str, frozenset[str]]:
    try:
        return client.info(client.root_field), containers.names(client)
    except (CommandError, UserError):
        return "", frozenset()


def _inotify_limit() -> int | None:
    try:
        return int(Path("/proc/sys/fs/inotify/max_user_instances").read_text())
    except (OSError, ValueError):
        return None


def _inotify_used() -> int:
    used = 0
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if process.stat().st_uid == 0:
                used += sum(str(file.readlink()) == "anon_inode:inotify" for file in (process / "fd").iterdir())
        except OSError:
            # It has ended, or belongs to root while this is not root.
            continue
    return used


def _listening(port: int) -> bool:
    with socket.socket() as attempt:
        attempt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            attempt.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False
