"""Causes in what the roots and intermediate CAs in the secrets are made like."""

from collections.abc import Iterator
from datetime import timedelta

from harness.judge.diagnose.ca_secret import brief, fault, istiod_says, replace_root, secrets, site_pki
from harness.judge.diagnose.graph import Layer
from harness.judge.diagnose.registry import Found, cause
from harness.judge.diagnose.repair import restart_control_plane, restart_workloads, steps
from harness.model import ca, certificate_paths, renewal, x509
from harness.model.certificate import CaSecret, Certificate
from harness.model.cluster import ClusterObservation
from harness.model.observation import Observation
from harness.model.topology import Cluster

USAGES = frozenset({"digitalSignature", "nonRepudiation", "keyEncipherment", "keyCertSign"})
RSA_BITS = 4096
CA_WANTED = "critical, CA:true, pathlen:0"


@cause("root-weak", Layer.CERTIFICATES, "CERT-ROOT-PROFILE", breaks=None)
def root_weak(observation: Observation) -> Iterator[Found]:
    """The root certificate does not have the chapter's profile.

    Made with other options than root-ca.conf: a short key, no critical CA:true, or a keyUsage that is missing.
    Istio takes most of this without complaint; stricter validators, and auditors, don't.
    """
    known: set[str] = set()
    for cluster, observed, secret in secrets(observation):
        for root in _roots(observation, observed, secret):
            if root.sha256 in known:
                continue
            known.add(root.sha256)
            wrong = _against_profile(observation, root, path_length=None)
            wrong += [] if ca.found(observation) or x509.self_signed(root) else ["not self-signed"]
            if wrong:
                wanted = "self-signed, RSA 4096, critical CA:true, critical keyUsage with keyCertSign"
                seen, repair = ", ".join(wrong), replace_root(observation, cluster)
                file = secret.files.root_cert
                yield fault(observation, cluster, file, "profile", wanted=wanted, seen=seen, repair=repair)


def _roots(observation: Observation, observed: ClusterObservation, secret: CaSecret) -> tuple[Certificate, ...]:
    """The roots that are judged: of a bundle that was there before those that the signing CA leads to."""
    if ca.found(observation):
        bundle = ca.bundle(observed)
        return certificate_paths.anchors(ca.signing_chain(secret), bundle) or bundle
    return (secret.root_cert,) if secret.root_cert else ()


def _against_profile(observation: Observation, cert: Certificate, *, path_length: int | None) -> list[str]:
    """What differs from the chapter's extensions, apart from CA:false and expiry, which are causes of their own."""
    key, constraints, usage, own = cert.public_key, cert.basic_constraints, cert.key_usage, site_pki(observation)
    bits = {"RSA": 2048, "EC": 256} if own else {"RSA": RSA_BITS}
    needed = {"keyCertSign"} if own else USAGES
    wrong = [] if key.bits >= bits.get(key.algorithm, key.bits + 1) else [f"{key.algorithm} {key.bits}"]
    if usage is None and not ca.found(observation):
        wrong.append("no keyUsage")
    elif usage and (not needed <= set(usage.usages) or not (own or usage.critical)):
        wrong.append(f"keyUsage {', '.join(usage.usages)}")
    if path_length is None and not (constraints and constraints.ca):
        wrong.append("not a CA")
    if not own and constraints and not constraints.critical:
        wrong.append("basicConstraints not critical")
    if not own and cert.signature_hash != "sha256":
        wrong.append(f"signed with {cert.signature_hash or 'no hash'}")
    return wrong


@cause("intermediate-not-ca", Layer.CERTIFICATES, "CERT-INTERMEDIATE-PROFILE", breaks=Layer.CONTROL_PLANE)
def intermediate_not_ca(observation: Observation) -> Iterator[Found]:
    """The intermediate is not a CA certificate.

    basicConstraints says CA:false, or is missing. istiod refuses it when it starts ("certificate is not authorized to
    sign other certificates"), and no peer accepts what was signed with it.
    """
    for cluster, _, secret in secrets(observation):
        constraints = secret.ca_cert.basic_constraints if secret.ca_cert else None
        if secret.ca_cert and not (constraints and constraints.ca):
            seen = "CA:false" if constraints else "no basicConstraints"
            file = secret.files.ca_cert
            yield fault(observation, cluster, file, "basicConstraints", wanted=CA_WANTED, seen=seen)


