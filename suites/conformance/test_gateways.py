"""East-west gateways: there, reachable from where they are needed, and leading where they should."""

from collections.abc import Iterator
from fnmatch import fnmatch

from harness.judge.evidence import Evidence
from harness.judge.judgement import Level
from harness.judge.requirement import requirement
from harness.model import ca, expectations, gateways, remotes, requested, x509
from harness.model.cluster import ClusterObservation, Service, Subject, Workload
from harness.model.mesh_features import MeshFeature, mesh_features
from harness.model.observation import Observation
from harness.model.proxy import FilterChain
from harness.model.topology import Cluster, Feature
from harness.model.traffic import Probe, ProbeKind, ProbeResult
from suites.conformance.common import answered, cover, outcome, timed_out

AREA = "gateways"
BOTH = (Feature.MULTI_NETWORK, Feature.PRIMARY_REMOTE)


@requirement("GW-AVAILABLE", Level.MUST, *BOTH, area=AREA)
def test_gw_available(observation: Observation, evidence: Evidence) -> None:
    """The east-west gateway is Available on every cluster where the chapter puts one.

    On every cluster of a multi-network mesh; on a single network on a primary that serves remotes.

    Source: chapter, "Create an East-West gateway".
    """
    for cluster, observed, services in _standing(observation, evidence, Subject.WORKLOADS):
        for service in services or (None,):
            workload = gateways.workload(observed, service)
            evidence.expect(
                gateways.is_available(observed, service),
                cluster=cluster,
                object=_object(observation, workload.kind if workload else "Deployment", workload or service),
                field="condition",
                expected="Available",
                found=_state(observed, service, workload),
            )


@requirement("GW-ADDRESS", Level.MUST, *BOTH, area=AREA)
def test_gw_address(observation: Observation, evidence: Evidence) -> None:
    """The gateway's Service has an address outside of its cluster.

    The other clusters know the gateway by it: the load balancer's IP address or host name, an external IP, or those of
    the nodes that the annotation traffic.istio.io/nodeSelector selects for a NodePort.

    Source: chapter, "two OpenShift Container Platform clusters with external load balancer support".
    """
    for cluster, _, services in _standing(observation, evidence, Subject.SERVICES):
        for service in services or (None,):
            known = gateways.addresses(service) if service else ()
            if not (known or gateways.awaits_address(service)):
                known = tuple(row.address for row in gateways.reported(observation.topology, observation, cluster))
            names = [name for name in service.ingress if name not in known] if service else []
            found = f"none, type {service.type}" if service else "no such Service"
            evidence.expect(
                bool(known),
                cluster=cluster,
                object=_object(observation, "Service", service),
                field="address",
                expected="an address",
                found=(f"{', '.join(names)} ({', '.join(known)})" if names else ", ".join(known)) if known else found,
            )


@requirement("GW-REACHABLE", Level.SHOULD, *BOTH, area=AREA)
def test_gw_reachable(observation: Observation, evidence: Evidence) -> None:
    """The gateway's ports answer on every address, from a pod of every cluster that needs them.

    15443, or the port that its Service has in front of it, is needed from every other network, 15012 and 15017 from the
    remotes of a primary (15017 is called by their API servers, and is tried from a pod all the same). What the runner
    can reach says nothing about the clusters, so it is never asked.

    Source: chapter, "Gateways must be used to enable communication across network boundaries".
    """
    for target, observed in _available(observation, evidence, expectations.gateways(observation.topology)):
        for port, sources in expectations.needed_ports(observation.topology, target).items():
            for probe in cover(observation, evidence, ProbeKind.TCP, target=target, port=port, sources=sources):
                evidence.expect(
                    answered(probe),
                    cluster=observed,
                    object=f"gateway {probe.address}:{probe.port}",
                    field=f"from a pod of {probe.source}",
                    expected="answered",
                    found=outcome(probe),
                    timed=timed_out(probe),
                )


