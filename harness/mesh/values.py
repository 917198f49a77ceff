"""The values of the chapter's Istio resources, for any topology. Pure."""

from collections.abc import Mapping
from typing import Any

from harness.mesh.settings import ZTUNNEL_CPU, MeshSettings, merged
from harness.model.topology import Cluster, Topology

DEFAULT_TRUST_DOMAIN = "cluster.local"
_SERVES_REMOTES: Mapping[str, Mapping[str, Any]] = {
    "value": {"global": {"externalIstiod": True}},
    "env": {"pilot": {"env": {"EXTERNAL_ISTIOD": "true"}}},
}
_MOUNTED = {
    "config-volume": ("istio", "/etc/istio/config"),
    "inject-volume": ("istio-sidecar-injector", "/var/lib/istio/inject"),
}
_EXTERNAL: Mapping[str, Any] = {
    "global": {"configValidation": False, "operatorManageWebhooks": True},
    "pilot": {
        "enabled": True,
        "env": {"SHARED_MESH_CONFIG": "istio"},
        "volumes": [{"name": name, "configMap": {"name": of}} for name, (of, _) in _MOUNTED.items()],
        "volumeMounts": [{"name": name, "mountPath": path} for name, (_, path) in _MOUNTED.items()],
    },
}
"""Of a control plane outside of the mesh. Its API server is that of the config cluster, so it mounts what is its own:
mesh configuration and templates. Source: Istio, "Install Istio with an External Control Plane"."""
_AMBIENT: Mapping[str, Any] = {"pilot": {"env": {"AMBIENT_ENABLE_MULTI_NETWORK": "true"}}}
"""Istio, "Ambient mode", "Install multi-primary on different networks"."""
AMBIENT_PROFILE = "ambient"
"""Of istioctl and of every chart."""
_OF_IMAGES = ("hub", "tag", "variant", "imagePullSecrets")
"""Global values that say where images come from."""
_CONFIG_CLUSTER: Mapping[str, Any] = {"global": {"configCluster": True}, "pilot": {"configMap": True}}


def primary_values(topology: Topology, cluster: Cluster, settings: MeshSettings) -> dict[str, Any]:
    """Chapter "Create an Istio resource on the East cluster", with what the settings add."""
    chapter: Mapping[str, Any] = {
        "global": {
            "meshID": topology.mesh_id,
            "multiCluster": {"clusterName": cluster.cluster_name},
            "network": cluster.network,
        }
    }
    if settings.ambient:
        chapter = merged(chapter, _ambient(settings))
    if topology.serves_remotes(cluster) or cluster.host:
        chapter = merged(chapter, _SERVES_REMOTES[settings.facts.external_istiod])
    if cluster.host:
        chapter = merged(chapter, _EXTERNAL)
    if topology.trust_domain != DEFAULT_TRUST_DOMAIN:
        chapter = merged(chapter, {"meshConfig": {"trustDomain": topology.trust_domain}})
    return merged(chapter, settings.overlay.values)


def image_values(settings: MeshSettings) -> dict[str, Any]:
    """The global values that say where images come from, for charts that are given no others."""
    known = settings.overlay.values.get("global", {})
    return {key: known[key] for key in _OF_IMAGES if key in known}


def ztunnel_values(cluster: Cluster, settings: MeshSettings) -> dict[str, Any]:
    """The values of the chart ztunnel, under the key that istioctl and the operator have for them."""
    own: dict[str, Any] = {
        "multiCluster": {"clusterName": cluster.cluster_name},
        "network": cluster.network,
        **image_values(settings),
    }
    if settings.built_here:
        own["resources"] = {"requests": {"cpu": ZTUNNEL_CPU}}
    return {"ztunnel": own}


def _ambient(settings: MeshSettings) -> Mapping[str, Any]:
    """What istiod is told of the other clusters, and of ztunnel where that is in another namespace than its own.

    Only of a ztunnel that it knows istiod takes requests for the certificates of others.
    """
    if settings.ztunnel_namespace == settings.system_namespace:
        return _AMBIENT
    return merged(_AMBIENT, {"pilot": {"trustedZtunnelNamespace": settings.ztunnel_namespace}})


def remote_values(cluster: Cluster, pilot_address: str) -> dict[str, Any]:
    """Chapter "Create an Istio resource on the West cluster" of the primary-remote topology, as it stands.

    What the settings add has its place on the primary: a remote's proxies are configured from there.
    """
    path = f"/inject/cluster/{cluster.cluster_name}/net/{cluster.network}"
    values = {"istiodRemote": {"injectionPath": path}, "global": {"remotePilotAddress": pilot_address}}
    return merged(values, _CONFIG_CLUSTER) if cluster.host else values
