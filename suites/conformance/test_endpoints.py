"""Endpoints: what each client's proxy knows of helloworld, or of the service that --service names, on all clusters."""

from collections.abc import Iterator

from harness.judge.evidence import Evidence
from harness.judge.judgement import Level
from harness.judge.requirement import requirement
from harness.model import client_endpoints, clients, expectations, gateways, requested, service_choice
from harness.model.cluster import Subject
from harness.model.mesh_features import MeshFeature
from harness.model.observation import Observation
from harness.model.proxy import EndpointSet, Proxy
from harness.model.topology import Cluster
from suites.conformance.common import brought_in_by

AREA = "endpoints"


@requirement("EP-COMPLETE", Level.SHOULD, area=AREA, needs=(MeshFeature.TRAFFIC,))
def test_ep_complete(observation: Observation, evidence: Evidence) -> None:
    """Each client's proxy knows helloworld on every cluster: pods on its own network, gateways elsewhere.

    With --service it is that service, on every cluster on which it has ready pods. This is where discovery shows,
    before any request: an endpoint too few is a cluster that never answers, a pod address of another network one that
    nothing routes. Where ztunnels carry the traffic it is what the ztunnel of the client's node knows. All endpoints
    must be healthy. Gateways that are known by a host name may show any of the addresses it resolves to, here or where
    istiod runs. Where istiod reports clusters that were not named to the suite, endpoints that belong to none of the
    named ones are taken for theirs.

    Source: chapter, network topologies; Istio, "Deployment models", network models.
    """
    name = requested.service(observation.asked).name
    for client, proxy, found in _clients(observation, evidence):
        listed = {f"{endpoint.address}:{endpoint.port}" for endpoint in found.endpoints}
        known = {
            target: {f"{address}:{port}" for address, port in _known(observation, evidence, client, target)}
            for target in client_endpoints.serving(observation)
        }
        whole = all(known.values())
        allowed = set[str]().union(*known.values())
        allowed |= _possible(observation, client)
        # A name may resolve otherwise where istiod asks: what has a gateway's port and is nobody else's is its own.
        ports = tuple(f":{entrance.port}" for target in known for entrance in _entrances(observation, target))
        elsewhere = {each for each in listed - allowed if ports and each.endswith(ports)}
        for target, wanted in known.items():
            by_name = target.network != client.network and _known_by_name(observation, target)
            # istiod gives ztunnels one address of a network's gateways (Istio issue 56960).
            any_of = by_name or (observation.asked.ambient and target.network != client.network)
            if by_name:
                allowed |= elsewhere
            if wanted and not _has_no_share(observation, evidence, client, target, wanted & listed):
                there = wanted | elsewhere if by_name else wanted
                _judge_target(
                    evidence, client, f"{name} on {target.name}", proxy, wanted=there, listed=listed, any_of=any_of
                )
        extra = _without_strangers(observation, evidence, client, sorted(listed - allowed))
        # With an address unknown on some cluster istiod falls back to pod addresses: extra ones follow from that.
        if whole:
            _expect_none(evidence, client, proxy, f"other endpoints of {name}", extra)
        sick = [f"{e.address}:{e.port} {' '.join(e.flags)}".strip() for e in found.endpoints if not e.healthy]
        _expect_none(evidence, client, proxy, f"unhealthy endpoints of {name}", sick)


def _expect_none(evidence: Evidence, client: Cluster, proxy: Proxy, field: str, found: list[str]) -> None:
    evidence.expect(
        not found,
        cluster=client,
        object=proxy.title,
        field=field,
        expected="none",
        found=", ".join(found) or "none",
    )


def _without_strangers(observation: Observation, evidence: Evidence, client: Cluster, extra: list[str]) -> list[str]:
    """The endpoints that can't be those of clusters which were not named, nor what somebody's own service also has.

    That may be a WorkloadEntry, an endpoint of a ServiceEntry or a Service that selects no pods.
    """
    strangers = _strangers(observation)
    if not strangers and not observation.asked.service:
        return extra
    own = _pods_of_known_clusters(observation)
    theirs = [place for place in extra if place.rpartition(":")[0] not in own]
    if strangers:
        evidence.fact(f"{client.name}: {len(theirs)} endpoints of clusters that were not named: {strangers}")
    elif theirs:
        evidence.fact(f"{client.name}: {len(theirs)} endpoints that are no pods of these clusters")
    return [place for place in extra if place not in theirs]


@requirement("EP-WEIGHTS", Level.EXTENDED, area=AREA, needs=(MeshFeature.TRAFFIC,))
def test_ep_weights(observation: Observation, evidence: Evidence) -> None:
    """A client's endpoint weights are proportional to the number of ready pods behind each.

    istiod gives a gateway the weight of the pods behind it, so that a pod gets as many requests wherever it runs.
    Compared are, for each cluster, the sum of the weights of its endpoints and the number of its ready pods.

    Source: Istio, "Deployment models"; pilot, endpoints by network.
    """
    if len(list(evidence.readable(observation, Subject.PODS))) < len(observation.topology.clusters):
        return
    for client, proxy, found in _clients(observation, evidence):
        shares = client_endpoints.shares(observation, client, found.endpoints)
        if not shares:
            evidence.blocked(
                "EP-COMPLETE", f"the endpoints of {client.name}'s {proxy.pod} are not those of all clusters"
            )
            continue
        evidence.expect(
            client_endpoints.fair(shares),
            cluster=client,
            object=proxy.title,
            field=f"endpoint weights of {requested.service(observation.asked).name}",
            expected="as the ready pods: " + ", ".join(f"{share.clusters} {share.pods}" for share in shares),
            found=", ".join(f"{share.clusters} {share.weight}" for share in shares),
        )


