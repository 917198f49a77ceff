"""What decides which endpoints of somebody's own service a client's proxy asks, beside chance. Pure."""

from collections.abc import Iterator
from typing import Any

from harness.model import balancing, policies
from harness.model.expectations import cluster_domain
from harness.model.istio import ConfigObject
from harness.model.observation import Observation
from harness.model.service import OwnService, ServiceSequence
from harness.model.topology import Cluster
from harness.model.traffic import HostStats


def standing_by(sequence: ServiceSequence, endpoints: list[HostStats]) -> bool:
    """Whether a client's proxy uses these endpoints only when preferred ones fail, and those are healthy.

    False where the proxy's priorities were not observed. Source: Envoy, "Priority levels".
    """
    mine = {(each.address, each.port) for each in endpoints}
    ranks = [each.priority for each in endpoints if each.priority is not None]
    others = [each for each in sequence.hosts if (each.address, each.port) not in mine and each.healthy]
    preferred = [each.priority for each in others if each.priority is not None]
    return bool(ranks) and bool(preferred) and min(preferred) < min(ranks)


def one_endpoint(observation: Observation, client: Cluster, service: OwnService) -> str:
    """The setting that sends like requests to one endpoint, in words; empty where there is none.

    The suite's requests are all alike: they come from one pod and have the same headers.
    """
    for item in _rules(observation, client, service):
        for policy in _policies(item, service):
            if "consistentHash" in (policy.get("loadBalancer") or {}):
                return (
                    f"DestinationRule {item.namespace}/{item.name}: consistentHash sends like requests to one endpoint"
                )
    return ""


def distributed(observation: Observation, client: Cluster, service: OwnService) -> str:
    """The setting that gives shares to localities, which may be none, in words; empty where there is none."""
    for item in _rules(observation, client, service):
        for policy in _policies(item, service):
            places = (policy.get("loadBalancer") or {}).get("localityLbSetting") or {}
            if places.get("distribute") and places.get("enabled") is not False:
                return f"DestinationRule {item.namespace}/{item.name}: {balancing.near_setting(policy)}"
    said = balancing.mesh_wide(policies.settings(observation, observation[client.primary]))
    return f"mesh configuration: {said}" if "distribute" in said else ""


def _rules(observation: Observation, client: Cluster, service: OwnService) -> Iterator[ConfigObject]:
    observed = observation[client.primary]
    domains = (cluster_domain(observed),)
    for item in observed.config:
        host = str(item.spec.get("host") or "")
        if item.kind == "DestinationRule" and policies.is_host_of(host, service, item.namespace, domains):
            yield item


def _policies(item: ConfigObject, service: OwnService) -> Iterator[dict[str, Any]]:
    """The traffic policies of a DestinationRule that hold for the service's port: its own, else the general one."""
    for holder in (item.spec, *(item.spec.get("subsets") or ())):
        yield balancing.of_port(holder.get("trafficPolicy") or {}, service.port)
