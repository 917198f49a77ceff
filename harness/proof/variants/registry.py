"""The registry of all variants."""

from collections.abc import Collection, Mapping

from harness.base.errors import UserError
from harness.model.topology import Topology
from harness.proof.faults.fault import MN, everywhere
from harness.proof.variants.acts import certificates, clusters, gateways, policies, workloads
from harness.proof.variants.variant import Variant

VARIANTS = (
    Variant(
        "ingress-policy",
        "An AuthorizationPolicy for an ingress gateway in East's system namespace",
        "its selector matches no pod of the mesh between the clusters",
        policies.ingress_policy,
        everywhere,
    ),
    Variant(
        "both-labels",
        "The sample namespace has istio.io/rev of a revision that does not run, beside istio-injection=enabled",
        "istio-injection takes precedence over istio.io/rev",
        workloads.both_labels,
        everywhere,
    ),
    Variant(
        "app-protocol",
        "West's helloworld Service has appProtocol: http on the port named http",
        "both say HTTP; appProtocol takes precedence over the port's name",
        workloads.app_protocol,
        everywhere,
    ),
    Variant(
        "curl-for-sleep",
        "The client is the Deployment curl, there is no sleep",
        "Istio's samples since 1.24 have curl in place of sleep",
        workloads.curl_for_sleep,
        everywhere,
    ),
    Variant(
        "service-account",
        "West's helloworld runs under a service account of its own",
        "identities of one service may differ; all are accepted unless a policy says otherwise",
        workloads.service_account,
        everywhere,
    ),
    Variant(
        "sidecar-scope",
        "A Sidecar limits the sample's proxies to their own namespace and the system namespace",
        "helloworld is within the scope",
        policies.sidecar_scope,
        everywhere,
    ),
    Variant(
        "strict-registry-only",
        "STRICT mTLS in the whole mesh, and outbound traffic only to what the registry knows",
        "traffic between the clusters is mTLS, to services that the registry knows",
        policies.strict_registry_only,
        everywhere,
    ),
    Variant(
        "discovery-selectors",
        "discoverySelectors admit the system and the sample namespace by a label",
        "every namespace of the mesh has the label",
        policies.discovery_selectors,
        everywhere,
    ),
    Variant(
        "failover",
        "A DestinationRule with outlier detection for all services, and the clusters in two regions",
        "locality failover: the other region serves when the own one does not",
        clusters.failover,
        everywhere,
    ),
    Variant(
        "one-secret",
        "One remote secret with a key for every cluster, in place of one secret for each",
        "istiod reads every key of a labelled secret and passes over its own cluster",
        clusters.one_secret,
        everywhere,
    ),
    Variant(
        "narrow-hosts",
        "West's Gateway for all services has the sample namespace as its only host",
        "helloworld is one of its hosts",
        gateways.narrow_hosts,
        MN,
    ),
    Variant(
        "gateway-port",
        "West's gateway listens on 443, and its label networking.istio.io/gatewayPort says so",
        "istiod announces the port that the label names",
        gateways.gateway_port,
        MN,
    ),
    Variant(
        "external-ips",
        "West's gateway is reached by externalIPs of a ClusterIP Service",
        "istiod takes external IPs for the addresses of a gateway",
        gateways.external_ips,
        MN,
    ),
    Variant(
        "tls-secret",
        "cacerts is of type kubernetes.io/tls: tls.crt, tls.key, ca.crt",
        "istiod reads these names as well; cert-manager writes them",
        certificates.tls_secret,
        everywhere,
    ),
    Variant(
        "root-bundle",
        "root-cert.pem has the next root too, in another order on East than on West",
        "a trust bundle is a set of roots; every certificate verifies against one of them",
        certificates.root_bundle,
        everywhere,
    ),
)


def variants() -> dict[str, Variant]:
    """Every variant by its id.

    Raises:
        ValueError: an id is declared twice.
    """
    found = {variant.id: variant for variant in VARIANTS}
    if len(found) < len(VARIANTS):
        raise ValueError("a variant is declared twice")
    return found


def select(known: Mapping[str, Variant], topology: Topology, wanted: Collection[str] = ()) -> tuple[Variant, ...]:
    """The variants that are made in a topology.

    Args:
        known: every variant by its id.
        topology: where.
        wanted: ids; all where empty.

    Raises:
        UserError: there is no variant of an id.
    """
    for name in wanted:
        if name not in known:
            raise UserError(
                f"--variant={name} is not known.",
                "there is no variant of that id",
                f"choose among: {', '.join(known)}",
            )
    return tuple(
        variant for variant in known.values() if variant.where(topology) and (not wanted or variant.id in wanted)
    )
