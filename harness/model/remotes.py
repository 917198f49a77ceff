"""How a remote cluster is tied to the control plane that serves it. Pure."""

from urllib.parse import urlsplit

from harness.model import gateways, revisions
from harness.model.cluster import ClusterObservation, WebhookRule
from harness.model.expectations import istiod_workloads
from harness.model.observation import Observation
from harness.model.topology import Cluster

CONFIG_SECRET = "istio-kubeconfig"  # noqa: S105 - its name
"""By which a control plane uses the API server of another cluster as its own (istioctl create-remote-secret)."""
_ENV = ":ENV:"


def injected_as(rule: WebhookRule) -> dict[str, str]:
    """The cluster and the network that an injection path names, as far as it does; the path may be that of a URL.

    istiod reads pairs in any order, `cluster/NAME/net/NAME`, and in the older form `:ENV:cluster=NAME:ENV:net=NAME`
    (Istio, pkg/kube/inject/webhook.go, parseInjectEnvs).
    """
    text = (rule.path or urlsplit(rule.url).path).rstrip("/").partition("/inject/")[2]
    if text.startswith(_ENV):
        named = (each.partition("=") for each in text.split(_ENV))
        pairs = {name: value for name, _, value in named}
    else:
        parts = [part.replace("--slash--", "/") for part in text.split("/")]
        pairs = dict(zip(parts[::2], parts[1::2], strict=False))
    found = {"cluster": pairs.get("cluster", ""), "network": pairs.get("net", "")}
    return {key: value for key, value in found.items() if value}


def is_primary(observed: ClusterObservation) -> bool:
    """Whether a cluster has a control plane of its own, also one whose Deployment is gone.

    Then something else of it is still there that a remote does not have: the mesh configuration, which the remote
    profile does not install; a webhook that names no cluster, before a Service istiod that selects pods (on a remote
    its endpoints are those of the primary); remote secrets. A webhook that names a cluster tells a remote, unless its
    Service selects pods: then it is left over (Istio, manifests/charts/istio-control/istio-discovery).
    """
    if istiod_workloads(observed):
        return True
    rules = [rule for webhook in observed.webhooks for rule in webhook.webhooks]
    if any("cluster" in injected_as(rule) and not _selects(observed, rule) for rule in rules):
        return False
    configured = any(config.mesh or config.problems for config in observed.mesh_config)
    return configured or any(_selects(observed, rule) for rule in rules) or bool(observed.remote_secrets)


def _selects(observed: ClusterObservation, rule: WebhookRule) -> bool:
    """Whether a webhook calls pods of its own cluster."""
    namespace, _, name = rule.service.partition(":")[0].partition("/")
    service = observed.service(namespace, name) if rule.service else None
    return service is not None and bool(service.selector)


def has_config_secret(observation: Observation, host: Cluster) -> bool:
    """Whether the control plane on a cluster outside of the mesh is given the API server of its config cluster."""
    wanted = (observation.asked.system_namespace, CONFIG_SECRET)
    found = [each for each in observation[host].remote_secrets if (each.namespace, each.name) == wanted]
    server = observation[observation.topology.hosted_by(host)].api_server
    return any(each.has_token and server in each.servers for each in found)


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

    A pod comes back injected, where there is a sample at all, and a proxy of this cluster is connected to the primary's
    istiod; where that does not say so (its debug interface is off) the proxy itself does.
    """
    observed, planes = observation[cluster], observation[cluster.primary].control_planes
    connected = any(row.cluster_id == cluster.cluster_name for plane in planes for row in plane.proxies)
    silent = any(plane.debug_off for plane in planes)
    connected = connected or (silent and any(proxy.connected_to for proxy in observed.proxies))
    injected = observed.dry_run is not None and observed.dry_run.injected
    injected = injected or revisions.asks_for_nothing(observation, cluster)
    return observation.asked.mode == "verify-only" and injected and connected


def served_from_elsewhere(observation: Observation, primary: Cluster, port: int = gateways.XDS_PORT) -> bool:
    """Whether every remote of a primary is served, though no Service of the primary leads to a port of istiod's.

    Then they reach it by something that is no part of the clusters that were named: a proxy or load balancer before
    them, known by a DNS name, or routes between pods.
    """
    front = gateways.istiod_service(observation[primary], primary.network)
    known = front is not None and gateways.has_port(front, port) and bool(gateways.addresses(front))
    return not known and all_served(observation, primary)


def all_served(observation: Observation, primary: Cluster) -> bool:
    """Whether a primary has remotes, and each of them is served; see `is_served`."""
    own = observation.topology.remotes_of(primary)
    return bool(own) and all(is_served(observation, cluster) for cluster in own)
