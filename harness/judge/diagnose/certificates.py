"""Causes in the secrets that hold the CAs, and in the trust between the clusters."""

from collections import Counter
from collections.abc import Iterator, Sequence

from harness.judge.diagnose.ca_secret import brief, fault, istiod_says, judged, look, secrets
from harness.judge.diagnose.certificates_in_use import secret_is_unused
from harness.judge.diagnose.graph import JUDGED_AT, Layer
from harness.judge.diagnose.registry import Found, cause
from harness.judge.diagnose.repair import restart_workloads
from harness.model import ca
from harness.model.certificate import CHAPTER_FILES, CaSecret
from harness.model.observation import Observation


@cause("cacerts-incomplete", Layer.CERTIFICATES, *JUDGED_AT[Layer.CERTIFICATES], breaks=Layer.CONTROL_PLANE)
def cacerts_incomplete(observation: Observation) -> Iterator[Found]:
    """The secret with the plugged-in CA is missing or incomplete.

    istiod reads its CA from `cacerts` when it starts: from tls.crt, tls.key and ca.crt where there is a tls.crt, else
    from the chapter's four files. Without the secret it makes a self-signed CA of its own, so that the clusters have
    different roots. With an entry missing it does not start; one that runs keeps the CA it has. On a remote the secret
    signs nothing, and nothing shows that it is wrong.
    """
    for cluster, _, secret in judged(observation):
        missing = secret.missing
        if not ca.found(observation):
            missing = tuple(file for file in CHAPTER_FILES.all if file not in secret.keys)
        if not secret.exists:
            yield fault(observation, cluster, "", "exists", wanted="the secret", seen="none")
        elif missing:
            wanted = ", ".join((secret.files if ca.found(observation) else CHAPTER_FILES).all)
            yield fault(observation, cluster, "", "entries", wanted=wanted, seen=f"no {', '.join(missing)}")


@cause("cacerts-unreadable", Layer.CERTIFICATES, *JUDGED_AT[Layer.CERTIFICATES], breaks=Layer.CONTROL_PLANE)
def cacerts_unreadable(observation: Observation) -> Iterator[Found]:
    """A file of the plugged-in CA can't be read.

    istiod and Envoy take a PEM block only where BEGIN and END stand on lines of their own: two files joined without a
    line break between them are not two certificates, although openssl shows the first. Of the key and the CA's
    certificate istiod reads the first block only (not EC PARAMETERS). It does not start with such a file; one that runs
    keeps the CA it has.
    """
    for cluster, _, secret in secrets(observation):
        for problem in secret.problems:
            file, _, reason = problem.partition(": ") if ": " in problem else ("", "", problem)
            files = "the same content as PEM files, each BEGIN and END on a line of its own, the key's block first"
            yield fault(observation, cluster, file, "content", wanted="readable PEM", seen=reason, files=files)


@cause("root-differs", Layer.CERTIFICATES, "CERT-ROOT-SHARED", "GW-DATAPATH", breaks=Layer.TRAFFIC)
def root_differs(observation: Observation) -> Iterator[Found]:
    """A cluster does not trust the root under which another one certifies its workloads.

    Their CAs stand under different roots, or each istiod has a self-signed CA of its own, and the roots were not
    exchanged. Every handshake between the two fails; Envoy then retries on a local endpoint, so that often only the
    absence of remote answers shows it.
    """
    if ca.found(observation):
        yield from _distrust(observation)
    else:
        yield from _other_root(observation, remote=False)


@cause("root-differs-remote", Layer.CERTIFICATES, "CERT-ROOT-SHARED", breaks=None)
def root_differs_remote(observation: Observation) -> Iterator[Found]:
    """A remote's unused CA stands under another root.

    The remote's workloads are certified by its primary, its own `cacerts` signs nothing: there is no symptom until the
    remote is made a primary, and then the mesh falls apart.
    """
    if not ca.found(observation):
        yield from _other_root(observation, remote=True)


def _other_root(observation: Observation, *, remote: bool) -> Iterator[Found]:
    roots = [(cluster, secret.root_cert) for cluster, _, secret in secrets(observation) if secret.root_cert]
    if not roots:
        return
    first, shared = roots[0]
    for cluster, root in roots[1:]:
        if root.sha256 != shared.sha256 and cluster.is_primary is not remote:
            wanted = f"{brief(shared)} (as on {first.name})"
            files = f"a new intermediate of the root of {first.name}, and that root"
            yield fault(
                observation, cluster, "root-cert.pem", "certificate", wanted=wanted, seen=brief(root), files=files
            )


