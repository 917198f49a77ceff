"""Certificate authorities are rotated while their leaves serve: an intermediate, and the root through a bundle of both.

Source: Istio, "Plug in CA Certificates"; istio/istio, tests/integration/security/cacert_rotation (the order of the
steps), pilot/pkg/bootstrap/istio_ca.go handleEvent (what istiod takes over without a restart: under the same root, or,
with ISTIO_MULTIROOT_MESH, where one bundle of roots contains the other).
"""

from base64 import b64encode
from collections.abc import Callable
from datetime import UTC, datetime

from harness.base.parallel import in_parallel
from harness.base.waiting import wait_until
from harness.experiments.resilience import readings
from harness.experiments.resilience.stage import Stage
from harness.mesh import pki
from harness.mesh.pki import Pki
from harness.model import expectations, x509
from harness.model.resilience import ACTED, MENDED, TrustReading
from harness.model.step_log import OpenStep
from harness.model.topology import Cluster, Topology

RELOAD_SECONDS = 120.0
"""A kubelet looks after mounted Secrets and ConfigMaps once a minute; a change of the pod makes it look at once."""
LINGER_SECONDS = 4.0
ROOTS_CONFIG_MAP = "istio-ca-root-cert"
ROOTS_FILE = "/var/run/secrets/istio/root-cert.pem"
_PAUSE = 1.0


def intermediate(stage: Stage) -> None:
    """Give every cluster a new intermediate under the same root, and restart the workloads for new leaves."""
    old, new = stage.certificates.current, pki.renew(stage.certificates.current)
    _name(stage, "old", old)
    _name(stage, "new", new)
    stage.trust += readings.trust(stage)
    stage.note(ACTED)
    _plug_in(stage, new)
    _await_signers(stage, new)
    stage.note("control planes sign with the new intermediates")
    # A leaf is renewed half way through its life, which is a day; workloads that restart get one at once.
    for cluster in stage.clusters:
        stage.restart(cluster, stage.sample_namespace, f"helloworld-{cluster.version}")
        stage.restart(cluster, stage.sample_namespace, expectations.SLEEP)
    stage.note(MENDED)
    stage.await_whole()
    stage.trust += readings.trust(stage)


def root(stage: Stage) -> None:
    """Old root, then both, then intermediates of the new one, then the new one alone; nothing is restarted."""
    old, new = stage.certificates.current, pki.make(stage.mesh.topology)
    _name(stage, "old", old)
    _name(stage, "new", new)
    stage.trust += readings.trust(stage)
    stages: tuple[tuple[str, Pki], ...] = (
        ("both roots are trusted", pki.trusting(old, new)),
        # The roots the other way round: another bundle, and so a reason for every proxy to ask for a new leaf.
        ("the new root signs", pki.trusting(new, old)),
        ("only the new root is trusted", new),
    )
    for name, bundle in stages:
        stage.note(ACTED, detail=name)
        _plug_in(stage, bundle)
        _await_trust(stage, name, bundle)
        stage.note(name)
        stage.trust += readings.trust(stage)
        stage.linger(LINGER_SECONDS)
    stage.note(MENDED)
    stage.await_whole()
    stage.trust += readings.trust(stage)


def _name(stage: Stage, age: str, authorities: Pki) -> None:
    """Note what the fingerprints of these certificates stand for."""
    for cluster, files in authorities.clusters.items():
        stage.authorities[x509.certificate(files.ca_cert).sha256] = f"{age} intermediate of {cluster}"
        for each in x509.certificates(files.root_cert)[:1]:
            stage.authorities.setdefault(each.sha256, f"{age} root")


def _plug_in(stage: Stage, authorities: Pki) -> None:
    """Put the files into every cluster's cacerts."""

    def of_cluster(cluster: Cluster) -> None:
        entries = authorities.clusters[cluster.name].entries
        data = {name: b64encode(text.encode()).decode() for name, text in entries.items()}
        with stage.step("Replace the certificates in cacerts", cluster):
            stage.kube(cluster).merge("v1", "Secret", "cacerts", {"data": data}, stage.system_namespace)

    in_parallel(of_cluster, stage.clusters)
    stage.certificates.current = authorities


