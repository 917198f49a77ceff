"""The certificates seen on each cluster, as a tree by who signed whom, with their lifetimes. Pure."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from harness.model import renewal
from harness.model.certificate import Certificate
from harness.model.cluster import ClusterObservation
from harness.model.observation import Observation


@dataclass(frozen=True)
class CertificateNode:
    """A certificate, with what it signed."""

    certificate: Certificate
    name: str
    """Its subject or, as workloads have none, the first name it is for."""
    other_names: tuple[str, ...]
    uses: tuple[str, ...]
    """Where it was seen."""
    state: str
    """valid, soon, expired or early."""
    left: str
    """How long it is still valid, in words."""
    elapsed: float
    """How much of its lifetime is over, in per cent."""
    children: tuple["CertificateNode", ...]


@dataclass(frozen=True)
class ClusterTree:
    """The certificates of one cluster."""

    cluster: str
    roots: tuple[CertificateNode, ...]
    key_matches: bool | None
    problems: tuple[str, ...]


def trees(observation: Observation) -> tuple[ClusterTree, ...]:
    """One tree for each cluster."""
    return tuple(_tree(observed, observation.observed) for observed in observation.clusters)


def _tree(observed: ClusterObservation, now: datetime) -> ClusterTree:
    uses: dict[str, list[str]] = {}
    known: dict[str, Certificate] = {}
    for use, certificate in _seen(observed):
        known[certificate.sha256] = certificate
        if use not in uses.setdefault(certificate.sha256, []):
            uses[certificate.sha256].append(use)
    parents = {fingerprint: _parent(each, known.values()) for fingerprint, each in known.items()}

    def grow(parent: str | None, above: frozenset[str]) -> tuple[CertificateNode, ...]:
        members = [each for f, each in known.items() if parents[f] == parent and f not in above]
        return tuple(
            _node(each, tuple(uses[each.sha256]), grow(each.sha256, above | {each.sha256}), now) for each in members
        )

    secret = observed.ca_secret
    return ClusterTree(
        cluster=observed.name,
        roots=grow(None, frozenset()),
        key_matches=secret.key_matches if secret else None,
        problems=secret.problems if secret else (),
    )


def _seen(observed: ClusterObservation) -> Iterator[tuple[str, Certificate]]:
    """Every certificate that was seen, with where."""
    if secret := observed.ca_secret:
        if secret.root_cert:
            yield "cacerts root-cert.pem", secret.root_cert
        if secret.ca_cert:
            yield "cacerts ca-cert.pem", secret.ca_cert
        yield from (("cacerts cert-chain.pem", each) for each in secret.cert_chain)
    yield from (("config map istio-ca-root-cert", each) for each in observed.root_config_map or ())
    for plane in observed.control_planes:
        yield from ((f"istiod {plane.pod}", each) for each in plane.serving_chain)
    for proxy in observed.proxies:
        yield from (
            (f"{proxy.namespace}/{proxy.pod}" if index == 0 else "workloads' chains", each)
            for index, each in enumerate(proxy.chain)
        )
        yield from (("trusted by workloads", each) for each in proxy.roots)


def _parent(certificate: Certificate, known: Iterable[Certificate]) -> str | None:
    """The fingerprint of the certificate that issued it, by name and, where both are there, key identifiers."""
    if certificate.subject == certificate.issuer:
        return None
    for other in known:
        ids = certificate.authority_key_id, other.subject_key_id
        if other.subject == certificate.issuer and (None in ids or ids[0] == ids[1]):
            return other.sha256
    return None


def _node(
    certificate: Certificate, uses: tuple[str, ...], children: tuple[CertificateNode, ...], now: datetime
) -> CertificateNode:
    begins, ends = certificate.not_before, certificate.not_after
    is_ca = bool(certificate.basic_constraints and certificate.basic_constraints.ca)
    if now < begins:
        state, left = "early", f"not valid for another {_words(begins - now)}"
    elif now > ends:
        state, left = "expired", f"expired {_words(now - ends)} ago"
    else:
        state = "soon" if is_ca and renewal.is_due(certificate, now) else "valid"
        left = f"{_words(ends - now)} left"
    lifetime = (ends - begins).total_seconds() or 1.0
    elapsed = min(100.0, max(0.0, 100 * (now - begins).total_seconds() / lifetime))
    names = [name for name in (certificate.subject, *certificate.uris, *certificate.dns_names) if name]
    first, others = (names[0], tuple(names[1:])) if names else (f"serial {certificate.serial}", ())
    return CertificateNode(certificate, first, others, uses, state, left, round(elapsed, 2), children)


def _words(span: timedelta) -> str:
    """A span of time in its largest unit, for instance `9.9 years`, `23 hours`."""
    seconds = span.total_seconds()
    units = (("years", 365.25 * 86400), ("days", 86400.0), ("hours", 3600.0))
    unit, size = next((each for each in units if seconds >= 2 * each[1]), ("minutes", 60.0))
    return f"{seconds / size:.{1 if unit == 'years' else 0}f} {unit}"
