"""The Gateway objects that configure the gateways of a cluster. Pure."""

from collections.abc import Iterator

from harness.model import expectations, gateways
from harness.model.cluster import ConfigObject, Service
from harness.model.observation import Observation
from harness.model.topology import Cluster

_GATEWAY_NAME = "gateway.networking.k8s.io/gateway-name"
_ENDED = frozenset({"SIMPLE", "MUTUAL", "OPTIONAL_MUTUAL"})


def entrances(observation: Observation, cluster: Cluster) -> tuple[Service, ...]:
    """The Services of a cluster that other networks or its remotes enter it by."""
    observed = observation[cluster]
    found = (*gateways.serving(observation.topology, observation, cluster), *gateways.labelled(observed))
    return tuple({(each.namespace, each.name): each for each in found}.values())


def configuring(observation: Observation, cluster: Cluster) -> Iterator[ConfigObject]:
    """The Gateways that configure a cluster's east-west gateways, of either API."""
    observed, entered = observation[cluster], entrances(observation, cluster)
    pods = [pod for each in entered for pod in gateways.pods(observed, each) if expectations.has_proxy(pod)]
    for item in observation[cluster.primary].config:
        if item.kind == "Gateway" and item.api_version.startswith("networking.istio"):
            wanted = {str(key): str(value) for key, value in (item.spec.get("selector") or {}).items()}
            if any(wanted.items() <= pod.labels.items() for pod in pods):
                yield item
        elif item.kind == "Gateway":
            made = any((pod.namespace, pod.labels.get(_GATEWAY_NAME)) == (item.namespace, item.name) for pod in pods)
            if made or any(_attached(item, service) for service in entered):
                yield item


def _attached(item: ConfigObject, service: Service) -> bool:
    """Whether a Gateway of the Gateway API names a Service by its host name (Istio, "Manual deployment")."""
    hosts = [str(each.get("value") or "").split(".") for each in item.spec.get("addresses") or ()]
    return any([service.name, service.namespace] == [*host, item.namespace][:2] for host in hosts)


def ending_tls(observation: Observation, cluster: Cluster, port: int) -> str:
    """The Gateway that ends TLS at a cluster's gateway for a port, as Istio's expose-istiod-https.yaml does.

    Args:
        observation: the mesh.
        cluster: whose gateway.
        port: as the Gateway's servers have it.

    Returns:
        `namespace/name`, empty where TLS is passed through.
    """
    for item in configuring(observation, cluster):
        for server in item.spec.get("servers") or ():
            number, mode = (server.get("port") or {}).get("number"), (server.get("tls") or {}).get("mode")
            if number == port and mode in _ENDED:
                return f"{item.namespace}/{item.name}"
    return ""
