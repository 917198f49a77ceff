"""Certificates: that control planes, proxies and trust bundles really use the chapter's PKI."""

from collections.abc import Iterator

from harness.judge.evidence import Evidence
from harness.judge.judgement import Level
from harness.judge.requirement import requirement
from harness.model import ca, captured, certificate_paths, discovery_names, expectations, x509
from harness.model.certificate import CaSecret, Certificate
from harness.model.cluster import ClusterObservation, Subject
from harness.model.mesh_features import MeshFeature, has_feature
from harness.model.observation import Observation
from harness.model.proxy import Proxy
from harness.model.topology import Cluster
from harness.model.traffic import Probe, ProbeKind
from suites.conformance.common import answered, ca_secrets, cover, outcome, proxies, running_control_planes, timed_out
from suites.conformance.held import judge_held
from suites.conformance.standing_gateways import tls_ended_for_istiod

AREA = "certificates"


@requirement("CERT-IN-USE", Level.SHOULD, area=AREA, needs=(MeshFeature.PLUGGED_IN_CA,), for_traffic=True)
def test_cert_in_use(observation: Observation, evidence: Evidence) -> None:
    """Every control plane signs with the plugged-in intermediate, and every cluster's workloads are given the root.

    A secret that was created after istiod started is not used: istiod goes on with a self-signed CA of its own.
    Examined are the issuer of istiod's serving certificate, the issuers of the certificates of the proxies that it
    serves, and the config map `istio-ca-root-cert` in the sample namespace of each cluster it serves. On a remote that
    is the primary's CA: the remote's own secret signs nothing. In a mesh that was there before, certificates of an
    earlier intermediate are as good if they lead to a root in the secret, and an istiod whose certificate another CA
    has made is reported.

    Source: chapter, "Applying certificates to a multi-cluster topology"; Istio, "Plug in CA Certificates".
    """
    for primary, _, secret in ca_secrets(
        observation, evidence, Subject.CONTROL_PLANE, among=observation.topology.primaries
    ):
        home = observation.topology.home_of(primary).name
        if secret.ca_cert is None:
            evidence.blocked("CERT-SECRET", f"{home} has no readable {secret.files.ca_cert}")
            continue
        for control_plane in running_control_planes(observation, evidence, primary):
            if not control_plane.serving_chain:
                evidence.unknown(f"{home}: the certificate of {control_plane.pod} was not read")
            elif ca.has_own_tls(observation, primary, control_plane):
                evidence.fact(f"{home}: istiod {control_plane.pod} serves with a certificate of another CA")
            else:
                name = f"istiod {control_plane.pod}"
                _expect_issuer(observation, evidence, primary, name, control_plane.serving_chain)
    for cluster, observed in evidence.readable(observation, Subject.PROXIES):
        if _has_ca(observation, cluster):
            for proxy in (*observed.proxies, *captured.views(observation, cluster)):
                if proxy.chain:
                    _expect_issuer(observation, evidence, cluster, proxy.title, proxy.chain)
    for cluster, observed in evidence.readable(observation, Subject.ROOT_CONFIG_MAP):
        if _has_ca(observation, cluster):
            _expect_published(observation, evidence, cluster, observed)


def _has_ca(observation: Observation, cluster: Cluster) -> bool:
    """Whether a cluster's workloads are certified by a readable CA from `cacerts`."""
    secret = expectations.signing_ca(observation, cluster)
    judged = ca.needs_secret(observation, observation.topology[cluster.primary])
    external = ca.found(observation) and ca.kind_of(observation, cluster) is ca.CaKind.EXTERNAL
    return judged and not external and secret is not None and secret.ca_cert is not None


def _expect_published(
    observation: Observation, evidence: Evidence, cluster: Cluster, observed: ClusterObservation
) -> None:
    """The root that istiod gives to new pods."""
    secret = expectations.signing_ca(observation, cluster) or CaSecret(exists=False)
    wanted: tuple[Certificate, ...] = (secret.root_cert,) if secret.root_cert else ()
    if ca.found(observation):
        wanted = certificate_paths.anchors(ca.signing_chain(secret), ca.bundle(observation[cluster.primary]))
    found = observed.root_config_map or ()
    name = ca.root_config_map_name(observation, cluster)
    if ca.found(observation) and not found and any(proxy.roots for proxy in observed.proxies):
        evidence.fact(f"{cluster.name}: no {name}; its proxies have their roots from elsewhere")
    elif not found and not has_feature(observation, MeshFeature.SAMPLE):
        evidence.not_applicable(f"{cluster.name}: no {name}, and no sample that needs it")
    elif wanted and not _own_tls(observation, cluster):
        evidence.expect(
            any(_same_ca(observation, each, root) for each in found for root in wanted),
            cluster=cluster,
            object=name,
            field="root-cert.pem",
            expected=" or ".join(f"{each.subject}, serial {each.serial}" for each in wanted),
            found=", ".join(f"{each.subject}, serial {each.serial}" for each in found) or "none",
        )


