"""Routes between the clusters of a network."""

import pytest

from harness.base.errors import UserError
from harness.clusters import (
    routes,
)
from harness.clusters.routes import PodRoute


class TestRoutes:
    """Direct routes between clusters."""

    def test_only_to_other_clusters(self) -> None:
        """A node is told about every node of every other cluster, none of its own."""
        all_routes = [
            PodRoute(name, f"{name}-node", f"10.{128 + n}.0.0/24", f"172.18.0.{n + 2}")
            for n, name in enumerate(("east", "west", "north"))
        ]
        text = routes.script(all_routes[0], all_routes, ("ip route replace {pods} via {via}", "own {own}"))
        assert text.splitlines() == [
            "ip route replace 10.129.0.0/24 via 172.18.0.3",
            "own 10.128.0.0/24",
            "ip route replace 10.130.0.0/24 via 172.18.0.4",
            "own 10.128.0.0/24",
        ]

    def test_from_a_node(self) -> None:
        """A Node object says where its pods are."""
        node = {
            "metadata": {"name": "n"},
            "spec": {"podCIDR": "10.128.0.0/24"},
            "status": {
                "addresses": [
                    {"type": "Hostname", "address": "n"},
                    {"type": "InternalIP", "address": "172.18.0.4"},
                ]
            },
        }
        assert routes.route_of("east", node) == PodRoute("east", "n", "10.128.0.0/24", "172.18.0.4")

    def test_node_without_address(self) -> None:
        """A node that reports none is an error that names it."""
        node = {"metadata": {"name": "n"}, "spec": {"podCIDR": "10.128.0.0/24"}, "status": {}}
        with pytest.raises(UserError, match="The node n of east has no address"):
            routes.route_of("east", node)
