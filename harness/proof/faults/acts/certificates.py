"""Other certificates in `cacerts`, taken up by the control plane, or not, as each fault says.

istiod reads `cacerts` where the kubelet mounts it, and takes a change up while it runs: another intermediate under the
same root, if it verifies (istio, pilot/pkg/bootstrap/istio_ca.go). Another root it takes up when it is started anew.
"""

import time
from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from harness.base.errors import StepError
from harness.base.parallel import in_parallel
from harness.kube.client import Object
from harness.mesh import pki
from harness.mesh.context import environment_faults
from harness.mesh.pki import FILES, CaFiles
from harness.model import x509
from harness.model.topology import Cluster
from harness.proof.faults.act import Stage
from harness.proof.faults.acts.changes import Reference, delete, existing
from harness.proof.faults.acts.restarts import ISTIOD, await_connected, restart, restart_gateways, restart_sample
from harness.proof.faults.acts.waits import await_true, sync_volumes
from harness.proof.faults.reissue import Ca, Shape, make

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
def root_differs(stage: Stage) -> Iterator[None]:
    """Give West a CA under another root, and start its control plane, gateway and workloads anew."""
    other = pki.make(stage.mesh.topology).clusters[stage.west.name]
    own = stage.certificates.clusters[stage.west.name]
    try:
        _write(stage, stage.west, other.entries)
        _renewed(stage, stage.west, other.root_cert)
        yield
    finally:
        _write(stage, stage.west, own.entries)
        _renewed(stage, stage.west, own.root_cert)


@contextmanager
def root_differs_remote(stage: Stage) -> Iterator[None]:
    """Give the remote a CA under another root."""
    other = pki.make(stage.mesh.topology).clusters[stage.west.name]
    with _cacerts(stage, stage.west, other.entries):
        yield


@contextmanager
def cacerts_late(stage: Stage) -> Iterator[None]:
    """Start the control plane without `cacerts`, its workloads too, and create the secret only then."""
    primary, system = stage.signer, stage.mesh.settings.system_namespace
    own = stage.certificates.clusters[primary.name]
    secret = Reference("v1", "Secret", "cacerts", system)
    self_signed = Reference("v1", "Secret", SELF_SIGNED, system)
    before = existing(stage, primary, secret)
    with environment_faults():
        ours = stage.kube(primary).get(*self_signed) is None
    try:
        delete(stage, primary, secret)
        _renewed(stage, primary, None)
        _create(stage, primary, before)
        yield
    finally:
        _create(stage, primary, before)
        if ours:
            delete(stage, primary, self_signed)
        _renewed(stage, primary, own.root_cert)


@contextmanager
def cacerts_incomplete(stage: Stage) -> Iterator[None]:
    """Take cert-chain.pem out of West's `cacerts`."""
    entries = stage.certificates.clusters[stage.west.name].entries
    with _cacerts(stage, stage.west, {name: text for name, text in entries.items() if name != "cert-chain.pem"}):
        yield


@contextmanager
def intermediate_not_ca(stage: Stage) -> Iterator[None]:
    """Give the signing primary an intermediate with CA:false, the key as before."""
    with _cacerts(stage, stage.signer, _like(stage, stage.signer, Shape(ca=False)).entries):
        yield


@contextmanager
def intermediate_no_pathlen(stage: Stage) -> Iterator[None]:
    """Give West an intermediate without pathlen, the key as before."""
    with _cacerts(stage, stage.west, _like(stage, stage.west, Shape(any_path_length=True)).entries):
        yield


@contextmanager
def intermediate_shared(stage: Stage) -> Iterator[None]:
    """Give West the intermediate of East; what West's control plane has certified is certified anew."""
    own, shared = (stage.certificates.clusters[cluster.name] for cluster in (stage.west, stage.east))
    try:
        _write(stage, stage.west, shared.entries)
        _certify_anew(stage, stage.west)
        yield
    finally:
        _write(stage, stage.west, own.entries)
        _certify_anew(stage, stage.west)


@contextmanager
def intermediate_expired(stage: Stage) -> Iterator[None]:
    """Give the signing primary an intermediate that has expired, the key as before."""
    now = datetime.now(UTC)
    shape = Shape(not_before=now - timedelta(days=365), not_after=now - timedelta(hours=1))
    with _cacerts(stage, stage.signer, _like(stage, stage.signer, shape).entries):
        yield


@contextmanager
def intermediate_expires_soon(stage: Stage) -> Iterator[None]:
    """Give the signing primary an intermediate with ten days left, the key as before."""
    shape = Shape(not_after=datetime.now(UTC) + timedelta(days=10))
    with _cacerts(stage, stage.signer, _like(stage, stage.signer, shape).entries):
        yield


@contextmanager
def chain_incomplete(stage: Stage) -> Iterator[None]:
    """Take the root out of West's cert-chain.pem."""
    own = stage.certificates.clusters[stage.west.name]
    with _cacerts(stage, stage.west, {**own.entries, "cert-chain.pem": own.ca_cert}):
        yield


