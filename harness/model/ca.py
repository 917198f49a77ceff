"""Which CA certifies a cluster's workloads, and which roots each cluster trusts. Pure.

What is in use decides: the certificates and the roots of the proxies. The secret `cacerts` says what istiod will use
after its next restart, the config map `istio-ca-root-cert` what istiod gives to new pods.

Source: Istio, "Plug in CA Certificates", "Custom CA Integration"; pilot/pkg/bootstrap/istio_ca.go.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import chain
from urllib.parse import urlsplit

from harness.model import certificate_paths, expectations, revisions
from harness.model.certificate import TLS_FILES, CaSecret, Certificate
from harness.model.cluster import ClusterObservation
from harness.model.observation import Observation
from harness.model.proxy import ControlPlane
from harness.model.reading import Subject
from harness.model.topology import Cluster

SECRET = "cacerts"  # noqa: S105 - a name
ROOT_KEY = "root-cert.pem"
SELF_SIGNED_SECRET = "istio-ca-secret"  # noqa: S105 - a name
_ISTIO_GENERATED = "istio-generated"
_KUBERNETES_SIGNER = "k8s.io/"


class CaKind(StrEnum):
    """Where a cluster's control plane has its CA from."""

    PLUGGED_IN = "plugged-in CA (Secret cacerts)"
    SELF_SIGNED = "self-signed CA of istiod"
    EXTERNAL = "external CA"
    """istio-csr, Kubernetes CSR, SPIRE and the like: istiod signs no workload."""
    UNKNOWN = "unknown CA"
    """The secret could not be read."""


def ca_kind(observed: ClusterObservation) -> CaKind:
    """Where one cluster's certificates come from, by its own objects; meaningful for primaries."""
    if is_external(observed):
        return CaKind.EXTERNAL
    if not observed.was_read(Subject.CA_SECRET):
        return CaKind.UNKNOWN
    secret = observed.ca_secret
    if secret is None or not secret.exists or _ISTIO_GENERATED in secret.keys:
        return CaKind.SELF_SIGNED
    return CaKind.PLUGGED_IN


def is_external(observed: ClusterObservation) -> bool:
    """Whether workloads get their certificates from something else than istiod's own CA."""
    pods = observed.lasting_pods
    settings = [container.env for pod in pods for container in pod.containers if container.env]
    asked = [env.get("CA_ADDR", "") for env in settings]
    asked += [str((config.values.get("global") or {}).get("caAddress") or "") for config in observed.mesh_config]
    return (
        any(pod.identity_socket for pod in pods)
        or any(env.get("ENABLE_CA_SERVER", "").lower() == "false" or env.get("EXTERNAL_CA") for env in settings)
        or any(env.get("PILOT_CERT_PROVIDER", "").startswith(_KUBERNETES_SIGNER) for env in settings)
        or any(_is_other_server(_host(address), observed) for address in set(asked) if address)
    )


def _is_other_server(host: str, observed: ClusterObservation) -> bool:
    """Whether a CA's host is neither a name or address of istiod's nor one that the proxies are configured by."""
    if host.startswith(("istiod", "istio-pilot")) or expectations.is_address(host):
        return False
    return all(_host(proxy.connected_to) != host for proxy in observed.proxies)


def _host(address: str) -> str:
    """The host of `[scheme://]host[:port]`."""
    return urlsplit(address if "://" in address else f"//{address}").hostname or ""


def found(observation: Observation) -> bool:
    """Whether the mesh was there before the run: then only the substance is judged, the chapter's form is reported."""
    return observation.asked.mode == "verify-only"


def plugged_in(observation: Observation) -> bool:
    """Whether the mesh has, or was asked to have, its CA from `cacerts`."""
    kinds = [ca_kind(observation[primary]) for primary in observation.topology.primaries]
    return not found(observation) or CaKind.PLUGGED_IN in kinds


def may_be_plugged_in(observation: Observation) -> bool:
    """Whether some primary has its CA from `cacerts`, or may have, because the secret was not read."""
    kinds = {ca_kind(observation[primary]) for primary in observation.topology.primaries}
    return bool(kinds & {CaKind.PLUGGED_IN, CaKind.UNKNOWN})


def kind_of(observation: Observation, cluster: Cluster) -> CaKind:
    """The CA that certifies a cluster's workloads: on a remote that of its primary."""
    external = is_external(observation[cluster])
    return CaKind.EXTERNAL if external else ca_kind(observation[cluster.primary])


