"""Causes in the certificates that were plugged in, and in those that were made from them."""

from collections.abc import Iterator
from datetime import timedelta

from harness.judge.diagnose.facts import container_lines, events, few, logged, read
from harness.judge.diagnose.graph import JUDGED_AT, Layer
from harness.judge.diagnose.registry import Found, cause
from harness.judge.diagnose.repair import kubectl, noted, restart_control_plane, restart_workloads, steps
from harness.model import expectations, x509
from harness.model.certificate import CaSecret, Certificate
from harness.model.cluster import ClusterObservation, Subject
from harness.model.observation import Observation
from harness.model.topology import Cluster

FILES = ("ca-cert.pem", "ca-key.pem", "root-cert.pem", "cert-chain.pem")
USAGES = frozenset({"digitalSignature", "nonRepudiation", "keyEncipherment", "keyCertSign"})
HORIZON = timedelta(days=30)
RSA_BITS = 4096


def secrets(observation: Observation) -> Iterator[tuple[Cluster, ClusterObservation, CaSecret]]:
    """The `cacerts` that are there, of the clusters where they could be read."""
    for cluster, observed in read(observation, Subject.CA_SECRET):
        if observed.ca_secret and observed.ca_secret.exists:
            yield cluster, observed, observed.ca_secret


def _name(observation: Observation) -> str:
    return f"Secret {observation.asked.system_namespace}/cacerts"


def _replace(observation: Observation, cluster: Cluster, note: str) -> str:
    """Put the right files in, and let istiod and the workloads take them up; a remote's secret signs nothing."""
    observed, system = observation[cluster], observation.asked.system_namespace
    files = " ".join(f"--from-file={cluster.name}/{name}" for name in FILES)
    commands = [
        # One write: there is no moment without the secret, and nothing changes where a file is missing.
        kubectl(observed, "-n", system, f"create secret generic cacerts {files} --dry-run=client -o yaml")
        + " | "
        + kubectl(observed, "apply --server-side --force-conflicts -f -"),
    ]
    if cluster.is_primary:
        commands += [restart_control_plane(observation, cluster), restart_workloads(observation, cluster)]
    return noted(steps(*commands), f"the files in {cluster.name}/: {note}")


def _replace_root(observation: Observation, cluster: Cluster) -> str:
    """A new root is the whole mesh's: given to one cluster alone it would part it."""
    look = kubectl(observation[cluster], "-n", observation.asked.system_namespace, "get secret cacerts")
    return noted(
        look,
        "all clusters together need a new root (root-ca.conf) with intermediates of it, in three steps: both roots in "
        "every root-cert.pem; then the new intermediates; then the new root alone (RES-ROOT-ROTATION)",
    )


def brief(cert: Certificate) -> str:
    """What tells one certificate from another, in one line."""
    return f"{cert.subject}, serial {cert.serial}, until {cert.not_after:%Y-%m-%d}, SHA-256 {cert.sha256[:16]}…"


NEW_INTERMEDIATE = "a new intermediate of the shared root, made as the chapter says (intermediate.conf)"


def _fault(
    observation: Observation,
    cluster: Cluster,
    observed: ClusterObservation,
    file: str,
    field: str,
    *values: str,
    files: str = NEW_INTERMEDIATE,
    repair: str = "",
) -> Found:
    wanted, seen = values
    return Found(
        cluster=cluster.name,
        object=f"{_name(observation)} {file}",
        field=field,
        expected=wanted,
        found=seen,
        repair=repair or _replace(observation, cluster, files),
        evidence=istiod_says(observed),
        harmless=not cluster.is_primary,
    )


def istiod_says(observed: ClusterObservation) -> tuple[str, ...]:
    """What the control plane logs of its CA."""
    words = ("cacert", "ca cert", "root-ca", "plug-in ca", "signing", "x509")
    said = (
        f"log {plane.pod}: {line}"
        for plane in observed.control_planes
        for line in plane.log_lines
        if any(word in line.lower() for word in words)
    )
    crashed = expectations.istiod_pods(observed)
    return few(said, container_lines(crashed), logged(observed, crashed), events(observed, "Pod/istiod"))


