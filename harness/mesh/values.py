"""The values of the chapter's Istio resources, for any topology. Pure."""

from collections.abc import Mapping
from typing import Any

from harness.mesh.settings import MeshSettings, merged
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
    if topology.serves_remotes(cluster) or cluster.host:
        chapter = merged(chapter, _SERVES_REMOTES[settings.facts.external_istiod])
    if cluster.host:
        chapter = merged(chapter, _EXTERNAL)
    if topology.trust_domain != DEFAULT_TRUST_DOMAIN:
        chapter = merged(chapter, {"meshConfig": {"trustDomain": topology.trust_domain}})
    return merged(chapter, settings.overlay.values)


def remote_values(cluster: Cluster, pilot_address: str) -> dict[str, Any]:
    """Chapter "Create an Istio resource on the West cluster" of the primary-remote topology, as it stands.

    What the settings add has its place on the primary: a remote's proxies are configured from there.
    """
    path = f"/inject/cluster/{cluster.cluster_name}/net/{cluster.network}"
    values = {"istiodRemote": {"injectionPath": path}, "global": {"remotePilotAddress": pilot_address}}
    return merged(values, _CONFIG_CLUSTER) if cluster.host else values
