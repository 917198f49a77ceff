"""Every requirement on certificates notices what it is there for."""

from collections.abc import Mapping
from datetime import timedelta

import pytest

from harness.model import clients
from harness.model.certificate import CaSecret
from harness.model.observation import Observation
from harness.model.topology import Topology
from suites.selftest.support import certificates
from suites.selftest.support.breakage import Breakage, check, edit, first, last, last_is_remote, on, with_ca, with_root
from suites.selftest.support.certificates import OBSERVED, Authority, key, pki


def _root() -> Authority:
    return Authority(pki().root, key(4096, "root"))


def _secret(observation: Observation, **update: object) -> Observation:
    secret = observation[last(observation.topology)].ca_secret
    assert secret
    return on(observation, last(observation.topology), ca_secret=secret.model_copy(update=update))


def _root_without_usage(observation: Observation) -> Observation:
    return with_root(observation, observation.topology.clusters, certificates.root_certificate(usages=()))


def _other_root(observation: Observation) -> Observation:
    """The same key under a second certificate, as after a half-done renewal: every signature still holds."""
    return with_root(observation, (last(observation.topology),), certificates.root_certificate())


def _foreign_root(observation: Observation) -> Observation:
    root = Authority(certificates.root_certificate(2048, "foreign"), key(2048, "foreign"))
    ca = certificates.intermediate(last(observation.topology).name, root)
    return with_root(
        with_ca(observation, last(observation.topology), ca), (last(observation.topology),), root.certificate
    )


def _reissued(observation: Observation, **options: object) -> Observation:
    cluster = last(observation.topology)
    ca = certificates.intermediate(cluster.name, _root(), **options)  # type: ignore[arg-type]
    return with_ca(observation, cluster, ca)


def _expires_soon(observation: Observation) -> Observation:
    cluster = first(observation.topology)
    began = OBSERVED - timedelta(days=355)
    return with_ca(observation, cluster, certificates.intermediate(cluster.name, _root(), not_before=began, days=365))


def _shared(observation: Observation) -> Observation:
    topology = observation.topology
    other = observation[first(topology)].ca_secret
    assert other and other.ca_cert
    return with_ca(observation, last(topology), other.ca_cert)


def _chain_without_root(observation: Observation) -> Observation:
    secret = observation[last(observation.topology)].ca_secret
    assert secret
    return _secret(observation, cert_chain=secret.cert_chain[:1])


def _own_ca(observation: Observation) -> Observation:
    """Istiod started before `cacerts` was there."""
    own = Authority(certificates.root_certificate(2048, "self"), key(2048, "self"))
    cluster = first(observation.topology)
    planes = observation[cluster].control_planes
    chain = (certificates.istiod(own), own.certificate)
    return on(observation, cluster, control_planes=edit(planes, lambda _: True, serving_chain=chain))


def _no_trust_bundle(observation: Observation) -> Observation:
    return on(observation, last(observation.topology), root_config_map=None)


def _leaf(observation: Observation, identity: str = "", **options: object) -> Observation:
    cluster = last(observation.topology)
    proxy = clients.client_proxies(observation, cluster)[0]
    signer = pki().signer(cluster.primary)
    leaf = certificates.workload(signer, identity or proxy.chain[0].uris[0], **options)  # type: ignore[arg-type]
    proxies = edit(observation[cluster].proxies, lambda found: found == proxy, chain=(leaf, *proxy.chain[1:]))
    return on(observation, cluster, proxies=proxies)


def _istiod_name(observation: Observation) -> Observation:
    cluster = first(observation.topology)
    planes = observation[cluster].control_planes
    leaf = certificates.istiod(pki().signer(cluster.name), "istiod.elsewhere.svc")
    return on(
        observation,
        cluster,
        control_planes=edit(planes, lambda _: True, serving_chain=(leaf, *planes[0].serving_chain[1:])),
    )