@cause("cacerts-incomplete", Layer.CERTIFICATES, *JUDGED_AT[Layer.CERTIFICATES], breaks=Layer.CONTROL_PLANE)
def cacerts_incomplete(observation: Observation) -> Iterator[Found]:
    """The secret with the plugged-in CA is missing or incomplete.

    istiod reads its CA from `cacerts` when it starts. Without the secret it quietly makes a self-signed CA of its own,
    so that the clusters have different roots; with an entry missing it does not start, or keeps the CA it had. On a
    remote the secret signs nothing, and nothing shows that it is wrong.
    """
    for cluster, observed in read(observation, Subject.CA_SECRET):
        secret = observed.ca_secret or CaSecret(exists=False)
        missing = [file for file in FILES if file not in secret.keys]
        if not secret.exists:
            yield _fault(observation, cluster, observed, "", "exists", "the secret", "none")
        elif missing:
            wanted, seen = ", ".join(FILES), f"no {', '.join(missing)}"
            yield _fault(observation, cluster, observed, "", "entries", wanted, seen)
        elif secret.problems:
            yield _fault(observation, cluster, observed, "", "content", "readable PEM", secret.problems[0])


@cause("root-weak", Layer.CERTIFICATES, "CERT-ROOT-PROFILE", breaks=None)
def root_weak(observation: Observation) -> Iterator[Found]:
    """The root certificate does not have the chapter's profile.

    Made with other options than root-ca.conf: a short key, no critical CA:true, or a keyUsage that is missing.
    Istio takes most of this without complaint; stricter validators, and auditors, don't.
    """
    known: set[str] = set()
    for cluster, observed, secret in secrets(observation):
        root = secret.root_cert
        if root is None or root.sha256 in known:
            continue
        known.add(root.sha256)
        wrong = _against_profile(root, own=_own_pki(observation), path_length=None)
        wrong += [] if x509.self_signed(root) else ["not self-signed"]
        wrong += [] if x509.valid_at(root, observation.observed) else [f"valid until {root.not_after:%Y-%m-%d}"]
        if wrong:
            wanted = "self-signed, valid, RSA 4096, critical CA:true, critical keyUsage with keyCertSign"
            found = ", ".join(wrong)
            repair = _replace_root(observation, cluster)
            yield _fault(observation, cluster, observed, "root-cert.pem", "profile", wanted, found, repair=repair)


def _own_pki(observation: Observation) -> bool:
    return observation.asked.own_pki or observation.asked.mode == "verify-only"


def _against_profile(cert: Certificate, *, own: bool, path_length: int | None) -> list[str]:
    """What differs from the chapter's extensions, apart from CA:false and expiry, which are causes of their own."""
    key, constraints, usage = cert.public_key, cert.basic_constraints, cert.key_usage
    bits = {"RSA": 2048, "EC": 256} if own else {"RSA": RSA_BITS}
    needed = {"keyCertSign"} if own else USAGES
    wrong = [] if key.bits >= bits.get(key.algorithm, key.bits + 1) else [f"{key.algorithm} {key.bits}"]
    if usage is None or not needed <= set(usage.usages) or not (own or usage.critical):
        wrong.append(f"keyUsage {', '.join(usage.usages)}" if usage else "no keyUsage")
    if path_length is None and not (constraints and constraints.ca):
        wrong.append("not a CA")
    if not own and constraints and not constraints.critical:
        wrong.append("basicConstraints not critical")
    if not own and cert.signature_hash != "sha256":
        wrong.append(f"signed with {cert.signature_hash or 'no hash'}")
    return wrong


@cause("root-differs", Layer.CERTIFICATES, "CERT-ROOT-SHARED", "GW-DATAPATH", breaks=Layer.TRAFFIC)
def root_differs(observation: Observation) -> Iterator[Found]:
    """The clusters' CAs stand under different roots.

    A workload trusts one root. Where another cluster's workloads are certified under another, every handshake between
    the two fails; Envoy then retries on a local endpoint, so that often only the absence of remote answers shows it.
    """
    yield from _other_root(observation, remote=False)


@cause("root-differs-remote", Layer.CERTIFICATES, "CERT-ROOT-SHARED", breaks=None)
def root_differs_remote(observation: Observation) -> Iterator[Found]:
    """A remote's unused CA stands under another root.

    The remote's workloads are certified by its primary, its own `cacerts` signs nothing: there is no symptom until the
    remote is made a primary, and then the mesh falls apart.
    """
    yield from _other_root(observation, remote=True)


