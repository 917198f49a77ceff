"""Routes between the nodes of a cluster."""

from harness.clusters import (
    node_network,
)
from harness.clusters.routes import PodRoute


class TestNodeNetwork:
    """The pod network between the nodes of one cluster."""

    def test_each_node_has_its_range_and_the_routes_to_the_others(self) -> None:
        """The configuration is whole when containerd sees it."""
        nodes = [PodRoute("east", f"n{number}", f"10.128.{number}.0/24", f"172.18.0.{number}") for number in (1, 2, 3)]
        assert node_network.script(nodes[1], nodes).splitlines() == [
            'sed "s|@POD_CIDR@|10.128.2.0/24|" /etc/eastwest/cni.conflist >/etc/cni/net.d/10-ptp.conflist.new',
            "mv /etc/cni/net.d/10-ptp.conflist.new /etc/cni/net.d/10-ptp.conflist",
            "ip route replace 10.128.1.0/24 via 172.18.0.1",
            "ip route replace 10.128.3.0/24 via 172.18.0.3",
        ]

    def test_what_is_waited_for(self) -> None:
        """The range comes from the controller manager, the address from the kubelet."""
        addresses = {"addresses": [{"type": "InternalIP", "address": "172.18.0.4"}]}
        assert node_network.pending(None) == "it has not registered"
        assert node_network.pending({}) == "it has no range of pod addresses and no address"
        assert node_network.pending({"status": addresses}) == "it has no range of pod addresses"
        assert not node_network.pending({"spec": {"podCIDR": "10.128.0.0/24"}, "status": addresses})