def _await_signers(stage: Stage, authorities: Pki) -> None:
    """Wait until every control plane presents a certificate that its cluster's intermediate has signed."""

    def of_cluster(primary: Cluster) -> None:
        with stage.step("Wait until istiod signs with the new intermediate", primary) as opened:
            _await(stage, opened, lambda: _former_signer(stage, primary, authorities))

    in_parallel(of_cluster, stage.mesh.topology.primaries)


def _await_trust(stage: Stage, name: str, authorities: Pki) -> None:
    """Wait until control planes, config maps, files in pods and every proxy are where this stage wants them."""

    def of_cluster(cluster: Cluster) -> None:
        with stage.step(f"Wait until {name}: control plane and pods", cluster) as opened:
            _await(stage, opened, lambda: _former_cluster(stage, cluster, authorities))

    in_parallel(of_cluster, stage.clusters)
    with stage.step(f"Wait until {name}: proxies") as opened:
        _await(stage, opened, lambda: former_proxies(readings.trust(stage), stage.mesh.topology, authorities))


def _former_cluster(stage: Stage, cluster: Cluster, authorities: Pki) -> str:
    """What of a cluster is still as it was; empty where nothing is."""
    if cluster.is_primary and (former := _former_signer(stage, cluster, authorities)):
        return former
    kube, roots = stage.kube(cluster), _fingerprints(authorities.clusters[cluster.name].root_cert)
    for namespace in (stage.system_namespace, stage.sample_namespace):
        found = kube.get("v1", "ConfigMap", ROOTS_CONFIG_MAP, namespace)
        if _fingerprints(((found or {}).get("data") or {}).get("root-cert.pem", "")) != roots:
            _nudge(stage, cluster, stage.system_namespace, "istiod")
            return f"{namespace}/{ROOTS_CONFIG_MAP} holds the former roots"
    former_pods = [pod for pod in readings.sample_pods(stage, cluster) if _mounted_roots(stage, cluster, pod) != roots]
    if former_pods:
        for app in (expectations.SLEEP, expectations.HELLOWORLD):
            _nudge(stage, cluster, stage.sample_namespace, app)
        return f"the former roots are mounted into {', '.join(former_pods)}"
    return ""


def _former_signer(stage: Stage, primary: Cluster, authorities: Pki) -> str:
    chain = readings.serving_chain(stage, primary)
    if chain and x509.signed_by(chain[0], x509.certificate(authorities.clusters[primary.name].ca_cert)):
        return ""
    _nudge(stage, primary, stage.system_namespace, "istiod")
    return f"istiod of {primary.name} signs with the former intermediate"


def _mounted_roots(stage: Stage, cluster: Cluster, pod: str) -> frozenset[str]:
    """The roots against which a proxy checks its control plane."""
    words = ("cat", ROOTS_FILE)
    answer = stage.kube(cluster).exec(stage.sample_namespace, pod, expectations.PROXY, words, timeout=15)
    return _fingerprints(answer.stdout)


def _nudge(stage: Stage, cluster: Cluster, namespace: str, app: str) -> None:
    """Change pods' annotations, upon which their kubelet looks at once after what is mounted into them."""
    kube, change = (
        stage.kube(cluster),
        {"metadata": {"annotations": {"eastwest/nudged": datetime.now(UTC).isoformat()}}},
    )
    for pod in kube.list("v1", "Pod", namespace, label_selector=f"app={app}"):
        kube.merge("v1", "Pod", pod["metadata"]["name"], change, namespace)


def former_proxies(found: list[TrustReading], topology: Topology, authorities: Pki) -> str:
    """Proxies that do not hold and trust what they should; empty where there are none."""
    former = []
    for reading in found:
        files = authorities.clusters[topology[reading.cluster].primary]
        wanted = x509.certificate(files.ca_cert).sha256, _fingerprints(files.root_cert)
        if (reading.issuer, frozenset(reading.roots)) != wanted:
            former.append(f"{reading.cluster}/{reading.pod}")
    return f"not there yet: {', '.join(former)}" if former else ("" if found else "no proxy answers")


def _fingerprints(bundle: str) -> frozenset[str]:
    return frozenset(each.sha256 for each in x509.certificates(bundle))


def _await(stage: Stage, opened: OpenStep, pending: Callable[[], str]) -> None:
    """Ask until nothing is pending.

    Raises:
        StepError: the time is over; says what is pending.
    """
    wait_until(pending, stage.seconds(RELOAD_SECONDS), pause_seconds=_PAUSE, waiting=opened.waiting)
