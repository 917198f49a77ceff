"""East-west gateways: there, reachable from where they are needed, and leading where they should."""

from harness.judge.evidence import Evidence
from harness.judge.judgement import Level
from harness.judge.requirement import requirement
from harness.model import ca, certificate_paths, expectations, gateways, requested
from harness.model.cluster import Subject
from harness.model.mesh_features import MeshFeature, has_feature
from harness.model.observation import Observation
from harness.model.starting_pods import behind, only_starting
from harness.model.topology import Cluster, Feature
from harness.model.traffic import Probe, ProbeKind, ProbeResult
from suites.conformance.common import answered, cover, outcome, telling_control_planes, timed_out
from suites.conformance.standing_gateways import available, object_of, standing, state_of

AREA = "gateways"
BOTH = (Feature.MULTI_NETWORK, Feature.PRIMARY_REMOTE)


@requirement("GW-AVAILABLE", Level.MUST, *BOTH, area=AREA)
def test_gw_available(observation: Observation, evidence: Evidence) -> None:
    """The east-west gateway is Available on every cluster where the chapter puts one.

    On every cluster of a multi-network mesh; on a single network on a primary that serves remotes.

    Source: chapter, "Create an East-West gateway".
    """
    for cluster, observed, services in standing(observation, evidence, Subject.WORKLOADS):
        for service in services or (None,):
            workload = gateways.workload(observed, service)
            evidence.expect(
                gateways.is_available(observed, service),
                waited=only_starting(gateways.pods(observed, service) if service else behind(observed, workload)),
                cluster=cluster,
                object=object_of(observation, workload.kind if workload else "Deployment", workload or service),
                field="condition",
                expected="Available",
                found=state_of(observed, service, workload),
            )


@requirement("GW-ADDRESS", Level.MUST, *BOTH, area=AREA)
def test_gw_address(observation: Observation, evidence: Evidence) -> None:
    """The gateway's Service has an address outside of its cluster.

    The other clusters know the gateway by it: the load balancer's IP address or host name, an external IP, or those of
    the nodes that the annotation traffic.istio.io/nodeSelector selects for a NodePort. Where no traffic shows whether
    they do, every control plane must report a gateway of each other network (/debug/networkz), unless its debug
    interface is off.

    Source: chapter, "two OpenShift Container Platform clusters with external load balancer support".
    """
    mesh = expectations.mesh_port(observation.asked)
    for cluster, _, services in standing(observation, evidence, Subject.SERVICES):
        for service in services or (None,):
            known = gateways.addresses(service) if service else ()
            if not (known or gateways.awaits_address(observation.topology, observation, cluster, service)):
                rows = gateways.reported(observation.topology, observation, cluster, mesh)
                known = tuple(row.address for row in rows)
            names = [name for name in service.ingress if name not in known] if service else []
            found = f"none, type {service.type}" if service else "no such Service"
            evidence.expect(
                bool(known),
                cluster=cluster,
                object=object_of(observation, "Service", service),
                field="address",
                expected="an address",
                found=(f"{', '.join(names)} ({', '.join(known)})" if names else ", ".join(known)) if known else found,
            )
    if not has_feature(observation, MeshFeature.TRAFFIC):
        _judge_known_networks(observation, evidence)


def _judge_known_networks(observation: Observation, evidence: Evidence) -> None:
    """Judge that every control plane knows a gateway of each other network: the Service's label is what tells it."""
    topology, mesh = observation.topology, expectations.mesh_port(observation.asked)
    for primary, _ in evidence.readable(observation, Subject.CONTROL_PLANE, among=topology.primaries):
        for plane in telling_control_planes(observation, evidence, primary):
            known = {row.network for row in plane.network_gateways if gateways.at(row, mesh)}
            for network in topology.networks:
                if network != primary.network:
                    evidence.expect(
                        network in known,
                        cluster=primary,
                        object=f"istiod {plane.pod}",
                        field="networks with a gateway",
                        expected=f"{network} among them",
                        found=", ".join(sorted(known)) or "none",
                    )