def _same_ca(observation: Observation, one: Certificate, other: Certificate) -> bool:
    """Whether they are one certificate; in a mesh that was there before also two of one CA, whose root was renewed."""
    if ca.found(observation):
        return one.subject == other.subject and x509.same_key(one, other)
    return one.sha256 == other.sha256


def _own_tls(observation: Observation, cluster: Cluster) -> bool:
    """Whether the control plane of a cluster serves with a certificate that another CA has made for it."""
    planes = observation[cluster.primary].control_planes
    return any(ca.has_own_tls(observation, cluster, plane) for plane in planes)


@requirement("CERT-WORKLOAD", Level.SHOULD, area=AREA, for_traffic=True)
def test_cert_workload(observation: Observation, evidence: Evidence) -> None:
    """Each workload's certificate leads through its control plane's intermediate to the root and names the workload.

    This is the identity with which it meets workloads of other clusters. Examined of each proxy, and of what a ztunnel
    holds for the pods of its node: the path to the root at the time of observation, the intermediate in it, the one URI
    spiffe://TRUST_DOMAIN/ns/NAMESPACE/sa/ACCOUNT, the extended key usages for client and server, and that it does not
    outlive its issuer. That it begins before its issuer is no fault: istiod dates certificates back by two minutes, for
    clocks that are behind. In a mesh that was there before, the path must lead to a root that the workload's cluster
    trusts, over whatever CA, and the trust domain is that of its control plane.

    Source: Istio, "Identity and certificate management"; SPIFFE X.509-SVID; RFC 5280 section 6.1.
    """
    installed = not ca.found(observation)
    among = observation.topology.primaries if installed else ()
    primaries = {cluster.name for cluster, _, _ in ca_secrets(observation, evidence, among=among)}
    for cluster, observed in evidence.readable(observation, Subject.PODS, Subject.PROXIES):
        secret = expectations.signing_ca(observation, cluster) or CaSecret(exists=False)
        readable = cluster.primary in primaries and secret.ca_cert is not None and secret.root_cert is not None
        if installed and not readable:
            evidence.blocked("CERT-SECRET", f"{cluster.name}: the CA of {cluster.primary} can't be read")
            continue
        owners = {(pod.namespace, pod.name): pod for pod in observed.pods}
        for proxy in proxies(observation, evidence, cluster):
            pod = owners.get((proxy.namespace, proxy.pod))
            if proxy.chain:
                _judge_leaf(observation, evidence, cluster, proxy, account=pod.service_account if pod else "")
            elif isinstance(proxy, captured.CapturedPod):
                judge_held(evidence, cluster, proxy)
            elif pod and not pod.ready:
                evidence.blocked(
                    "WL-INJECTED", f"{cluster.name}: {_pod(proxy)} is not ready, and has no certificate yet"
                )
            else:
                evidence.unknown(f"{cluster.name}: the certificate of {_pod(proxy)} was not read")


@requirement("CERT-ISTIOD", Level.SHOULD, area=AREA, for_traffic=True)
def test_cert_istiod(observation: Observation, evidence: Evidence) -> None:
    """Istiod's serving certificate is valid for the name its clients use, also through the gateway.

    Proxies and API servers check this certificate when they connect for configuration, certificates and injection.
    Examined is the certificate on 15012 of each control plane: path to the root, server usage, and the host name in the
    discovery address of the proxies it serves. Where remotes reach it through the gateway, the same of the certificate
    that a pod of each remote was shown there. In a mesh that was there before, the roots are those of the config map
    `istio-ca-root-cert`, by which proxies check it; where a gateway ends TLS with a certificate of its own, that the
    remotes are served tells that they trust it.

    Source: Istio, "Plug in CA Certificates"; RFC 9525 section 6.
    """
    for primary, roots in _serving_roots(observation, evidence):
        home = observation.topology.home_of(primary)
        for control_plane in running_control_planes(observation, evidence, primary):
            chain = control_plane.serving_chain
            if not chain:
                evidence.unknown(f"{home.name}: the certificate of {control_plane.pod} was not read")
                continue
            name = f"istiod {control_plane.pod}:{expectations.XDS_PORT}"
            names = discovery_names.of_control_plane(observation, primary, control_plane)
            _judge_serving(observation, evidence, primary, name, chain=chain, roots=roots, names=names)
        port = expectations.XDS_PORT
        if tls_ended_for_istiod(observation, evidence, home, port):
            continue
        served = observation.topology.dependents(home)
        names = discovery_names.of_clusters(observation, served)
        for probe in cover(observation, evidence, ProbeKind.TLS, target=home, port=port, sources=served):
            if _presented(evidence, probe):
                name = f"gateway {probe.address}:{probe.port} from {probe.source}"
                _judge_serving(observation, evidence, home, name, chain=probe.certificates, roots=roots, names=names)


