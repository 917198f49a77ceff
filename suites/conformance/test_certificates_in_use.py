"""Certificates: that control planes, proxies and trust bundles really use the chapter's PKI."""

from datetime import timedelta

from harness.judge.requirement import Evidence, Level, requirement
from harness.model import expectations, x509
from harness.model.certificate import CaSecret, Certificate
from harness.model.cluster import ClusterObservation, Subject
from harness.model.observation import Observation
from harness.model.proxy import Proxy
from harness.model.topology import Cluster
from harness.model.traffic import Probe, ProbeKind
from suites.conformance.common import answered, ca_secrets, cover, outcome, proxies, running_control_planes

AREA = "certificates"
HORIZON = timedelta(days=30)


@requirement("CERT-IN-USE", Level.SHOULD, area=AREA)
def test_cert_in_use(observation: Observation, evidence: Evidence) -> None:
    """Every control plane signs with the plugged-in intermediate, and every cluster's workloads are given the root.

    A secret that was created after istiod started is not used: istiod goes on with a self-signed CA of its own.
    Examined are the issuer of istiod's serving certificate, the issuers of the certificates of the proxies that it
    serves, and the config map `istio-ca-root-cert` in the sample namespace of each cluster it serves. On a remote that
    is the primary's CA: the remote's own secret signs nothing.

    Source: chapter, "Applying certificates to a multi-cluster topology"; Istio, "Plug in CA Certificates".
    """
    for primary, observed, secret in ca_secrets(
        observation, evidence, Subject.CONTROL_PLANE, among=observation.topology.primaries
    ):
        if secret.ca_cert is None:
            evidence.blocked("CERT-SECRET", f"{primary.name} has no readable ca-cert.pem")
            continue
        for control_plane in running_control_planes(observation, evidence, primary):
            chain = control_plane.serving_chain
            if not chain:
                evidence.unknown(f"{primary.name}: the certificate of {control_plane.pod} was not read")
                continue
            _expect_issuer(evidence, observed, f"istiod {control_plane.pod}", chain[0], secret.ca_cert)
    for cluster, observed in evidence.readable(observation, Subject.PROXIES):
        secret = expectations.signing_ca(observation, cluster) or CaSecret(exists=False)
        for proxy in observed.proxies:
            if proxy.chain and secret.ca_cert:
                _expect_issuer(evidence, observed, f"proxy {_pod(proxy)}", proxy.chain[0], secret.ca_cert)
    for cluster, observed in evidence.readable(observation, Subject.ROOT_CONFIG_MAP):
        secret = expectations.signing_ca(observation, cluster) or CaSecret(exists=False)
        if secret.root_cert is None:
            continue
        found = observed.root_config_map or ()
        evidence.expect(
            any(root.sha256 == secret.root_cert.sha256 for root in found),
            cluster=cluster,
            object=f"ConfigMap {observation.asked.sample_namespace}/istio-ca-root-cert",
            field="root-cert.pem",
            expected=f"{secret.root_cert.subject}, serial {secret.root_cert.serial}",
            found=", ".join(f"{root.subject}, serial {root.serial}" for root in found) or "none",
        )


