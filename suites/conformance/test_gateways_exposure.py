"""East-west gateways: what they must lead other networks to, and what not."""

from collections.abc import Iterator
from fnmatch import fnmatch

from harness.judge.evidence import Evidence
from harness.judge.judgement import Level
from harness.judge.requirement import requirement
from harness.model import expectations, gateway_objects, gateways, plain_istiod, remotes, requested
from harness.model.cluster import ClusterObservation, Subject
from harness.model.mesh_features import MeshFeature, has_feature
from harness.model.observation import Observation
from harness.model.proxy import FilterChain
from harness.model.topology import Cluster, Feature
from suites.conformance.standing_gateways import available, tls_ended_for_istiod


@requirement("GW-EXPOSE-SERVICES", Level.MUST, Feature.MULTI_NETWORK, area="gateways", needs=(MeshFeature.SIDECARS,))
def test_gw_expose_services(observation: Observation, evidence: Evidence) -> None:
    """Each gateway's Envoy passes the mesh's services through on 15443.

    AUTO_PASSTHROUGH for *.local makes a filter chain for each service, chosen by the SNI, that ends in no certificate
    of the gateway's own; the sample's helloworld, or the service of --service, must be among them; without either, any
    service. On a remote the Gateway object stands on its primary; Envoy's listener is what counts and what is examined.

    Source: chapter, "Expose the services through the gateway", expose-services.yaml.
    """
    among, asked = expectations.multi_network_gateways(observation.topology), observation.asked
    named = has_feature(observation, MeshFeature.TRAFFIC)
    meant = requested.service(asked).name if named else "some service"
    for cluster, observed, listener, chains in _listening(observation, evidence, expectations.MESH_PORT, among):
        passing = [chain for chain in chains or () if gateways.passes_through(chain)]
        through = sorted({name for chain in passing for name in chain.server_names or ("*",)})
        objects = _gateway_objects(observation[cluster.primary])
        domain = expectations.cluster_domain(observation[cluster.primary])
        wanted = requested.server_name(asked, domain)
        exposed = any(fnmatch(wanted, name) for name in through) if named else bool(passing)
        others = f"{len(through)} other services" if through else f"{len(chains or ())} other filter chains"
        evidence.expect(
            exposed,
            cluster=observed,
            object=listener,
            field="AUTO_PASSTHROUGH",
            expected=f"{meant} by its SNI (Gateway on {cluster.primary}: {', '.join(objects) or 'none'})",
            found="no proxy behind the Service"
            if chains is None
            else f"{len(through)} services{f', {meant} among them' if named else ''}"
            if exposed
            else others,
        )


@requirement("GW-EXPOSE-ISTIOD", Level.MUST, Feature.PRIMARY_REMOTE, area="gateways")
def test_gw_expose_istiod(observation: Observation, evidence: Evidence) -> None:
    """The primary's gateway leads 15012 and 15017 to istiod.

    Over these the remotes' proxies get configuration and certificates, and their API servers injection. Examined is
    where the filter chains of the gateway's listeners lead. Under verify-only a gateway that ends TLS for istiod is
    reported, where its remotes are served.

    Source: chapter, "Expose the control plane through the gateway", expose-istiod.yaml.
    """
    primaries = expectations.serving_primaries(observation.topology)
    for port in (expectations.XDS_PORT, expectations.WEBHOOK_PORT):
        passing = [each for each in primaries if not tls_ended_for_istiod(observation, evidence, each, port)]
        for cluster, observed, listener, chains in _listening(observation, evidence, port, tuple(passing)):
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


def _listening(
    observation: Observation, evidence: Evidence, port: int, among: tuple[Cluster, ...]
) -> Iterator[tuple[Cluster, ClusterObservation, str, tuple[FilterChain, ...] | None]]:
    """The gateways, pod by pod: the listener behind a port, and its filter chains; None where there is no proxy."""
    for cluster, observed in available(observation, evidence, among, Subject.PROXIES):
        if port != expectations.MESH_PORT and remotes.served_from_elsewhere(observation, cluster, port):
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


@requirement("GW-ISTIOD-PLAIN", Level.SHOULD, Feature.MULTI_NETWORK, Feature.PRIMARY_REMOTE, area="gateways")
def test_gw_istiod_plain(observation: Observation, evidence: Evidence) -> None:
    """No east-west gateway leads to a port of istiod that has no TLS.

    On 15010 istiod gives every caller the configuration of any proxy, on 15014 and 8080 it answers with metrics and
    debug pages. Remotes need 15012 and 15017, with TLS passed through or ended at the gateway. Examined are the
    Gateways that select an east-west gateway, of either API (a server for 15010 or 15014 fails, wherever it leads),
    the VirtualServices behind them, and where the filter chains of the gateway's Envoy lead.

    Source: Istio, "Security best practices", expose-istiod.yaml.
    """
    among = expectations.gateways(observation.topology)
    primaries = (*observation.topology.primaries, *observation.topology.hosts)
    read = {cluster.name for cluster, _ in evidence.readable(observation, Subject.CONFIG, among=primaries)}
    subjects = (Subject.SERVICES, Subject.PODS, Subject.PROXIES)
    for cluster, _ in evidence.readable(observation, *subjects, among=among):
        if cluster.primary not in read:
            continue
        found = plain_istiod.exposed(observation, cluster)
        for each in found:
            evidence.expect(
                False, cluster=each.cluster, object=each.object, field=each.field,
                expected="only 15012 and 15017 of istiod", found=each.found,
            )  # fmt: skip
        if not found:
            services = gateway_objects.services(observation, cluster)
            names = [f"{service.namespace}/{service.name}" for service in services]
            evidence.fact(f"{cluster.name}: nothing leads to istiod without TLS by {', '.join(names) or 'a gateway'}")
