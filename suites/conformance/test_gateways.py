"""East-west gateways: there, reachable from where they are needed, and leading where they should."""

from collections.abc import Iterator
from fnmatch import fnmatch

from harness.judge.requirement import Evidence, Level, requirement
from harness.model import expectations, x509
from harness.model.cluster import ClusterObservation, Subject
from harness.model.observation import Observation
from harness.model.proxy import FilterChain
from harness.model.topology import Cluster, Feature
from harness.model.traffic import Probe, ProbeKind, ProbeResult
from suites.conformance.common import answered, cover, outcome

AREA = "gateways"
BOTH = (Feature.MULTI_NETWORK, Feature.PRIMARY_REMOTE)


@requirement("GW-AVAILABLE", Level.MUST, *BOTH, area=AREA)
def test_gw_available(observation: Observation, evidence: Evidence) -> None:
    """The east-west gateway is Available on every cluster where the chapter puts one.

    On every cluster of a multi-network mesh; on a single network on a primary that serves remotes.

    Source: chapter, "Create an East-West gateway".
    """
    for cluster, observed in evidence.readable(
        observation, Subject.WORKLOADS, among=expectations.gateways(observation.topology)
    ):
        workload = expectations.gateway_workload(observed)
        found = "no such Deployment"
        if workload:
            reasons = "; ".join(f"{c.type}={c.status} {c.reason}" for c in workload.conditions)
            found = "Available" if workload.available else f"{workload.ready} of {workload.desired} ready; {reasons}"
        evidence.expect(
            bool(workload and workload.available),
            cluster=cluster,
            object=f"Deployment {observation.asked.system_namespace}/{expectations.GATEWAY}",
            field="condition",
            expected="Available",
            found=found,
        )


@requirement("GW-ADDRESS", Level.MUST, *BOTH, area=AREA)
def test_gw_address(observation: Observation, evidence: Evidence) -> None:
    """The gateway's Service has a load balancer address.

    The other clusters know the gateway by it; an IP address or a host name, as the load balancer likes.

    Source: chapter, "two OpenShift Container Platform clusters with external load balancer support".
    """
    for cluster, observed in evidence.readable(
        observation, Subject.SERVICES, among=expectations.gateways(observation.topology)
    ):
        service = expectations.gateway_service(observed)
        found = "no such Service" if service is None else f"none, type {service.type}"
        if service and service.ingress:
            unnamed = [address for address in service.resolved if address not in service.ingress]
            found = ", ".join(service.ingress) + (f" ({', '.join(unnamed)})" if unnamed else "")
        evidence.expect(
            bool(service and service.ingress),
            cluster=cluster,
            object=f"Service {observation.asked.system_namespace}/{expectations.GATEWAY}",
            field="status.loadBalancer.ingress",
            expected="an address",
            found=found,
        )