def _served_by_itself(topology: Topology) -> tuple[str, ...]:
    """Where the last cluster is a primary, its control plane and proxies are at odds with its secret."""
    return () if last_is_remote(topology) else ("CERT-IN-USE", "CERT-WORKLOAD")


BREAKAGES = (
    Breakage(
        "CERT-SECRET",
        "no-chain",
        lambda o: _secret(o, keys=("ca-cert.pem", "ca-key.pem", "root-cert.pem"), cert_chain=()),
        blocked=lambda _: ("CERT-CHAIN",),
    ),
    Breakage(
        "CERT-SECRET",
        "missing",
        lambda o: on(o, last(o.topology), ca_secret=CaSecret(exists=False)),
        when=last_is_remote,
        blocked=lambda _: (
            "CERT-ROOT-PROFILE",
            "CERT-ROOT-SHARED",
            "CERT-INTERMEDIATE-PROFILE",
            "CERT-INTERMEDIATE-DISTINCT",
            "CERT-KEY-MATCH",
            "CERT-CHAIN",
            "CERT-HORIZON",
        ),
    ),
    Breakage("CERT-SECRET", "unreadable-file", lambda o: _secret(o, problems=("root-cert.pem: not PEM",))),
    Breakage("CERT-ROOT-PROFILE", "no-key-usage", _root_without_usage),
    Breakage("CERT-ROOT-SHARED", "renewed-on-one", _other_root),
    Breakage(
        "CERT-ROOT-SHARED",
        "foreign-on-remote",
        _foreign_root,
        when=last_is_remote,
        also_fail=lambda _: ("CERT-ROOT-PROFILE",),
    ),
    Breakage("CERT-INTERMEDIATE-PROFILE", "not-a-ca", lambda o: _reissued(o, ca=False)),
    Breakage("CERT-INTERMEDIATE-PROFILE", "no-path-length", lambda o: _reissued(o, path_length=None)),
    Breakage("CERT-INTERMEDIATE-PROFILE", "other-name", lambda o: _reissued(o, dns_name="istiod.elsewhere.svc")),
    Breakage("CERT-INTERMEDIATE-PROFILE", "outlives-root", lambda o: _reissued(o, days=3652)),
    Breakage(
        "CERT-INTERMEDIATE-PROFILE",
        "expired",
        lambda o: _reissued(o, days=1, not_before=OBSERVED - timedelta(days=2)),
        when=last_is_remote,
        also_fail=lambda _: ("CERT-CHAIN",),
    ),
    Breakage("CERT-INTERMEDIATE-DISTINCT", "shared", _shared, also_fail=_served_by_itself),
    Breakage("CERT-KEY-MATCH", "other-key", lambda o: _secret(o, key_matches=False)),
    Breakage("CERT-CHAIN", "without-root", _chain_without_root),
    Breakage("CERT-IN-USE", "no-trust-bundle", _no_trust_bundle),
    Breakage("CERT-IN-USE", "own-ca", _own_ca, also_fail=lambda _: ("CERT-ISTIOD", "CP-INJECTION-WEBHOOK")),
    Breakage("CERT-WORKLOAD", "not-yet-valid", lambda o: _leaf(o, not_before=OBSERVED + timedelta(minutes=1))),
    Breakage("CERT-WORKLOAD", "expired", lambda o: _leaf(o, not_before=OBSERVED - timedelta(days=2))),
    Breakage("CERT-WORKLOAD", "outlives-issuer", lambda o: _leaf(o, days=5000)),
    Breakage("CERT-WORKLOAD", "other-identity", lambda o: _leaf(o, "spiffe://cluster.local/ns/sample/sa/other")),
    Breakage("CERT-ISTIOD", "other-name", _istiod_name),
    Breakage("CERT-HORIZON", "ten-days", _expires_soon),
)


@pytest.mark.parametrize("breakage", BREAKAGES, ids=str)
def test_notices(breakage: Breakage, made_observations: Mapping[str, Observation]) -> None:
    """The requirement fails, and nothing else but what is declared."""
    check(breakage, made_observations.values())
