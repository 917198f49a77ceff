"""Other valid forms of West's east-west gateway."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager

from harness.kube.api import Object
from harness.mesh.gateways import NAME, addresses
from harness.model import expectations
from harness.model.topology import Cluster
from harness.proof.faults.acts.gateways import SERVICES, await_addresses
from harness.proof.faults.acts.network import made_here
from harness.proof.live.changes import Reference, changed, existing
from harness.proof.live.live_mesh import LiveMesh
from harness.proof.live.waits import felt, quiet

PORT_LABEL = "networking.istio.io/gatewayPort"
PORT = 443


def narrow_hosts(live: LiveMesh) -> AbstractContextManager[None]:
    """Let the Gateway of all services accept only the sample namespace's."""
    gateway = Reference("networking.istio.io/v1", "Gateway", SERVICES, live.mesh.settings.system_namespace)
    hosts = [f"*.{live.mesh.settings.sample_namespace}.svc.cluster.local"]
    servers = [{**server, "hosts": hosts} for server in existing(live, live.signer, gateway)["spec"]["servers"]]
    return quiet(live, changed(live, live.signer, gateway, {"spec": {"servers": servers}}))


def gateway_port(live: LiveMesh) -> AbstractContextManager[None]:
    """Move the gateway's port 15443 to 443, and label its Service with that port."""
    service = _service(live)
    ports = [_moved(port) for port in existing(live, live.west, service)["spec"]["ports"]]
    change = {"metadata": {"labels": {PORT_LABEL: str(PORT)}}, "spec": {"ports": ports}}
    return felt(live, _clients(live), changed(live, live.west, service, change))


@contextmanager
def external_ips(live: LiveMesh) -> Iterator[None]:
    """Make the gateway's Service a ClusterIP with a node's address as external IP; then a load balancer as before.

    Raises:
        StepError: the suite has not made the cluster.
    """
    service, cluster = _service(live), live.west
    made_here(live, cluster)
    before = existing(live, cluster, service)
    former = addresses(before)
    ports = [{key: value for key, value in port.items() if key != "nodePort"} for port in before["spec"]["ports"]]
    change = {"spec": {"type": "ClusterIP", "ports": ports, "externalIPs": [_node_address(live)]}}
    with ExitStack() as undoing:
        if former and expectations.is_address(former[0]):
            # The load balancer must give the same address again.
            undoing.enter_context(changed(live, cluster, service, {"spec": {"loadBalancerIP": former[0]}}))
        undoing.callback(await_addresses, live, cluster, former)
        undoing.enter_context(felt(live, _clients(live), changed(live, cluster, service, change)))
        yield


def _moved(port: Object) -> Object:
    return {**port, "port": PORT, "targetPort": port["port"]} if port["port"] == expectations.MESH_PORT else port


def _node_address(live: LiveMesh) -> str:
    node = live.kube(live.west).list("v1", "Node")[0]
    return next(str(each["address"]) for each in node["status"]["addresses"] if each["type"] == "InternalIP")


def _clients(live: LiveMesh) -> list[Cluster]:
    return [other for other in live.mesh.topology.others(live.west) if other.network != live.west.network]


def _service(live: LiveMesh) -> Reference:
    return Reference("v1", "Service", NAME, live.mesh.settings.system_namespace)
