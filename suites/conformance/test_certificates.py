"""Certificates: the secrets that hold the CAs, and the trust between the clusters."""

from harness.judge.evidence import Evidence
from harness.judge.judgement import Level
from harness.judge.placement import place
from harness.judge.requirement import requirement
from harness.model import ca, certificate_paths
from harness.model.certificate import CHAPTER_FILES, CaSecret, Certificate
from harness.model.cluster import Subject
from harness.model.mesh_features import MeshFeature
from harness.model.observation import Observation
from harness.model.topology import Cluster
from suites.conformance.common import ca_home, ca_object, ca_secrets, form, lacking, site_pki

AREA = "certificates"


@requirement("CERT-SECRET", Level.MUST, area=AREA, needs=(MeshFeature.PLUGGED_IN_CA,))
def test_cert_secret(observation: Observation, evidence: Evidence) -> None:
    """Every cluster's system namespace holds the secret `cacerts` with the four files.

    istiod takes its CA from this secret when it starts. Without the secret it makes a self-signed CA of its own: the
    clusters then have different roots and refuse each other's connections. With an entry missing it does not start.
    Examined are the names of the entries, and that each certificate and the key can be parsed; further entries are
    reported. In a mesh that was there before, a secret of type kubernetes.io/tls (tls.crt, tls.key, ca.crt) is as good,
    only the secrets of primaries are judged, and one is required only where another primary has its CA from there.

    Source: chapter, "Applying certificates to a multi-cluster topology"; Istio, "Plug in CA Certificates".
    """
    for cluster, observed in evidence.readable(observation, Subject.CA_SECRET):
        if not ca.needs_secret(observation, cluster):
            evidence.fact(
                f"{ca_home(observation, cluster)}: no secret is needed here: {ca.kind_of(observation, cluster)}"
            )
            continue
        secret = observed.ca_secret or CaSecret(exists=False)
        name = ca_object(observation)
        if not evidence.expect(
            secret.exists, cluster=cluster, object=name, field="exists", expected=True, found=secret.exists
        ):
            continue
        files = (secret.files if ca.found(observation) else CHAPTER_FILES).all
        evidence.expect(
            set(files) <= set(secret.keys),
            cluster=cluster,
            object=name,
            field="entries",
            expected=", ".join(files),
            found=", ".join(secret.keys) or "none",
        )
        for problem in secret.problems:
            evidence.expect(
                False, cluster=cluster, object=name, field="content", expected="readable PEM files", found=problem
            )
        if others := [key for key in secret.keys if key not in files]:
            evidence.fact(f"{ca_home(observation, cluster)}: {name} also holds {', '.join(others)}")


@requirement("CERT-ROOT-SHARED", Level.MUST, area=AREA)
def test_cert_root_shared(observation: Observation, evidence: Evidence) -> None:
    """The secret `cacerts` of every cluster holds the same root certificate.

    Workloads of two clusters trust each other because their certificates lead to one root. With two roots every
    cross-cluster handshake fails, and since Envoy retries on a local endpoint that may not even be seen. In a
    primary-remote mesh the remote's secret signs nothing, so that a wrong root there has no symptom until the remote
    becomes a primary. Compared are the SHA-256 fingerprints. In a mesh that was there before, each cluster (its
    proxies, and its secret where it has one) must trust a root of what every other cluster signs: bundles may have
    further roots, in any order, and the CA may be any.

    Source: chapter, "Create a shared root certificate".
    """
    if ca.found(observation):
        _judge_trust(observation, evidence)
        return
    roots: dict[str, Certificate] = {}
    for cluster, _, secret in ca_secrets(observation, evidence):
        if secret.root_cert is None:
            evidence.blocked("CERT-SECRET", f"{ca_home(observation, cluster)} has no readable root-cert.pem")
        else:
            roots[cluster.name] = secret.root_cert
    if not roots:
        return
    first, shared = next(iter(roots.items()))
    for name, root in roots.items():
        evidence.expect(
            root.sha256 == shared.sha256,
            cluster=observation.topology[name],
            object=f"{ca_object(observation)} root-cert.pem",
            field="SHA-256 fingerprint",
            expected=f"{shared.sha256} (as on {ca_home(observation, observation.topology[first])})",
            found=root.sha256,
        )