def _distrust(observation: Observation) -> Iterator[Found]:
    """For each cluster that is at odds with others one finding: the cluster in most pairs first, else the later one.

    Of two nobody can tell which one is meant: what is said to be changed holds for both.
    """
    left = list(ca.distrusted(observation))
    order = [cluster.name for cluster in observation.topology.clusters]
    # Whoever does not sign with its secret is at odds for that reason, which is a cause by itself.
    unused = {name for name in order if secret_is_unused(observation, observation.topology[name])}
    while left:
        pairs = {frozenset((each.trust.cluster, each.signed.cluster)) for each in left}
        counts = Counter(name for pair in pairs for name in pair)
        name = max(counts, key=lambda each: (each in unused, counts[each], order.index(each)))
        concerned = [each for each in left if name in (each.trust.cluster, each.signed.cluster)]
        if name not in unused:
            yield _at_odds(observation, name, concerned)
        left = [each for each in left if each not in concerned]


def _at_odds(observation: Observation, name: str, concerned: Sequence[ca.Distrust]) -> Found:
    """What of a cluster is at fault: its secret where that differs from the others, else what a pod still uses."""
    cluster = observation.topology[name]
    secret = next((each for each in concerned if _of_secrets(each)), None)
    first = secret or concerned[0]
    trusts = first.trust.cluster == name
    own, other = (first.trust, first.signed) if trusts else (first.signed, first.trust)
    signs, roots = brief(first.signed.chain[-1]), ", ".join(brief(root) for root in first.trust.roots)
    if secret or ca.kind_of(observation, cluster) is not ca.CaKind.PLUGGED_IN:
        note = f"{other.cluster} and {name} need one root, or each the other's root in its bundle; then restart istiod"
        repair = look(observation, cluster, note)
    else:
        repair = restart_workloads(observation, cluster)
    own_ca = ca.kind_of(observation, cluster) is ca.CaKind.SELF_SIGNED and not secret
    return Found(
        cluster=name,
        object=ca.secret_name(observation, cluster) if own_ca else own.object,
        field="trusted roots" if trusts else "issuer",
        expected=f"the root of {other.cluster}: {signs}" if trusts else f"a root that {other.cluster} trusts: {roots}",
        found=roots if trusts else signs,
        repair=repair,
        change=f"Let {other.cluster} and {name} trust each other: one root for both, or each the other's in its bundle",
        evidence=istiod_says(observation[cluster]),
        title="Each istiod has a self-signed CA of its own, and the roots are not exchanged" if own_ca else "",
    )


def _of_secrets(found: ca.Distrust) -> bool:
    return found.trust.object.startswith("Secret ") and found.signed.object.startswith("Secret ")


@cause("chain-incomplete", Layer.CERTIFICATES, "CERT-CHAIN", breaks=None)
def chain_incomplete(observation: Observation) -> Iterator[Found]:
    """cert-chain.pem is not the intermediate followed by the root.

    The chapter makes it with `cat ca-cert.pem root-cert.pem`. Workloads send it to their peers, who mostly have the
    root themselves: a chain without it mostly has no symptom, one without the intermediate breaks every handshake.
    """
    for cluster, observed, secret in secrets(observation):
        cert, root, chain = secret.ca_cert, secret.root_cert, secret.cert_chain
        if cert is None or root is None or secret.files.cert_chain not in secret.keys or not _broken_chain(secret):
            continue
        if ca.found(observation) and any(each.sha256 == cert.sha256 for each in (*chain, *ca.bundle(observed))):
            continue  # In whatever order: peers find the way.
        seen = ", ".join(each.subject for each in chain) or "no certificate"
        files = "as they are, but cat ca-cert.pem root-cert.pem > cert-chain.pem"
        wanted = f"{cert.subject}, {root.subject}"
        yield fault(observation, cluster, secret.files.cert_chain, "order", wanted=wanted, seen=seen, files=files)


def _broken_chain(secret: CaSecret) -> bool:
    """Whether a chain was read that does not begin with the CA and end with the root."""
    held, ends = [each.sha256 for each in secret.cert_chain], (secret.ca_cert, secret.root_cert)
    unreadable = any(problem.startswith(secret.files.chain) for problem in secret.problems)
    return not unreadable and [*held[:1], *held[-1:]] != [each.sha256 for each in ends if each]


@cause("key-mismatch", Layer.CERTIFICATES, "CERT-KEY-MATCH", breaks=Layer.CONTROL_PLANE)
def key_mismatch(observation: Observation) -> Iterator[Found]:
    """The CA's private key does not belong to its certificate.

    istiod compares the two and does not start with such a pair; one that runs keeps the CA it had.
    """
    for cluster, _, secret in secrets(observation):
        if secret.key_matches is False:
            key, cert = secret.files.ca_key, secret.files.ca_cert
            wanted = f"that of {cert}"
            files = f"{key} and {cert} of one pair"
            yield fault(observation, cluster, key, "key", wanted=wanted, seen="another key", files=files)