def _other_root(observation: Observation, *, remote: bool) -> Iterator[Found]:
    found = [(cluster, observed, secret.root_cert) for cluster, observed, secret in secrets(observation)]
    roots = [(cluster, observed, root) for cluster, observed, root in found if root]
    if not roots:
        return
    first, _, shared = roots[0]
    for cluster, observed, root in roots[1:]:
        if root.sha256 != shared.sha256 and cluster.is_primary is not remote:
            wanted = f"{brief(shared)} (as on {first.name})"
            files = f"a new intermediate of the root of {first.name}, and that root"
            yield _fault(
                observation, cluster, observed, "root-cert.pem", "certificate", wanted, brief(root), files=files
            )


@cause("intermediate-not-ca", Layer.CERTIFICATES, "CERT-INTERMEDIATE-PROFILE", breaks=Layer.CONTROL_PLANE)
def intermediate_not_ca(observation: Observation) -> Iterator[Found]:
    """The intermediate is not a CA certificate.

    basicConstraints says CA:false, or is missing. istiod refuses it when it starts ("certificate is not authorized to
    sign other certificates"), and whatever it signed with it is worth nothing.
    """
    for cluster, observed, secret in secrets(observation):
        constraints = secret.ca_cert.basic_constraints if secret.ca_cert else None
        if secret.ca_cert and not (constraints and constraints.ca):
            seen = "CA:false" if constraints else "no basicConstraints"
            yield _fault(
                observation, cluster, observed, "ca-cert.pem", "basicConstraints", "critical, CA:true, pathlen:0", seen
            )


@cause("intermediate-no-pathlen", Layer.CERTIFICATES, "CERT-INTERMEDIATE-PROFILE", breaks=None)
def intermediate_no_pathlen(observation: Observation) -> Iterator[Found]:
    """The intermediate may make further CAs.

    The chapter's pathlen:0 is missing. Nothing shows it, but whoever gets at the key can make CAs that the mesh trusts.
    """
    for cluster, observed, secret in secrets(observation):
        constraints = secret.ca_cert.basic_constraints if secret.ca_cert else None
        if constraints and constraints.ca and constraints.path_length != 0 and not _own_pki(observation):
            length = constraints.path_length
            seen = "no pathlen" if length is None else f"pathlen:{length}"
            yield _fault(
                observation, cluster, observed, "ca-cert.pem", "basicConstraints", "critical, CA:true, pathlen:0", seen
            )


@cause("intermediate-profile", Layer.CERTIFICATES, "CERT-INTERMEDIATE-PROFILE", breaks=None)
def intermediate_profile(observation: Observation) -> Iterator[Found]:
    """The intermediate does not have the chapter's profile.

    Made with other options than intermediate.conf: a short key, a keyUsage or the name of istiod missing, or valid for
    longer than the root that vouches for it.
    """
    for cluster, observed, secret in secrets(observation):
        if (cert := secret.ca_cert) is None:
            continue
        own = _own_pki(observation)
        wrong = _against_profile(cert, own=own, path_length=0)
        name = f"istiod.{observation.asked.system_namespace}.svc"
        wrong += [] if own or name in cert.dns_names else [f"no DNS name {name}"]
        root = secret.root_cert
        if root and not own and cert.not_after > root.not_after + timedelta(days=1):
            wrong.append("valid more than a day longer than the root")
        if wrong:
            wanted = f"RSA 4096, critical keyUsage with keyCertSign, DNS name {name}"
            yield _fault(observation, cluster, observed, "ca-cert.pem", "profile", wanted, ", ".join(wrong))


@cause(
    "intermediate-not-signed",
    Layer.CERTIFICATES,
    "CERT-INTERMEDIATE-PROFILE",
    "CERT-CHAIN",
    breaks="control plane and webhook",
)
def intermediate_not_signed(observation: Observation) -> Iterator[Found]:
    """The intermediate is not signed by the root that stands beside it.

    ca-cert.pem and root-cert.pem come from two PKIs. istiod does not start with such a pair.
    """
    for cluster, observed, secret in secrets(observation):
        cert, root = secret.ca_cert, secret.root_cert
        between = len(secret.cert_chain) > 2  # noqa: PLR2004 - a site's own PKI may have further CAs between
        if cert and root and not between and not x509.signed_by(cert, root):
            yield _fault(
                observation, cluster, observed, "ca-cert.pem", "issuer", root.subject, f"{cert.issuer}, another key"
            )


