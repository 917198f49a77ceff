"""Routing of a valid mesh: destination rules, virtual services, scopes, other services."""

from harness.kube.api import Object
from harness.model import expectations
from harness.proof.faults import configuration
from harness.proof.faults.acts.policies import NETWORKING
from harness.proof.faults.configuration import helloworld_host
from harness.proof.faults.fault import everywhere
from harness.proof.live.live_mesh import LiveMesh
from harness.proof.variants.acts.common import adds, east, manifest
from harness.proof.variants.variant import Variant

FILTER = "networking.istio.io/v1alpha3"


def _sidecar_scope(live: LiveMesh) -> list[Object]:
    settings = live.mesh.settings
    spec = {"egress": [{"hosts": ["./*", f"{settings.system_namespace}/*"]}]}
    return [manifest(NETWORKING, "Sidecar", "default", settings.sample_namespace, spec)]


def _for_helloworld(live: LiveMesh, kind: str, spec: Object) -> list[Object]:
    return [manifest(NETWORKING, kind, expectations.HELLOWORLD, live.mesh.settings.sample_namespace, spec)]


def _connection_pool(live: LiveMesh) -> list[Object]:
    policy = {
        "connectionPool": {"tcp": {"maxConnections": 100}, "http": {"http2MaxRequests": 100}},
        "outlierDetection": {"consecutive5xxErrors": 5},
    }
    host = helloworld_host(live.mesh.settings.sample_namespace)
    return _for_helloworld(live, "DestinationRule", {"host": host, "trafficPolicy": policy})


def _istio_mutual(live: LiveMesh) -> list[Object]:
    # Not *.local: a gateway would wrap what it passes through to istiod in TLS of its own, and remotes lose istiod.
    host = f"*.{live.mesh.settings.sample_namespace}.svc.cluster.local"
    spec = {"host": host, "trafficPolicy": {"tls": {"mode": "ISTIO_MUTUAL"}}}
    return [manifest(NETWORKING, "DestinationRule", "mutual", live.mesh.settings.system_namespace, spec)]


def _timeout_retries(live: LiveMesh) -> list[Object]:
    host = helloworld_host(live.mesh.settings.sample_namespace)
    retries = {"attempts": 3, "perTryTimeout": "5s", "retryOn": "connect-failure,refused-stream"}
    route = {"route": [{"destination": {"host": host}}], "timeout": "15s", "retries": retries}
    return _for_helloworld(live, "VirtualService", {"hosts": [host], "http": [route]})


def _subsets(live: LiveMesh) -> list[Object]:
    topology, namespace = live.mesh.topology, live.mesh.settings.sample_namespace
    host, share = helloworld_host(namespace), 100 // len(topology.clusters)
    weights = [100 - share * (len(topology.clusters) - 1), *[share] * (len(topology.clusters) - 1)]
    route = [
        {"destination": {"host": host, "subset": cluster.version}, "weight": weight}
        for cluster, weight in zip(topology.clusters, weights, strict=True)
    ]
    return [
        *_for_helloworld(live, "DestinationRule", configuration.versions(topology, namespace)),
        *_for_helloworld(live, "VirtualService", {"hosts": [host], "http": [{"route": route}]}),
    ]


def _partitioned(live: LiveMesh) -> list[Object]:
    topology, namespace = live.mesh.topology, live.mesh.settings.sample_namespace
    host = helloworld_host(namespace)
    rules = [
        {
            "match": [{"sourceLabels": {"topology.istio.io/cluster": cluster.cluster_name}}],
            "route": [{"destination": {"host": host, "subset": cluster.version}}],
        }
        for cluster in topology.clusters
    ]
    return [
        *_for_helloworld(live, "DestinationRule", configuration.versions(topology, namespace)),
        *_for_helloworld(live, "VirtualService", {"hosts": [host], "http": rules}),
    ]


