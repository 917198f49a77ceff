"""Causes in what the east-west gateways expose."""

from collections.abc import Iterator, Mapping
from fnmatch import fnmatch

from harness.judge.diagnose.facts import failed_steps, few, read, requests_logged
from harness.judge.diagnose.gateways import named
from harness.judge.diagnose.graph import Layer
from harness.judge.diagnose.registry import Found, cause
from harness.judge.diagnose.repair import kubectl, manifest, noted, patch
from harness.model import expectations, gateways, requested
from harness.model.cluster import ClusterObservation, ConfigObject, Pod, Subject
from harness.model.data_plane import DataPlane
from harness.model.observation import Observation
from harness.model.proxy import Proxy
from harness.model.topology import Cluster
from harness.model.traffic import ProbeKind, ProbeResult

REVISION_LABEL = "istio.io/rev"


def servers(item: ConfigObject) -> Iterator[tuple[int, str, tuple[str, ...]]]:
    """Port, TLS mode and hosts (without a namespace before them) of each server of a Gateway."""
    for server in item.spec.get("servers") or ():
        port, tls = server.get("port") or {}, server.get("tls") or {}
        hosts = tuple(str(host).rpartition("/")[2] for host in server.get("hosts") or ())
        yield int(port.get("number") or 0), str(tls.get("mode") or ""), hosts


def gateway_objects(observed: ClusterObservation) -> Iterator[ConfigObject]:
    """The Gateways of Istio's own API."""
    return (
        item for item in observed.config if item.kind == "Gateway" and item.api_version.startswith("networking.istio")
    )


def leads_to(proxies: tuple[Proxy, ...], destination: str, port: int = 0) -> bool:
    """Whether every gateway pod's Envoy does what is wanted, whatever object makes it do so; 0: on any port."""
    return bool(proxies) and all(
        any(
            destination in name
            for listener in proxy.listeners
            if port in {0, listener.port}
            for chain in listener.chains
            for name in chain.clusters
        )
        for proxy in proxies
    )


def installed(observation: Observation, primaries: tuple[Cluster, ...]) -> Iterator[tuple[Cluster, ClusterObservation]]:
    """The primaries whose configuration was read, but for those without any control plane: nothing can be there."""
    for cluster, observed in read(observation, Subject.CONFIG, among=primaries):
        if expectations.istiod_workloads(observed) or not observed.was_read(Subject.WORKLOADS):
            yield cluster, observed


@cause("services-not-exposed", Layer.GATEWAYS, "GW-EXPOSE-SERVICES", "GW-DATAPATH", plane=DataPlane.SIDECAR)
def services_not_exposed(observation: Observation) -> Iterator[Found]:
    """The gateway does not expose the mesh's services.

    No Gateway with AUTO_PASSTHROUGH on 15443 whose hosts hold the sample's service, or that of --service, stands where
    the gateway's configuration is read from (on the primary, for a remote's gateway too): Envoy does not listen there,
    or not for these names, and other networks' connections are refused.
    """
    if not expectations.multi_network_gateways(observation.topology):
        return
    for cluster, observed in installed(observation, observation.topology.primaries):
        found = [server for item in gateway_objects(observed) for server in servers(item)]
        name = requested.server_name(observation.asked, expectations.cluster_domain(observed))
        if _meant(observation, cluster) or leads_to(expectations.gateway_proxies(observed), name):
            continue
        at = _mesh_ports(observation, cluster)
        modes = ", ".join(mode or "no TLS" for port, mode, _ in found if port in at)
        there = next(
            (item for item in gateway_objects(observed) if any(port in at for port, _, _ in servers(item))), None
        )
        yield Found(
            cluster=cluster.name,
            object=f"Gateway {there.namespace}/{there.name}"
            if there
            else f"Gateway {observation.asked.system_namespace}/cross-network-gateway",
            field=f"server on port {expectations.MESH_PORT}",
            expected="tls.mode AUTO_PASSTHROUGH for *.local",
            found=f"{modes}, for other hosts" if modes == "AUTO_PASSTHROUGH" else modes or "no such Gateway",
            repair=manifest(observed, "expose-services", namespace=observation.asked.system_namespace),
            evidence=few(
                failed_steps(observation, cluster.name), requests_logged(observation, f":{expectations.MESH_PORT}")
            ),
        )


def _mesh_ports(observation: Observation, primary: Cluster) -> set[int]:
    """The ports by which a Gateway may name the listener for services: Envoy's, or that of a Service before it."""
    found = {expectations.MESH_PORT}
    for served in observation.topology.served_by(primary):
        for service in gateways.services(observation[served], served.network):
            port = gateways.announced_port(service)
            found |= {port, gateways.listener_port(service, port)}
    return found


