"""The network between the clusters is cut, or nothing is sent over it for a minute."""

from collections.abc import Iterable
from contextlib import suppress

from harness.base.command import CommandError
from harness.base.parallel import in_parallel
from harness.clusters import containers
from harness.experiments.resilience.stage import Stage
from harness.mesh import gateways
from harness.model.resilience import ACTED, MENDED
from harness.model.topology import Cluster

CUT_SECONDS = 20.0
IDLE_SECONDS = 60.0
AFTER_IDLE_SECONDS = 5.0
_RULES = (
    "PREROUTING --source {address}",
    "PREROUTING --destination {address}",
    "OUTPUT --destination {address}",
)


def idle(stage: Stage) -> None:
    """Send nothing for a minute, and then go on: proxies use the connections that they have kept."""
    with stage.step("Send nothing for a minute"):
        stage.note(ACTED)
        stage.load.pause()
        try:
            stage.linger(IDLE_SECONDS)
        finally:
            stage.note(MENDED)
            stage.load.resume()
    stage.linger(AFTER_IDLE_SECONDS)
    stage.await_whole()


def cut(stage: Stage) -> None:
    """Make every node drop the packets of the other clusters' nodes, pods and gateways for a while."""
    addresses = {cluster.name: addresses_of(stage, cluster) for cluster in stage.clusters}
    try:
        with stage.step("Drop every packet between the clusters") as opened:
            stage.note(ACTED, detail="; ".join(f"{name}: {', '.join(found)}" for name, found in addresses.items()))
            opened.note(stage.moments[-1].detail)
            _on_each_node(stage, addresses, "--insert")
        stage.linger(CUT_SECONDS)
    finally:
        with stage.step("Let packets pass again"):
            _on_each_node(stage, addresses, "--delete")
            stage.note(MENDED)
    stage.await_whole()


def addresses_of(stage: Stage, cluster: Cluster) -> tuple[str, ...]:
    """Under which other clusters meet a cluster: its nodes, its pods, its gateway's load balancer."""
    kube = stage.kube(cluster)
    nodes = kube.list("v1", "Node")
    own = [entry["address"] for node in nodes for entry in node["status"]["addresses"] if entry["type"] == "InternalIP"]
    pods = [node["spec"]["podCIDR"] for node in nodes]
    service = kube.get("v1", "Service", gateways.NAME, stage.system_namespace)
    return tuple(dict.fromkeys([*own, *pods, *gateways.addresses(service)]))


def script(addresses: Iterable[str], action: str) -> str:
    """The shell script for one node: drop what comes from and goes to these, or no longer. Pure.

    The raw table sees packets before kube-proxy rewrites them, those of pods as well as the node's own.
    """
    rules = (rule.format(address=address) for address in addresses for rule in _RULES)
    return "\n".join(f"iptables --wait --table raw {action} {rule} --jump DROP" for rule in rules)


def _on_each_node(stage: Stage, addresses: dict[str, tuple[str, ...]], action: str) -> None:
    def change(cluster: Cluster) -> None:
        others = [address for other in stage.mesh.topology.others(cluster) for address in addresses[other.name]]
        access = stage.accesses[cluster.name]
        for node in access.nodes:
            if action == "--insert":
                containers.execute(access.engine, node, "sh", "-e", "-c", script(others, action))
            else:
                with suppress(CommandError):  # where a rule was never made there is none to delete
                    containers.execute(access.engine, node, "sh", "-c", script(others, action))

    in_parallel(change, stage.clusters)