def _judge_trust(observation: Observation, evidence: Evidence) -> None:
    """Whether each cluster trusts what the others sign, as far as either was observed."""
    for cluster in observation.topology.clusters:
        trusts, signed = tuple(ca.trusts(observation, cluster)), tuple(ca.signed(observation, cluster))
        if not trusts or not signed:
            _reserve(observation, evidence, cluster)
        for trust in trusts:
            names = ", ".join(f"{root.subject} (serial {root.serial})" for root in trust.roots)
            evidence.fact(f"{place(cluster, trust.object)}: {trust.object}: {names}")
    for found in ca.distrusted(observation):
        last = found.signed.chain[-1]
        signer = place(observation.topology[found.signed.cluster], found.signed.object)
        evidence.expect(
            False,
            cluster=observation.topology[found.trust.cluster],
            object=found.trust.object,
            field="trusted roots",
            expected=f"the root of {found.signed.object} on {signer} (issuer {last.issuer})",
            found=", ".join(f"{root.subject}, serial {root.serial}" for root in found.trust.roots),
        )


def _reserve(observation: Observation, evidence: Evidence, cluster: Cluster) -> None:
    """Note why nothing is known of a cluster's trust."""
    read = list(evidence.readable(observation, Subject.PROXIES, Subject.ROOT_CONFIG_MAP, among=(cluster,)))
    if read:
        why = f"{cluster.name}: no proxy told its certificate and its roots"
        if ca.kind_of(observation, cluster) is ca.CaKind.EXTERNAL:
            evidence.skipped(why)
        else:
            lacking(observation, evidence, "WL-INJECTED", why)


@requirement("CERT-KEY-MATCH", Level.MUST, area=AREA, needs=(MeshFeature.PLUGGED_IN_CA,))
def test_cert_key_match(observation: Observation, evidence: Evidence) -> None:
    """The private key ca-key.pem belongs to the certificate ca-cert.pem.

    istiod does not start with a key of another certificate. The key was compared in memory while observing; only the
    answer is kept.

    Source: chapter, "Create the CA certificates, certificate chain, and the private key for Istio".
    """
    for cluster, _, secret in ca_secrets(observation, evidence):
        files = secret.files
        if secret.key_matches is None:
            evidence.blocked(
                "CERT-SECRET", f"{ca_home(observation, cluster)} lacks a readable {files.ca_key} or {files.ca_cert}"
            )
            continue
        wanted = f"the key of {files.ca_cert}"
        evidence.expect(
            secret.key_matches,
            cluster=cluster,
            object=f"{ca_object(observation)} {files.ca_key}",
            field="key pair",
            expected=wanted,
            found=wanted if secret.key_matches else "the key of another certificate",
        )


@requirement("CERT-CHAIN", Level.MUST, area=AREA, needs=(MeshFeature.PLUGGED_IN_CA,))
def test_cert_chain(observation: Observation, evidence: Evidence) -> None:
    """The file cert-chain.pem is the intermediate followed by the root, and is a valid path.

    istiod hands the chain out with every workload certificate. Without the intermediate peers cannot find the way to
    the root; without the root there is mostly no symptom, but it is not what the chapter makes. A site's own chain may
    have further intermediates between the two. In a mesh that was there before the order is reported, and the CA must
    lead to a root of the bundle through what the file has. END and BEGIN on one line are no list of certificates:
    istiod does not start with such a file.

    Source: chapter, "Create a certificate chain from the intermediate and root CA certificate"; RFC 5280 section 6.1.
    """
    for cluster, observed, secret in ca_secrets(observation, evidence):
        cert, root, chain = secret.ca_cert, secret.root_cert, secret.cert_chain
        name = f"{ca_object(observation)} {secret.files.chain}"
        unreadable = [problem for problem in secret.problems if problem.startswith(secret.files.chain)]
        for problem in unreadable:
            evidence.expect(
                False, cluster=cluster, object=name, field="content", expected="a list of PEM blocks", found=problem
            )
        if cert is None or root is None or unreadable or not (chain or ca.found(observation)):
            if not unreadable:
                evidence.blocked(
                    "CERT-SECRET", f"{ca_home(observation, cluster)} lacks a readable certificate or chain"
                )
            continue
        in_order = len(chain) > 1 and (chain[0].sha256, chain[-1].sha256) == (cert.sha256, root.sha256)
        form(
            observation,
            evidence,
            in_order and (site_pki(observation) or len(chain) == 2),
            cluster=cluster,
            object=name,
            field="certificates",
            expected=f"{cert.subject}, then {root.subject}",
            found=", then ".join(found.subject for found in chain) or "no certificate",
        )
        path = chain
        trusted: tuple[Certificate, ...] = (root,)
        if ca.found(observation):
            path, trusted = ca.signing_chain(secret), ca.bundle(observed)
            sent = any(each.sha256 == cert.sha256 for each in (*chain, *trusted))
            evidence.expect(
                sent, cluster=cluster, object=name, field="CA's certificate", expected="in it", found=_found(sent)
            )
        reason = certificate_paths.validates(path, trusted, observation.observed)
        evidence.expect(
            reason is None, cluster=cluster, object=name, field="path", expected="valid", found=reason or "valid"
        )


def _found(held: bool) -> str:
    return "in it" if held else "neither in it nor among the roots"