def needs_secret(observation: Observation, cluster: Cluster) -> bool:
    """Whether a cluster's `cacerts` is judged.

    The chapter wants one on every cluster. In a mesh that was there before, istiod reads it on primaries only, and
    needs it only if another primary has its CA from there: else the two have different roots.
    """
    if not found(observation):
        return True
    return cluster.is_primary and plugged_in(observation) and ca_kind(observation[cluster]) is not CaKind.EXTERNAL


def bundle(observed: ClusterObservation) -> tuple[Certificate, ...]:
    """The roots in a cluster's `cacerts`.

    Older recordings have only the first; istiod publishes all of them in the config map.
    """
    secret = observed.ca_secret or CaSecret(exists=False)
    if secret.roots or secret.root_cert is None:
        return secret.roots
    return unique((secret.root_cert, *(observed.root_config_map or ())))


def was_not_parsed(secret: CaSecret) -> bool:
    """Whether a recording has the names of a kubernetes.io/tls secret's entries, but not what they hold."""
    complete = secret.files is TLS_FILES and not secret.missing
    return complete and not (secret.ca_cert or secret.root_cert or secret.problems)


def signing_chain(secret: CaSecret) -> tuple[Certificate, ...]:
    """The CA that signs, and what its file has to lead from it to a root."""
    return (secret.ca_cert, *secret.cert_chain) if secret.ca_cert else ()


def unique(certificates: Iterable[Certificate]) -> tuple[Certificate, ...]:
    """Each certificate once, in order."""
    return tuple({cert.sha256: cert for cert in certificates}.values())


def trusted(observation: Observation, cluster: Cluster) -> tuple[Certificate, ...]:
    """The roots that a cluster trusts: those of its proxies; where none is known, what its primary would give them."""
    observed, primary = observation[cluster], observation[cluster.primary]
    in_use = unique(root for proxy in observed.proxies for root in proxy.roots)
    return in_use or unique((*bundle(primary), *(observed.root_config_map or ())))


def trusted_for(observation: Observation, target: Cluster) -> tuple[Certificate, ...]:
    """The roots by which the other clusters check a cluster's workloads.

    Those that all others trust; on a mesh that the run installed the root in the primary's secret.
    """
    if not found(observation):
        secret = observation[target.primary].ca_secret
        return (secret.root_cert,) if secret and secret.root_cert else ()
    others = [trusted(observation, other) for other in observation.topology.others(target)]
    return tuple(root for root in unique(chain.from_iterable(others)) if all(root in each for each in others))


def istiod_roots(observation: Observation, cluster: Cluster) -> tuple[Certificate, ...]:
    """The roots by which a cluster's proxies check istiod: those of the config map, else those they trust at all."""
    return observation[cluster].root_config_map or trusted(observation, cluster)


def has_own_tls(observation: Observation, cluster: Cluster, plane: ControlPlane) -> bool:
    """Whether an istiod that signs with `cacerts` serves with a certificate of another CA (Secret istiod-tls).

    Told from an istiod that has not taken up `cacerts`: the workloads' certificates lead to a root in the secret, and
    istiod's own does not come from a self-signed CA of istiod, whose only name is O=TRUST DOMAIN.
    """
    roots, issuer = bundle(observation[cluster.primary]), f"O={trust_domains(observation, cluster)[0]}"
    served = observation.topology.served_by(observation.topology[cluster.primary])
    chains = [proxy.chain for each in served for proxy in observation[each].proxies if proxy.chain]
    shown = plane.serving_chain
    return (
        found(observation)
        and bool(shown and chains)
        and shown[0].issuer != issuer
        and not certificate_paths.paths(shown, roots)
        and all(certificate_paths.paths(each, roots) for each in chains)
    )


@dataclass(frozen=True)
class Trust:
    """Roots that something in a cluster trusts."""

    cluster: str
    object: str
    roots: tuple[Certificate, ...]


@dataclass(frozen=True)
class Signed:
    """A chain that leads to a root which every cluster has to trust."""

    cluster: str
    object: str
    chain: tuple[Certificate, ...]
    """Leaf first."""


@dataclass(frozen=True)
class Distrust:
    """One cluster does not trust what another one has signed."""

    trust: Trust
    signed: Signed


