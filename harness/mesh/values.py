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


def primary_values(topology: Topology, cluster: Cluster, settings: MeshSettings) -> dict[str, Any]:
    """Chapter "Create an Istio resource on the East cluster", with what the settings add."""
    chapter: Mapping[str, Any] = {
        "global": {
            "meshID": topology.mesh_id,
            "multiCluster": {"clusterName": cluster.cluster_name},
            "network": cluster.network,
        }
    }
    if topology.serves_remotes(cluster):
        chapter = merged(chapter, _SERVES_REMOTES[settings.facts.external_istiod])
    if topology.trust_domain != DEFAULT_TRUST_DOMAIN:
        chapter = merged(chapter, {"meshConfig": {"trustDomain": topology.trust_domain}})
    return merged(chapter, settings.overlay.values)


def remote_values(cluster: Cluster, pilot_address: str) -> dict[str, Any]:
    """Chapter "Create an Istio resource on the West cluster" of the primary-remote topology, as it stands.

    What the settings add has its place on the primary: a remote's proxies are configured from there.
    """
    path = f"/inject/cluster/{cluster.cluster_name}/net/{cluster.network}"
    return {"istiodRemote": {"injectionPath": path}, "global": {"remotePilotAddress": pilot_address}}
