"""On a mesh that was there before every form of CA passes that the clusters share trust under; broken ones fail."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta

import pytest
from cryptography.x509.oid import NameOID

from harness.judge.diagnose import diagnose
from harness.judge.judgement import Judgement, Verdict
from harness.judge.requirement import judge
from harness.model.certificate import CHAPTER_FILES, TLS_FILES, CaSecret, Certificate
from harness.model.cluster import ClusterObservation, Container
from harness.model.observation import Observation
from suites.catalogue import catalogue
from suites.selftest.support import certificates as made
from suites.selftest.support.breakage import on
from suites.selftest.support.certificates import Authority, intermediate, issue, key

RESERVED = {Verdict.FAIL, Verdict.BLOCKED, Verdict.UNKNOWN}
CERTIFICATES = tuple(row.id for row in catalogue().values() if row.area == "certificates")
JUDGED = (*CERTIFICATES, "GW-DATAPATH", "CP-IDENTITY")
NAMES = ("multi-primary-multi-network", "primary-remote-multi-network", "multi-primary-single-network")


@dataclass(frozen=True)
class Plane:
    """What the CA of one primary is, and what its proxies trust."""

    signer: Authority
    sent: tuple[Certificate, ...]
    """After the leaf."""
    roots: tuple[Certificate, ...]
    secret: CaSecret


def root(owner: str, usages: tuple[str, ...] = made.CHAPTER_USAGES) -> Authority:
    """A self-signed CA with a name of its own."""
    name = {NameOID.ORGANIZATION_NAME: "cluster.local", NameOID.COMMON_NAME: owner}
    return Authority(issue(name, key(2048, owner), usages=usages), key(2048, owner))


A, B, C = root("root a"), root("root b"), root("root c")


def plugged(cluster: str, under: Authority = A, roots: Iterable[Authority] = (), *, tls: bool = False) -> Plane:
    """An intermediate of its own in `cacerts`, in the chapter's form or as kubernetes.io/tls."""
    signer = Authority(intermediate(cluster, under), key(4096, cluster))
    bundle = tuple(each.certificate for each in roots) or (under.certificate,)
    sent, files = (signer.certificate, under.certificate), TLS_FILES if tls else CHAPTER_FILES
    secret = CaSecret(
        exists=True,
        keys=tuple(sorted(files.all)),
        ca_cert=signer.certificate,
        root_cert=bundle[0],
        roots=bundle,
        cert_chain=sent,
        key_matches=True,
    )
    return Plane(signer, sent, bundle, secret)


def self_signed(owner: Authority, *also: Authority) -> Plane:
    """Istiod's own CA; `also` are the roots that were exchanged."""
    roots = tuple(each.certificate for each in (owner, *also))
    return Plane(owner, (), roots, CaSecret(exists=False))


def mesh(good: Observation, plane: Callable[[str], Plane]) -> Observation:
    """A mesh that was there before, whose certificates come from these CAs."""
    asked = good.asked.model_copy(update={"mode": "verify-only", "installer": "none", "istio_version": ""})
    observation = good.model_copy(update={"asked": asked, "steps": (), "experiments": None, "cleanup": None})
    planes = {primary.name: plane(primary.name) for primary in good.topology.primaries}
    for cluster in good.topology.clusters:
        mine, observed = planes[cluster.primary], good[cluster]
        proxies = [
            each.model_copy(update={"chain": _signed(mine, each.chain), "roots": mine.roots})
            for each in observed.proxies
        ]
        shown = (made.istiod(mine.signer), *mine.sent)
        control = [each.model_copy(update={"serving_chain": shown}) for each in observed.control_planes]
        observation = on(
            observation,
            cluster,
            ca_secret=mine.secret if cluster.is_primary else CaSecret(exists=False),
            root_config_map=mine.roots,
            proxies=tuple(proxies),
            control_planes=tuple(control),
        )
    probes = []
    for probe in good.probes:
        mine = planes[good.topology[probe.target].primary]
        certs = _signed(mine, probe.certificates) if probe.certificates else ()
        probes.append(probe.model_copy(update={"certificates": certs}))
    return observation.model_copy(update={"probes": tuple(probes)})


def _signed(plane: Plane, chain: tuple[Certificate, ...]) -> tuple[Certificate, ...]:
    uris = chain[0].uris
    return (made.workload(plane.signer, uris[0]) if uris else made.istiod(plane.signer), *plane.sent)


