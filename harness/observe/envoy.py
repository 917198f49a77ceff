"""Distils what Envoy's admin interface and istiod's debug endpoints say into the observation's models. Pure."""

import base64
import binascii
from collections.abc import Iterable, Mapping
from typing import Any

from harness.base.redaction import redact
from harness.model.certificate import Certificate
from harness.model.proxy import (
    EndpointSet,
    FilterChain,
    Listener,
    NetworkGateway,
    ProxyEndpoint,
    ProxySync,
    RemoteClusterSync,
)
from harness.model.traffic import HostStats
from harness.observe.istio_objects import readable_certificates

Json = Any
"""Parsed JSON of somebody else's format."""
_TYPES = (("CDS", "cluster"), ("LDS", "listener"), ("EDS", "endpoint"), ("RDS", "route"))
_TYPE_NAMES = {"CDS": "Cluster", "LDS": "Listener", "EDS": "ClusterLoadAssignment", "RDS": "RouteConfiguration"}
_WORKLOADS = ".workload.Address"
"""How the type ends whose resources ztunnels subscribe to."""
_HEALTHY = ("HEALTHY", "UNKNOWN", "DEGRADED")
_TCP_PROXY = "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"


def istiod_version(text: str) -> str:
    """The version in istiod's /version, `VERSION-REVISION-STATUS`."""
    parts = text.strip().rsplit("-", 2)
    return parts[0] if len(parts) > 2 else text.strip()  # noqa: PLR2004


def envoy_version(text: str) -> str:
    """The version in server_info, `COMMIT/VERSION/STATUS/BUILD/TLS`."""
    parts = text.split("/")
    return parts[1] if len(parts) > 1 else text


def remote_clusters(found: Json) -> tuple[RemoteClusterSync, ...]:
    """Istiod's /debug/clusterz."""
    return tuple(
        RemoteClusterSync(
            id=row.get("id", ""), secret_name=row.get("secretName") or "", sync_status=row.get("syncStatus") or ""
        )
        for row in found or ()
    )


def proxy_syncs(found: Json) -> tuple[ProxySync, ...]:
    """Istiod's /debug/syncz, each type with the status that `istioctl proxy-status` gives it."""
    return tuple(
        ProxySync(
            proxy=row.get("proxy", ""),
            cluster_id=row.get("cluster_id", ""),
            version=row.get("istio_version", ""),
            types={kind: _sync_status(row, kind, field) for kind, field in _TYPES} | _of_workloads(row),
        )
        for row in found or ()
    )


def _sync_status(row: Mapping[str, Any], kind: str, field: str) -> str:
    errors = (
        resource.get("lastError")
        for url, resource in (row.get("resources") or {}).items()
        if url.endswith(f".{_TYPE_NAMES[kind]}")
    )
    if any(errors):
        return "REJECTED"
    sent, acknowledged = row.get(f"{field}_sent"), row.get(f"{field}_acked")
    if not sent:
        return "NOT SENT"
    return "SYNCED" if sent == acknowledged else "STALE"


def _of_workloads(row: Mapping[str, Any]) -> dict[str, str]:
    """The status of what a ztunnel is sent; istiod has no field of its own for it (pilot/pkg/xds/debug.go, Syncz)."""
    found = next((each for url, each in (row.get("resources") or {}).items() if url.endswith(_WORKLOADS)), None)
    if found is None:
        return {}
    if found.get("lastError"):
        return {"WDS": "REJECTED"}
    if not found.get("sent"):
        return {"WDS": "NOT SENT"}
    return {"WDS": "SYNCED" if found["sent"] == found.get("acked") else "STALE"}


def network_gateways(found: Json) -> tuple[NetworkGateway, ...]:
    """Istiod's /debug/networkz."""
    return tuple(
        NetworkGateway(
            network=row.get("Network", ""),
            cluster=row.get("Cluster", ""),
            address=row.get("Addr", ""),
            port=int(row.get("Port") or 0),
            hbone_port=int(row.get("HBONEPort") or 0),
        )
        for row in found or ()
    )


def endpoint_sets(clusters: Json, namespace: str) -> tuple[EndpointSet, ...]:
    """The endpoints of a namespace's Services, from `clusters?format=json`."""
    domain = f".{namespace}.svc."
    return tuple(
        EndpointSet(
            cluster=cluster["name"],
            endpoints=tuple(_endpoint(host) for host in cluster.get("host_statuses") or ()),
        )
        for cluster in (clusters or {}).get("cluster_statuses") or ()
        if cluster["name"].startswith("outbound|") and domain in cluster["name"]
    )


def _endpoint(host: Mapping[str, Any]) -> ProxyEndpoint:
    address, port = _address(host)
    health = host.get("health_status") or {}
    flags = [key for key, value in health.items() if value is True]
    if health.get("eds_health_status", "HEALTHY") not in _HEALTHY:
        flags.append(str(health["eds_health_status"]).lower())
    place = host.get("locality") or {}
    parts = [place.get(key) or "" for key in ("region", "zone", "sub_zone")]
    return ProxyEndpoint(
        address=address,
        port=port,
        weight=int(host.get("weight") or 1),
        healthy=not flags,
        flags=tuple(flags),
        locality="/".join(parts).rstrip("/"),
        priority=int(host.get("priority") or 0),
    )


def _address(host: Mapping[str, Any]) -> tuple[str, int]:
    found = host.get("address") or {}
    internal = (found.get("envoy_internal_address") or {}).get("server_listener_name", "")
    address = found.get("socket_address") or {}
    return str(address.get("address") or internal), int(address.get("port_value") or 0)


