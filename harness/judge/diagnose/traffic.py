"""Causes in endpoints and traffic that no object of the configuration shows."""

from collections.abc import Iterator

from harness.judge.diagnose.facts import few, known_endpoints, logged_by_control_planes, read, requests_logged
from harness.judge.diagnose.graph import Layer
from harness.judge.diagnose.registry import Found, cause
from harness.judge.diagnose.repair import istiod, kubectl, noted, restart, restart_control_plane
from harness.model import client_endpoints, clients, expectations, requested
from harness.model.cluster import ClusterObservation, Subject
from harness.model.observation import Observation
from harness.model.proxy import ControlPlane, EndpointSet, Proxy
from harness.model.topology import Cluster


def _clients(observation: Observation) -> Iterator[tuple[Cluster, Proxy, EndpointSet]]:
    none = EndpointSet(cluster="", endpoints=())
    for cluster, _ in read(observation, Subject.PROXIES):
        for proxy in clients.client_proxies(observation, cluster):
            yield cluster, proxy, requested.endpoints(proxy, observation.asked) or none


def _name(observation: Observation) -> str:
    return requested.service(observation.asked).name


@cause("registry-emptied", Layer.ENDPOINTS, "EP-COMPLETE", effect=True, fallback=True)
def registry_emptied(observation: Observation) -> Iterator[Found]:
    """A control plane reports a cluster as synced, and hands none of its endpoints out.

    Its registry of that cluster lost its endpoints: after a remote secret was changed (a token renewed) istiod may
    close the old registry behind the new one and drop what the new one had read, or wait for ever. A restart of istiod
    reads them again. Known in Istio 1.30 up to 1.30.3 at least, and mended in versions after it (istio/istio#61043,
    #60612).
    """
    for primary in observation.topology.primaries:
        observed = observation[primary]
        served = {cluster.name for cluster in observation.topology.served_by(primary)}
        proxies = [(client, proxy, found) for client, proxy, found in _clients(observation) if client.name in served]
        for target in observation.topology.watched_by(primary):
            planes = [plane for plane in observed.control_planes if _is_synced(plane, target)]
            if not planes or not all(_lacks(observation, client, found, target) for client, _, found in proxies):
                continue
            if not any(client.name != target.name for client, _, _ in proxies):
                continue
            again = restart_control_plane(observation, primary)
            versions = ", ".join(dict.fromkeys(plane.version for plane in planes if plane.version)) or "unknown"
            yield Found(
                cluster=primary.name,
                object=f"Pod {observation.asked.system_namespace}/{planes[0].pod}",
                field=f"endpoints of {target.cluster_name}",
                expected=f"those of {_name(observation)} on {target.name}, since it reports that cluster as synced",
                found=f"none at any of its {len(proxies)} clients (Istio {versions})",
                repair=noted(again, "reads that cluster again; if it happens again, upgrade"),
                change=f"Restart istiod of {primary.name}: it reads {target.cluster_name} again; and upgrade Istio",
                evidence=few(
                    _written(observed, target), known_endpoints(observation), logged_by_control_planes(observed)
                ),
            )


def _is_synced(plane: ControlPlane, target: Cluster) -> bool:
    return any((row.id, row.sync_status) == (target.cluster_name, "synced") for row in plane.clusters)


def _lacks(observation: Observation, client: Cluster, found: EndpointSet, target: Cluster) -> bool:
    wanted = set(client_endpoints.addresses_of(observation, client, target))
    listed = {(endpoint.address, endpoint.port) for endpoint in found.endpoints}
    # A client that has the pods' own addresses knows them, if not by the way that it should go.
    own = {pod.ip for pod in requested.ready_pods(observation[target], observation.asked)}
    known = bool(own & {address for address, _ in listed})
    return client.name == target.name or (bool(wanted) and not wanted & listed and not known)


def _written(observed: ClusterObservation, target: Cluster) -> Iterator[str]:
    for secret in observed.remote_secrets:
        if target.cluster_name in secret.clusters:
            yield f"Secret {secret.namespace}/{secret.name} created {secret.created:%Y-%m-%d %H:%M}"


@cause("endpoints-missing", Layer.ENDPOINTS, "EP-COMPLETE", effect=True, fallback=True)
def endpoints_missing(observation: Observation) -> Iterator[Found]:
    """A client's proxy does not know the service on another cluster.

    Gateways, remote secrets, networks and settings are as they should be, and yet the endpoints did not arrive.
    """
    for client, proxy, found in _clients(observation):
        listed = {(endpoint.address, endpoint.port) for endpoint in found.endpoints}
        for target in observation.topology.clusters:
            wanted = set(client_endpoints.addresses_of(observation, client, target))
            if wanted and not wanted & listed:
                system = observation.asked.system_namespace
                primary = observation[client.primary]
                yield Found(
                    cluster=client.name,
                    object=f"proxy {proxy.namespace}/{proxy.pod}",
                    field=f"endpoints of {_name(observation)} on {target.name}",
                    expected=", ".join(f"{address}:{port}" for address, port in sorted(wanted)),
                    found=", ".join(f"{address}:{port}" for address, port in sorted(listed)) or "none",
                    repair=noted(
                        kubectl(
                            primary,
                            "-n",
                            system,
                            f"exec {istiod(observation, client)[0]} -- pilot-discovery request GET /debug/endpointz",
                        ),
                        f"says what istiod knows; if that lacks {target.name}: "
                        + restart_control_plane(observation, client),
                    ),
                    evidence=few(known_endpoints(observation), logged_by_control_planes(primary)),
                )


