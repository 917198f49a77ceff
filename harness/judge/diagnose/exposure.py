"""Causes in what the east-west gateways expose."""

from collections.abc import Iterator
from fnmatch import fnmatch

from harness.judge.diagnose.facts import failed_steps, few, read, readiness, requests_logged, was_read
from harness.judge.diagnose.gateways import named
from harness.judge.diagnose.graph import Layer
from harness.judge.diagnose.registry import Found, cause
from harness.judge.diagnose.repair import kubectl, manifest, noted
from harness.model import expectations
from harness.model.cluster import ClusterObservation, ConfigObject, Subject
from harness.model.observation import Observation
from harness.model.topology import Cluster
from harness.model.traffic import ProbeKind, ProbeResult


def _servers(item: ConfigObject) -> Iterator[tuple[int, str, tuple[str, ...]]]:
    """Port, TLS mode and hosts (without a namespace before them) of each server of a Gateway."""
    for server in item.spec.get("servers") or ():
        port, tls = server.get("port") or {}, server.get("tls") or {}
        hosts = tuple(str(host).rpartition("/")[2] for host in server.get("hosts") or ())
        yield int(port.get("number") or 0), str(tls.get("mode") or ""), hosts


def _gateways(observed: ClusterObservation) -> Iterator[ConfigObject]:
    return (
        item for item in observed.config if item.kind == "Gateway" and item.api_version.startswith("networking.istio")
    )


def _leads_to(observed: ClusterObservation, port: int, destination: str) -> bool:
    """Whether every gateway pod's Envoy does what is wanted, whatever object makes it do so."""
    proxies = expectations.gateway_proxies(observed)
    return bool(proxies) and all(
        any(
            destination in name
            for listener in proxy.listeners
            if listener.port == port
            for chain in listener.chains
            for name in chain.clusters
        )
        for proxy in proxies
    )


def _installed(
    observation: Observation, primaries: tuple[Cluster, ...]
) -> Iterator[tuple[Cluster, ClusterObservation]]:
    """The primaries whose configuration was read, but for those without any control plane: nothing can be there."""
    for cluster, observed in read(observation, Subject.CONFIG, among=primaries):
        if expectations.istiod_workloads(observed) or not was_read(observed, Subject.WORKLOADS):
            yield cluster, observed


@cause("services-not-exposed", Layer.GATEWAYS, "GW-EXPOSE-SERVICES", "GW-DATAPATH")
def services_not_exposed(observation: Observation) -> Iterator[Found]:
    """The gateway does not expose the mesh's services.

    No Gateway with AUTO_PASSTHROUGH on 15443 whose hosts are those of the sample stands where the gateway's
    configuration is read from (on the primary, for a remote's gateway too): Envoy does not listen there, or not for
    these names, and other networks' connections are refused.
    """
    if not expectations.multi_network_gateways(observation.topology):
        return
    for cluster, observed in _installed(observation, observation.topology.primaries):
        servers = [server for item in _gateways(observed) for server in _servers(item)]
        sample = observation.asked.sample_namespace
        name, host = (
            expectations.helloworld_server_name(sample),
            f"{expectations.HELLOWORLD}.{sample}.svc.cluster.local",
        )
        passed = any(
            (port, mode) == (expectations.MESH_PORT, "AUTO_PASSTHROUGH")
            and any(fnmatch(host, found) for found in hosts)
            for port, mode, hosts in servers
        )
        if passed or _leads_to(observed, expectations.MESH_PORT, name):
            continue
        modes = ", ".join(mode or "no TLS" for port, mode, _ in servers if port == expectations.MESH_PORT)
        yield Found(
            cluster=cluster.name,
            object=f"Gateway {observation.asked.system_namespace}/cross-network-gateway",
            field=f"server on port {expectations.MESH_PORT}",
            expected="tls.mode AUTO_PASSTHROUGH for *.local",
            found=f"{modes}, for other hosts" if modes == "AUTO_PASSTHROUGH" else modes or "no such Gateway",
            repair=manifest(observed, "expose-services", namespace=observation.asked.system_namespace),
            evidence=few(
                failed_steps(observation, cluster.name), requests_logged(observation, f":{expectations.MESH_PORT}")
            ),
        )