def _from_another_namespace(live: LiveMesh) -> list[Object]:
    host = helloworld_host(live.mesh.settings.sample_namespace)
    weighted = [{"destination": {"host": host}, "weight": 100}]
    spec = {"hosts": [host], "http": [{"route": weighted, "timeout": "15s"}]}
    return [manifest(NETWORKING, "VirtualService", expectations.HELLOWORLD, "default", spec)]


def _unrelated_route(live: LiveMesh) -> list[Object]:
    host = f"reviews.{live.mesh.settings.sample_namespace}.svc.cluster.local"
    spec = {"hosts": [host], "http": [{"route": [{"destination": {"host": host}}], "timeout": "2s"}]}
    return [manifest(NETWORKING, "VirtualService", "reviews", live.mesh.settings.sample_namespace, spec)]


def _service_entry(live: LiveMesh) -> list[Object]:
    spec = {
        "hosts": ["api.example.com"],
        "ports": [{"number": 443, "name": "tls", "protocol": "TLS"}],
        "location": "MESH_EXTERNAL",
        "resolution": "NONE",
    }
    return [manifest(NETWORKING, "ServiceEntry", "api", live.mesh.settings.sample_namespace, spec)]


def _envoy_filter(live: LiveMesh) -> list[Object]:
    patch = {
        "applyTo": "CLUSTER",
        "match": {"context": "SIDECAR_OUTBOUND"},
        "patch": {"operation": "MERGE", "value": {"connect_timeout": "12s"}},
    }
    spec = {"workloadSelector": {"labels": {"app": expectations.SLEEP}}, "configPatches": [patch]}
    return [manifest(FILTER, "EnvoyFilter", "patience", live.mesh.settings.sample_namespace, spec)]


VARIANTS = (
    Variant(
        "sidecar-scope",
        "A Sidecar limits the sample's proxies to their own namespace and the system namespace",
        "helloworld is within the scope",
        adds(_sidecar_scope),
        everywhere,
    ),
    Variant(
        "connection-pool",
        "A DestinationRule for helloworld with connection limits and outlier detection",
        "without localities of the nodes all endpoints have one priority",
        adds(_connection_pool),
        everywhere,
    ),
    Variant(
        "istio-mutual",
        "A DestinationRule says ISTIO_MUTUAL for every service of the sample namespace",
        "it says what automatic mTLS does by itself",
        adds(_istio_mutual),
        everywhere,
    ),
    Variant(
        "timeout-retries",
        "A VirtualService for helloworld with a timeout and retries",
        "it routes to the whole service",
        adds(_timeout_retries),
        everywhere,
    ),
    Variant(
        "subsets",
        "A VirtualService shares requests equally among subsets of helloworld",
        "every primary has the DestinationRule, so that gateways know the subsets' server names",
        adds(_subsets),
        everywhere,
    ),
    Variant(
        "partitioned",
        "A VirtualService keeps the requests of each cluster at that cluster's version",
        "Istio's way to partition a service: a route to one subset for each cluster's clients",
        adds(_partitioned),
        everywhere,
    ),
    Variant(
        "route-elsewhere",
        "A VirtualService for helloworld stands in the namespace default",
        "it is exported to every namespace, and routes to the whole service",
        adds(_from_another_namespace),
        everywhere,
    ),
    Variant(
        "unrelated-route",
        "A VirtualService on East only, for a host that is not helloworld",
        "it routes nothing that the sample sends",
        adds(_unrelated_route, east),
        everywhere,
    ),
    Variant(
        "service-entry",
        "A ServiceEntry on East only, for an external host",
        "the host is outside of the mesh",
        adds(_service_entry, east),
        everywhere,
    ),
    Variant(
        "envoy-filter",
        "An EnvoyFilter on East sets a connect timeout in the client's proxy",
        "it changes no address, port, protocol or TLS setting",
        adds(_envoy_filter, east),
        everywhere,
    ),
)