@requirement("GW-REACHABLE", Level.SHOULD, *BOTH, area=AREA)
def test_gw_reachable(observation: Observation, evidence: Evidence) -> None:
    """The gateway's ports answer on every address, from a pod of every cluster that needs them.

    15443 is needed from every other network, 15012 and 15017 from the remotes of a primary (15017 is called by their
    API servers, and is tried from a pod all the same). What the runner can reach says nothing about the clusters, so it
    is never asked.

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
                )


@requirement("GW-EXPOSE-SERVICES", Level.MUST, Feature.MULTI_NETWORK, area=AREA)
def test_gw_expose_services(observation: Observation, evidence: Evidence) -> None:
    """Each gateway's Envoy passes the mesh's services through on 15443.

    AUTO_PASSTHROUGH for *.local makes a filter chain for each service, chosen by the SNI, that ends in no certificate
    of the gateway's own; the sample's helloworld must be among them. On a remote the Gateway object stands on its
    primary; Envoy's listener is what counts and what is examined.

    Source: chapter, "Expose the services through the gateway", expose-services.yaml.
    """
    for cluster, observed, chains in _listening(
        observation, evidence, expectations.MESH_PORT, expectations.multi_network_gateways(observation.topology)
    ):
        through = sorted({name for chain in chains if _passes_through(chain) for name in chain.server_names or ("*",)})
        objects = _gateway_objects(observation[cluster.primary])
        wanted = expectations.helloworld_server_name(observation.asked.sample_namespace)
        exposed = any(fnmatch(wanted, name) for name in through)
        others = f"{len(through)} other services" if through else f"{len(chains)} other filter chains"
        evidence.expect(
            exposed,
            cluster=observed,
            object=f"listener {expectations.MESH_PORT} of {expectations.GATEWAY}",
            field="AUTO_PASSTHROUGH",
            expected=f"helloworld by its SNI (Gateway on {cluster.primary}: {', '.join(objects) or 'none'})",
            found=f"{len(through)} services, helloworld among them" if exposed else others,
        )


@requirement("GW-EXPOSE-ISTIOD", Level.MUST, Feature.PRIMARY_REMOTE, area=AREA)
def test_gw_expose_istiod(observation: Observation, evidence: Evidence) -> None:
    """The primary's gateway leads 15012 and 15017 to istiod.

    Over these the remotes' proxies get configuration and certificates, and their API servers injection. Examined is
    where the filter chains of the gateway's listeners lead.

    Source: chapter, "Expose the control plane through the gateway", expose-istiod.yaml.
    """
    for port in (expectations.XDS_PORT, expectations.WEBHOOK_PORT):
        for cluster, _, chains in _listening(
            observation, evidence, port, expectations.serving_primaries(observation.topology)
        ):
            destinations = sorted({name for chain in chains for name in chain.clusters})
            evidence.expect(
                any("istiod" in name for name in destinations),
                cluster=cluster,
                object=f"listener {port} of {expectations.GATEWAY}",
                field="destination",
                expected="istiod",
                found=", ".join(destinations) or "no listener",
            )


@requirement("GW-DATAPATH", Level.SHOULD, Feature.MULTI_NETWORK, area=AREA)
def test_gw_datapath(observation: Observation, evidence: Evidence) -> None:
    """A TLS connection from another network to 15443 with helloworld's SNI meets helloworld's own certificate.

    That the gateway's readiness port answers proves nothing about the way through it. Examined is the certificate that
    a pod of another network was shown at each address, with ALPN istio: its SPIFFE identity must be helloworld's and
    its path must lead to the root.

    Source: chapter, expose-services.yaml; Istio, "Install Multi-Primary on different networks".
    """
    for target, observed in _available(
        observation,
        evidence,
        expectations.multi_network_gateways(observation.topology),
        Subject.PODS,
        Subject.CA_SECRET,
    ):
        identities = _helloworld_identities(observation, target)
        secret = expectations.signing_ca(observation, target)
        if not identities:
            evidence.blocked("WL-INJECTED", f"no ready helloworld with a sidecar behind the gateway of {target.name}")
            continue
        if secret is None or secret.root_cert is None:
            evidence.blocked("CERT-SECRET", f"{target.primary} has no readable root-cert.pem")
            continue
        sources = expectations.needed_ports(observation.topology, target).get(expectations.MESH_PORT, ())
        for probe in cover(
            observation, evidence, ProbeKind.TLS, target=target, port=expectations.MESH_PORT, sources=sources
        ):
            if answered(probe) and not probe.certificates:
                evidence.unknown(f"{probe.source}: {probe.address}:{probe.port} answered, its certificate was not kept")
                continue
            leaf = next(iter(probe.certificates), None)
            reason = x509.validates(probe.certificates, secret.root_cert, observation.observed) if leaf else ""
            evidence.expect(
                leaf is not None and bool(identities & set(leaf.uris)) and reason is None,
                cluster=observed,
                object=f"gateway {probe.address}:{probe.port} from {probe.source}",
                field=f"certificate for SNI {probe.server_name}",
                expected=", ".join(sorted(identities)),
                found=", ".join(filter(None, (*leaf.uris, reason))) if leaf else outcome(probe),
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
                if probe.result is not ProbeResult.ANSWERED and not _serves(observation, probe):
                    evidence.blocked(by, f"{probe.address}:{port} was not seen to serve anyone from {probe.source}")
                    continue
                evidence.expect(
                    not answered(probe),
                    cluster=target,
                    object=f"gateway {probe.address}:{port} from {probe.source}",
                    field=probe.kind.value,
                    expected="no answer",
                    found=outcome(probe),
                )


def _available(
    observation: Observation, evidence: Evidence, among: tuple[Cluster, ...], *also: Subject
) -> Iterator[tuple[Cluster, ClusterObservation]]:
    """The clusters whose gateway runs."""
    for cluster, observed in evidence.readable(observation, Subject.WORKLOADS, Subject.SERVICES, *also, among=among):
        workload = expectations.gateway_workload(observed)
        if workload and workload.available:
            yield cluster, observed
        else:
            evidence.blocked("GW-AVAILABLE", f"the gateway of {cluster.name} is not available")


def _listening(
    observation: Observation, evidence: Evidence, port: int, among: tuple[Cluster, ...]
) -> Iterator[tuple[Cluster, ClusterObservation, tuple[FilterChain, ...]]]:
    """The gateways, pod by pod, with the filter chains of one port."""
    for cluster, observed in _available(observation, evidence, among, Subject.PROXIES):
        proxies = expectations.gateway_proxies(observed)
        if not proxies:
            evidence.unknown(f"{cluster.name}: the gateway runs, and its Envoy was not observed")
        for proxy in proxies:
            chains = [chain for listener in proxy.listeners if listener.port == port for chain in listener.chains]
            yield cluster, observed, tuple(chains)


def _passes_through(chain: FilterChain) -> bool:
    """Whether it forwards by SNI without ending TLS: one chain for all (`sni`), or one for each service."""
    by_name = any(name.startswith("outbound_.") and name in chain.clusters for name in chain.server_names)
    return not chain.tls and (by_name or "sni" in chain.clusters)


def _gateway_objects(observed: ClusterObservation) -> list[str]:
    return [
        f"{item.namespace}/{item.name}"
        for item in observed.config
        if item.kind == "Gateway"
        and any(
            (server.get("tls") or {}).get("mode") == "AUTO_PASSTHROUGH" for server in item.spec.get("servers") or ()
        )
    ]


def _helloworld_identities(observation: Observation, target: Cluster) -> set[str]:
    """Who may stand behind a gateway: the helloworld pods with a ready sidecar on its network."""
    domain, sample = expectations.trust_domain(observation), observation.asked.sample_namespace
    return {
        expectations.spiffe_id(domain, sample, pod.service_account)
        for cluster in observation.topology.clusters
        if cluster.network == target.network
        for pod in expectations.helloworld_pods(observation[cluster], sample)
        if expectations.has_proxy(pod)
    }


def _serves(observation: Observation, probe: Probe) -> bool:
    """Whether the same address and port showed a certificate to the same cluster: the positive control."""
    return any(
        other.kind is ProbeKind.TLS
        and bool(other.certificates)
        and (other.source, other.address, other.port) == (probe.source, probe.address, probe.port)
        for other in observation.probes
    )