@cause("intermediate-no-pathlen", Layer.CERTIFICATES, "CERT-INTERMEDIATE-PROFILE", breaks=None)
def intermediate_no_pathlen(observation: Observation) -> Iterator[Found]:
    """The intermediate may make further CAs.

    The chapter's pathlen:0 is missing. Nothing shows it, but whoever gets at the key can make CAs that the mesh trusts.
    """
    for cluster, _, secret in secrets(observation):
        constraints = secret.ca_cert.basic_constraints if secret.ca_cert else None
        if constraints and constraints.ca and constraints.path_length != 0 and not site_pki(observation):
            length = constraints.path_length
            seen = "no pathlen" if length is None else f"pathlen:{length}"
            yield fault(observation, cluster, "ca-cert.pem", "basicConstraints", wanted=CA_WANTED, seen=seen)


@cause("intermediate-profile", Layer.CERTIFICATES, "CERT-INTERMEDIATE-PROFILE", breaks=None)
def intermediate_profile(observation: Observation) -> Iterator[Found]:
    """The intermediate does not have the chapter's profile.

    Made with other options than intermediate.conf: a short key, a keyUsage or the name of istiod missing, or valid for
    longer than the root that signed it.
    """
    for cluster, _, secret in secrets(observation):
        if (cert := secret.ca_cert) is None:
            continue
        own, root = site_pki(observation), secret.root_cert
        wrong = _against_profile(observation, cert, path_length=0)
        name = f"istiod.{observation.asked.system_namespace}.svc"
        wrong += [] if own or name in cert.dns_names else [f"no DNS name {name}"]
        if root and not own and cert.not_after > root.not_after + timedelta(days=1):
            wrong.append("valid more than a day longer than the root")
        if wrong:
            wanted, seen = f"RSA 4096, critical keyUsage with keyCertSign, DNS name {name}", ", ".join(wrong)
            yield fault(observation, cluster, secret.files.ca_cert, "profile", wanted=wanted, seen=seen)


@cause(
    "intermediate-not-signed",
    Layer.CERTIFICATES,
    "CERT-INTERMEDIATE-PROFILE",
    "CERT-CHAIN",
    breaks=Layer.CONTROL_PLANE,
)
def intermediate_not_signed(observation: Observation) -> Iterator[Found]:
    """The intermediate does not lead to a root that stands beside it.

    The CA's certificate and the roots come from two PKIs, or certificates between them are missing in the chain.
    istiod does not start with such files.
    """
    for cluster, observed, secret in secrets(observation):
        cert, root = secret.ca_cert, secret.root_cert
        if cert is None or root is None:
            continue
        if ca.found(observation):
            signed = bool(certificate_paths.paths(ca.signing_chain(secret), ca.bundle(observed)))
        else:
            # A site's own PKI may have further CAs between.
            signed = len(secret.cert_chain) > 2 or x509.signed_by(cert, root)  # noqa: PLR2004
        if not signed:
            seen = f"{cert.issuer}, another key" if cert.issuer == root.subject else cert.issuer
            yield fault(observation, cluster, secret.files.ca_cert, "issuer", wanted=root.subject, seen=seen)


@cause(
    "intermediate-expired",
    Layer.CERTIFICATES,
    "CERT-INTERMEDIATE-PROFILE",
    "CERT-CHAIN",
    "CERT-HORIZON",
    "CERT-ROOT-PROFILE",
    breaks=Layer.CONTROL_PLANE,
)
def intermediate_expired(observation: Observation) -> Iterator[Found]:
    """The intermediate, or a CA over it, is not valid at this time.

    It has expired, or is not valid yet. istiod does not start with it; workloads that have certificates from it are
    refused by every peer, at the latest when they renew theirs. A path to a root holds only while all of it is valid.
    """
    for cluster, observed, secret in secrets(observation):
        cert, wanted = secret.ca_cert, f"valid at {observation.observed:%Y-%m-%d %H:%M}"
        if cert and not x509.valid_at(cert, observation.observed):
            yield fault(observation, cluster, secret.files.ca_cert, "validity", wanted=wanted, seen=_times(cert))
        for file, above in _expired_above(observation, observed, secret):
            repair = replace_root(observation, cluster) if file == secret.files.root_cert else ""
            seen = f"{above.subject}: {_times(above)}"
            files = f"a CA over {secret.files.ca_cert} that is valid, of the same name and key"
            yield fault(observation, cluster, file, "validity", wanted=wanted, seen=seen, files=files, repair=repair)


def _times(cert: Certificate) -> str:
    return f"{cert.not_before:%Y-%m-%d %H:%M} to {cert.not_after:%Y-%m-%d %H:%M}"