_PRIORITY, _UNHEALTHY = "priority", "unhealthy"
Counters = Mapping[tuple[str, int], Mapping[str, int]]
"""By address and port of an endpoint, Envoy's counters; beside them `priority` and 1 for `unhealthy`, unless 0."""


def host_counters(clusters: Json, port: int, service: str) -> Counters:
    """The counters of every endpoint of a Service's port, what was sent to its subsets added.

    Args:
        clusters: the answer of `clusters?format=json`.
        port: the Service's.
        service: how its name begins.
    """
    found: dict[tuple[str, int], dict[str, int]] = {}
    for cluster in (clusters or {}).get("cluster_statuses") or ():
        # Istio names an outbound cluster `outbound|PORT|SUBSET|HOST`.
        direction, number, _, name = [*cluster["name"].split("|"), "", "", ""][:4]
        if (direction, number) != ("outbound", str(port)) or not name.startswith(service):
            continue
        for host in cluster.get("host_statuses") or ():
            counters = found.setdefault(_address(host), {})
            endpoint = _endpoint(host)
            counters |= {_PRIORITY: endpoint.priority} if endpoint.priority else {}
            counters |= {} if endpoint.healthy else {_UNHEALTHY: 1}
            for stat in host.get("stats") or ():
                counters[stat["name"]] = counters.get(stat["name"], 0) + int(stat.get("value") or 0)
    return found


def host_stats(before: Counters, after: Counters) -> tuple[HostStats, ...]:
    """The difference of each endpoint's counters; a new endpoint, or one that was replaced, counts from zero."""

    def since(endpoint: tuple[str, int], name: str) -> int:
        now, then = after[endpoint].get(name, 0), before.get(endpoint, {}).get(name, 0)
        return now - then if now >= then else now

    return tuple(
        HostStats(
            address=endpoint[0],
            port=endpoint[1],
            requests=since(endpoint, "rq_total"),
            errors=since(endpoint, "rq_error"),
            connect_failures=since(endpoint, "cx_connect_fail"),
            priority=after[endpoint].get(_PRIORITY, 0),
            healthy=not after[endpoint].get(_UNHEALTHY, 0),
        )
        for endpoint in sorted(after)
    )


def secret_certificates(dump: Json) -> tuple[tuple[Certificate, ...], tuple[Certificate, ...]]:
    """Own chain and trusted roots, from `config_dump?resource=dynamic_active_secrets`; keys are not looked at."""
    chain: tuple[Certificate, ...] = ()
    roots: tuple[Certificate, ...] = ()
    for entry in (dump or {}).get("configs") or ():
        secret = entry.get("secret") or {}
        own = (secret.get("tls_certificate") or {}).get("certificate_chain")
        trusted = _trusted(secret.get("validation_context") or {})
        if own and entry.get("name") == "default":
            chain = _inline_certificates(own)
        if trusted and entry.get("name") == "ROOTCA":
            roots = tuple(certificate for source in trusted for certificate in _inline_certificates(source))
    return chain, roots


def _trusted(context: Mapping[str, Any]) -> list[Mapping[str, str]]:
    """Where a validation context has its roots: in `trusted_ca`, or by trust domain, as SPIRE gives them.

    Source: Envoy, SPIFFECertValidatorConfig; SPIRE agent, `disable_spiffe_cert_validation` (false by default).
    """
    config = (context.get("custom_validator_config") or {}).get("typed_config") or {}
    bundles = [domain.get("trust_bundle") for domain in config.get("trust_domains") or ()]
    return [source for source in (context.get("trusted_ca"), *bundles) if source]


def _inline_certificates(source: Mapping[str, str]) -> tuple[Certificate, ...]:
    if "inline_string" in source:
        return readable_certificates(source["inline_string"])
    try:
        return readable_certificates(base64.b64decode(source.get("inline_bytes", "")))
    except (binascii.Error, ValueError):
        return ()


def rejected(dump: Json) -> tuple[str, ...]:
    """Listeners that the proxy refused, with the reason, from `config_dump?resource=dynamic_listeners`."""
    return tuple(
        redact(f"{entry.get('name', '')}: {entry['error_state'].get('details', '')}")
        for entry in (dump or {}).get("configs") or ()
        if entry.get("error_state")
    )


def listeners(dump: Json) -> tuple[Listener, ...]:
    """The listeners of a gateway, from `config_dump?resource=dynamic_listeners`."""
    found = ((entry.get("active_state") or {}).get("listener") for entry in (dump or {}).get("configs") or ())
    return tuple(
        Listener(
            name=listener.get("name", ""),
            port=_address(listener)[1],
            chains=tuple(_filter_chain(chain) for chain in listener.get("filter_chains") or ()),
        )
        for listener in found
        if listener
    )


def _filter_chain(chain: Mapping[str, Any]) -> FilterChain:
    match = chain.get("filter_chain_match") or {}
    tls = (chain.get("transport_socket") or {}).get("typed_config") or {}
    return FilterChain(
        server_names=tuple(match.get("server_names") or ()),
        alpn=tuple(match.get("application_protocols") or ()),
        clusters=tuple(_destinations(chain.get("filters") or ())),
        tls=bool(tls),
        requires_client_certificate=bool(tls.get("require_client_certificate")),
    )


def _destinations(filters: Iterable[Mapping[str, Any]]) -> Iterable[str]:
    for entry in filters:
        config = entry.get("typed_config") or {}
        if entry.get("name", "").endswith("sni_cluster"):
            yield "sni"
        if config.get("@type") == _TCP_PROXY:
            if config.get("cluster"):
                yield config["cluster"]
            for weighted in (config.get("weighted_clusters") or {}).get("clusters") or ():
                yield weighted["name"]