@cause("services-exposed-plain", Layer.GATEWAYS, "GW-HARDENED", breaks=None)
def services_exposed_plain(observation: Observation) -> Iterator[Found]:
    """The gateway answers without a mesh certificate.

    Whoever reaches its address gets an answer from services inside the mesh: the Gateway terminates TLS itself, or has
    no TLS, instead of passing mutual TLS through.
    """
    for probe in observation.probes:
        if probe.kind is ProbeKind.TLS_NO_CERTIFICATE and probe.result is ProbeResult.ANSWERED:
            observed = observation[probe.target]
            primary = observation[observation.topology[probe.target].primary]
            open_ones = [
                f"Gateway {item.namespace}/{item.name} port {port}: tls.mode {mode or 'none'}"
                for item in _gateways(primary)
                for port, mode, _ in _servers(item)
                if port == probe.port and mode != "AUTO_PASSTHROUGH"
            ]
            yield Found(
                cluster=probe.target,
                object=f"{named(observation, observed, 'Service')} port {probe.port}",
                field="answer without a client certificate",
                expected="refused",
                found=f"{probe.result} {probe.status or ''} {probe.detail}".strip(),
                repair=noted(
                    manifest(primary, "expose-services", namespace=observation.asked.system_namespace),
                    f"and take other servers of port {probe.port} away; a PeerAuthentication STRICT for the mesh",
                ),
                evidence=few(open_ones),
            )


@cause("istiod-signs-anyone", Layer.GATEWAYS, "GW-HARDENED", breaks=None)
def istiod_signs_anyone(observation: Observation) -> Iterator[Found]:
    """Istiod signs a certificate request without a valid token.

    Whoever reaches the gateway's 15012 can take any identity of the mesh.
    """
    for probe in observation.probes:
        if probe.kind is ProbeKind.CSR_NO_TOKEN and probe.result is ProbeResult.ANSWERED:
            yield Found(
                cluster=probe.target,
                object=f"{named(observation, observation[probe.target], 'Service')} port {probe.port}",
                field="certificate request without a token",
                expected="refused",
                found=f"{probe.result} {probe.detail}".strip(),
                repair=noted(
                    kubectl(
                        observation[probe.target],
                        "-n",
                        observation.asked.system_namespace,
                        "get deployment -l app=istiod -o jsonpath='{.items[*].spec.template.spec.containers[*].env}'",
                    ),
                    "which of values.pilot.env lets callers in without a token (as TRUSTED_GATEWAY_CIDR)? Take it out",
                ),
            )


@cause("istiod-not-exposed", Layer.GATEWAYS, "GW-EXPOSE-ISTIOD")
def istiod_not_exposed(observation: Observation) -> Iterator[Found]:
    """The primary's gateway does not lead to its control plane.

    The Gateway for 15012 and 15017, or the VirtualService behind it, is missing: remotes get no injection, no
    configuration and no certificates.
    """
    for cluster, observed in _installed(observation, expectations.serving_primaries(observation.topology)):
        ports = {port for item in _gateways(observed) for port, _, _ in _servers(item)}
        missing = {expectations.XDS_PORT, expectations.WEBHOOK_PORT} - ports
        routed = any(
            "istiod" in str((route.get("destination") or {}).get("host", ""))
            for item in observed.config
            if item.kind == "VirtualService"
            for kind in ("tls", "tcp", "http")
            for rule in item.spec.get(kind) or ()
            for route in rule.get("route") or ()
        )
        leading = all(
            _leads_to(observed, port, "istiod") for port in (expectations.XDS_PORT, expectations.WEBHOOK_PORT)
        )
        if not leading and (missing or not routed):
            yield Found(
                cluster=cluster.name,
                object=f"Gateway {observation.asked.system_namespace}/istiod-gateway",
                field="servers" if missing else "VirtualService",
                expected="15012 and 15017 to istiod",
                found=f"nothing for {', '.join(map(str, sorted(missing)))}" if missing else "no route to istiod",
                repair=manifest(observed, "expose-istiod", namespace=observation.asked.system_namespace),
                evidence=few(
                    failed_steps(observation, cluster.name),
                    (line for remote in observation.clusters for line in readiness(remote)),
                ),
            )