def _above(
    observation: Observation, observed: ClusterObservation, secret: CaSecret
) -> tuple[tuple[tuple[str, Certificate], ...], ...]:
    """For each way up from the CA that signs the CAs over it, the root last, each with its file."""
    roots, files = _roots(observation, observed, secret), secret.files
    ways = [path[1:] for path in certificate_paths.paths(ca.signing_chain(secret), roots)]
    own = {root.sha256 for root in roots}
    return tuple(
        tuple((files.root_cert if cert.sha256 in own else files.cert_chain or files.ca_cert, cert) for cert in way)
        for way in ways or [(root,) for root in roots]
    )


def _expired_above(
    observation: Observation, observed: ClusterObservation, secret: CaSecret
) -> tuple[tuple[str, Certificate], ...]:
    """What is not valid of the first way up, where there is no other way that is."""
    ways = [
        tuple(each for each in way if not x509.valid_at(each[1], observation.observed))
        for way in _above(observation, observed, secret)
    ]
    return ways[0] if ways and all(ways) else ()


@cause("intermediate-expires-soon", Layer.CERTIFICATES, "CERT-HORIZON", breaks=None)
def intermediate_expires_soon(observation: Observation) -> Iterator[Found]:
    """A CA certificate expires within 30 days, or a short-lived one has not been renewed in time.

    A CA of less than 90 days is renewed by a program, for instance cert-manager, before the last third of its lifetime:
    then see why that did not happen. With the intermediate every workload below it loses its identity within a day,
    with the root the mesh does. On a primary that is a date to plan for now: rotating an intermediate under the same
    root interrupts nothing.
    """
    for cluster, observed, secret in secrets(observation):
        if not cluster.is_primary:
            continue
        over = {cert.sha256: (file, cert) for way in _above(observation, observed, secret) for file, cert in way}
        own = [(secret.files.ca_cert, secret.ca_cert)] if secret.ca_cert else []
        for file, cert in (*own, *over.values()):
            left = cert.not_after - observation.observed
            if left > timedelta() and renewal.is_due(cert, observation.observed):
                seen = f"{cert.not_after:%Y-%m-%d %H:%M}, {renewal.span(left)} left"
                repair = replace_root(observation, cluster) if file == secret.files.root_cert else ""
                wanted = f"more than {renewal.span(renewal.margin(cert))} left"
                yield fault(observation, cluster, file, "notAfter", wanted=wanted, seen=seen, repair=repair)
        yield from _former_ca(observation, cluster, secret)


def _former_ca(observation: Observation, cluster: Cluster, secret: CaSecret) -> Iterator[Found]:
    """A control plane that still signs with a CA that has to be renewed, and whose successor is in the secret."""
    held = {cert.sha256 for cert in ca.signing_chain(secret)}
    for plane in observation[cluster].control_planes:
        former = [cert for cert in plane.serving_chain[1:] if cert.sha256 not in held]
        due = next((cert for cert in former if renewal.is_due(cert, observation.observed)), None)
        if secret.ca_cert and due and not renewal.is_due(secret.ca_cert, observation.observed):
            yield Found(
                cluster=cluster.name,
                object=f"Pod {observation.asked.system_namespace}/{plane.pod}",
                field="the CA that it signs with",
                expected=brief(secret.ca_cert),
                found=f"{brief(due)}, valid until {due.not_after:%Y-%m-%d %H:%M}",
                repair=steps(restart_control_plane(observation, cluster), restart_workloads(observation, cluster)),
                evidence=istiod_says(observation[cluster]),
            )


@cause("intermediate-shared", Layer.CERTIFICATES, "CERT-INTERMEDIATE-DISTINCT", breaks=None)
def intermediate_shared(observation: Observation) -> Iterator[Found]:
    """Two clusters hold the same intermediate key.

    Whoever takes one cluster's CA then has the other's too, and it can't be revoked for one alone. Traffic works.
    """
    seen: dict[str, tuple[str, Certificate]] = {}
    for cluster, _, secret in secrets(observation):
        if (cert := secret.ca_cert) is None:
            continue
        home = observation.topology.home_of(cluster).name
        other, theirs = seen.setdefault(cert.public_key.sha256, (home, cert))
        if other != home:
            same, file = f"the key of {other}: {brief(theirs)}", secret.files.ca_cert
            yield fault(observation, cluster, file, "public key", wanted="a key of its own", seen=same)