def _meant(observation: Observation, primary: Cluster) -> tuple[ConfigObject, ...]:
    """The Gateways of a primary that would pass through what requests are sent to."""
    domain = expectations.cluster_domain(observation[primary])
    host = requested.host(observation.asked, domain)
    at = _mesh_ports(observation, primary)
    return tuple(
        item
        for item in gateway_objects(observation[primary])
        if any(
            port in at and mode == "AUTO_PASSTHROUGH" and any(fnmatch(host, found) for found in hosts)
            for port, mode, hosts in servers(item)
        )
    )


def _closed(observation: Observation) -> Iterator[tuple[Cluster, tuple[Pod, ...], tuple[ConfigObject, ...]]]:
    """The gateways that do not pass requests through though Gateways for them are there, with their pods and these."""
    among = expectations.multi_network_gateways(observation.topology)
    for cluster, observed in read(observation, Subject.PODS, Subject.SERVICES, Subject.PROXIES, among=among):
        services = gateways.services(observed, cluster.network)
        pods = tuple(pod for service in services for pod in gateways.pods(observed, service))
        meant = _meant(observation, observation.topology[cluster.primary])
        domain = expectations.cluster_domain(observation[cluster.primary])
        name = requested.server_name(observation.asked, domain)
        if pods and meant and not leads_to(expectations.gateway_proxies(observed), name):
            yield cluster, pods, meant


@cause("gateway-selector", Layer.GATEWAYS, "GW-EXPOSE-SERVICES", "GW-REACHABLE", "GW-DATAPATH", plane=DataPlane.SIDECAR)
def gateway_selector(observation: Observation) -> Iterator[Found]:
    """The Gateway that exposes the services selects no gateway.

    A Gateway configures the pods whose labels its selector names. The gateway's pods have other labels (a chart gives
    them those of its release), so nothing is configured at them and they listen on no port for services.
    """
    for cluster, pods, meant in _closed(observation):
        if any((item.spec.get("selector") or {}).items() <= pod.labels.items() for item in meant for pod in pods):
            continue
        item, labels = meant[0], pods[0].labels
        selector = item.spec.get("selector") or {}
        own = {key: labels[key] for key in selector} if selector.keys() <= labels.keys() else {}
        own = own or {key: value for key, value in labels.items() if key in {"istio", "app"}} or labels
        primary = observation[cluster.primary]
        yield Found(
            cluster=cluster.primary,
            object=f"Gateway {item.namespace}/{item.name}",
            field="spec.selector",
            expected=f"labels of {cluster.name}'s gateway pods: {words(own)}",
            found=words(selector),
            repair=patch(
                primary, f"gateways.networking.istio.io/{item.name}", [_select(own)], namespace=item.namespace
            ),
            evidence=few(f"pod {pod.namespace}/{pod.name}: {words(pod.labels)}" for pod in pods),
        )


def _select(labels: Mapping[str, str]) -> dict[str, object]:
    return {"op": "replace", "path": "/spec/selector", "value": dict(labels)}


def words(labels: Mapping[str, object]) -> str:
    """Labels as kubectl takes them; "none" where there are none."""
    return ",".join(f"{key}={value}" for key, value in labels.items()) or "none"


def serving_revisions(primary: ClusterObservation, pods: tuple[Pod, ...]) -> frozenset[str]:
    """The revisions, and tags of them, by which objects reach a gateway's pods: those that the pods are connected to.

    All that run where none has them.
    """
    names = {f"{pod.name}.{pod.namespace}" for pod in pods}
    planes = primary.control_planes
    connected = {plane.revision for plane in planes if names & {row.proxy for row in plane.proxies}}
    running = connected or {plane.revision for plane in planes}
    return frozenset(running | {each.tag for each in primary.webhooks if each.tag and each.revision in running})


@cause("gateway-revision", Layer.GATEWAYS, "GW-EXPOSE-SERVICES", "GW-REACHABLE", "GW-DATAPATH")
def gateway_revision(observation: Observation) -> Iterator[Found]:
    """The Gateway that exposes the services is for a revision that does not serve the gateway.

    A control plane reads objects without the label istio.io/rev, and those whose label names its own revision or a tag
    of it. A Gateway that is left over from another revision, or made for one that serves other proxies, configures
    nothing.
    """
    for cluster, pods, meant in _closed(observation):
        primary = observation[cluster.primary]
        known = serving_revisions(primary, pods)
        named = [item.labels.get(REVISION_LABEL, "") for item in meant]
        if not known or not all(named) or known & set(named):
            continue
        item = meant[0]
        yield Found(
            cluster=cluster.primary,
            object=f"Gateway {item.namespace}/{item.name}",
            field=f"label {REVISION_LABEL}",
            expected=f"none, or {', '.join(sorted(filter(None, known)))}",
            found=named[0],
            repair=kubectl(
                primary, "-n", item.namespace, f"label gateways.networking.istio.io {item.name} {REVISION_LABEL}-"
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
                for item in gateway_objects(primary)
                for port, mode, _ in servers(item)
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
