"""Other valid forms of plugged-in CA certificates."""

from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager

from harness.base.parallel import in_parallel
from harness.mesh import pki
from harness.model.topology import Cluster
from harness.proof.faults.acts.certificates import renewed, write_cacerts
from harness.proof.live.changes import Reference, absent, present
from harness.proof.live.live_mesh import LiveMesh

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


def _renewed(live: LiveMesh, roots: Mapping[Cluster, str]) -> None:
    in_parallel(lambda primary: renewed(live, primary, roots[primary]), live.mesh.topology.primaries)
