"""Certificates: what roots and intermediate CAs in the clusters' secrets must look like."""

from datetime import timedelta
from itertools import combinations

from harness.judge.evidence import Evidence
from harness.judge.judgement import Level
from harness.judge.requirement import requirement
from harness.model import ca, certificate_paths, x509
from harness.model.certificate import Certificate
from harness.model.mesh_features import MeshFeature
from harness.model.observation import Observation
from harness.model.topology import Cluster
from suites.conformance.common import ca_home, ca_object, ca_secrets, form, site_pki

AREA = "certificates"
USAGES = ("digitalSignature", "nonRepudiation", "keyEncipherment", "keyCertSign")
OUTLIVES = timedelta(hours=24)


@requirement("CERT-ROOT-PROFILE", Level.MUST, area=AREA, needs=(MeshFeature.PLUGGED_IN_CA,))
def test_cert_root_profile(observation: Observation, evidence: Evidence) -> None:
    """The root certificate is a self-signed CA of the chapter's profile, and valid now.

    A root without CA:true or keyCertSign cannot vouch for the intermediates: validators that keep to RFC 5280 refuse
    every certificate below it. A root that the suite made must have sha256, RSA of at least 4096 bits, critical
    basicConstraints CA:true and critical keyUsage digitalSignature, nonRepudiation, keyEncipherment, keyCertSign. A
    site's own root must be a self-signed CA with keyCertSign and RSA of at least 2048 bits or EC of at least 256;
    the chapter's other extensions are then reported, not judged. In a mesh that was there before, judged are the roots
    that the signing CA leads to: they must be valid CAs; the other roots of the bundle are reported.

    Source: chapter, "Creating certificates for a multi-cluster mesh", root-ca.conf; RFC 5280 sections 4.2.1.3, 4.2.1.9.
    """
    for cluster, observed, secret in ca_secrets(observation, evidence):
        if (first := secret.root_cert) is None:
            evidence.blocked("CERT-SECRET", f"{ca_home(observation, cluster)} has no readable {secret.files.root_cert}")
            continue
        name = f"{ca_object(observation)} {secret.files.root_cert}"
        bundle = ca.bundle(observed) if ca.found(observation) else (first,)
        judged = certificate_paths.anchors(ca.signing_chain(secret), bundle) or bundle
        if ca.found(observation):
            # One that has ended harms nothing beside its successor of the same name and key.
            judged = tuple(root for root in judged if x509.valid_at(root, observation.observed)) or judged
        for root in judged:
            own = x509.self_signed(root)
            form(
                observation,
                evidence,
                own,
                cluster=cluster,
                object=name,
                field="signature",
                expected="self-signed",
                found="self-signed" if own else f"issued by {root.issuer}",
            )
            _judge_ca(observation, evidence, cluster, name, cert=root, path_length=None)
        for other in bundle:
            if other not in judged:
                evidence.fact(
                    f"{ca_home(observation, cluster)}: {name} also trusts {other.subject}, serial {other.serial}"
                )


@requirement("CERT-INTERMEDIATE-PROFILE", Level.MUST, area=AREA, needs=(MeshFeature.PLUGGED_IN_CA,))
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
    for cluster, observed, secret in ca_secrets(observation, evidence):
        cert, root, files = secret.ca_cert, secret.root_cert, secret.files
        if cert is None or root is None:
            evidence.blocked(
                "CERT-SECRET", f"{ca_home(observation, cluster)} lacks a readable {files.ca_cert} or {files.root_cert}"
            )
            continue
        name = f"{ca_object(observation)} {files.ca_cert}"
        if ca.found(observation):
            leads = bool(certificate_paths.paths(ca.signing_chain(secret), ca.bundle(observed)))
        else:
            issuers = secret.cert_chain[1:] if site_pki(observation) else ()
            leads = any(x509.signed_by(cert, issuer) for issuer in (root, *issuers))
        evidence.expect(
            leads,
            cluster=cluster,
            object=name,
            field="issuer",
            expected=f"signed by {root.subject}",
            found=f"issued by {cert.issuer}",
        )
        _judge_ca(observation, evidence, cluster, name, cert=cert, path_length=0)
        form(
            observation,
            evidence,
            cert.not_after <= root.not_after + OUTLIVES,
            cluster=cluster,
            object=name,
            field="notAfter",
            expected=f"at most 24 h after the root's {root.not_after:%Y-%m-%d %H:%M}",
            found=f"{cert.not_after:%Y-%m-%d %H:%M}",
        )
        _judge_dns_name(observation, evidence, cluster, name, cert)


def _judge_dns_name(
    observation: Observation, evidence: Evidence, cluster: Cluster, name: str, cert: Certificate
) -> None:
    """Judge that the intermediate lets istiod serve under its own name; a site's own certificate is reported."""
    dns_name, found = f"istiod.{observation.asked.system_namespace}.svc", ", ".join(cert.dns_names) or "none"
    if site_pki(observation):
        evidence.fact(f"{ca_home(observation, cluster)}: {name} DNS names: {found}")
    else:
        evidence.expect(
            dns_name in cert.dns_names,
            cluster=cluster,
            object=name,
            field="subjectAltName",
            expected=dns_name,
            found=found,
        )


@requirement("CERT-INTERMEDIATE-DISTINCT", Level.SHOULD, area=AREA, needs=(MeshFeature.PLUGGED_IN_CA,))
def test_cert_intermediate_distinct(observation: Observation, evidence: Evidence) -> None:
    """No two clusters share the key of their intermediate CA.

    Who takes the key of one cluster can sign for every workload of the mesh in any case, but with keys of their own the
    clusters can be told apart and one of them can be replaced alone. Compared are the digests of the public keys.

    In a mesh that was there before a shared key is reported: it signs as well as two.

    Source: chapter, "Create the intermediate CA certificate" for each cluster; Istio, "Plug in CA Certificates".
    """
    cas = [(cluster, secret.ca_cert) for cluster, _, secret in ca_secrets(observation, evidence)]
    for cluster, found in cas:
        if found is None:
            evidence.blocked("CERT-SECRET", f"{ca_home(observation, cluster)} has no readable CA certificate")
    for (one, first), (other, second) in combinations(cas, 2):
        if first and second:
            form(
                observation,
                evidence,
                not x509.same_key(first, second),
                cluster=other,
                object=f"{ca_object(observation)} ca-cert.pem",
                field="public key",
                expected=f"another one than {ca_home(observation, one)}'s",
                found=second.public_key.sha256,
            )
    if len(cas) == 1:
        evidence.fact(f"{ca_home(observation, cas[0][0])}: the only cluster whose CA is judged")


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
    site, key, usage, constraints = site_pki(observation), cert.public_key, cert.key_usage, cert.basic_constraints
    bits = {"RSA": 2048, "EC": 256} if site else {"RSA": 4096}
    found_constraints = "none"
    if constraints:
        length = "" if constraints.path_length is None else f", pathlen:{constraints.path_length}"
        found_constraints = f"{'critical, ' * constraints.critical}CA:{str(constraints.ca).lower()}{length}"
    wanted_constraints = "critical, CA:true" + ("" if path_length is None else f", pathlen:{path_length}")
    found_usage = f"{'critical, ' * usage.critical}{', '.join(usage.usages)}" if usage else "none"
    wanted_usage = "critical, " + ", ".join(USAGES)
    is_ca = bool(constraints and constraints.ca)
    # Without keyUsage a CA may sign (RFC 5280 section 4.2.1.3): `openssl req -x509` leaves it out.
    signs = "keyCertSign" in usage.usages if usage else ca.found(observation)
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
