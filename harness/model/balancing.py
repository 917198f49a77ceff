"""How a client's proxy shares requests out over helloworld's endpoints, and which settings decide it. Pure."""

from harness.model.clients import client_proxies
from harness.model.expectations import endpoints_by_cluster, helloworld_endpoints
from harness.model.observation import Observation
from harness.model.topology import Cluster


def promised_weights(observation: Observation, client: Cluster) -> dict[str, int]:
    """By version, the weight of helloworld's healthy endpoints in a client's proxy; empty where they can't be told."""
    proxy = next(iter(client_proxies(observation, client)), None)
    known = helloworld_endpoints(proxy, observation.asked.sample_namespace) if proxy else None
    healthy = [endpoint for endpoint in known.endpoints if endpoint.healthy] if known else []
    owned = endpoints_by_cluster(observation, client, healthy) or {}
    if any(len(owners) > 1 for owners in owned):
        return {}  # one gateway for several clusters: which of them it meets is not the client's choice
    return {
        observation.topology[name].version: sum(endpoint.weight for endpoint in endpoints)
        for (name,), endpoints in owned.items()
    }