def _clients(observation: Observation, evidence: Evidence) -> Iterator[tuple[Cluster, Proxy, EndpointSet]]:
    """The proxies of all client pods with their endpoints of the service."""
    also = (Subject.ZTUNNELS,) if observation.asked.ambient else ()
    for client, observed in evidence.readable(observation, Subject.PODS, Subject.PROXIES, *also):
        pods = clients.client_pods(observed, observation.asked)
        if not pods and observation.asked.service:
            evidence.not_applicable(f"{client.name}: there is no client pod")
        elif not pods:
            evidence.blocked("WL-PLACED", f"{client.name} has no client")
        read = {proxy.pod: proxy for proxy in clients.client_proxies(observation, client)}
        for pod in pods:
            container = pod.proxy
            proxy = read.get(pod.name)
            if proxy is not None:
                none = EndpointSet(cluster="", endpoints=())
                yield client, proxy, requested.endpoints(proxy, observation.asked) or none
            elif observation.asked.ambient and expectations.is_captured(pod):
                evidence.blocked("AMB-ZTUNNEL", f"{client.name}: no ztunnel of node {pod.node} told what it knows")
            elif container is None and observation.asked.service:
                evidence.not_applicable(f"{client.name}: the client's pod has no sidecar")
            elif container is None or not container.ready:
                evidence.blocked(brought_in_by(observation), f"{client.name}: {pod.name} has no ready proxy")
            else:
                evidence.unknown(f"{client.name}: the proxy of {pod.name} was not observed")


def _entrances(observation: Observation, target: Cluster) -> tuple[gateways.Entrance, ...]:
    return gateways.entrances(observation.topology, observation, target, expectations.mesh_port(observation.asked))


def _known_by_name(observation: Observation, target: Cluster) -> bool:
    """Whether a gateway's load balancer has a host name, whose addresses may change between two look-ups."""
    services = gateways.services(observation[target], target.network)
    return not all(expectations.is_address(name) for service in services for name in service.ingress)


def _possible(observation: Observation, client: Cluster) -> set[str]:
    """Where a client may find the service, though it need not: gateways of the other IP family."""
    places = (
        client_endpoints.every_address_of(observation, client, target) for target in observation.topology.clusters
    )
    return {f"{address}:{port}" for found in places for address, port in found}


def _strangers(observation: Observation) -> str:
    """The clusters of a mesh that was found, and of which only some were named; empty where all were."""
    if observation.asked.mode != "verify-only":
        return ""
    return ", ".join(gateways.unknown_clusters(observation.topology, observation))


def _pods_of_known_clusters(observation: Observation) -> set[str]:
    pods = (requested.ready_pods(observed, observation.asked) for observed in observation.clusters)
    return {pod.ip for found in pods for pod in found}


def _known(
    observation: Observation, evidence: Evidence, client: Cluster, target: Cluster
) -> dict[tuple[str, int], int]:
    """Where the client must find the target's pods; empty, with a reservation, where that can't be said."""
    subject = Subject.PODS if target.network == client.network else Subject.SERVICES
    if not list(evidence.readable(observation, Subject.PODS, subject, among=(target,))):
        return {}
    if not requested.ready_pods(observation[target], observation.asked):
        evidence.blocked("WL-PLACED", f"no helloworld pod is ready on {target.name}")
        return {}
    addresses = client_endpoints.addresses_of(observation, client, target)
    if not addresses:
        evidence.blocked("GW-ADDRESS", f"the gateway of {target.name} has no address")
    return addresses


def _has_no_share(
    observation: Observation, evidence: Evidence, client: Cluster, target: Cluster, there: set[str]
) -> bool:
    """Whether a setting may give somebody's own service no share on a cluster: istiod then leaves its endpoints out."""
    service = observation.asked.service
    why = service_choice.distributed(observation, client, service) if service and not there else ""
    if why:
        evidence.not_applicable(f"{client.name}: {why}: {target.name} may be given no share")
    return bool(why)


def _judge_target(
    evidence: Evidence,
    client: Cluster,
    where: str,
    proxy: Proxy,
    *,
    wanted: set[str],
    listed: set[str],
    any_of: bool,
) -> None:
    there = wanted & listed
    evidence.expect(
        bool(there) if any_of else there == wanted,
        cluster=client,
        object=proxy.title,
        field=f"endpoints of {where}",
        expected=(" or " if any_of else ", ").join(sorted(wanted)),
        found=", ".join(sorted(there)) or f"none of them, but {', '.join(sorted(listed)) or 'none at all'}",
    )