def _serving_roots(observation: Observation, evidence: Evidence) -> Iterator[tuple[Cluster, tuple[Certificate, ...]]]:
    """The primaries, each with the roots by which its clients must be able to check it."""
    primaries = observation.topology.primaries
    if ca.found(observation):
        for primary, _ in evidence.readable(
            observation, Subject.CONTROL_PLANE, Subject.ROOT_CONFIG_MAP, among=primaries
        ):
            if roots := ca.istiod_roots(observation, primary):
                yield primary, roots
            else:
                evidence.skipped(f"{primary.name}: by which roots proxies check istiod is not known")
        return
    for primary, _, secret in ca_secrets(observation, evidence, Subject.CONTROL_PLANE, among=primaries):
        if secret.root_cert is None:
            evidence.blocked(
                "CERT-SECRET", f"{observation.topology.home_of(primary).name} has no readable root-cert.pem"
            )
        else:
            yield primary, (secret.root_cert,)


def _pod(proxy: Proxy) -> str:
    return f"{proxy.namespace}/{proxy.pod}"


def _expect_issuer(
    observation: Observation,
    evidence: Evidence,
    cluster: Cluster,
    name: str,
    chain: tuple[Certificate, ...],
) -> None:
    """Judge whether a certificate comes from the CA in the secret of the primary that serves the cluster."""
    leaf, authority = chain[0], (expectations.signing_ca(observation, cluster) or CaSecret(exists=False)).ca_cert
    if authority is None:
        return
    passes = x509.signed_by(leaf, authority)
    if not passes and ca.found(observation):
        passes = bool(certificate_paths.paths(chain, ca.bundle(observation[cluster.primary])))
    evidence.expect(
        passes,
        cluster=cluster,
        object=name,
        field="certificate's issuer",
        expected=f"{authority.subject}, serial {authority.serial}",
        found=leaf.issuer if leaf.issuer != authority.subject or passes else f"{leaf.issuer}, another key",
    )


def _judge_leaf(observation: Observation, evidence: Evidence, cluster: Cluster, proxy: Proxy, *, account: str) -> None:
    leaf, name = proxy.chain[0], proxy.title
    found, secret = ca.found(observation), expectations.signing_ca(observation, cluster) or CaSecret(exists=False)
    roots: tuple[Certificate, ...] = (secret.root_cert,) if secret.root_cert else ()
    if found:
        roots = proxy.roots or ca.trusted(observation, cluster)
    identity = expectations.spiffe_id(ca.trust_domain(observation, cluster), proxy.namespace, account)
    reason = certificate_paths.validates(proxy.chain, roots, observation.observed)
    to = " or ".join(root.subject for root in roots) or "a root"
    judged = [
        ("certificate path", reason is None, f"valid to {to}", reason or "valid"),
        ("identity", leaf.uris == (identity,), identity, ", ".join(leaf.uris) or "none"),
        ("extended key usage", {"serverAuth", "clientAuth"} <= set(leaf.extended_key_usage),
         "serverAuth, clientAuth", ", ".join(leaf.extended_key_usage) or "none"),
    ]  # fmt: skip
    if secret.ca_cert and not found:
        passes, until = x509.signed_by(leaf, secret.ca_cert), secret.ca_cert.not_after
        judged.append(("intermediate", passes, secret.ca_cert.subject, leaf.issuer))
        wanted, seen = f"at most its issuer's {until:%Y-%m-%d %H:%M:%S}", f"{leaf.not_after:%Y-%m-%d %H:%M:%S}"
        judged.append(("notAfter", not passes or leaf.not_after <= until, wanted, seen))
    for field, holds, wanted, seen in judged:
        evidence.expect(holds, cluster=cluster, object=name, field=field, expected=wanted, found=seen)


def _presented(evidence: Evidence, probe: Probe) -> bool:
    """Whether the peer showed a certificate; a handshake that ends without one is a finding."""
    if probe.certificates:
        return True
    if answered(probe):
        evidence.unknown(f"{probe.source}: {probe.address}:{probe.port} answered, its certificate was not kept")
        return False
    return evidence.expect(
        False,
        cluster=probe.target,
        object=f"gateway {probe.address}:{probe.port} from {probe.source}",
        field="TLS handshake",
        expected="istiod's certificate",
        found=outcome(probe),
        timed=timed_out(probe),
    )


def _judge_serving(
    observation: Observation,
    evidence: Evidence,
    cluster: Cluster,
    name: str,
    *,
    chain: tuple[Certificate, ...],
    roots: tuple[Certificate, ...],
    names: tuple[str, ...],
) -> None:
    reason = certificate_paths.validates(chain, roots, observation.observed, purpose="serverAuth")
    evidence.expect(
        reason is None,
        cluster=cluster,
        object=name,
        field="certificate path",
        expected="valid",
        found=reason or "valid",
    )
    for wanted in names:
        evidence.expect(
            x509.covers_name(chain[0], wanted),
            cluster=cluster,
            object=name,
            field="subjectAltName",
            expected=wanted,
            found=", ".join(chain[0].dns_names) or "none",
        )
