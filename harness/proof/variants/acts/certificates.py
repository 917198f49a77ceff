"""Other valid forms of plugged-in CA certificates."""

from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace

from harness.base.errors import StepError
from harness.base.parallel import in_parallel
from harness.mesh import pki
from harness.mesh.pki import Authority, CaFiles
from harness.model.topology import Cluster
from harness.proof.faults.acts.certificates import renewed, write_cacerts
from harness.proof.faults.fault import MP, everywhere
from harness.proof.live.changes import Reference, absent, present
from harness.proof.live.live_mesh import LiveMesh
from harness.proof.variants import authorities
from harness.proof.variants.variant import Variant

NAME = "cacerts"


@contextmanager
def tls_secret(live: LiveMesh) -> Iterator[None]:
    """Replace `cacerts` by a secret of type kubernetes.io/tls on every cluster; then restart what it certifies."""
    roots = {cluster: live.certificates.clusters[cluster.name].root_cert for cluster in live.mesh.topology.clusters}
    system = live.mesh.settings.system_namespace
    try:
        with ExitStack() as undoing:
            for cluster in live.mesh.topology.clusters:
                files = live.certificates.clusters[cluster.name]
                entries = {"tls.crt": files.ca_cert, "tls.key": files.ca_key, "ca.crt": files.root_cert}
                undoing.enter_context(absent(live, cluster, Reference("v1", "Secret", NAME, system)))
                undoing.enter_context(
                    present(
                        live,
                        cluster,
                        {
                            "apiVersion": "v1",
                            "kind": "Secret",
                            "metadata": {"name": NAME, "namespace": system},
                            "type": "kubernetes.io/tls",
                            "data": {key: b64encode(text.encode()).decode() for key, text in entries.items()},
                        },
                    )
                )
            _renewed(live, roots)
            yield
    finally:
        _renewed(live, roots)


@contextmanager
def root_bundle(live: LiveMesh) -> Iterator[None]:
    """Add the next root to root-cert.pem: after the present one on East, before it on every other cluster."""
    clusters, own = live.mesh.topology.clusters, live.certificates.clusters
    following = pki.make(live.mesh.topology).clusters[live.east.name].root_cert
    bundles = {
        cluster: own[cluster.name].root_cert + following
        if cluster == live.east
        else following + own[cluster.name].root_cert
        for cluster in clusters
    }
    try:
        for cluster in clusters:
            write_cacerts(live, cluster, {**own[cluster.name].entries, "root-cert.pem": bundles[cluster]})
        _renewed(live, bundles)
        yield
    finally:
        for cluster in clusters:
            write_cacerts(live, cluster, own[cluster.name].entries)
        _renewed(live, {cluster: own[cluster.name].root_cert for cluster in clusters})


@contextmanager
def _issuing(live: LiveMesh, cluster: Cluster, files: CaFiles) -> Iterator[None]:
    """Give a cluster another CA, and restart what its control plane certifies; then the former CA."""
    own = live.certificates.clusters[cluster.name]
    try:
        write_cacerts(live, cluster, files.entries)
        renewed(live, cluster, files.root_cert)
        yield
    finally:
        write_cacerts(live, cluster, own.entries)
        renewed(live, cluster, own.root_cert)


def long_chain(live: LiveMesh) -> AbstractContextManager[None]:
    """Put a policy CA between the root and the issuing CA of West's primary."""
    return _issuing(live, live.signer, authorities.behind_policy_ca(_root(live), live.signer.name))


def elliptic_curve(live: LiveMesh) -> AbstractContextManager[None]:
    """Give West's primary an issuing CA with a key on an elliptic curve, under the same root."""
    return _issuing(live, live.signer, authorities.elliptic_curve(_root(live), live.signer.name))


def pkcs1_key(live: LiveMesh) -> AbstractContextManager[None]:
    """Write the private key of the CA of West's primary as PKCS#1."""
    own = live.certificates.clusters[live.signer.name]
    return _issuing(live, live.signer, replace(own, ca_key=authorities.pkcs1(own.ca_key)))


@contextmanager
def rotation(live: LiveMesh) -> Iterator[None]:
    """Trust the next root on every cluster, then let West sign with it."""
    own, following = live.certificates, pki.make(live.mesh.topology)
    bundle = own.clusters[live.east.name].root_cert + following.clusters[live.east.name].root_cert
    after = replace(following.clusters[live.west.name], root_cert=bundle)
    former = {cluster: own.clusters[cluster.name].root_cert for cluster in live.mesh.topology.clusters}
    try:
        for cluster in live.mesh.topology.clusters:
            entries = {**own.clusters[cluster.name].entries, "root-cert.pem": bundle}
            write_cacerts(live, cluster, after.entries if cluster == live.west else entries)
        _renewed(live, dict.fromkeys(former, bundle))
        yield
    finally:
        for cluster in live.mesh.topology.clusters:
            write_cacerts(live, cluster, own.clusters[cluster.name].entries)
        _renewed(live, former)


def _root(live: LiveMesh) -> Authority:
    if live.certificates.root is None:
        raise StepError("the root's private key is not known: somebody else has made the certificates")
    return live.certificates.root


def _renewed(live: LiveMesh, roots: Mapping[Cluster, str]) -> None:
    in_parallel(lambda primary: renewed(live, primary, roots[primary]), live.mesh.topology.primaries)


VARIANTS = (
    Variant(
        "tls-secret",
        "cacerts is of type kubernetes.io/tls: tls.crt, tls.key, ca.crt",
        "istiod reads these names as well; cert-manager writes them",
        tls_secret,
        everywhere,
    ),
    Variant(
        "root-bundle",
        "root-cert.pem has the next root too, in another order on East than on West",
        "a trust bundle is a set of roots; every certificate verifies against one of them",
        root_bundle,
        everywhere,
    ),
    Variant(
        "rotation",
        "Both clusters trust two roots; West signs with the next one already",
        "every certificate verifies against the bundle of the other side",
        rotation,
        MP,
    ),
    Variant(
        "long-chain",
        "A policy CA stands between the root and the issuing CA of West's primary",
        "workloads present the whole of cert-chain.pem; a path may have several intermediates",
        long_chain,
        everywhere,
    ),
    Variant(
        "elliptic-curve",
        "The issuing CA of West's primary has a key on the curve P-256, under the same RSA root",
        "a path may mix algorithms; istiod reads ECDSA keys",
        elliptic_curve,
        everywhere,
    ),
    Variant(
        "pkcs1-key",
        "ca-key.pem of West's primary is PKCS#1: BEGIN RSA PRIVATE KEY",
        "istiod reads PKCS#1, PKCS#8 and SEC 1",
        pkcs1_key,
        everywhere,
    ),
)
