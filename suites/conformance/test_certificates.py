"""Certificates: what the chapter's PKI must look like in the clusters' secrets."""

from datetime import timedelta
from itertools import combinations

from harness.judge.requirement import Evidence, Level, requirement
from harness.model import x509
from harness.model.certificate import CaSecret, Certificate
from harness.model.cluster import Subject
from harness.model.observation import Observation
from harness.model.topology import Cluster
from suites.conformance.common import ca_object, ca_secrets

AREA = "certificates"
FILES = ("ca-cert.pem", "ca-key.pem", "root-cert.pem", "cert-chain.pem")
USAGES = ("digitalSignature", "nonRepudiation", "keyEncipherment", "keyCertSign")
OUTLIVES = timedelta(hours=24)


@requirement("CERT-SECRET", Level.MUST, area=AREA)
def test_cert_secret(observation: Observation, evidence: Evidence) -> None:
    """Every cluster's system namespace holds the secret `cacerts` with the four files.

    istiod takes its CA from this secret when it starts and, where it is missing or incomplete, quietly makes one of its
    own: the clusters then have different roots and refuse each other's connections. Examined are the names of the
    secret's entries, and that each certificate and the key can be parsed; further entries are reported.

    Source: chapter, "Applying certificates to a multi-cluster topology"; Istio, "Plug in CA Certificates".
    """
    for cluster, observed in evidence.readable(observation, Subject.CA_SECRET):
        secret = observed.ca_secret or CaSecret(exists=False)
        name = ca_object(observation)
        if not evidence.expect(
            secret.exists, cluster=cluster, object=name, field="exists", expected=True, found=secret.exists
        ):
            continue
        missing = [file for file in FILES if file not in secret.keys]
        evidence.expect(
            not missing,
            cluster=cluster,
            object=name,
            field="entries",
            expected=", ".join(FILES),
            found=", ".join(secret.keys) or "none",
        )
        for problem in secret.problems:
            evidence.expect(
                False, cluster=cluster, object=name, field="content", expected="readable PEM files", found=problem
            )
        if others := [key for key in secret.keys if key not in FILES]:
            evidence.fact(f"{cluster.name}: {name} also holds {', '.join(others)}")


@requirement("CERT-ROOT-PROFILE", Level.MUST, area=AREA)
def test_cert_root_profile(observation: Observation, evidence: Evidence) -> None:
    """The root certificate is a self-signed CA of the chapter's profile, and valid now.

    A root without CA:true or keyCertSign cannot vouch for the intermediates: validators that keep to RFC 5280 refuse
    every certificate below it. A root that the suite made must have sha256, RSA of at least 4096 bits, critical
    basicConstraints CA:true and critical keyUsage digitalSignature, nonRepudiation, keyEncipherment, keyCertSign. A
    site's own root must be a self-signed CA with keyCertSign and RSA of at least 2048 bits or EC of at least 256;
    the chapter's other extensions are then reported, not judged.

    Source: chapter, "Creating certificates for a multi-cluster mesh", root-ca.conf; RFC 5280 sections 4.2.1.3, 4.2.1.9.
    """
    for cluster, _, secret in ca_secrets(observation, evidence):
        if (root := secret.root_cert) is None:
            evidence.blocked("CERT-SECRET", f"{cluster.name} has no readable root-cert.pem")
            continue
        name = f"{ca_object(observation)} root-cert.pem"
        evidence.expect(
            x509.self_signed(root),
            cluster=cluster,
            object=name,
            field="signature",
            expected="self-signed",
            found="self-signed" if x509.self_signed(root) else f"issued by {root.issuer}",
        )
        _judge_ca(observation, evidence, cluster, name, cert=root, path_length=None)


@requirement("CERT-ROOT-SHARED", Level.MUST, area=AREA)
def test_cert_root_shared(observation: Observation, evidence: Evidence) -> None:
    """The secret `cacerts` of every cluster holds the same root certificate.

    Workloads of two clusters trust each other because their certificates lead to one root. With two roots every
    cross-cluster handshake fails, and since Envoy retries on a local endpoint that may not even be seen. In a
    primary-remote mesh the remote's secret signs nothing, so that a wrong root there has no symptom until the remote
    becomes a primary. Compared are the SHA-256 fingerprints.

    Source: chapter, "Create a shared root certificate".
    """
    roots: dict[str, Certificate] = {}
    for cluster, _, secret in ca_secrets(observation, evidence):
        if secret.root_cert is None:
            evidence.blocked("CERT-SECRET", f"{cluster.name} has no readable root-cert.pem")
        else:
            roots[cluster.name] = secret.root_cert
    if not roots:
        return
    first, shared = next(iter(roots.items()))
    for name, root in roots.items():
        evidence.expect(
            root.sha256 == shared.sha256,
            cluster=name,
            object=f"{ca_object(observation)} root-cert.pem",
            field="SHA-256 fingerprint",
            expected=f"{shared.sha256} (as on {first})",
            found=root.sha256,
        )