@cause("weights-wrong", Layer.ENDPOINTS, "EP-WEIGHTS", effect=True)
def weights_wrong(observation: Observation) -> Iterator[Found]:
    """A client's endpoint weights do not follow the pods behind them.

    istiod gives a gateway the weight of all pods behind it. Where it does not, some pods get more requests than others.
    """
    for client, proxy, found in _clients(observation):
        shares = client_endpoints.shares(observation, client, found.endpoints)
        if not client_endpoints.fair(shares):
            yield Found(
                cluster=client.name,
                object=f"proxy {proxy.namespace}/{proxy.pod}",
                field=f"endpoint weights of {_name(observation)}",
                expected=", ".join(f"{share.clusters} {share.pods}" for share in shares),
                found=", ".join(f"{share.clusters} {share.weight}" for share in shares),
                repair=noted(
                    restart_control_plane(observation, client),
                    "and look for ServiceEntry and WorkloadEntry objects with weights",
                ),
                change=f"Look for a ServiceEntry or WorkloadEntry of {_name(observation)} with weights, and change it",
                evidence=few(known_endpoints(observation)),
            )


@cause("half-broken", Layer.TRAFFIC, "TR-NO-RETRIES", "GW-DATAPATH", "GW-HARDENED", effect=True)
def half_broken(observation: Observation) -> Iterator[Found]:
    """An endpoint fails, and the client's proxy hides it by trying again.

    Connections to one address fail again and again while every request is answered in the end. Behind a gateway one of
    several pods may be the one: it listens no more, or something between drops its connections. A single connection
    through the gateway then fails or not, as the gateway chooses.
    """
    sequences = [*observation.traffic.coverage, *observation.traffic.distribution] if observation.traffic else []
    reported: set[tuple[str, str]] = set()
    for sequence in sequences:
        for host in sequence.hosts:
            failed = host.connect_failures or (host.errors if host.errors and host.requests else 0)
            if not failed or (sequence.client, host.address) in reported:
                continue
            reported.add((sequence.client, host.address))
            behind = next(
                (
                    target.name
                    for target in observation.topology.clusters
                    if (host.address, host.port)
                    in client_endpoints.addresses_of(observation, observation.topology[sequence.client], target)
                ),
                "",
            )
            target_cluster = observation[behind or sequence.client]
            sample = observation.asked.sample_namespace
            yield Found(
                cluster=behind or sequence.client,
                object=f"endpoint {host.address}:{host.port} of {_name(observation)}",
                field=f"connections from {sequence.client}",
                expected="none fails",
                found=f"{failed} of {host.requests} attempts failed",
                repair=noted(
                    restart(target_cluster, sample, f"deployment -l app={expectations.HELLOWORLD}"),
                    "replaces the pod that refuses",
                ),
                change=f"Find what refuses connections at {host.address}:{host.port} on {behind or sequence.client}: "
                "a pod of helloworld, a NetworkPolicy, or a pod of the gateway; and change that",
                evidence=few(
                    (f"pod {pod.name} {pod.ip}" for pod in requested.ready_pods(target_cluster, observation.asked)),
                    requests_logged(observation, f"{host.address}:{host.port}"),
                ),
            )


@cause("identity-lost", Layer.TRAFFIC, "MTLS-PEER", "AMB-PLAINTEXT", effect=True)
def identity_lost(observation: Observation) -> Iterator[Found]:
    """A destination sees no identity of its caller.

    Requests from another cluster arrive in plaintext, or something between ends the mutual TLS: authorization by
    identity cannot work.
    """
    for peer in (observation.traffic.peers or ()) if observation.traffic else ():
        if not peer.requests or (peer.principal and peer.mutual_tls):
            continue
        observed = observation[peer.destination]
        yield Found(
            cluster=peer.destination,
            object=f"Pod {observation.asked.sample_namespace}/{peer.pod}",
            field="peer's identity",
            expected="the caller's SPIFFE identity over mutual TLS",
            found=f"{peer.principal or 'none'}, {'mutual TLS' if peer.mutual_tls else 'plaintext'} ({peer.evidence})",
            repair=noted(
                kubectl(observed, "get peerauthentication,destinationrule -A -o yaml | grep -B9 'mode:'"),
                "take away what sets the mode to DISABLE or SIMPLE",
            ),
            change=f"Change the PeerAuthentication or DestinationRule that takes mutual TLS from {peer.pod}",
        )
