"""What the suite's requests are sent to: the service that --service names, else the sample's helloworld. Pure."""

from functools import cache

from harness.model import gateways
from harness.model.cluster import ClusterObservation, Pod, Service
from harness.model.expectations import CLUSTER_DOMAIN, HELLOWORLD, HELLOWORLD_PORT
from harness.model.observation import Asked
from harness.model.proxy import EndpointSet, Proxy
from harness.model.service import OwnService


def service(asked: Asked) -> OwnService:
    """The service by name, namespace and port."""
    return asked.service or _helloworld(asked.sample_namespace)


@cache
def _helloworld(namespace: str) -> OwnService:
    return OwnService(name=HELLOWORLD, namespace=namespace, port=HELLOWORLD_PORT)


def found(observed: ClusterObservation, asked: Asked) -> Service | None:
    """Its Service object on a cluster."""
    named = service(asked)
    return observed.service(named.namespace, named.name)


def pods(observed: ClusterObservation, asked: Asked) -> tuple[Pod, ...]:
    """The pods that are to answer on a cluster, ready or not."""
    if asked.service is None:
        return observed.pods_with(asked.sample_namespace, app=HELLOWORLD)
    there = found(observed, asked)
    return gateways.selected(observed, there) if there else ()


def ready_pods(observed: ClusterObservation, asked: Asked) -> tuple[Pod, ...]:
    """Those of them that are ready."""
    return tuple(pod for pod in pods(observed, asked) if pod.ready and pod.ip)


def listening_port(observed: ClusterObservation, asked: Asked) -> int:
    """The port of these pods: the one that the sample's image listens on, else the one of the Service's endpoints.

    Where the endpoints were not observed it is the target port; where that is a name, the Service's own port.
    """
    named, there = service(asked), found(observed, asked)
    port = next((each for each in there.ports if each.port == named.port), None) if there else None
    if asked.service is None or port is None:
        return named.port
    return port.endpoint_port or (int(port.target_port) if port.target_port.isdecimal() else port.port)


def host(asked: Asked, domain: str = CLUSTER_DOMAIN) -> str:
    """The full name of the Service."""
    named = service(asked)
    return f"{named.name}.{named.namespace}.svc.{domain}"


def server_name(asked: Asked, domain: str = CLUSTER_DOMAIN) -> str:
    """The SNI under which a gateway passes these requests through."""
    return f"outbound_.{service(asked).port}_._.{host(asked, domain)}"


def endpoints(proxy: Proxy, asked: Asked) -> EndpointSet | None:
    """The endpoints that a proxy has for the service's port, subsets left aside; None where it does not know it."""
    prefix = f"outbound|{service(asked).port}||{host(asked, '')}"
    return next((known for known in proxy.endpoints if known.cluster.startswith(prefix)), None)