@requirement("CERT-INTERMEDIATE-PROFILE", Level.MUST, area=AREA)
def test_cert_intermediate_profile(observation: Observation, evidence: Evidence) -> None:
    """Each cluster's intermediate CA is signed by the root, has the chapter's profile, and is valid now.

    istiod signs workloads with it. CA:true makes it a CA, pathlen:0 keeps it from making further CAs, the subject
    alternative name lets istiod serve under its own name. Required are the root's signature, sha256, RSA of at least
    4096 bits, critical basicConstraints CA:true with pathlen:0, the critical keyUsage of the root, and the DNS name
    istiod.SYSTEM-NAMESPACE.svc. The chapter signs it seconds after the root and for as many days: it may outlive the
    root by up to 24 hours. A site's own intermediate must be a CA with keyCertSign and RSA of at least 2048 bits or EC
    of at least 256 that leads to the root; the rest is reported.

    Source: chapter, "Creating certificates for a multi-cluster mesh", intermediate.conf; RFC 5280 section 4.2.1.9.
    """
    for cluster, _, secret in ca_secrets(observation, evidence):
        ca, root = secret.ca_cert, secret.root_cert
        if ca is None or root is None:
            evidence.blocked("CERT-SECRET", f"{cluster.name} lacks a readable ca-cert.pem or root-cert.pem")
            continue
        name = f"{ca_object(observation)} ca-cert.pem"
        issuers = secret.cert_chain[1:] if _site_pki(observation) else ()
        evidence.expect(
            any(x509.signed_by(ca, issuer) for issuer in (root, *issuers)),
            cluster=cluster,
            object=name,
            field="issuer",
            expected=f"signed by {root.subject}",
            found=f"issued by {ca.issuer}",
        )
        _judge_ca(observation, evidence, cluster, name, cert=ca, path_length=0)
        evidence.expect(
            ca.not_after <= root.not_after + OUTLIVES,
            cluster=cluster,
            object=name,
            field="notAfter",
            expected=f"at most 24 h after the root's {root.not_after:%Y-%m-%d %H:%M}",
            found=f"{ca.not_after:%Y-%m-%d %H:%M}",
        )
        dns_name = f"istiod.{observation.asked.system_namespace}.svc"
        if _site_pki(observation):
            evidence.fact(f"{cluster.name}: {name} DNS names: {', '.join(ca.dns_names) or 'none'}")
        else:
            evidence.expect(
                dns_name in ca.dns_names,
                cluster=cluster,
                object=name,
                field="subjectAltName",
                expected=dns_name,
                found=", ".join(ca.dns_names) or "none",
            )


@requirement("CERT-INTERMEDIATE-DISTINCT", Level.SHOULD, area=AREA)
def test_cert_intermediate_distinct(observation: Observation, evidence: Evidence) -> None:
    """No two clusters share the key of their intermediate CA.

    Who takes the key of one cluster can sign for every workload of the mesh in any case, but with keys of their own the
    clusters can be told apart and one of them can be replaced alone. Compared are the digests of the public keys.

    Source: chapter, "Create the intermediate CA certificate" for each cluster; Istio, "Plug in CA Certificates".
    """
    cas = {cluster.name: secret.ca_cert for cluster, _, secret in ca_secrets(observation, evidence)}
    for name, ca in cas.items():
        if ca is None:
            evidence.blocked("CERT-SECRET", f"{name} has no readable ca-cert.pem")
    for (one, first), (other, second) in combinations(cas.items(), 2):
        if first and second:
            evidence.expect(
                not x509.same_key(first, second),
                cluster=other,
                object=f"{ca_object(observation)} ca-cert.pem",
                field="public key",
                expected=f"another one than {one}'s",
                found=second.public_key.sha256,
            )


