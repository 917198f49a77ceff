"""Address ranges of clusters and pools of load balancers."""

import ipaddress

import pytest

from harness.base.errors import UserError
from harness.clusters.ranges import address_pool, cluster_ranges, routed

SUBNET = ipaddress.IPv4Network("172.18.0.0/16")


class TestRanges:
    """Address ranges don't collide."""

    def test_halves_of_distinct_blocks(self) -> None:
        """Every cluster has a block of its own, in two halves."""
        first, second, third = cluster_ranges(3, [])
        nets = [ipaddress.IPv4Network(net) for r in (first, second, third) for net in (r.pods, r.services)]
        assert not any(a.overlaps(b) for n, a in enumerate(nets) for b in nets[n + 1 :])
        assert first.pods == "10.128.0.0/17"

    def test_avoids_what_is_taken(self) -> None:
        """Ranges of other clusters and routes are left alone; a default route takes nothing."""
        taken = ["10.128.0.0/17", "10.129.128.0/17", "0.0.0.0/0", "172.18.0.0/16", "10.130.4.0/24"]
        assert [r.pods for r in cluster_ranges(2, taken)] == ["10.131.0.0/17", "10.132.0.0/17"]

    def test_none_free(self) -> None:
        """A machine that routes all of it elsewhere is told so."""
        with pytest.raises(UserError, match="no free address ranges"):
            cluster_ranges(1, ["10.0.0.0/8"])

    def test_routes_of_the_machine(self) -> None:
        """The kernel's routing table has little-endian hex words."""
        table = (
            "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n"
            "eth0\t00000000\t010012AC\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"
            "eth0\t000012AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n"
        )
        assert routed(table) == ("0.0.0.0/0", "172.18.0.0/16")

    def test_pools_differ_and_avoid_addresses_in_use(self) -> None:
        """Pools are taken from the top, without the broadcast address, a reserved pool or a container's address."""
        first = address_pool(SUBNET, [], [])
        second = address_pool(SUBNET, [], [first])
        third = address_pool(SUBNET, [ipaddress.IPv4Address("172.18.255.236")], [first])
        assert first == "172.18.255.240-172.18.255.247"
        assert second == "172.18.255.232-172.18.255.239"
        assert third == "172.18.255.224-172.18.255.231"

    def test_small_network_runs_out(self) -> None:
        """Only the upper half is used."""
        small = ipaddress.IPv4Network("192.168.7.0/27")
        pool = address_pool(small, [], [])
        assert pool == "192.168.7.16-192.168.7.23"
        with pytest.raises(UserError, match="no 8 free addresses"):
            address_pool(small, [], [pool])
