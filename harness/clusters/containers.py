"""What the suite asks of the container engine about clusters' containers and their network."""

import ipaddress
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from harness.base.command import CommandError, run
from harness.base.errors import UserError

NETWORK = "kind"
"""The container network on which kind puts every node."""
CLUSTER_LABEL = "io.x-k8s.kind.cluster"
"""On kind's node containers; the value is the cluster's name."""
LOAD_BALANCER_LABEL = "io.x-k8s.cloud-provider-kind.cluster"
"""On cloud-provider-kind's containers; the value is the cluster's name."""

_ELSEWHERE = ("KIND_EXPERIMENTAL_PROVIDER", "KIND_EXPERIMENTAL_DOCKER_NETWORK")


@dataclass(frozen=True)
class Network:
    """The IPv4 side of a container network."""

    subnet: ipaddress.IPv4Network
    in_use: frozenset[ipaddress.IPv4Address]
    """The gateway's address and those of running containers."""


def environment_of_kind() -> dict[str, str]:
    """For kind's programs: without what leads them to another engine, or another network, than the suite looks at."""
    return {name: value for name, value in os.environ.items() if name not in _ELSEWHERE}


def labelled(label: str, value: str = "") -> tuple[str, ...]:
    """Names of all containers, running or not, with a label.

    Args:
        label: its key.
        value: empty for any.
    """
    wanted = f"label={label}={value}" if value else f"label={label}"
    return tuple(_docker("ps", "--all", "--filter", wanted, "--format", "{{.Names}}").split())


def names() -> frozenset[str]:
    """Names of all containers, running or not."""
    return frozenset(_docker("ps", "--all", "--format", "{{.Names}}").split())


def running_addresses(containers: Sequence[str]) -> dict[str, str]:
    """Container name → its address on kind's network; "" for one that does not run, absent where there is none."""
    if not containers:
        return {}
    try:
        inspected = _docker("inspect", "--type=container", *containers)
    except CommandError as failed:
        if "no such" not in failed.output.lower():
            raise
        return {}
    return addresses_of(json.loads(inspected))


def addresses_of(inspected: Sequence[dict[str, Any]]) -> dict[str, str]:
    """`running_addresses` from what `docker inspect` says: pure."""
    return {
        container["Name"].lstrip("/"): (
            (container["NetworkSettings"]["Networks"].get(NETWORK) or {}).get("IPAddress", "")
            if container["State"]["Running"]
            else ""
        )
        for container in inspected
    }


def network() -> Network:
    """The network kind uses.

    Raises:
        UserError: it does not exist, or has no IPv4 subnet.
    """
    try:
        return network_of(json.loads(_docker("network", "inspect", NETWORK)))
    except CommandError as failed:
        raise UserError(
            f"The container network {NETWORK} can't be read.",
            (failed.output.strip().splitlines() or [str(failed)])[-1],
            "see that the container engine runs; kind makes this network with the first cluster",
        ) from None


def network_of(inspected: Sequence[dict[str, Any]]) -> Network:
    """`network` from what `docker network inspect` says: pure."""
    for config in inspected[0]["IPAM"]["Config"] or ():
        subnet = ipaddress.ip_network(config["Subnet"])
        if isinstance(subnet, ipaddress.IPv4Network):
            used = [entry["IPv4Address"].partition("/")[0] for entry in (inspected[0]["Containers"] or {}).values()]
            used.append(config.get("Gateway") or str(subnet[1]))
            return Network(subnet, frozenset(ipaddress.IPv4Address(address) for address in used if address))
    raise UserError(
        f"The container network {NETWORK} has no IPv4 subnet.",
        "addresses of nodes and load balancers are taken from it",
        f"remove it (docker network rm {NETWORK}) when nothing uses it; kind makes a new one",
    )


def subnets() -> tuple[str, ...]:
    """Subnets of all container networks."""
    ids = _docker("network", "ls", "--quiet").split()
    listed = json.loads(_docker("network", "inspect", *ids)) if ids else []
    return tuple(
        config["Subnet"]
        for entry in listed
        for config in (entry["IPAM"]["Config"] or ())
        if "Subnet" in config and ":" not in config["Subnet"]
    )


def remove(containers: Sequence[str]) -> None:
    """Remove containers with their anonymous volumes, running or not; those already gone are no error."""
    if not containers:
        return
    try:
        _docker("rm", "--force", "--volumes", *containers, timeout=120)
    except CommandError as failed:
        if left := sorted(set(containers) & names()):
            raise UserError(
                f"These containers could not be removed: {', '.join(left)}",
                (failed.output.strip().splitlines() or [str(failed)])[-1],
                f"docker rm --force --volumes {' '.join(left)}",
            ) from None


def execute(container: str, *command: str) -> str:
    """Run a command in a container as root; returns its standard output."""
    return _docker("exec", container, *command)


def engine_root() -> str:
    """The directory in which the engine keeps containers, as the engine names it."""
    return _docker("info", "--format", "{{.DockerRootDir}}").strip()


def _docker(*words: str, timeout: float = 60) -> str:
    """Run the engine's client.

    Raises:
        CommandError: it failed.
        UserError: no engine answers it.
    """
    try:
        return run(["docker", *words], timeout=timeout)
    except CommandError as failed:
        if failed.status is not None and "docker daemon" not in failed.output.lower():
            raise
        raise UserError(
            "The container engine does not answer.",
            (failed.output.strip().splitlines() or [f"docker {words[0]} did not end within {timeout:.0f} s"])[-1],
            "see why it stopped (its log), start it, and run again; make clean removes what a run left",
        ) from None
