"""What the suite asks of the container engine about clusters' containers and their network."""

import ipaddress
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from harness.base.command import CommandError
from harness.base.container_engine import PODMAN, ContainerEngine
from harness.base.errors import UserError

NETWORK = "kind"
"""The container network on which kind puts every node."""
CLUSTER_LABEL = "io.x-k8s.kind.cluster"
"""On kind's node containers; the value is the cluster's name."""
LOAD_BALANCER_LABEL = "io.x-k8s.cloud-provider-kind.cluster"
"""On cloud-provider-kind's containers; the value is the cluster's name."""


@dataclass(frozen=True)
class Network:
    """The IPv4 side of a container network."""

    subnet: ipaddress.IPv4Network
    in_use: frozenset[ipaddress.IPv4Address]
    """The gateway's address and those of running containers."""


def labelled(engine: ContainerEngine, label: str, value: str = "") -> tuple[str, ...]:
    """Names of all containers, running or not, with a label.

    Args:
        engine: whose.
        label: its key.
        value: empty for any.
    """
    wanted = f"label={label}={value}" if value else f"label={label}"
    return tuple(_ask(engine, "ps", "--all", "--filter", wanted, "--format", "{{.Names}}").split())


def names(engine: ContainerEngine) -> frozenset[str]:
    """Names of all containers, running or not."""
    return frozenset(_ask(engine, "ps", "--all", "--format", "{{.Names}}").split())


def running_addresses(engine: ContainerEngine, containers: Sequence[str]) -> dict[str, str]:
    """Container name → its address on kind's network; "" for one that does not run, absent where there is none."""
    if not containers:
        return {}
    try:
        inspected = _ask(engine, "inspect", "--type=container", *containers)
    except CommandError as failed:
        if "no such" not in failed.output.lower():
            raise
        return {}
    return addresses_of(json.loads(inspected))


def addresses_of(inspected: Sequence[dict[str, Any]]) -> dict[str, str]:
    """`running_addresses` from what `inspect` says: pure."""
    return {
        container["Name"].lstrip("/"): (
            (container["NetworkSettings"]["Networks"].get(NETWORK) or {}).get("IPAddress", "")
            if container["State"]["Running"]
            else ""
        )
        for container in inspected
    }


def network(engine: ContainerEngine) -> Network:
    """The network kind uses.

    Raises:
        UserError: it does not exist, or has no IPv4 subnet.
    """
    try:
        inspected = json.loads(_ask(engine, "network", "inspect", NETWORK))
    except CommandError as failed:
        raise UserError(
            f"The container network {NETWORK} can't be read.",
            (failed.output.strip().splitlines() or [str(failed)])[-1],
            "see that the container engine runs; kind makes this network with the first cluster",
        ) from None
    running = _ask(engine, "ps", "--filter", f"network={NETWORK}", "--format", "{{.Names}}").split()
    return network_of(inspected[0], running_addresses(engine, running).values())


def network_of(inspected: dict[str, Any], addresses: Iterable[str]) -> Network:
    """`network` from what `network inspect` says of it, and from the addresses of its containers: pure."""
    for config in _subnets(inspected):
        subnet = ipaddress.ip_network(config["subnet"])
        if isinstance(subnet, ipaddress.IPv4Network):
            used = [*addresses, config.get("gateway") or str(subnet[1])]
            return Network(subnet, frozenset(ipaddress.IPv4Address(address) for address in used if address))
    raise UserError(
        f"The container network {NETWORK} has no IPv4 subnet.",
        "addresses of nodes and load balancers are taken from it",
        f"remove the network {NETWORK} when nothing uses it; kind makes a new one",
    )


def subnets(engine: ContainerEngine) -> tuple[str, ...]:
    """IPv4 subnets of all container networks."""
    ids = _ask(engine, "network", "ls", "--quiet").split()
    listed = json.loads(_ask(engine, "network", "inspect", *ids)) if ids else []
    return tuple(config["subnet"] for entry in listed for config in _subnets(entry) if ":" not in config["subnet"])


def _subnets(inspected: dict[str, Any]) -> list[dict[str, str]]:
    """A network's subnets, each with `subnet` and perhaps `gateway`: Docker's and Podman's form differ. Pure."""
    listed = inspected["IPAM"]["Config"] if "IPAM" in inspected else inspected.get("subnets")
    found = [{key.lower(): value for key, value in config.items()} for config in listed or ()]
    return [config for config in found if "subnet" in config]


def remove(engine: ContainerEngine, containers: Sequence[str]) -> None:
    """Remove containers with their volumes, running or not; those already gone are no error."""
    if not containers:
        return
    try:
        _ask(engine, "rm", "--force", "--volumes", *containers, timeout=120)
        # With Podman, kind labels a node's volume with the node's name instead of leaving it anonymous.
        for name in containers if engine is PODMAN else ():
            if volumes := _ask(engine, "volume", "ls", "--quiet", "--filter", f"label={name}").split():
                _ask(engine, "volume", "rm", "--force", *volumes)
    except CommandError as failed:
        if left := sorted(set(containers) & names(engine)):
            raise UserError(
                f"These containers could not be removed: {', '.join(left)}",
                (failed.output.strip().splitlines() or [str(failed)])[-1],
                f"{engine.name} rm --force --volumes {' '.join(left)}",
            ) from None


def execute(engine: ContainerEngine, container: str, *command: str) -> str:
    """Run a command in a container as root; returns its standard output."""
    return _ask(engine, "exec", container, *command)


def _ask(engine: ContainerEngine, *words: str, timeout: float = 60) -> str:
    """Run the engine's client.

    Raises:
        CommandError: it failed.
        UserError: no engine answers it.
    """
    try:
        return engine.run(*words, timeout=timeout)
    except CommandError as failed:
        if failed.status is not None and "docker daemon" not in failed.output.lower():
            raise
        raise UserError(
            "The container engine does not answer.",
            (failed.output.strip().splitlines() or [f"`{words[0]}` did not end within {timeout:.0f} s"])[-1],
            "see why it stopped (its log), start it, and run again; make clean removes what a run left",
        ) from None