@requirement("GW-EXPOSE-SERVICES", Level.MUST, Feature.MULTI_NETWORK, area=AREA, needs=(MeshFeature.TRAFFIC,))
def test_gw_expose_services(observation: Observation, evidence: Evidence) -> None:
    """Each gateway's Envoy passes the mesh's services through on 15443.

    AUTO_PASSTHROUGH for *.local makes a filter chain for each service, chosen by the SNI, that ends in no certificate
    of the gateway's own; the sample's helloworld, or the service of --service, must be among them. On a remote the
    Gateway object stands on its primary; Envoy's listener is what counts and what is examined.

    Source: chapter, "Expose the services through the gateway", expose-services.yaml.
    """
    among, asked = expectations.multi_network_gateways(observation.topology), observation.asked
    meant = requested.service(asked).name
    for cluster, observed, listener, chains in _listening(observation, evidence, expectations.MESH_PORT, among):
        passing = [chain for chain in chains or () if gateways.passes_through(chain)]
        through = sorted({name for chain in passing for name in chain.server_names or ("*",)})
        objects = _gateway_objects(observation[cluster.primary])
        domain = expectations.cluster_domain(observation[cluster.primary])
        wanted = requested.server_name(asked, domain)
        exposed = any(fnmatch(wanted, name) for name in through)
        others = f"{len(through)} other services" if through else f"{len(chains or ())} other filter chains"
        evidence.expect(
            exposed,
            cluster=observed,
            object=listener,
            field="AUTO_PASSTHROUGH",
            expected=f"{meant} by its SNI (Gateway on {cluster.primary}: {', '.join(objects) or 'none'})",
            found="no proxy behind the Service"
            if chains is None
            else f"{len(through)} services, {meant} among them"
            if exposed
            else others,
        )


@requirement("GW-EXPOSE-ISTIOD", Level.MUST, Feature.PRIMARY_REMOTE, area=AREA)
def test_gw_expose_istiod(observation: Observation, evidence: Evidence) -> None:
    """The primary's gateway leads 15012 and 15017 to istiod.

    Over these the remotes' proxies get configuration and certificates, and their API servers injection. Examined is
    where the filter chains of the gateway's listeners lead.

    Source: chapter, "Expose the control plane through the gateway", expose-istiod.yaml.
    """
    primaries = expectations.serving_primaries(observation.topology)
    for port in (expectations.XDS_PORT, expectations.WEBHOOK_PORT):
        for cluster, observed, listener, chains in _listening(observation, evidence, port, primaries):
            service = gateways.istiod_service(observed, cluster.network)
            itself = chains is None and service and bool(gateways.pods(observed, service))
            destinations = sorted({name for chain in chains or () for name in chain.clusters})
            evidence.expect(
                itself or any("istiod" in name for name in destinations),
                cluster=cluster,
                object=listener,
                field="destination",
                expected="istiod",
                found="istiod itself" if itself else ", ".join(destinations) or "no listener",
            )


@requirement("GW-DATAPATH", Level.SHOULD, Feature.MULTI_NETWORK, area=AREA, needs=(MeshFeature.TRAFFIC,))
def test_gw_datapath(observation: Observation, evidence: Evidence) -> None:
    """A TLS connection from another network to 15443 with helloworld's SNI meets helloworld's own certificate.

    That the gateway's readiness port answers proves nothing about the way through it. Examined is the certificate that
    a pod of another network was shown at each address, with ALPN istio: its SPIFFE identity must be helloworld's and
    its path must lead to the root. With --service it is that service's, where pods of it with a sidecar stand behind.

    Source: chapter, expose-services.yaml; Istio, "Install Multi-Primary on different networks".
    """
    for target, observed in _available(
        observation,
        evidence,
        expectations.multi_network_gateways(observation.topology),
        Subject.PODS,
        Subject.CA_SECRET,
    ):
        identities = _identities(observation, target)
        roots = ca.trusted_for(observation, target)
        if not identities and observation.asked.service:
            evidence.skipped(_nobody(observation, target))
            continue
        if not identities:
            evidence.blocked("WL-INJECTED", f"no ready helloworld with a sidecar behind the gateway of {target.name}")
            continue
        if not roots:
            evidence.blocked("CERT-SECRET", f"no root is known by which {target.name}'s certificates can be checked")
            continue
        sources = expectations.needed_ports(observation.topology, target).get(expectations.MESH_PORT, ())
        for probe in cover(
            observation, evidence, ProbeKind.TLS, target=target, port=expectations.MESH_PORT, sources=sources
        ):
            if answered(probe) and not probe.certificates:
                evidence.unknown(f"{probe.source}: {probe.address}:{probe.port} answered, its certificate was not kept")
                continue
            leaf = next(iter(probe.certificates), None)
            reason = x509.validates(probe.certificates, roots, observation.observed) if leaf else ""
            evidence.expect(
                leaf is not None and bool(identities & set(leaf.uris)) and reason is None,
                cluster=observed,
                object=f"gateway {probe.address}:{probe.port} from {probe.source}",
                field=f"certificate for SNI {probe.server_name}",
                expected=", ".join(sorted(identities)),
                found=", ".join(filter(None, (*leaf.uris, reason))) if leaf else outcome(probe),
                timed=timed_out(probe),
            )