def trusts(observation: Observation, cluster: Cluster) -> Iterator[Trust]:
    """Everything in a cluster that trusts roots: its proxies, and on a primary the CA that new ones get them from."""
    observed, seen = observation[cluster], set[frozenset[str]]()
    for proxy in observed.proxies:
        known = frozenset(root.sha256 for root in proxy.roots)
        if known and known not in seen:
            seen.add(known)
            yield Trust(cluster.name, f"Pod {proxy.namespace}/{proxy.pod} roots", proxy.roots)
    if _signs_with_secret(observation, cluster):
        yield Trust(cluster.name, secret_name(observation, cluster), bundle(observed))
    elif not seen and observed.root_config_map:
        yield Trust(cluster.name, root_config_map_name(observation, cluster), observed.root_config_map)


def root_config_map_name(observation: Observation, cluster: Cluster) -> str:
    """How findings name the config map that was read: the sample's, where there is a namespace for it."""
    asked = observation.asked
    there = observation[cluster].namespace(asked.sample_namespace) is not None or asked.mode == "install"
    return f"ConfigMap {asked.sample_namespace if there else asked.system_namespace}/istio-ca-root-cert"


def signed(observation: Observation, cluster: Cluster) -> Iterator[Signed]:
    """The chains of a cluster's workloads, one for each CA that signed them; on a primary also that of its CA."""
    observed, seen = observation[cluster], set[tuple[str, ...]]()
    for proxy in observed.proxies:
        if proxy.chain:
            leaf, *others = proxy.chain
            by = (leaf.issuer, leaf.authority_key_id or "", *(cert.sha256 for cert in others))
            if by not in seen:
                seen.add(by)
                yield Signed(cluster.name, f"Pod {proxy.namespace}/{proxy.pod} certificate", proxy.chain)
    secret = observed.ca_secret
    if _signs_with_secret(observation, cluster) and secret and (authority := signing_chain(secret)):
        yield Signed(cluster.name, secret_name(observation, cluster), authority)
    elif not seen and cluster.is_primary and (root := next(iter(observed.root_config_map or ()), None)):
        yield Signed(cluster.name, secret_name(observation, cluster), (root,))


def distrusted(observation: Observation) -> Iterator[Distrust]:
    """Each pair of clusters where one does not trust what the other signs, by name and signature (not by validity)."""
    clusters = observation.topology.clusters
    everything = {cluster.name: tuple(signed(observation, cluster)) for cluster in clusters}
    for truster in clusters:
        for trust in trusts(observation, truster):
            for signer in clusters:
                if signer.name != truster.name:
                    for each in everything[signer.name]:
                        if not certificate_paths.paths(each.chain, trust.roots):
                            yield Distrust(trust, each)


def _signs_with_secret(observation: Observation, cluster: Cluster) -> bool:
    observed = observation[cluster]
    return cluster.is_primary and ca_kind(observed) is CaKind.PLUGGED_IN and bool(bundle(observed))


def secret_name(observation: Observation, cluster: Cluster) -> str:
    """The secret that holds, or should hold, the CA of a cluster."""
    own = ca_kind(observation[cluster]) is CaKind.SELF_SIGNED and not plugged_in(observation)
    return f"Secret {observation.asked.system_namespace}/{SELF_SIGNED_SECRET if own else SECRET}"


def trust_domains(observation: Observation, cluster: Cluster) -> tuple[str, ...]:
    """The trust domain of a cluster first, then those that it accepts: aliases, and such as it has the roots of.

    Source: Istio, "Trust Domain Migration"; pilot/pkg/networking/plugin/authn/util.go, TrustDomainsForValidation.
    """
    primary = observation.topology[cluster.primary]
    config = expectations.mesh_config(observation[primary], revisions.revision(observation, primary))
    if config is None:
        return (observation.asked.trust_domain,)
    own = str(config.mesh.get("trustDomain") or "cluster.local")
    federated = (name for each in config.mesh.get("caCertificates") or () for name in each.get("trustDomains") or ())
    return (own, *map(str, config.mesh.get("trustDomainAliases") or ()), *map(str, federated))


def trust_domain(observation: Observation, cluster: Cluster) -> str:
    """The trust domain in which a cluster's workloads are named: that of its control plane, or the one asked for."""
    return trust_domains(observation, cluster)[0] if found(observation) else observation.asked.trust_domain


def accepted_everywhere(observation: Observation, domain: str) -> bool:
    """Whether every control plane takes a trust domain as its own or as an alias."""
    return all(domain in trust_domains(observation, primary) for primary in observation.topology.primaries)