@requirement("CERT-WORKLOAD", Level.SHOULD, area=AREA)
def test_cert_workload(observation: Observation, evidence: Evidence) -> None:
    """Each workload's certificate leads through its control plane's intermediate to the root and names the workload.

    This is the identity with which it meets workloads of other clusters. Examined of each proxy: the path to the root
    at the time of observation, the intermediate in it, the one URI spiffe://TRUST_DOMAIN/ns/NAMESPACE/sa/ACCOUNT, the
    extended key usages for client and server, and that it does not outlive its issuer. That it begins before its issuer
    is no fault: istiod dates certificates back by two minutes, for clocks that are behind.

    Source: Istio, "Identity and certificate management"; SPIFFE X.509-SVID; RFC 5280 section 6.1.
    """
    primaries = {
        cluster.name for cluster, _, _ in ca_secrets(observation, evidence, among=observation.topology.primaries)
    }
    for cluster, observed in evidence.readable(observation, Subject.PODS, Subject.PROXIES):
        secret = expectations.signing_ca(observation, cluster) or CaSecret(exists=False)
        if cluster.primary not in primaries or secret.ca_cert is None or secret.root_cert is None:
            evidence.blocked("CERT-SECRET", f"{cluster.name}: the CA of {cluster.primary} can't be read")
            continue
        owners = {(pod.namespace, pod.name): pod for pod in observed.pods}
        for proxy in proxies(evidence, cluster, observed):
            pod = owners.get((proxy.namespace, proxy.pod))
            if not proxy.chain and pod and not pod.ready:
                evidence.blocked(
                    "WL-INJECTED", f"{cluster.name}: {_pod(proxy)} is not ready, and has no certificate yet"
                )
                continue
            if not proxy.chain:
                evidence.unknown(f"{cluster.name}: the certificate of {_pod(proxy)} was not read")
                continue
            account = pod.service_account if pod else ""
            identity = expectations.spiffe_id(expectations.trust_domain(observation), proxy.namespace, account)
            _judge_leaf(
                observation, evidence, cluster, proxy, ca=secret.ca_cert, root=secret.root_cert, identity=identity
            )


@requirement("CERT-ISTIOD", Level.SHOULD, area=AREA)
def test_cert_istiod(observation: Observation, evidence: Evidence) -> None:
    """Istiod's serving certificate is valid for the name its clients use, also through the gateway.

    Proxies and API servers check this certificate when they connect for configuration, certificates and injection.
    Examined is the certificate on 15012 of each control plane: path to the root, server usage, and the host name in the
    discovery address of the proxies it serves. Where remotes reach it through the gateway, the same of the certificate
    that a pod of each remote was shown there.

    Source: Istio, "Plug in CA Certificates"; RFC 9525 section 6.
    """
    for primary, _, secret in ca_secrets(
        observation, evidence, Subject.CONTROL_PLANE, among=observation.topology.primaries
    ):
        root = secret.root_cert
        if root is None:
            evidence.blocked("CERT-SECRET", f"{primary.name} has no readable root-cert.pem")
            continue
        names = _discovery_names(observation, primary)
        for control_plane in running_control_planes(observation, evidence, primary):
            chain = control_plane.serving_chain
            if not chain:
                evidence.unknown(f"{primary.name}: the certificate of {control_plane.pod} was not read")
                continue
            name = f"istiod {control_plane.pod}:{expectations.XDS_PORT}"
            _judge_serving(
                observation, evidence, primary, name, chain=control_plane.serving_chain, root=root, names=names
            )
        remotes = tuple(other for other in observation.topology.remotes if other.primary == primary.name)
        for probe in cover(
            observation, evidence, ProbeKind.TLS, target=primary, port=expectations.XDS_PORT, sources=remotes
        ):
            if _presented(evidence, probe):
                name = f"gateway {probe.address}:{probe.port} from {probe.source}"
                _judge_serving(observation, evidence, primary, name, chain=probe.certificates, root=root, names=names)


@requirement("CERT-HORIZON", Level.EXTENDED, area=AREA)
def test_cert_horizon(observation: Observation, evidence: Evidence) -> None:
    """No CA certificate in use expires within 30 days.

    When an intermediate expires every workload of its clusters loses its identity within a day, when the root does the
    mesh is gone. Examined are the CA certificates in the primaries' `cacerts` and those that control planes, proxies
    and trust bundles were found to use; a remote's own secret, which signs nothing, is only reported.

    Source: Istio, "Plug in CA Certificates".
    """
    used: dict[str, tuple[str, Certificate]] = {}
    for cluster, _, secret in ca_secrets(observation, evidence):
        found = [cert for cert in (secret.ca_cert, secret.root_cert, *secret.cert_chain) if cert]
        if cluster.is_primary:
            used |= {cert.sha256: (cluster.name, cert) for cert in reversed(found)}
        else:
            soonest = min((cert.not_after for cert in found), default=None)
            evidence.fact(f"{cluster.name}: `cacerts`, which signs nothing here, is valid until {soonest}")
    for observed in observation.clusters:
        chains = [proxy.chain[1:] for proxy in observed.proxies] + [proxy.roots for proxy in observed.proxies]
        chains += [control_plane.serving_chain[1:] for control_plane in observed.control_planes]
        for cert in (cert for chain in (*chains, observed.root_config_map or ()) for cert in chain):
            used.setdefault(cert.sha256, (observed.name, cert))
    for name, cert in used.values():
        left = cert.not_after - observation.observed
        evidence.expect(
            left > HORIZON,
            cluster=name,
            object=f"CA certificate {cert.subject} (serial {cert.serial})",
            field="notAfter",
            expected="more than 30 days left",
            found=f"{cert.not_after:%Y-%m-%d %H:%M}, {left.days} days left",
        )


