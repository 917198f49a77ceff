"""What the container engine says of containers and networks. No engine is used."""

import ipaddress

import pytest

from harness.base.errors import UserError
from harness.clusters import (
    containers,
)


class TestContainers:
    """What the engine says."""

    def test_addresses(self) -> None:
        """A stopped container has no address, whatever it had before."""
        networks = {"Networks": {"kind": {"IPAddress": "172.18.0.4"}}}
        inspected = [
            {"Name": "/a", "State": {"Running": True}, "NetworkSettings": networks},
            {"Name": "/b", "State": {"Running": False}, "NetworkSettings": networks},
            {"Name": "/c", "State": {"Running": True}, "NetworkSettings": {"Networks": {}}},
        ]
        assert containers.addresses_of(inspected) == {"a": "172.18.0.4", "b": "", "c": ""}

    def test_network(self) -> None:
        """The IPv4 subnet, and what is in use there."""
        inspected = {
            "IPAM": {"Config": [{"Subnet": "fc00::/64"}, {"Subnet": "172.18.0.0/16", "Gateway": "172.18.0.1"}]},
        }
        network = containers.network_of(inspected, ["172.18.0.4", ""])
        assert network.subnet == ipaddress.IPv4Network("172.18.0.0/16")
        assert {str(address) for address in network.in_use} == {"172.18.0.1", "172.18.0.4"}

    def test_network_without_ipv4(self) -> None:
        """Such a network is of no use."""
        with pytest.raises(UserError, match="no IPv4 subnet"):
            containers.network_of({"IPAM": {"Config": None}}, [])
