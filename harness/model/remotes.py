"""How a remote cluster is tied to the control plane that serves it. Pure."""

import re
from urllib.parse import urlsplit

from harness.model.cluster import ClusterObservation, WebhookRule
from harness.model.expectations import istiod_workloads
from harness.model.observation import Observation
from harness.model.topology import Cluster

_PATH = re.compile(r"/cluster/(?P<cluster>[^/]+)(?:/net/(?P<network>[^/]+))?")


def injected_as(rule: WebhookRule) -> dict[str, str]:
    """The cluster and the network that an injection path names, as far as it does; the path may be that of a URL."""
    said = _PATH.search(rule.path or urlsplit(rule.url).path)
    return {key: value for key, value in said.groupdict().items() if value} if said else {}


def is_primary(observed: ClusterObservation) -> bool:
    """Whether a cluster has a control plane of its own, also one whose Deployment is gone.

    Then its mesh configuration is still there, which the remote profile does not install, and its webhooks do not name
    a cluster, as those of a remote do.
    """
    if istiod_workloads(observed):
        return True
    named = any("cluster" in injected_as(rule) for webhook in observed.webhooks for rule in webhook.webhooks)
    return not named and any(config.mesh for config in observed.mesh_config)


def path_fits(observation: Observation, cluster: Cluster, rule: WebhookRule) -> bool:
    """Whether an injection path leads to injection for this cluster and network.

    On a mesh of others a path need not name the network, where the namespace does; what it names must be right.
    """
    wanted = {"cluster": cluster.cluster_name, "network": cluster.network}
    said = injected_as(rule)
    if observation.asked.mode == "verify-only":
        return "cluster" in said and said.items() <= wanted.items()
    path = (rule.path or urlsplit(rule.url).path).rstrip("/")
    return path == f"/inject/cluster/{cluster.cluster_name}/net/{cluster.network}"


def is_served(observation: Observation, cluster: Cluster) -> bool:
    """Whether a mesh of others shows that a remote reaches its control plane, at whatever address.

    A pod comes back injected, and a proxy of this cluster is connected to the primary's istiod.
    """
    observed, planes = observation[cluster], observation[cluster.primary].control_planes
    connected = any(row.cluster_id == cluster.cluster_name for plane in planes for row in plane.proxies)
    injected = observed.dry_run is not None and observed.dry_run.injected
    return observation.asked.mode == "verify-only" and injected and connected