def _pod(proxy: Proxy) -> str:
    return f"{proxy.namespace}/{proxy.pod}"


def _expect_issuer(
    evidence: Evidence, observed: ClusterObservation, name: str, leaf: Certificate, ca: Certificate
) -> None:
    evidence.expect(
        x509.signed_by(leaf, ca),
        cluster=observed,
        object=name,
        field="certificate's issuer",
        expected=f"{ca.subject}, serial {ca.serial}",
        found=leaf.issuer if leaf.issuer != ca.subject or x509.signed_by(leaf, ca) else f"{leaf.issuer}, another key",
    )


def _judge_leaf(
    observation: Observation,
    evidence: Evidence,
    cluster: Cluster,
    proxy: Proxy,
    *,
    ca: Certificate,
    root: Certificate,
    identity: str,
) -> None:
    leaf, name = proxy.chain[0], f"proxy {_pod(proxy)}"
    reason = x509.validates(proxy.chain, root, observation.observed)
    passes = x509.signed_by(leaf, ca)
    judged = (
        ("certificate path", reason is None, f"valid to {root.subject}", reason or "valid"),
        ("intermediate", passes, ca.subject, leaf.issuer),
        ("identity", leaf.uris == (identity,), identity, ", ".join(leaf.uris) or "none"),
        ("extended key usage", {"serverAuth", "clientAuth"} <= set(leaf.extended_key_usage),
         "serverAuth, clientAuth", ", ".join(leaf.extended_key_usage) or "none"),
        ("notAfter", not passes or leaf.not_after <= ca.not_after,
         f"at most its issuer's {ca.not_after:%Y-%m-%d %H:%M:%S}", f"{leaf.not_after:%Y-%m-%d %H:%M:%S}"),
    )  # fmt: skip
    for field, holds, wanted, found in judged:
        evidence.expect(holds, cluster=cluster, object=name, field=field, expected=wanted, found=found)


def _discovery_names(observation: Observation, primary: Cluster) -> tuple[str, ...]:
    """The host names under which the proxies that this control plane serves connect to it."""
    addresses = {
        proxy.connected_to.rpartition(":")[0] or proxy.connected_to
        for cluster in observation.topology.served_by(primary)
        for proxy in observation[cluster].proxies
    }
    names = sorted(name for name in addresses if name and not expectations.is_address(name.strip("[]")))
    return tuple(names) or (f"istiod.{observation.asked.system_namespace}.svc",)


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
    )


def _judge_serving(
    observation: Observation,
    evidence: Evidence,
    primary: Cluster,
    name: str,
    *,
    chain: tuple[Certificate, ...],
    root: Certificate,
    names: tuple[str, ...],
) -> None:
    reason = x509.validates(chain, root, observation.observed, purpose="serverAuth")
    evidence.expect(
        reason is None,
        cluster=primary,
        object=name,
        field="certificate path",
        expected="valid",
        found=reason or "valid",
    )
    for wanted in names:
        evidence.expect(
            x509.covers_name(chain[0], wanted),
            cluster=primary,
            object=name,
            field="subjectAltName",
            expected=wanted,
            found=", ".join(chain[0].dns_names) or "none",
        )