@cause(
    "intermediate-expired",
    Layer.CERTIFICATES,
    "CERT-INTERMEDIATE-PROFILE",
    "CERT-CHAIN",
    "CERT-HORIZON",
    breaks=Layer.CONTROL_PLANE,
)
def intermediate_expired(observation: Observation) -> Iterator[Found]:
    """The intermediate is not valid at this time.

    It has expired, or is not valid yet. istiod does not start with it; workloads that have certificates from it are
    refused by every peer, at the latest when they renew theirs.
    """
    for cluster, observed, secret in secrets(observation):
        cert = secret.ca_cert
        if cert and not x509.valid_at(cert, observation.observed):
            wanted = f"valid at {observation.observed:%Y-%m-%d %H:%M}"
            seen = f"{cert.not_before:%Y-%m-%d %H:%M} to {cert.not_after:%Y-%m-%d %H:%M}"
            yield _fault(observation, cluster, observed, "ca-cert.pem", "validity", wanted, seen)


@cause("intermediate-expires-soon", Layer.CERTIFICATES, "CERT-HORIZON", breaks=None)
def intermediate_expires_soon(observation: Observation) -> Iterator[Found]:
    """A CA certificate expires within 30 days.

    With the intermediate every workload below it loses its identity within a day, with the root the mesh does. On a
    primary that is a date to plan for now: rotating an intermediate under the same root interrupts nothing.
    """
    for cluster, observed, secret in secrets(observation):
        if not cluster.is_primary:
            continue
        for file, cert in (("ca-cert.pem", secret.ca_cert), ("root-cert.pem", secret.root_cert)):
            if cert and timedelta() < cert.not_after - observation.observed <= HORIZON:
                seen = f"{cert.not_after:%Y-%m-%d %H:%M}, {(cert.not_after - observation.observed).days} days left"
                repair = _replace_root(observation, cluster) if file == "root-cert.pem" else ""
                yield _fault(
                    observation, cluster, observed, file, "notAfter", "more than 30 days left", seen, repair=repair
                )


@cause("intermediate-shared", Layer.CERTIFICATES, "CERT-INTERMEDIATE-DISTINCT", breaks=None)
def intermediate_shared(observation: Observation) -> Iterator[Found]:
    """Two clusters hold the same intermediate key.

    Whoever takes one cluster's CA then has the other's too, and it can't be revoked for one alone. Traffic works.
    """
    seen: dict[str, tuple[str, Certificate]] = {}
    for cluster, observed, secret in secrets(observation):
        if (cert := secret.ca_cert) is None:
            continue
        other, theirs = seen.setdefault(cert.public_key.sha256, (cluster.name, cert))
        if other != cluster.name:
            same = f"the key of {other}: {brief(theirs)}"
            yield _fault(observation, cluster, observed, "ca-cert.pem", "public key", "a key of its own", same)


@cause("chain-incomplete", Layer.CERTIFICATES, "CERT-CHAIN", breaks=None)
def chain_incomplete(observation: Observation) -> Iterator[Found]:
    """cert-chain.pem is not the intermediate followed by the root.

    The chapter makes it with `cat ca-cert.pem root-cert.pem`. Workloads send it to their peers, who mostly have the
    root themselves: a chain without it mostly has no symptom, one without the intermediate breaks every handshake.
    """
    for cluster, observed, secret in secrets(observation):
        cert, root = secret.ca_cert, secret.root_cert
        if cert is None or root is None or "cert-chain.pem" not in secret.keys:
            continue
        held = [each.sha256 for each in secret.cert_chain]
        if not held or held[0] != cert.sha256 or held[-1] != root.sha256:
            seen = ", ".join(each.subject for each in secret.cert_chain) or "no certificate"
            wanted = f"{cert.subject}, {root.subject}"
            files = "as they are, but cat ca-cert.pem root-cert.pem > cert-chain.pem"
            yield _fault(observation, cluster, observed, "cert-chain.pem", "order", wanted, seen, files=files)


@cause("key-mismatch", Layer.CERTIFICATES, "CERT-KEY-MATCH", breaks=Layer.CONTROL_PLANE)
def key_mismatch(observation: Observation) -> Iterator[Found]:
    """The CA's private key does not belong to its certificate.

    istiod compares the two and does not start with such a pair; one that runs keeps the CA it had.
    """
    for cluster, observed, secret in secrets(observation):
        if secret.key_matches is False:
            files = "ca-key.pem and ca-cert.pem of one pair"
            yield _fault(
                observation, cluster, observed, "ca-key.pem", "key", "that of ca-cert.pem", "another key", files=files
            )