@requirement("GW-REACHABLE", Level.SHOULD, *BOTH, area=AREA, for_traffic=True)
def test_gw_reachable(observation: Observation, evidence: Evidence) -> None:
    """The gateway's ports answer on every address, from a pod of every cluster that needs them.

    15443 (15008 where ztunnels carry the traffic), or the port that its Service has in front of it, is needed from
    every other network, 15012 and 15017 from the remotes of a primary (15017 is called by their API servers, and is
    tried from a pod all the same). What the runner can reach says nothing about the clusters, so it is never asked.

    Source: chapter, "Gateways must be used to enable communication across network boundaries".
    """
    mesh = expectations.mesh_port(observation.asked)
    for target, observed in available(observation, evidence, expectations.gateways(observation.topology)):
        for port, sources in expectations.needed_ports(observation.topology, target, mesh).items():
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


@requirement("GW-DATAPATH", Level.SHOULD, Feature.MULTI_NETWORK, area=AREA, needs=(MeshFeature.TRAFFIC,))
def test_gw_datapath(observation: Observation, evidence: Evidence) -> None:
    """A TLS connection from another network to 15443 with helloworld's SNI meets helloworld's own certificate.

    That the gateway's readiness port answers proves nothing about the way through it. Examined is the certificate that
    a pod of another network was shown at each address, with ALPN istio: its SPIFFE identity must be helloworld's and
    its path must lead to the root. With --service it is that service's, where pods of it with a sidecar stand behind.
    Where ztunnels carry the traffic the gateway itself ends their tunnel on 15008, and the identity is its own.

    Source: chapter, expose-services.yaml; Istio, "Install Multi-Primary on different networks".
    """
    mesh = expectations.mesh_port(observation.asked)
    for target, observed in available(
        observation,
        evidence,
        expectations.multi_network_gateways(observation.topology),
        Subject.PODS,
        Subject.CA_SECRET,
    ):
        identities = _identities(observation, target)
        roots = ca.trusted_for(observation, target)
        if not identities and observation.asked.service and not observation.asked.ambient:
            evidence.skipped(_nobody(observation, target))
            continue
        if not identities and observation.asked.ambient:
            evidence.blocked("GW-AVAILABLE", f"no pod is known behind the gateway's Service of {target.name}")
            continue
        if not identities:
            evidence.blocked("WL-INJECTED", f"no ready helloworld with a sidecar behind the gateway of {target.name}")
            continue
        if not roots:
            evidence.blocked("CERT-SECRET", f"no root is known by which {target.name}'s certificates can be checked")
            continue
        sources = expectations.needed_ports(observation.topology, target, mesh).get(mesh, ())
        for probe in cover(observation, evidence, ProbeKind.TLS, target=target, port=mesh, sources=sources):
            if answered(probe) and not probe.certificates:
                evidence.unknown(f"{probe.source}: {probe.address}:{probe.port} answered, its certificate was not kept")
                continue
            leaf = next(iter(probe.certificates), None)
            reason = certificate_paths.validates(probe.certificates, roots, observation.observed) if leaf else ""
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
    topology, mesh = observation.topology, expectations.mesh_port(observation.asked)
    for target, _ in available(observation, evidence, expectations.gateways(topology)):
        ports = expectations.needed_ports(topology, target, mesh)
        for kind, port, by in (
            (ProbeKind.TLS_NO_CERTIFICATE, mesh, "GW-DATAPATH"),
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


def _identities(observation: Observation, target: Cluster) -> set[str]:
    """Who may stand behind a gateway: the ready pods with a sidecar that requests are sent to, on its network.

    Where ztunnels carry the traffic it is the gateway itself: it ends the outer one of two tunnels.
    """
    asked = observation.asked
    if asked.ambient:
        return {
            expectations.spiffe_id(ca.trust_domain(observation, target), pod.namespace, pod.service_account)
            for service in gateways.services(observation[target], target.network)
            for pod in gateways.pods(observation[target], service)
        }
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
    return not has_feature(observation, MeshFeature.TRAFFIC)


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
