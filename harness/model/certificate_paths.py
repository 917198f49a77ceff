"""Whether certificates lead to a root: paths through a chain, as RFC 5280 validates them. Pure."""

from collections.abc import Iterator, Sequence
from datetime import datetime

from harness.model.certificate import Certificate
from harness.model.x509 import signed_by


def validates(
    chain: Sequence[Certificate], roots: Certificate | Sequence[Certificate], at: datetime, *, purpose: str = ""
) -> str | None:
    """Why a certificate is not valid, or None where it is (RFC 5280 section 6.1, as far as meshes use it).

    Checked are signatures, names, validity, basicConstraints with path length and keyCertSign; not name constraints,
    policies or revocation. The root's own validity counts too, as it does for Envoy and Go.

    Args:
        chain: the leaf first; the others in any order (RFC 8446 section 4.4.2), with or without the root.
        roots: trust anchors. One valid path to one of them is enough.
        at: when it is to be valid.
        purpose: an extended key usage that the leaf must have (`serverAuth`), if it names any.
    """
    if not chain:
        return "the chain is empty"
    leaf, found = chain[0], paths(chain, roots)
    if not found:
        last = _furthest(chain)
        return f"{last.subject or 'the leaf'} (issuer {last.issuer}) is not signed by a trusted root"
    if purpose and leaf.extended_key_usage and purpose not in leaf.extended_key_usage:
        return f"{leaf.subject or 'the leaf'} is not for {purpose}"
    reasons = [next(filter(None, (_link(path, index, at) for index in range(len(path)))), None) for path in found]
    return None if None in reasons else reasons[0]


def paths(
    chain: Sequence[Certificate], roots: Certificate | Sequence[Certificate]
) -> tuple[tuple[Certificate, ...], ...]:
    """The paths from a chain's leaf to trust anchors, by name and signature alone: leaf first, anchor last."""
    anchors = {root.sha256: root for root in ([roots] if isinstance(roots, Certificate) else roots)}
    others = {cert.sha256: cert for cert in chain[1:] if cert.sha256 not in anchors}

    def climb(path: tuple[Certificate, ...]) -> Iterator[tuple[Certificate, ...]]:
        if path[-1].sha256 in anchors:
            yield path
            return
        for issuer in (*anchors.values(), *others.values()):
            if issuer not in path and signed_by(path[-1], issuer):
                yield from climb((*path, issuer))

    return tuple(climb((chain[0],))) if chain else ()


def anchors(chain: Sequence[Certificate], roots: Sequence[Certificate]) -> tuple[Certificate, ...]:
    """The roots that a chain's leaf leads to."""
    return tuple({path[-1].sha256: path[-1] for path in paths(chain, roots)}.values())


def _furthest(chain: Sequence[Certificate]) -> Certificate:
    """Where the way up from the leaf ends within the chain."""
    path = [chain[0]]
    while issuer := next((cert for cert in chain if cert not in path and signed_by(path[-1], cert)), None):
        path.append(issuer)
    return path[-1]


def _link(chain: Sequence[Certificate], index: int, at: datetime) -> str | None:
    """What is wrong with one certificate of a path that goes up to its root."""
    cert = chain[index]
    name = cert.subject or "the leaf"
    if at < cert.not_before:
        return f"{name} is not valid before {cert.not_before:%Y-%m-%d %H:%M:%S}Z"
    if at > cert.not_after:
        return f"{name} expired at {cert.not_after:%Y-%m-%d %H:%M:%S}Z"
    if index:
        below = sum(not self_issued(passed) for passed in chain[1:index])
        if reason := _as_issuer(cert, name, below):
            return reason
    if index + 1 < len(chain) and not signed_by(cert, chain[index + 1]):
        return f"{name} is not signed by {chain[index + 1].subject}"
    return None


def self_issued(cert: Certificate) -> bool:
    """Whether subject and issuer are the same name, whatever key signed it (RFC 5280 section 3.2)."""
    return cert.subject == cert.issuer


def _as_issuer(cert: Certificate, name: str, intermediates_below: int) -> str | None:
    constraints = cert.basic_constraints
    if constraints is None or not constraints.ca:
        return f"{name} is not a CA"
    if constraints.path_length is not None and intermediates_below > constraints.path_length:
        return f"{name} allows {constraints.path_length} intermediates below it, the path has {intermediates_below}"
    if cert.key_usage is not None and "keyCertSign" not in cert.key_usage.usages:
        return f"{name} may not sign certificates (no keyCertSign)"
    return None
