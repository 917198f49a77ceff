"""Other valid forms of West's east-west gateway."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager

from harness.kube.api import Object
from harness.mesh import manifests
from harness.mesh.gateways import NAME, addresses
from harness.model import expectations
from harness.model.topology import Cluster
from harness.proof.faults.acts.gateways import SERVICES, await_addresses, gateway_service
from harness.proof.faults.acts.network import made_here
from harness.proof.faults.fault import MN, everywhere
from harness.proof.live.changes import Reference, absent, bare, changed, existing, present
from harness.proof.live.live_mesh import LiveMesh
from harness.proof.live.updates import await_quiet, quiet
from harness.proof.live.waits import await_rollout, await_true, felt
from harness.proof.variants.acts.common import created, manifest, renamed
from harness.proof.variants.variant import Variant

PORT_LABEL = "networking.istio.io/gatewayPort"
PORT = 443
SECOND = "crossing"
INGRESS = "istio-ingressgateway"


def narrow_hosts(live: LiveMesh) -> AbstractContextManager[None]:
    """Let the Gateway of all services accept only the sample namespace's."""
    gateway = Reference("networking.istio.io/v1", "Gateway", SERVICES, live.mesh.settings.system_namespace)
    hosts = [f"*.{live.mesh.settings.sample_namespace}.svc.cluster.local"]
    servers = [{**server, "hosts": hosts} for server in existing(live, live.signer, gateway)["spec"]["servers"]]
    return quiet(live, changed(live, live.signer, gateway, {"spec": {"servers": servers}}))


def gateway_port(live: LiveMesh) -> AbstractContextManager[None]:
    """Move the gateway's port 15443 to 443, and label its Service with that port."""
    service = gateway_service(live, live.west)
    ports = [_moved(port) for port in existing(live, live.west, service)["spec"]["ports"]]
    change = {"metadata": {"labels": {PORT_LABEL: str(PORT)}}, "spec": {"ports": ports}}
    return felt(live, _clients(live), changed(live, live.west, service, change))


@contextmanager
def external_ips(live: LiveMesh) -> Iterator[None]:
    """Make the gateway's Service a ClusterIP with a node's address as external IP; then a load balancer as before.

    Raises:
        StepError: the suite has not made the cluster.
    """
    service, cluster = gateway_service(live, live.west), live.west
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


@contextmanager
def _beside(live: LiveMesh, name: str, namespace: str = "") -> Iterator[None]:
    """Run a second east-west gateway for West's network, with a Service of its own."""
    place = {"namespace": namespace or live.mesh.settings.system_namespace, "network": live.west.network}
    objects = [
        renamed(each, NAME, name)
        for kind in ("east-west-gateway-service", "east-west-gateway")
        for each in manifests.render(kind, **place)
    ]
    added = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": place["namespace"]}}
    with created(live, [live.west], [*([added] if namespace else []), *objects]):
        await_rollout(live, live.west, place["namespace"], name)
        service = Reference("v1", "Service", name, place["namespace"])
        await_true(live, live.west, f"Wait until Service {name} has an address", lambda: _addressless(live, service))
        await_quiet(live)
        yield
    await_quiet(live)


def second_gateway(live: LiveMesh) -> AbstractContextManager[None]:
    """Run a second gateway beside West's."""
    return felt(live, _clients(live), _beside(live, SECOND))


@contextmanager
def renamed_gateway(live: LiveMesh, namespace: str = "") -> Iterator[None]:
    """Put a gateway of another name in the place of West's, whose Service loses the network label."""
    unlabelled = {"metadata": {"labels": {expectations.NETWORK_LABEL: None}}}
    # Both gateways are known while one takes the place of the other.
    with _beside(live, SECOND, namespace):
        idle = changed(live, live.west, _deployment(live), {"spec": {"replicas": 0}})
        with (
            felt(live, _clients(live), changed(live, live.west, gateway_service(live, live.west), unlabelled)),
            _rolled(live, idle),
        ):
            yield


@contextmanager
def _rolled(live: LiveMesh, change: AbstractContextManager[None]) -> Iterator[None]:
    system = live.mesh.settings.system_namespace
    try:
        with change:
            await_rollout(live, live.west, system, NAME)
            yield
    finally:
        await_rollout(live, live.west, system, NAME)


def gateway_namespace(live: LiveMesh) -> AbstractContextManager[None]:
    """The same in a namespace of its own."""
    return renamed_gateway(live, "gateways")


@contextmanager
def daemon_set(live: LiveMesh) -> Iterator[None]:
    """Run West's gateway as a DaemonSet."""
    system = live.mesh.settings.system_namespace
    before = bare(existing(live, live.west, _deployment(live)))
    spec = {key: before["spec"][key] for key in ("selector", "template")}
    name = f"{NAME}-nodes"
    metadata = {"name": name, "namespace": system, "labels": before["metadata"].get("labels") or {}}
    daemons = {"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": metadata, "spec": spec}

    def ready() -> str:
        found = existing(live, live.west, Reference("apps/v1", "DaemonSet", name, system)).get("status", {})
        wanted = found.get("desiredNumberScheduled") or 0
        return "" if wanted and found.get("numberReady") == wanted else f"{found.get('numberReady')} of {wanted} ready"

    try:
        with absent(live, live.west, _deployment(live)), present(live, live.west, daemons):
            await_true(live, live.west, f"Wait for DaemonSet {name}", ready)
            await_quiet(live)
            yield
    finally:
        await_rollout(live, live.west, system, NAME)
        await_quiet(live)