@requirement("GW-HARDENED", Level.EXTENDED, *BOTH, area=AREA)
def test_gw_hardened(observation: Observation, evidence: Evidence) -> None:
    """The gateway gives no answer on 15443 without a mesh certificate, and 15012 signs nothing without a token.

    East-west gateways often stand on public addresses. Examined are a request to helloworld without a client
    certificate, and a certificate signing request without a token. A refusal counts only where the same address was
    seen to serve those who may (GW-DATAPATH, CERT-ISTIOD): a closed port is no protection.

    Source: Istio, "Security best practices"; expose-services.yaml, expose-istiod.yaml.
    """
    topology = observation.topology
    for target, _ in _available(observation, evidence, expectations.gateways(topology)):
        ports = expectations.needed_ports(topology, target)
        for kind, port, by in (
            (ProbeKind.TLS_NO_CERTIFICATE, expectations.MESH_PORT, "GW-DATAPATH"),
            (ProbeKind.CSR_NO_TOKEN, expectations.XDS_PORT, "CERT-ISTIOD"),
        ):
            for probe in cover(observation, evidence, kind, target=target, port=port, sources=ports.get(port, ())):
                if kind is ProbeKind.TLS_NO_CERTIFICATE and _unproved(observation, target):
                    evidence.skipped(_nobody(observation, target))
                    continue
                if probe.result is not ProbeResult.ANSWERED and not _serves(observation, probe):
                    evidence.blocked(
                        by, f"{probe.address}:{probe.port} was not seen to serve anyone from {probe.source}"
                    )
                    continue
                evidence.expect(
                    not answered(probe),
                    cluster=target,
                    object=f"gateway {probe.address}:{probe.port} from {probe.source}",
                    field=probe.kind.value,
                    expected="no answer",
                    found=outcome(probe),
                )


def _standing(
    observation: Observation, evidence: Evidence, *subjects: Subject
) -> Iterator[tuple[Cluster, ClusterObservation, tuple[Service, ...]]]:
    """The clusters with gateways, each with their Services; none where the one that is meant is missing.

    On a mesh that was found, one gateway may stand for several clusters of its network, or outside of all of them: what
    is said of it is said where it stands.
    """
    topology, found = observation.topology, observation.asked.mode == "verify-only"
    for cluster, observed in evidence.readable(observation, *subjects, among=expectations.gateways(topology)):
        if _needs_none(observation, cluster):
            evidence.fact(f"{cluster.name}: no gateway is needed: its remotes reach istiod without one")
        elif found and gateways.is_shared(topology, observation, cluster):
            entrances = gateways.entrances(topology, observation, cluster)
            evidence.expect(
                True,
                cluster=cluster,
                object=f"network {cluster.network}",
                field="gateway",
                expected="one for the network",
                found=", ".join(f"{entrance.address}:{entrance.port}" for entrance in entrances),
            )
        else:
            yield cluster, observed, gateways.serving(topology, observation, cluster)


def _needs_none(observation: Observation, cluster: Cluster) -> bool:
    """Whether nobody needs a gateway of a cluster: all are on its network, and its remotes reach istiod otherwise."""
    crossed = any(other.network != cluster.network for other in observation.topology.others(cluster))
    return not crossed and remotes.served_from_elsewhere(observation, cluster)


def _object(observation: Observation, kind: str, found: Service | Workload | None) -> str:
    if found is None:
        return f"{kind} {observation.asked.system_namespace}/{expectations.GATEWAY}"
    return f"{kind} {found.namespace}/{found.name}"