def judged(observation: Observation) -> tuple[Judgement, ...]:
    """The requirements that look at certificates and names."""
    rows = [catalogue()[name] for name in JUDGED]
    return tuple(judge(row, observation) for row in rows if row.applies_to(observation.topology))


def failed(observation: Observation) -> dict[str, str]:
    """What is not as it must be, with its explanation."""
    return {each.id: each.explanation for each in judged(observation) if each.verdict in RESERVED}


def causes(observation: Observation) -> list[str]:
    return [f"{cause.id} {cause.object}" for cause in diagnose(observation, judged(observation))]


def _ordered(name: str, sign: Authority = A) -> Plane:
    """Two roots, in another order on each cluster."""
    return plugged(name, sign, (A, B) if name == "east" else (B, A))


def _external(observed: ClusterObservation) -> ClusterObservation:
    """istio-csr: istiod has no CA."""
    pods = []
    for pod in observed.pods:
        containers = tuple(
            each.model_copy(update={"env": {**each.env, "ENABLE_CA_SERVER": "false"}})
            if each.name in {"discovery", "istio-proxy"}
            else each
            for each in pod.containers
        )
        pods.append(pod.model_copy(update={"containers": containers}))
    return observed.model_copy(update={"pods": tuple(pods)})


def _self_signed_exchanged(name: str) -> Plane:
    own = {"east": A, "west": B}.get(name, C)
    return self_signed(own, *(other for other in (A, B, C) if other is not own))


def _shared_ca(name: str) -> Plane:
    """One CA, which is the root, copied into every cluster."""
    return replace(
        plugged(name),
        signer=A,
        sent=(A.certificate,),
        secret=plugged(name).secret.model_copy(
            update={"ca_cert": A.certificate, "cert_chain": (A.certificate,), "root_cert": A.certificate}
        ),
    )


def _no_usage(name: str) -> Plane:
    return plugged(name, root("root without usage", usages=()))


def _reversed_chain(name: str) -> Plane:
    plane = plugged(name)
    sent = plane.sent[::-1]
    return replace(plane, sent=sent, secret=plane.secret.model_copy(update={"cert_chain": sent}))