def guarded(live: LiveMesh) -> AbstractContextManager[None]:
    """Create a HorizontalPodAutoscaler and a PodDisruptionBudget for West's gateway."""
    system = live.mesh.settings.system_namespace
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": NAME}
    scaling = {"scaleTargetRef": target, "minReplicas": 1, "maxReplicas": 2}
    budget = {"maxUnavailable": 1, "selector": {"matchLabels": {"istio": "eastwestgateway"}}}
    objects = [
        manifest("autoscaling/v2", "HorizontalPodAutoscaler", NAME, system, scaling),
        manifest("policy/v1", "PodDisruptionBudget", "crossing", system, budget),
    ]
    return created(live, [live.west], objects)


@contextmanager
def ingress(live: LiveMesh) -> Iterator[None]:
    """Run an ingress gateway on East, with a Gateway of its own and no network label."""
    system = live.mesh.settings.system_namespace
    objects = renamed(
        renamed(manifests.render("east-west-gateway", namespace=system, network=live.east.network), NAME, INGRESS),
        "eastwestgateway",
        "ingressgateway",
    )
    for each in objects:
        template = each.get("spec", {}).get("template")
        if template:
            for labels in (each["metadata"]["labels"], template["metadata"]["labels"]):
                labels.pop(expectations.NETWORK_LABEL, None)
            del template["spec"]["containers"][0]["env"]
    service = {"selector": {"istio": "ingressgateway"}, "ports": [{"name": "http2", "port": 80, "targetPort": 8080}]}
    server = {"port": {"number": 80, "name": "http", "protocol": "HTTP"}, "hosts": ["shop.example.com"]}
    gateway = {"selector": {"istio": "ingressgateway"}, "servers": [server]}
    objects += [
        manifest("v1", "Service", INGRESS, system, {"type": "LoadBalancer", **service}),
        manifest("networking.istio.io/v1", "Gateway", "shop", system, gateway),
    ]
    with created(live, [live.east], objects):
        await_rollout(live, live.east, system, INGRESS)
        await_quiet(live)
        yield
    await_quiet(live)


def _addressless(live: LiveMesh, service: Reference) -> str:
    return "" if addresses(existing(live, live.west, service)) else "it has none"


def _moved(port: Object) -> Object:
    return {**port, "port": PORT, "targetPort": port["port"]} if port["port"] == expectations.MESH_PORT else port


def _node_address(live: LiveMesh) -> str:
    node = live.kube(live.west).list("v1", "Node")[0]
    return next(str(each["address"]) for each in node["status"]["addresses"] if each["type"] == "InternalIP")


def _clients(live: LiveMesh) -> list[Cluster]:
    return [other for other in live.mesh.topology.others(live.west) if other.network != live.west.network]


def _deployment(live: LiveMesh) -> Reference:
    return Reference("apps/v1", "Deployment", NAME, live.mesh.settings.system_namespace)


VARIANTS = (
    Variant(
        "narrow-hosts",
        "West's Gateway for all services has the sample namespace as its only host",
        "helloworld is one of its hosts",
        narrow_hosts,
        MN,
    ),
    Variant(
        "gateway-port",
        "West's gateway listens on 443, and its label networking.istio.io/gatewayPort says so",
        "istiod announces the port that the label names",
        gateway_port,
        MN,
    ),
    Variant(
        "external-ips",
        "West's gateway is reached by externalIPs of a ClusterIP Service",
        "istiod takes external IPs for the addresses of a gateway",
        external_ips,
        MN,
    ),
    Variant(
        "second-gateway",
        "West's network has two gateways, each with a Service",
        "istiod shares out a network's endpoints among all of its gateways",
        second_gateway,
        MN,
    ),
    Variant(
        "gateway-renamed",
        "West's gateway, Deployment and Service, is called otherwise; the former Service has no network label",
        "istiod knows a network's gateways by the label of their Services",
        renamed_gateway,
        MN,
    ),
    Variant(
        "gateway-namespace",
        "West's gateway is in a namespace of its own",
        "a Gateway selects pods in every namespace; istiod knows Services of every namespace",
        gateway_namespace,
        MN,
    ),
    Variant(
        "gateway-daemon-set",
        "West's gateway is a DaemonSet",
        "its Service selects pods, whatever made them",
        daemon_set,
        MN,
    ),
    Variant(
        "gateway-guarded",
        "West's gateway has a HorizontalPodAutoscaler and a PodDisruptionBudget",
        "they change the number of its pods only, and not below one",
        guarded,
        MN,
    ),
    Variant(
        "ingress-beside",
        "An ingress gateway on East, with a Gateway of its own and no network label",
        "it serves other hosts on other ports",
        ingress,
        everywhere,
    ),
)