def _state(observed: ClusterObservation, service: Service | None, workload: Workload | None) -> str:
    if workload is not None:
        reasons = "; ".join(f"{c.type}={c.status} {c.reason}" for c in workload.conditions)
        return "Available" if workload.available else f"{workload.ready} of {workload.desired} ready; {reasons}"
    if service is not None and not service.selector:
        return "outside of the cluster: a Service without a selector"
    pods = gateways.pods(observed, service) if service else ()
    return f"{sum(pod.ready for pod in pods)} of {len(pods)} pods ready" if pods else "no such Deployment"


def _available(
    observation: Observation, evidence: Evidence, among: tuple[Cluster, ...], *also: Subject
) -> Iterator[tuple[Cluster, ClusterObservation]]:
    """The clusters of whose gateways one runs, or whose network is entered elsewhere."""
    for cluster, observed in evidence.readable(observation, Subject.WORKLOADS, Subject.SERVICES, *also, among=among):
        services = gateways.serving(observation.topology, observation, cluster) or (None,)
        shared = gateways.is_shared(observation.topology, observation, cluster) or _needs_none(observation, cluster)
        if shared or any(gateways.is_available(observed, service) for service in services):
            yield cluster, observed
        else:
            evidence.blocked("GW-AVAILABLE", f"the gateway of {cluster.name} is not available")


def _listening(
    observation: Observation, evidence: Evidence, port: int, among: tuple[Cluster, ...]
) -> Iterator[tuple[Cluster, ClusterObservation, str, tuple[FilterChain, ...] | None]]:
    """The gateways, pod by pod: the listener behind a port, and its filter chains; None where there is no proxy."""
    for cluster, observed in _available(observation, evidence, among, Subject.PROXIES):
        if port != expectations.MESH_PORT and remotes.served_from_elsewhere(observation, cluster):
            evidence.fact(f"{cluster.name}: its remotes reach istiod by something outside of the clusters")
            continue
        istiod = gateways.istiod_service(observed, cluster.network)
        of_istiod = (istiod,) if istiod else ()
        services = gateways.services(observed, cluster.network) if port == expectations.MESH_PORT else of_istiod
        for service in services:
            front = gateways.announced_port(service) if port == expectations.MESH_PORT else port
            number = gateways.listener_port(service, front)
            name = f"listener {number} of {service.name}"
            proxies = gateways.proxies(observed, service)
            if not proxies and any(pod.proxy for pod in gateways.pods(observed, service)):
                evidence.unknown(f"{cluster.name}: the gateway runs, and its Envoy was not observed")
            elif not proxies and service.selector:
                yield cluster, observed, name, None
            for proxy in proxies:
                chains = [chain for listener in proxy.listeners if listener.port == number for chain in listener.chains]
                yield cluster, observed, name, tuple(chains)


def _gateway_objects(observed: ClusterObservation) -> list[str]:
    return [
        f"{item.namespace}/{item.name}"
        for item in observed.config
        if item.kind == "Gateway"
        and any(
            (server.get("tls") or {}).get("mode") == "AUTO_PASSTHROUGH" for server in item.spec.get("servers") or ()
        )
    ]


def _identities(observation: Observation, target: Cluster) -> set[str]:
    """Who may stand behind a gateway: the ready pods with a sidecar that requests are sent to, on its network."""
    asked = observation.asked
    return {
        expectations.spiffe_id(ca.trust_domain(observation, cluster), pod.namespace, pod.service_account)
        for cluster in observation.topology.clusters
        if cluster.network == target.network
        for pod in requested.pods(observation[cluster], asked)
        if pod.ready and pod.ip and expectations.has_proxy(pod)
    }


def _unproved(observation: Observation, target: Cluster) -> bool:
    """Whether nothing could show that a gateway serves anyone: no sample, and no pods of the user's own service."""
    if observation.asked.service:
        return not _identities(observation, target)
    return MeshFeature.TRAFFIC not in mesh_features(observation)


def _nobody(observation: Observation, target: Cluster) -> str:
    service = observation.asked.service
    what = f"pod of {service.namespace}/{service.name}" if service else "sample"
    return f"{target.name}: no {what} with a sidecar stands behind the gateway that could answer through it"


def _serves(observation: Observation, probe: Probe) -> bool:
    """Whether the same address and port showed a certificate to the same cluster: the positive control."""
    return any(
        other.kind is ProbeKind.TLS
        and bool(other.certificates)
        and (other.source, other.address, other.port) == (probe.source, probe.address, probe.port)
        for other in observation.probes
    )
