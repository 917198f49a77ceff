"""Other certificates in `cacerts`, taken up by the control plane, or not, as each fault says.

istiod reads `cacerts` where the kubelet mounts it, and takes a change up while it runs: another intermediate under the
same root, if it verifies (istio, pilot/pkg/bootstrap/istio_ca.go). It adopts another root when it is restarted.
"""

import time
from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from harness.base.errors import StepError
from harness.base.parallel import in_parallel
from harness.kube.api import Object
from harness.mesh import pki
from harness.mesh.context import environment_faults
from harness.mesh.pki import FILES, CaFiles
from harness.model import x509
from harness.model.topology import Cluster
from harness.proof.faults.toy_certificates import Ca, Shape, make
from harness.proof.live.changes import Reference, delete, existing
from harness.proof.live.live_mesh import LiveMesh
from harness.proof.live.restarts import ISTIOD, await_connected, restart, restart_gateways, restart_sample
from harness.proof.live.waits import await_true, sync_volumes

SELF_SIGNED = "istio-ca-secret"
"""Where istiod keeps the CA that it makes for itself."""
TAKEN_UP = (
    "newly added intermediate CA and updated",
    "Failed to update new Plug-in CA certs",
    "failed reading root-cert.pem",
    "updating new ROOT-CA not supported",
    "Updating new ROOT-CA not supported",
    "Failed generating plugged-in istiod key cert",
)
"""What istiod logs when it has looked at a changed `cacerts`."""
_LOG_LINES = 200


@contextmanager
def root_differs(live: LiveMesh) -> Iterator[None]:
    """Give West a CA under another root, and restart its control plane, gateway and workloads."""
    other = pki.make(live.mesh.topology).clusters[live.west.name]
    own = live.certificates.clusters[live.west.name]
    try:
        write_cacerts(live, live.west, other.entries)
        renewed(live, live.west, other.root_cert)
        yield
    finally:
        write_cacerts(live, live.west, own.entries)
        renewed(live, live.west, own.root_cert)


@contextmanager
def root_differs_remote(live: LiveMesh) -> Iterator[None]:
    """Give the remote a CA under another root."""
    other = pki.make(live.mesh.topology).clusters[live.west.name]
    with _cacerts(live, live.west, other.entries):
        yield


@contextmanager
def cacerts_late(live: LiveMesh) -> Iterator[None]:
    """Start the control plane without `cacerts`, its workloads too, and create the secret only then."""
    primary, system = live.signer, live.mesh.settings.system_namespace
    own = live.certificates.clusters[primary.name]
    secret = Reference("v1", "Secret", "cacerts", system)
    self_signed = Reference("v1", "Secret", SELF_SIGNED, system)
    before = existing(live, primary, secret)
    with environment_faults():
        ours = live.kube(primary).get(*self_signed) is None
    try:
        delete(live, primary, secret)
        renewed(live, primary, None)
        _create(live, primary, before)
        yield
    finally:
        _create(live, primary, before)
        if ours:
            delete(live, primary, self_signed)
        renewed(live, primary, own.root_cert)


@contextmanager
def cacerts_incomplete(live: LiveMesh) -> Iterator[None]:
    """Take cert-chain.pem out of West's `cacerts`."""
    entries = live.certificates.clusters[live.west.name].entries
    with _cacerts(live, live.west, {name: text for name, text in entries.items() if name != "cert-chain.pem"}):
        yield


@contextmanager
def intermediate_not_ca(live: LiveMesh) -> Iterator[None]:
    """Give the signing primary an intermediate with CA:false, the key as before."""
    with _cacerts(live, live.signer, _like(live, live.signer, Shape(ca=False)).entries):
        yield


@contextmanager
def intermediate_no_pathlen(live: LiveMesh) -> Iterator[None]:
    """Give West an intermediate without pathlen, the key as before."""
    with _cacerts(live, live.west, _like(live, live.west, Shape(any_path_length=True)).entries):
        yield


@contextmanager
def intermediate_shared(live: LiveMesh) -> Iterator[None]:
    """Give West the intermediate of East; what West's control plane has certified gets new certificates."""
    own, shared = (live.certificates.clusters[cluster.name] for cluster in (live.west, live.east))
    try:
        write_cacerts(live, live.west, shared.entries)
        _renew_leaves(live, live.west)
        yield
    finally:
        write_cacerts(live, live.west, own.entries)
        _renew_leaves(live, live.west)


@contextmanager
def intermediate_expired(live: LiveMesh) -> Iterator[None]:
    """Give the signing primary an intermediate that has expired, the key as before."""
    now = datetime.now(UTC)
    shape = Shape(not_before=now - timedelta(days=365), not_after=now - timedelta(hours=1))
    with _cacerts(live, live.signer, _like(live, live.signer, shape).entries):
        yield


@contextmanager
def intermediate_expires_soon(live: LiveMesh) -> Iterator[None]:
    """Give the signing primary an intermediate of a year with ten days left, the key as before."""
    now = datetime.now(UTC)
    shape = Shape(not_before=now - timedelta(days=355), not_after=now + timedelta(days=10))
    with _cacerts(live, live.signer, _like(live, live.signer, shape).entries):
        yield


