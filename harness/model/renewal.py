"""When a CA certificate has to be renewed, and whether its renewal is under way. Pure."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from harness.model import ca, captured, certificate_paths, expectations, x509
from harness.model.certificate import CaSecret, Certificate
from harness.model.observation import Observation
from harness.model.topology import Cluster

LONG = timedelta(days=30)
"""Before the end of a certificate that a person renews."""


def margin(cert: Certificate) -> timedelta:
    """How long before its end a CA certificate has to be renewed.

    30 days; for a certificate of less than 90 days the last third of its lifetime: such a CA is renewed by a program,
    and cert-manager renews then (Certificate, `renewBefore`: default a third of the duration).
    """
    return min(LONG, (cert.not_after - cert.not_before) / 3)


def is_short_lived(cert: Certificate) -> bool:
    """Whether a third of its lifetime, and not 30 days, is its margin."""
    return margin(cert) < LONG


def is_due(cert: Certificate, at: datetime) -> bool:
    """Whether a CA certificate should have been renewed by then, or has expired."""
    return cert.not_after - at <= margin(cert)


def span(period: timedelta) -> str:
    """A span of time in words: `2.3 days`, below two days `31 hours`."""
    hours = period / timedelta(hours=1)
    return f"{hours:.0f} hours" if abs(hours) < 48 else f"{round(hours / 24, 1):g} days"  # noqa: PLR2004


def in_use(observation: Observation, cluster: Cluster) -> Iterator[tuple[str, Certificate]]:
    """The CA certificates that a cluster was found to use, each with the name of the cluster where it was found.

    Those above the certificates of its control planes, wherever these run, and of its proxies; a root that nothing
    leads to only where the run gave it. A CA that is being replaced is left out, see `replaced`.
    """
    former = {cert.sha256 for cert in replaced(observation, cluster)}
    return ((place, cert) for place, cert in _above(observation, cluster) if cert.sha256 not in former)


def replaced(observation: Observation, cluster: Cluster) -> tuple[Certificate, ...]:
    """The CA certificates of a cluster's workloads that its control plane does not sign with any more.

    istiod takes a new intermediate in `cacerts` up without a restart and makes its own certificate again at once
    (pilot/pkg/bootstrap/istio_ca.go, handleEvent); workloads keep theirs until they renew them, within a day. Empty
    where no control plane is seen to use what the secret holds.
    """
    primary = observation[cluster.primary]
    secret = expectations.signing_ca(observation, cluster) or CaSecret(exists=False)
    authority = secret.ca_cert
    shown = (plane.serving_chain for plane in primary.control_planes if plane.serving_chain)
    if authority is None or not any(_comes_from(chain, authority) for chain in shown):
        return ()
    kept = {cert.sha256 for cert in (*ca.signing_chain(secret), *ca.bundle(primary))}
    holders = (*observation[cluster].proxies, *captured.views(observation, cluster))
    chains = (proxy.chain for proxy in holders if proxy.chain)
    former = (cert for chain in chains if not _comes_from(chain, authority) for cert in chain[1:])
    return ca.unique(cert for cert in former if cert.sha256 not in kept)


def _comes_from(chain: tuple[Certificate, ...], authority: Certificate) -> bool:
    """Whether a chain was made with this certificate of a CA, and not with a former one of the same key."""
    issuers = [cert.sha256 for cert in chain[1:] if x509.same_key(cert, authority)]
    return x509.signed_by(chain[0], authority) and (not issuers or authority.sha256 in issuers)


def _above(observation: Observation, cluster: Cluster) -> Iterator[tuple[str, Certificate]]:
    observed, home = observation[cluster], observation.topology.home_of(cluster).name
    published = observed.root_config_map or ()
    holders = (*observed.proxies, *captured.views(observation, cluster))
    # Control planes first: a CA stands where it signs, and there it is renewed.
    chains = [(home, plane.serving_chain, published) for plane in observed.control_planes]
    chains += [(cluster.name, proxy.chain, proxy.roots) for proxy in holders]
    for place, chain, roots in chains:
        if ca.found(observation):
            yield from ((place, cert) for path in certificate_paths.paths(chain, roots) for cert in path[1:])
        else:
            yield from ((place, cert) for cert in chain[1:])
            yield from ((cluster.name, root) for root in roots)
    if not ca.found(observation):
        yield from ((cluster.name, cert) for cert in published)
