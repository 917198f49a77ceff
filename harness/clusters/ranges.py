"""Address ranges that don't collide: pods and Services of each cluster, and load balancer addresses. Pure.

A cluster has one /16 of 10.128.0.0/9, the lower half for pods and the upper one for Services. Clusters of one
machine, of whatever run, have different ones: pods of clusters on one network reach each other directly, and it is
easier to tell what is whose.
"""

import ipaddress
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from harness.base.errors import UserError

CLUSTERS = ipaddress.IPv4Network("10.128.0.0/9")
POOL_SIZE = 8
"""Load balancer addresses a cluster; a mesh needs one or two."""


@dataclass(frozen=True)
class Ranges:
    """The ranges of one cluster."""

    pods: str
    services: str


def cluster_ranges(count: int, taken: Iterable[str]) -> tuple[Ranges, ...]:
    """Ranges for so many clusters.

    Args:
        count: how many.
        taken: subnets that are used: of other clusters, container networks, routes of this machine.

    Raises:
        UserError: there are not that many free.
    """
    used = [ipaddress.IPv4Network(subnet, strict=False) for subnet in taken]
    # A default route is no use of what it leads to.
    used = [subnet for subnet in used if subnet.prefixlen]
    free = (subnet for subnet in CLUSTERS.subnets(new_prefix=16) if not any(subnet.overlaps(other) for other in used))
    chosen = [subnet for subnet, _ in zip(free, range(count), strict=False)]
    if len(chosen) < count:
        raise UserError(
            f"There are no free address ranges for {count} clusters.",
            f"they are taken from {CLUSTERS}, of which routes and networks of this machine leave {len(chosen)} /16",
            "remove clusters that are no longer needed: make clean",
        )
    halves = [tuple(subnet.subnets(new_prefix=17)) for subnet in chosen]
    return tuple(Ranges(str(pods), str(services)) for pods, services in halves)


def address_pool(
    subnet: ipaddress.IPv4Network, in_use: Collection[ipaddress.IPv4Address], taken: Collection[str]
) -> str:
    """A pool of load balancer addresses, as `first-last`, from the upper half of a container network.

    The engine gives containers addresses from the lower end.

    Args:
        subnet: the network's.
        in_use: addresses of the gateway and of containers.
        taken: pools of other clusters.

    Raises:
        UserError: none is free.
    """
    for pool in _pools(subnet):
        name = f"{pool[0]}-{pool[-1]}"
        if name not in taken and not any(address in in_use for address in pool):
            return name
    raise UserError(
        f"The container network {subnet} has no {POOL_SIZE} free addresses for load balancers.",
        "they are taken from its upper half, and all are in use",
        "remove clusters that are no longer needed (make clean), or give the network a larger subnet",
    )


def _pools(subnet: ipaddress.IPv4Network) -> Iterator[tuple[ipaddress.IPv4Address, ...]]:
    # The last block has the broadcast address.
    last = int(subnet.broadcast_address) + 1 - POOL_SIZE
    first = int(subnet.network_address) + subnet.num_addresses // 2
    for start in range(last - POOL_SIZE, first - 1, -POOL_SIZE):
        yield tuple(ipaddress.IPv4Address(start + offset) for offset in range(POOL_SIZE))


def routed(table: str) -> tuple[str, ...]:
    """Destinations of this machine's IPv4 routes.

    Args:
        table: text of /proc/net/route.
    """
    found = []
    for line in table.splitlines()[1:]:
        words = line.split()
        destination, mask = (int.from_bytes(bytes.fromhex(words[n]), "little") for n in (1, 7))
        found.append(f"{ipaddress.IPv4Address(destination)}/{mask.bit_count()}")
    return tuple(found)
