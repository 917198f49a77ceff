"""The Gateway objects that configure the gateways of a cluster. Pure."""

from collections.abc import Iterator, Sequence

from harness.model import expectations, gateways
from harness.model.cluster import ConfigObject, Service
from harness.model.observation import Observation
from harness.model.topology import Cluster

_GATEWAY_NAME = "gateway.networking.k8s.io/gateway-name"
_ENDED = frozenset({"SIMPLE", "MUTUAL", "OPTIONAL_MUTUAL", "Terminate"})
"""Modes of TLS by which a gateway shows a certificate of its own; the last one is of the Gateway API."""


def services(observation: Observation, cluster: Cluster) -> tuple[Service, ...]:
    """The Services of a cluster that other networks or its remotes enter it by."""
    observed = observation[cluster]
    found = (*gateways.serving(observation.topology, observation, cluster), *gateways.labelled(observed))
    return tuple({(each.namespace, each.name): each for each in found}.values())


def configuring(observation: Observation, cluster: Cluster, entered: Sequence[Service]) -> Iterator[ConfigObject]:
    """The Gateways that configure what stands behind these Services of a cluster, of either API."""
    observed = observation[cluster]
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
    """The Gateway that ends TLS where remotes reach istiod, as Istio's expose-istiod-https.yaml does.

    Args:
        observation: the mesh.
        cluster: a primary.
        port: as the Gateway has it.

    Returns:
        `namespace/name`, empty where TLS is passed through.
    """
    front = gateways.istiod_service(observation[cluster], cluster.network)
    for item in configuring(observation, cluster, [front] if front else []):
        servers = [((each.get("port") or {}).get("number"), each.get("tls")) for each in item.spec.get("servers") or ()]
        servers += [(each.get("port"), each.get("tls")) for each in item.spec.get("listeners") or ()]
        if any(number == port and (tls or {}).get("mode") in _ENDED for number, tls in servers):
            return f"{item.namespace}/{item.name}"
    return ""