@contextmanager
def key_mismatch(stage: Stage) -> Iterator[None]:
    """Give the signing primary the private key of another cluster's intermediate."""
    own = stage.certificates.clusters[stage.signer.name]
    other = next(files for name, files in stage.certificates.clusters.items() if name != stage.signer.name)
    with _cacerts(stage, stage.signer, {**own.entries, "ca-key.pem": other.ca_key}):
        yield


@contextmanager
def _cacerts(stage: Stage, cluster: Cluster, entries: Mapping[str, str]) -> Iterator[None]:
    """Other entries in `cacerts`; a control plane that runs there has looked at them."""
    try:
        _write(stage, cluster, entries)
        yield
    finally:
        _write(stage, cluster, stage.certificates.clusters[cluster.name].entries)


def _write(stage: Stage, cluster: Cluster, entries: Mapping[str, str]) -> None:
    data = {name: b64encode(entries[name].encode()).decode() if name in entries else None for name in FILES}
    system, since = stage.mesh.settings.system_namespace, time.monotonic()
    with environment_faults():
        stage.kube(cluster).merge("v1", "Secret", "cacerts", {"data": data}, system)
    if cluster.is_primary:
        await_true(
            stage,
            cluster,
            "Wait until istiod has looked at the changed cacerts",
            lambda: _not_looked(stage, cluster, since),
            120.0,
        )


def _not_looked(stage: Stage, cluster: Cluster, since: float) -> str:
    kube, system = stage.kube(cluster), stage.mesh.settings.system_namespace
    pods = kube.list("v1", "Pod", system, label_selector=f"app={ISTIOD}")
    for pod in pods:
        name = pod["metadata"]["name"]
        log = kube.logs(system, name, "discovery", lines=_LOG_LINES, since=time.monotonic() - since)
        if not any(line in log for line in TAKEN_UP):
            sync_volumes(stage, cluster, system, name)
            return f"pod {name} has not looked yet"
    return "" if pods else "no istiod runs"


def _like(stage: Stage, cluster: Cluster, shape: Shape) -> CaFiles:
    """A cluster's CA with an intermediate of another shape, under the same root."""
    own, root = stage.certificates.clusters[cluster.name], stage.certificates.root
    if root is None:
        raise StepError("the root's private key is not known: somebody else has made the certificates")
    issuer = Ca(x509.certificate(own.root_cert), root.key)
    made = make(x509.certificate(own.ca_cert), shape, issuer).pem
    return CaFiles(ca_cert=made, ca_key=own.ca_key, root_cert=own.root_cert, cert_chain=made + own.root_cert)


def _create(stage: Stage, cluster: Cluster, before: Object) -> None:
    """Create a secret as it was, unless it is there."""
    meta = before["metadata"]
    kept = {key: meta[key] for key in ("name", "namespace", "labels") if key in meta}
    with environment_faults():
        kube = stage.kube(cluster)
        if kube.get("v1", "Secret", meta["name"], meta["namespace"]) is None:
            kube.create({**before, "metadata": kept})


def _renewed(stage: Stage, primary: Cluster, root: str | None) -> None:
    """Start everything anew that a control plane has certified: itself, then gateways, then workloads.

    Args:
        stage: the mesh.
        primary: where the control plane runs.
        root: the root that its clusters then must have been given; None for one that istiod makes for itself.
    """
    served = stage.mesh.topology.served_by(primary)
    restart(stage, primary, stage.mesh.settings.system_namespace, ISTIOD)
    wanted = root or _self_signed(stage, primary)
    in_parallel(lambda cluster: _await_root(stage, cluster, wanted), served)
    # Remotes find the control plane behind the primary's gateway.
    restart_gateways(stage, (primary,))
    restart_gateways(stage, [cluster for cluster in served if cluster != primary])
    restart_sample(stage, served)
    await_connected(stage, primary)


def _certify_anew(stage: Stage, cluster: Cluster) -> None:
    """Start what a control plane has certified anew; nothing on a remote, whose CA has certified nothing."""
    if cluster.is_primary:
        restart_gateways(stage, (cluster,))
        restart_sample(stage, (cluster,))


def _self_signed(stage: Stage, primary: Cluster) -> str:
    secret = existing(stage, primary, Reference("v1", "Secret", SELF_SIGNED, stage.mesh.settings.system_namespace))
    return b64decode(secret["data"]["ca-cert.pem"]).decode()


def _await_root(stage: Stage, cluster: Cluster, root: str) -> None:
    """Wait until the namespaces of a cluster have been given a root certificate."""
    settings = stage.mesh.settings

    def pending() -> str:
        for namespace in (settings.system_namespace, settings.sample_namespace):
            found = stage.kube(cluster).get("v1", "ConfigMap", "istio-ca-root-cert", namespace) or {}
            if (found.get("data") or {}).get("root-cert.pem", "").strip() != root.strip():
                return f"{namespace} has another root certificate"
        return ""

    await_true(stage, cluster, "Wait until its namespaces have the root certificate", pending)