@requirement("CERT-KEY-MATCH", Level.MUST, area=AREA)
def test_cert_key_match(observation: Observation, evidence: Evidence) -> None:
    """The private key ca-key.pem belongs to the certificate ca-cert.pem.

    istiod does not start with a key of another certificate. The key was compared in memory while observing; only the
    answer is kept.

    Source: chapter, "Create the CA certificates, certificate chain, and the private key for Istio".
    """
    for cluster, _, secret in ca_secrets(observation, evidence):
        if secret.key_matches is None:
            evidence.blocked("CERT-SECRET", f"{cluster.name} lacks a readable ca-key.pem or ca-cert.pem")
            continue
        evidence.expect(
            secret.key_matches,
            cluster=cluster,
            object=f"{ca_object(observation)} ca-key.pem",
            field="key pair",
            expected="the key of ca-cert.pem",
            found="the key of ca-cert.pem" if secret.key_matches else "the key of another certificate",
        )


@requirement("CERT-CHAIN", Level.MUST, area=AREA)
def test_cert_chain(observation: Observation, evidence: Evidence) -> None:
    """The file cert-chain.pem is the intermediate followed by the root, and is a valid path.

    istiod hands the chain out with every workload certificate. Without the intermediate peers cannot find the way to
    the root; without the root there is mostly no symptom, but it is not what the chapter makes. A site's own chain may
    have further intermediates between the two.

    Source: chapter, "Create a certificate chain from the intermediate and root CA certificate"; RFC 5280 section 6.1.
    """
    for cluster, _, secret in ca_secrets(observation, evidence):
        ca, root, chain = secret.ca_cert, secret.root_cert, secret.cert_chain
        if ca is None or root is None or not chain:
            evidence.blocked("CERT-SECRET", f"{cluster.name} lacks a readable certificate or chain")
            continue
        name = f"{ca_object(observation)} cert-chain.pem"
        in_order = chain[0].sha256 == ca.sha256 and len(chain) > 1 and chain[-1].sha256 == root.sha256
        evidence.expect(
            in_order and (_site_pki(observation) or len(chain) == 2),
            cluster=cluster,
            object=name,
            field="certificates",
            expected=f"{ca.subject}, then {root.subject}",
            found=", then ".join(cert.subject for cert in chain),
        )
        reason = x509.validates(chain, root, observation.observed)
        evidence.expect(
            reason is None, cluster=cluster, object=name, field="path", expected="valid", found=reason or "valid"
        )


def _site_pki(observation: Observation) -> bool:
    """Whether somebody else made the certificates: then only what any CA needs is judged."""
    return observation.asked.own_pki or observation.asked.mode == "verify-only"


def _judge_ca(
    observation: Observation,
    evidence: Evidence,
    cluster: Cluster,
    name: str,
    *,
    cert: Certificate,
    path_length: int | None,
) -> None:
    """Judge what roots and intermediates have in common."""
    site, key, usage, constraints = _site_pki(observation), cert.public_key, cert.key_usage, cert.basic_constraints
    bits = {"RSA": 2048, "EC": 256} if site else {"RSA": 4096}
    found_constraints = "none"
    if constraints:
        length = "" if constraints.path_length is None else f", pathlen:{constraints.path_length}"
        found_constraints = f"{'critical, ' * constraints.critical}CA:{str(constraints.ca).lower()}{length}"
    wanted_constraints = "critical, CA:true" + ("" if path_length is None else f", pathlen:{path_length}")
    found_usage = f"{'critical, ' * usage.critical}{', '.join(usage.usages)}" if usage else "none"
    wanted_usage = "critical, " + ", ".join(USAGES)
    is_ca, signs = bool(constraints and constraints.ca), bool(usage and "keyCertSign" in usage.usages)
    judged = (
        ("public key", key.bits >= bits.get(key.algorithm, key.bits + 1),
         " or ".join(f"{algorithm} ≥ {size}" for algorithm, size in bits.items()), f"{key.algorithm} {key.bits}"),
        ("validity", x509.valid_at(cert, observation.observed), f"valid at {observation.observed:%Y-%m-%d %H:%M:%S}",
         f"{cert.not_before:%Y-%m-%d %H:%M:%S} to {cert.not_after:%Y-%m-%d %H:%M:%S}"),
        ("basicConstraints", is_ca if site else found_constraints == wanted_constraints,
         "CA:true" if site else wanted_constraints, found_constraints),
        ("keyUsage", signs if site else found_usage == wanted_usage,
         "keyCertSign" if site else wanted_usage, found_usage),
        ("signature hash", site or cert.signature_hash == "sha256", "sha256", cert.signature_hash),
    )  # fmt: skip
    for field, holds, wanted, found in judged:
        evidence.expect(holds, cluster=cluster, object=name, field=field, expected=wanted, found=found)
