"""Distils Services, as the API server's JSON says them, into the observation's models."""

import json
import re
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any

from harness.kube.api import Object, metadata
from harness.model.cluster import Service, ServicePort
from harness.model.origin import origin
from harness.observe.api_objects import labels

NODE_SELECTOR = "traffic.istio.io/nodeSelector"
_TRAFFIC_DISTRIBUTION = "networking.istio.io/traffic-distribution"
_OFF = frozenset({"", "false", "none", "no", "off", "disabled"})


@dataclass
class Endpoints:
    """What stands behind a Service."""

    ready: set[str] = field(default_factory=set)
    """Addresses."""
    ports: dict[str, set[int]] = field(default_factory=dict)
    """By the name of the Service's port."""


def endpoints(slices: Iterable[Object]) -> dict[tuple[str, str], Endpoints]:
    """Of EndpointSlices, by namespace and name of their Service."""
    found: dict[tuple[str, str], Endpoints] = {}
    for raw in slices:
        owner = (metadata(raw)["namespace"], labels(raw).get("kubernetes.io/service-name", ""))
        behind = found.setdefault(owner, Endpoints())
        for endpoint in raw.get("endpoints") or []:
            # Kubernetes, EndpointSlice: a condition "ready" that is not there counts as true.
            if (endpoint.get("conditions") or {}).get("ready") is not False:
                behind.ready.update(endpoint.get("addresses") or [])
        for port in raw.get("ports") or []:
            behind.ports.setdefault(port.get("name") or "", set()).add(port.get("port") or 0)
    return found


def service(raw: Object, behind: Mapping[tuple[str, str], Endpoints]) -> Service:
    """A Service; its load balancer's host names are not resolved yet."""
    spec = raw.get("spec") or {}
    key = (metadata(raw)["namespace"], metadata(raw)["name"])
    mine = behind.get(key, Endpoints())
    ingress = ((raw.get("status") or {}).get("loadBalancer") or {}).get("ingress") or []
    return Service(
        namespace=key[0],
        name=key[1],
        type=spec.get("type", ""),
        labels=labels(raw),
        selector=dict(spec.get("selector") or {}),
        cluster_ip=spec.get("clusterIP") or "",
        ports=tuple(_service_port(port, mine.ports) for port in spec.get("ports") or []),
        ingress=tuple(found.get("ip") or found.get("hostname") or "" for found in ingress),
        external_name=spec.get("externalName") or "",
        external_ips=tuple(spec.get("externalIPs") or ()),
        traffic_distribution=spec.get("trafficDistribution") or _annotated(raw, _TRAFFIC_DISTRIBUTION),
        internal_traffic_policy=spec.get("internalTrafficPolicy") or "",
        proxy_protocol=_proxy_protocol(metadata(raw).get("annotations") or {}),
        ready_endpoints=tuple(sorted(mine.ready)),
        origin=origin(metadata(raw)),
    )


def _proxy_protocol(annotations: Mapping[str, str]) -> str:
    """The annotation that has a load balancer send the PROXY protocol; each cloud has a key of its own for that."""
    told = (
        f"{key}: {value}"
        for key, value in annotations.items()
        if re.search("proxy-?_?protocol", key, re.IGNORECASE) and str(value).lower() not in _OFF
    )
    return next(told, "")


def _annotated(raw: Object, key: str) -> str:
    return str((metadata(raw).get("annotations") or {}).get(key) or "")


def _service_port(port: Mapping[str, Any], behind: Mapping[str, set[int]]) -> ServicePort:
    numbers = behind.get(port.get("name") or "", set())
    return ServicePort(
        name=port.get("name") or "",
        port=port["port"],
        target_port=str(port.get("targetPort", "")),
        app_protocol=port.get("appProtocol") or "",
        node_port=int(port.get("nodePort") or 0),
        endpoint_port=min(numbers) if len(numbers) == 1 else 0,
    )


def node_addresses(raw: Object, nodes: Iterable[Object]) -> tuple[str, ...]:
    """The external addresses of the nodes at which istiod takes a NodePort Service for a gateway.

    Only nodes with an ExternalIP count (Istio, pilot's node events); which of them, the annotation
    traffic.istio.io/nodeSelector says, a JSON object of labels. Without the annotation there is none.
    """
    text = (metadata(raw).get("annotations") or {}).get(NODE_SELECTOR)
    if (raw.get("spec") or {}).get("type") != "NodePort" or text is None:
        return ()
    try:
        selector = json.loads(text or "{}")
    except ValueError:
        selector = {}  # so does istiod with what it can't parse
    wanted = selector.items() if isinstance(selector, dict) else ()
    chosen = (each for each in nodes if all(labels(each).get(key) == value for key, value in wanted))
    return tuple(filter(None, (_external_address(each) for each in chosen)))


def _external_address(raw: Object) -> str:
    """A node's first ExternalIP; empty where it has none."""
    addresses = (raw.get("status") or {}).get("addresses") or []
    return next((str(found["address"]) for found in addresses if found["type"] == "ExternalIP"), "")


def resolved(ingress: Iterable[str]) -> tuple[str, ...]:
    """Load balancer addresses as IP addresses: host names are looked up from here, and left out where unknown."""
    found: list[str] = []
    for name in ingress:
        try:
            ip_address(name)
            found.append(name)
        except ValueError:
            try:
                found += sorted({str(info[4][0]) for info in socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)})
            except OSError:
                continue
    return tuple(dict.fromkeys(found))
