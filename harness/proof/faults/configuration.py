"""What faults configure: the same in a mutated observation and on a live mesh. Pure."""

from typing import Any

from harness.model import expectations
from harness.model.topology import Topology

Spec = dict[str, Any]

OVERLOOKED = {"istio-discovery": "disabled"}
"""Labels of a namespace that `overlooking` leaves out."""


def helloworld_host(namespace: str) -> str:
    """The full name of helloworld's Service."""
    return f"{expectations.HELLOWORLD}.{namespace}.svc.cluster.local"


def local_only(namespace: str) -> Spec:
    """A DestinationRule's: endpoints of the client's own cluster first, the others only when those are out.

    Priorities need outlier detection (Istio, "Destination Rule", LocalityLoadBalancerSetting).
    """
    setting = {"enabled": True, "failoverPriority": ["topology.istio.io/cluster"]}
    return {
        "host": helloworld_host(namespace),
        "trafficPolicy": {"loadBalancer": {"localityLbSetting": setting}, "outlierDetection": {}},
    }


def cluster_local(namespace: str) -> Spec:
    """Mesh configuration by which helloworld's endpoints stay in their cluster."""
    return {"serviceSettings": [{"settings": {"clusterLocal": True}, "hosts": [helloworld_host(namespace)]}]}


def overlooking() -> Spec:
    """Mesh configuration by which namespaces with the labels `OVERLOOKED` are left out."""
    expressions = [{"key": key, "operator": "NotIn", "values": [value]} for key, value in OVERLOOKED.items()]
    return {"discoverySelectors": [{"matchExpressions": expressions}]}


def versions(topology: Topology, namespace: str) -> Spec:
    """A DestinationRule's: a subset for each version of helloworld."""
    subsets = [{"name": c.version, "labels": {"version": c.version}} for c in topology.clusters]
    return {"host": helloworld_host(namespace), "subsets": subsets}


def skewed(topology: Topology, namespace: str) -> Spec:
    """A VirtualService's: three requests in four to the first version, and one to the second."""
    host = helloworld_host(namespace)
    weights = zip(topology.clusters, (75, 25, 0, 0), strict=False)
    route = [{"destination": {"host": host, "subset": c.version}, "weight": weight} for c, weight in weights]
    return {"hosts": [host], "http": [{"route": route}]}


def plaintext_for_helloworld() -> Spec:
    """A PeerAuthentication's: one workload takes plaintext, whatever its namespace says."""
    return {"selector": {"matchLabels": {"app": expectations.HELLOWORLD}}, "mtls": {"mode": "PERMISSIVE"}}


PLAIN_PORT = 15010
"""Where istiod gives configuration without TLS."""


def plain_gateway() -> Spec:
    """A Gateway's: istiod's port without TLS at the east-west gateways."""
    port = {"number": PLAIN_PORT, "name": "tcp-istiod-plain", "protocol": "TCP"}
    return {"selector": {"istio": "eastwestgateway"}, "servers": [{"port": port, "hosts": ["*"]}]}


def plain_route(system: str, gateway: str) -> Spec:
    """A VirtualService's: from that Gateway to istiod."""
    destination = {"host": f"istiod.{system}.svc.cluster.local", "port": {"number": PLAIN_PORT}}
    rule = {"match": [{"port": PLAIN_PORT}], "route": [{"destination": destination}]}
    return {"hosts": ["*"], "gateways": [gateway], "tcp": [rule]}


def mutual_for_all() -> dict[str, object]:
    """A DestinationRule that makes clients begin mutual TLS with every service, istiod's included."""
    return {"host": "*.local", "trafficPolicy": {"tls": {"mode": "ISTIO_MUTUAL"}}}