VALID: dict[str, Callable[[str], Plane]] = {
    "four files": plugged,
    "kubernetes.io/tls": lambda name: plugged(name, tls=True),
    "roots in any order": _ordered,
    "one signs under the next root already": lambda name: _ordered(name, B if name == "west" else A),
    "only one has both roots, in the first step": lambda name: plugged(name, A, (A, B) if name == "east" else ()),
    "roots of self-signed CAs exchanged": _self_signed_exchanged,
    "one CA for all": _shared_ca,
    "a root without keyUsage": _no_usage,
    "chain in another order": _reversed_chain,
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("form", VALID)
def test_a_valid_form_passes(form: str, name: str, good_observations: Mapping[str, Observation]) -> None:
    observation = mesh(good_observations[name], VALID[form])
    assert failed(observation) == {}
    assert causes(observation) == []


def test_an_external_ca_needs_no_secret(good_observations: Mapping[str, Observation]) -> None:
    """One root for all, no `cacerts`: what is about the secret does not apply, trust is judged."""
    seen = mesh(good_observations[NAMES[0]], lambda name: replace(plugged(name), secret=CaSecret(exists=False)))
    observation = seen.model_copy(update={"clusters": tuple(map(_external, seen.clusters))})
    verdicts = {each.id: each.verdict for each in judged(observation)}
    assert failed(observation) == {}
    assert verdicts["CERT-SECRET"] is verdicts["CERT-CHAIN"] is Verdict.NOT_APPLICABLE
    assert verdicts["CERT-ROOT-SHARED"] is verdicts["CERT-WORKLOAD"] is Verdict.PASS


def test_a_self_signed_ca_of_one_primary_is_one_trust(good_observations: Mapping[str, Observation]) -> None:
    observation = mesh(good_observations[NAMES[1]], lambda _: self_signed(A))
    assert failed(observation) == {}


def test_trust_domains_may_differ_where_they_are_aliases(good_observations: Mapping[str, Observation]) -> None:
    """West's domain is an alias on east, and east's on west; without the aliases it fails."""
    good = mesh(good_observations[NAMES[0]], plugged)
    assert "CP-IDENTITY" in failed(domains(good, (), ()))
    assert failed(domains(good, ("west.local",), ("cluster.local",))) == {}
    one_way = domains(good, ("west.local",), ())
    assert "CP-IDENTITY" in failed(one_way)
    assert any(each.startswith("trust-domains-differ") for each in causes(one_way))


def domains(good: Observation, on_east: tuple[str, ...], on_west: tuple[str, ...]) -> Observation:
    """West's workloads are named in a trust domain of its own."""
    east, west = good.topology.clusters
    for cluster, own, aliases in ((east, "cluster.local", on_east), (west, "west.local", on_west)):
        config = tuple(
            each.model_copy(update={"mesh": {**each.mesh, "trustDomain": own, "trustDomainAliases": list(aliases)}})
            for each in good[cluster].mesh_config
        )
        good = on(good, cluster, mesh_config=config)
    proxies = [each.model_copy(update={"chain": _renamed(each.chain)}) for each in good[west].proxies]
    pods = [each.model_copy(update={"containers": tuple(map(_moved, each.containers))}) for each in good[west].pods]
    probes = [
        each.model_copy(update={"certificates": _renamed(each.certificates)}) if each.target == west.name else each
        for each in good.probes
    ]
    changed = on(good, west, proxies=tuple(proxies), pods=tuple(pods))
    return changed.model_copy(update={"probes": tuple(probes)})


def _renamed(chain: tuple[Certificate, ...]) -> tuple[Certificate, ...]:
    if not chain or not chain[0].uris:
        return chain
    uri = chain[0].uris[0].replace("cluster.local", "west.local")
    return (made.workload(plugged("west").signer, uri), *chain[1:])


def _moved(container: Container) -> Container:
    env = {name: "west.local" if name == "TRUST_DOMAIN" else value for name, value in container.env.items()}
    return container.model_copy(update={"env": env})


def _overlap(name: str) -> Plane:
    """Both trust C, which signs nothing; neither trusts the root of the other."""
    own = A if name == "east" else B
    return plugged(name, own, (own, C))


def _without_root(name: str) -> Plane:
    plane = plugged(name, tls=True)
    if name != "west":
        return plane
    changed = {"keys": ("tls.crt", "tls.key"), "root_cert": None, "roots": (), "cert_chain": ()}
    return replace(plane, secret=plane.secret.model_copy(update=changed))


def _one_self_signed(name: str) -> Plane:
    """`cacerts` is gone on west, istiod was restarted."""
    return self_signed(B) if name == "west" else plugged(name)


def _late(name: str) -> Plane:
    """West's istiod and workloads still have the CA that istiod made itself."""
    return replace(self_signed(B), secret=plugged(name).secret) if name == "west" else plugged(name)


def _expired_root(name: str) -> Plane:
    old = Authority(
        issue({NameOID.COMMON_NAME: "old"}, key(2048, "old"), not_before=made.OBSERVED - timedelta(days=9), days=8),
        key(2048, "old"),
    )
    return plugged(name, old)


def _two_self_signed(name: str) -> Plane:
    return self_signed(A if name == "east" else B)


@pytest.mark.parametrize(
    ("plane", "fails", "cause"),
    [
        (_overlap, "CERT-ROOT-SHARED", "root-differs Secret istio-system/cacerts"),
        (_without_root, "CERT-SECRET", "cacerts-incomplete Secret istio-system/cacerts"),
        (_one_self_signed, "CERT-SECRET", "cacerts-incomplete Secret istio-system/cacerts"),
        (_late, "CERT-IN-USE", "cacerts-late Pod istio-system/istiod"),
        (_two_self_signed, "CERT-ROOT-SHARED", "root-differs Secret istio-system/istio-ca-secret"),
        (_expired_root, "CERT-ROOT-PROFILE", "intermediate-expired Secret istio-system/cacerts root-cert.pem"),
    ],
)
def test_a_broken_form_fails(
    plane: Callable[[str], Plane], fails: str, cause: str, good_observations: Mapping[str, Observation]
) -> None:
    observation = mesh(good_observations[NAMES[0]], plane)
    assert fails in failed(observation)
    assert any(found.startswith(cause) for found in causes(observation)), causes(observation)
    repairs = [found.repair for found in diagnose(observation, judged(observation))]
    assert not any("delete" in repair or "create" in repair for repair in repairs), repairs
