"""East-west gateways, and what is exposed through them."""

from harness.kube.api import KubeApi, Object, condition
from harness.mesh.context import Mesh, step
from harness.mesh.gateway_api import API_VERSION as GATEWAY_API
from harness.mesh.injection import INJECT, await_injection
from harness.mesh.readiness import await_deployment, warnings
from harness.mesh.settings import ADDRESS_SECONDS, AVAILABLE_SECONDS, INJECTION_SECONDS
from harness.model.step import Phase
from harness.model.step_log import OpenStep
from harness.model.topology import Cluster

NAME = "istio-eastwestgateway"
GATEWAY_NAME_LABEL = "gateway.networking.k8s.io/gateway-name"
"""On what istiod makes of a Gateway."""


@step(Phase.MESH)
def create_gateway(mesh: Mesh, cluster: Cluster, opened: OpenStep) -> None:
    """Create an East-West gateway."""
    namespace = mesh.settings.system_namespace
    if mesh.settings.ambient:
        if mesh.settings.built_here:
            mesh.apply_manifest(cluster, "east-west-gateway-upstream-envoy", namespace=namespace)
        mesh.apply_manifest(cluster, "east-west-gateway-ambient", namespace=namespace, network=cluster.network)
        return
    mesh.apply_manifest(cluster, "east-west-gateway-service", namespace=namespace, network=cluster.network)
    try:
        await_injection(mesh.kube(cluster), namespace, mesh.deadline(cluster, INJECTION_SECONDS), opened, INJECT)
    finally:
        mesh.apply_manifest(cluster, "east-west-gateway", namespace=namespace, network=cluster.network)


@step(Phase.MESH)
def expose_services(mesh: Mesh, cluster: Cluster, _opened: OpenStep) -> None:
    """Expose the services through the gateway."""
    mesh.apply_manifest(cluster, "expose-services", namespace=mesh.settings.system_namespace)


@step(Phase.MESH)
def expose_control_plane(mesh: Mesh, cluster: Cluster, _opened: OpenStep) -> None:
    """Expose the control plane through the gateway."""
    mesh.apply_manifest(cluster, "expose-istiod", namespace=mesh.settings.system_namespace)


@step(Phase.MESH)
def save_address(mesh: Mesh, cluster: Cluster, opened: OpenStep) -> str:
    """Save the address of the East-West gateway."""
    address = _address(mesh, cluster, opened)
    opened.note(address)
    return address


@step(Phase.MESH)
def await_address(mesh: Mesh, cluster: Cluster, opened: OpenStep) -> None:
    """Wait for the East-West gateway to have an address."""
    opened.note(_address(mesh, cluster, opened))
    # The control planes take it from the Gateway, which is told a moment later.
    mesh.kube(cluster).wait(
        GATEWAY_API,
        "Gateway",
        NAME,
        mesh.settings.system_namespace,
        pending=programmed_pending,
        timeout=mesh.deadline(cluster, AVAILABLE_SECONDS),
        step=opened,
    )


@step(Phase.MESH)
def await_gateway(mesh: Mesh, cluster: Cluster, opened: OpenStep) -> None:
    """Wait for the East-West gateway to be available."""
    timeout = mesh.deadline(cluster, AVAILABLE_SECONDS)
    await_deployment(mesh.kube(cluster), mesh.settings.system_namespace, NAME, timeout, opened)


def addresses(service: Object | None) -> list[str]:
    """The load balancer's addresses: IP addresses or host names."""
    ingress = (((service or {}).get("status") or {}).get("loadBalancer") or {}).get("ingress") or []
    return [
        str(entry.get("ip") or entry.get("hostname")) for entry in ingress if entry.get("ip") or entry.get("hostname")
    ]


def address_pending(service: Object | None) -> str:
    """Whether the gateway's Service still lacks an address."""
    if service is None:
        return f"Service {NAME} does not exist"
    return "" if addresses(service) else f"Service {NAME} has no load balancer address"


def programmed_pending(seen: Object | None) -> str:
    """What keeps a Gateway of the Gateway API from Programmed=True, in istiod's words; empty when nothing."""
    if seen is None:
        return f"Gateway {NAME} does not exist"
    found = condition(seen, "Programmed")
    if found.get("status") == "True" and (seen.get("status") or {}).get("addresses"):
        return ""
    words = ": ".join(str(found[part]) for part in ("reason", "message") if found.get(part))
    return f"Gateway {NAME} is not programmed" + (f" ({words})" if words else "")


def _address(mesh: Mesh, cluster: Cluster, opened: OpenStep) -> str:
    """The first address that a load balancer has given the gateway's Service."""
    kube, namespace = mesh.kube(cluster), mesh.settings.system_namespace
    service = kube.wait(
        "v1",
        "Service",
        NAME,
        namespace,
        pending=address_pending,
        timeout=mesh.deadline(cluster, ADDRESS_SECONDS),
        step=opened,
        explain=lambda: _why_no_address(kube, namespace),
    )
    return addresses(service)[0]


def _why_no_address(kube: KubeApi, namespace: str) -> str:
    events = kube.list("v1", "Event", namespace, field_selector=f"involvedObject.name={NAME},type=Warning")
    told = warnings(events, {NAME})
    return told[0] if told else "no load balancer has taken it on: is there one, and are addresses left in its pool?"