@contextmanager
def chain_incomplete(live: LiveMesh) -> Iterator[None]:
    """Take the root out of West's cert-chain.pem."""
    own = live.certificates.clusters[live.west.name]
    with _cacerts(live, live.west, {**own.entries, "cert-chain.pem": own.ca_cert}):
        yield


@contextmanager
def key_mismatch(live: LiveMesh) -> Iterator[None]:
    """Give the signing primary the private key of another cluster's intermediate."""
    own = live.certificates.clusters[live.signer.name]
    other = next(files for name, files in live.certificates.clusters.items() if name != live.signer.name)
    with _cacerts(live, live.signer, {**own.entries, "ca-key.pem": other.ca_key}):
        yield


@contextmanager
def _cacerts(live: LiveMesh, cluster: Cluster, entries: Mapping[str, str]) -> Iterator[None]:
    """Other entries in `cacerts`; a control plane that runs there has looked at them."""
    try:
        write_cacerts(live, cluster, entries)
        yield
    finally:
        write_cacerts(live, cluster, live.certificates.clusters[cluster.name].entries)


def write_cacerts(live: LiveMesh, cluster: Cluster, entries: Mapping[str, str]) -> None:
    """Replace the entries of `cacerts`, and wait until a control plane that runs there has read them.

    Raises:
        StepError: the control plane has not read them in time.
    """
    data = {name: b64encode(entries[name].encode()).decode() if name in entries else None for name in FILES}
    system, since = live.mesh.settings.system_namespace, time.monotonic()
    with environment_faults():
        place = live.mesh.topology.home_of(cluster)
        live.kube(place).merge("v1", "Secret", "cacerts", {"data": data}, system)
    if cluster.is_primary:
        await_true(
            live,
            cluster,
            "Wait until istiod has looked at the changed cacerts",
            lambda: _not_looked(live, cluster, since),
            120.0,
        )


def _not_looked(live: LiveMesh, cluster: Cluster, since: float) -> str:
    kube, system = live.kube(cluster), live.mesh.settings.system_namespace
    pods = kube.list("v1", "Pod", system, label_selector=f"app={ISTIOD}")
    for pod in pods:
        name = pod["metadata"]["name"]
        log = kube.logs(system, name, "discovery", lines=_LOG_LINES, since=time.monotonic() - since)
        if not any(line in log for line in TAKEN_UP):
            sync_volumes(live, cluster, system, name)
            return f"pod {name} has not looked yet"
    return "" if pods else "no istiod runs"


def _like(live: LiveMesh, cluster: Cluster, shape: Shape) -> CaFiles:
    """A cluster's CA with an intermediate of another shape, under the same root."""
    own, root = live.certificates.clusters[cluster.name], live.certificates.root
    if root is None:
        raise StepError("the root's private key is not known: somebody else has made the certificates")
    issuer = Ca(x509.certificate(own.root_cert), root.key)
    made = make(x509.certificate(own.ca_cert), shape, issuer).pem
    return CaFiles(ca_cert=made, ca_key=own.ca_key, root_cert=own.root_cert, cert_chain=made + own.root_cert)


def _create(live: LiveMesh, cluster: Cluster, before: Object) -> None:
    """Create a secret as it was, unless it is there."""
    meta = before["metadata"]
    kept = {key: meta[key] for key in ("name", "namespace", "labels") if key in meta}
    with environment_faults():
        kube = live.kube(cluster)
        if kube.get("v1", "Secret", meta["name"], meta["namespace"]) is None:
            kube.create({**before, "metadata": kept})


def renewed(live: LiveMesh, primary: Cluster, root: str | None) -> None:
    """Restart everything that a control plane has certified: itself, then gateways, then workloads.

    Args:
        live: the mesh.
        primary: where the control plane runs.
        root: the root that its clusters then must have been given; None for one that istiod makes for itself.
    """
    served = live.mesh.topology.served_by(primary)
    restart(live, primary, live.mesh.settings.system_namespace, ISTIOD)
    wanted = root or _self_signed(live, primary)
    in_parallel(lambda cluster: _await_root(live, cluster, wanted), served)
    # Remotes find the control plane behind the primary's gateway.
    restart_gateways(live, (primary,))
    restart_gateways(live, [cluster for cluster in served if cluster != primary])
    restart_sample(live, served)
    await_connected(live, primary)


def _renew_leaves(live: LiveMesh, cluster: Cluster) -> None:
    """Restart what a control plane has certified; nothing on a remote, whose CA has certified nothing."""
    if cluster.is_primary:
        restart_gateways(live, (cluster,))
        restart_sample(live, (cluster,))


def _self_signed(live: LiveMesh, primary: Cluster) -> str:
    secret = existing(live, primary, Reference("v1", "Secret", SELF_SIGNED, live.mesh.settings.system_namespace))
    return b64decode(secret["data"]["ca-cert.pem"]).decode()


def _await_root(live: LiveMesh, cluster: Cluster, root: str) -> None:
    """Wait until the namespaces of a cluster have been given a root certificate."""
    settings = live.mesh.settings

    def pending() -> str:
        for namespace in (settings.system_namespace, settings.sample_namespace):
            found = live.kube(cluster).get("v1", "ConfigMap", "istio-ca-root-cert", namespace) or {}
            if (found.get("data") or {}).get("root-cert.pem", "").strip() != root.strip():
                return f"{namespace} has another root certificate"
        return ""

    await_true(live, cluster, "Wait until its namespaces have the root certificate", pending)
