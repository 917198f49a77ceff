"""MetalLB on layer 2: addresses out of the container network's own subnet.

Its own manifest, with changes that make it start fast, none of which concerns a mesh: the webhooks that validate
MetalLB's own resources are left out (the pools are made here), the key that its speakers share is there from the
beginning instead of being waited for, the API server is asked at its address between the nodes, which answers before
kube-proxy has set up the Service's, and readiness is looked at every second instead of every ten.
"""

import base64
import secrets
import urllib.request
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.error import URLError
from urllib.parse import urlsplit

from kubernetes.client import ApiException

from harness.base import yaml_documents
from harness.base.errors import StepError, UserError
from harness.base.parallel import in_parallel
from harness.base.waiting import wait_until
from harness.clusters import containers
from harness.clusters.ranges import address_pool
from harness.clusters.run_record import Run, RunRecord
from harness.kube.access import ClusterAccess
from harness.kube.api import KubeApi, Object, condition, explain_api_error
from harness.kube.client import Kube
from harness.kube.stuck_pods import StuckPods
from harness.model.step import Phase
from harness.model.step_log import OpenStep, StepLog

MANIFEST_URL = "https://raw.githubusercontent.com/metallb/metallb/v0.15.2/config/manifests/metallb-native.yaml"
NAMESPACE = "metallb-system"
READY_SECONDS = 120.0
_CRD = "CustomResourceDefinition"
_NEEDED = ("ipaddresspools.metallb.io", "l2advertisements.metallb.io")


@dataclass(frozen=True)
class MetalLB:
    """MetalLB on every cluster of a run; it goes when they go.

    Args:
        run: the run, in whose record the address pools are reserved.
        manifest: MetalLB's native manifest; None for the pinned one of its repository.
    """

    run: Run
    manifest: Path | None

    @property
    def name(self) -> str:
        """As --load-balancer names it."""
        return "metallb"

    def start(self, clusters: Sequence[ClusterAccess], log: StepLog) -> None:
        """Install it where it is not.

        Raises:
            UserError: its manifest can't be had, or no addresses are free.
        """
        text = self.manifest.read_text() if self.manifest else _download()
        pools = self._reserve([cluster.name for cluster in clusters])

        def install(cluster: ClusterAccess) -> None:
            with log.step(Phase.LOAD_BALANCER, "Install MetalLB", cluster.name) as step, _explained(cluster):
                step.waiting("its manifest to be applied")
                _install(Kube(cluster), fast(text, cluster.peer_server), pools[cluster.name], step)
                step.note(f"addresses {pools[cluster.name]}")

        in_parallel(install, clusters)

    def wait(self, clusters: Sequence[ClusterAccess], log: StepLog) -> None:
        """Wait until its controller and its speakers are ready.

        Raises:
            UserError: they are not in time.
        """

        def wait(cluster: ClusterAccess) -> None:
            with log.step(Phase.LOAD_BALANCER, "Wait for MetalLB", cluster.name) as step, _explained(cluster):
                kube = Kube(cluster)
                for kind, name, pending in (
                    ("DaemonSet", "speaker", _speaking),
                    ("Deployment", "controller", _controlling),
                ):
                    kube.wait(
                        "apps/v1",
                        kind,
                        name,
                        NAMESPACE,
                        pending=pending,
                        timeout=READY_SECONDS,
                        step=step,
                        explain=lambda: _why(kube),
                        hopeless=StuckPods(
                            kube,
                            partial(kube.list, "v1", "Pod", NAMESPACE, label_selector=f"component={name}"),
                            READY_SECONDS,
                        ),
                    )

        in_parallel(wait, clusters)

    def complaints(self) -> tuple[str, ...]:
        """None: what its pods write is read with the clusters."""
        return ()

    def stop(self, log: StepLog, *, keep: bool = False) -> None:
        """Nothing of it runs outside of the clusters."""

    def _reserve(self, names: Sequence[str]) -> dict[str, str]:
        network = containers.network(self.run.record.container_engine)

        def change(record: RunRecord, others: tuple[RunRecord, ...]) -> RunRecord:
            taken = {cluster.pool for other in (record, *others) for cluster in other.clusters}
            changed = []
            for cluster in record.clusters:
                if cluster.name in names and not cluster.pool:
                    pool = address_pool(network.subnet, network.in_use, taken)
                    taken.add(pool)
                    changed.append(cluster.model_copy(update={"pool": pool}))
                else:
                    changed.append(cluster)
            return record.model_copy(update={"clusters": tuple(changed), "load_balancer": self.name})

        return {cluster.name: cluster.pool for cluster in self.run.update(change).clusters}


def fast(text: str, server: str) -> tuple[Object, ...]:
    """The manifest's objects, changed as the module says: pure but for the new key.

    Args:
        text: the manifest.
        server: URL of the API server on the network of the nodes.
    """
    return tuple(_fast(yaml_documents.load_all(text), server))


def _fast(objects: Iterator[Object], server: str) -> Iterator[Object]:
    address = urlsplit(server)
    for manifest in objects:
        if manifest["kind"] == "ValidatingWebhookConfiguration":
            continue
        if manifest["kind"] in ("Deployment", "DaemonSet"):
            for container in manifest["spec"]["template"]["spec"]["containers"]:
                container["readinessProbe"] |= {"initialDelaySeconds": 1, "periodSeconds": 1}
                container["env"] += [
                    {"name": "KUBERNETES_SERVICE_HOST", "value": address.hostname},
                    {"name": "KUBERNETES_SERVICE_PORT", "value": str(address.port)},
                ]
                if container["name"] == "controller":
                    container["args"].append("--webhook-mode=disabled")
        yield manifest
        if manifest["kind"] == "Namespace":
            key = base64.b64encode(secrets.token_bytes(128)).decode()
            yield {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": "memberlist", "namespace": NAMESPACE},
                "stringData": {"secretkey": key},
            }


def pool_manifests(pool: str) -> tuple[Object, ...]:
    """The address pool, and that it is announced on layer 2: pure."""
    metadata = {"name": "eastwest", "namespace": NAMESPACE}
    return (
        {
            "apiVersion": "metallb.io/v1beta1",
            "kind": "IPAddressPool",
            "metadata": metadata,
            "spec": {"addresses": [pool]},
        },
        {
            "apiVersion": "metallb.io/v1beta1",
            "kind": "L2Advertisement",
            "metadata": metadata,
            "spec": {"ipAddressPools": ["eastwest"]},
        },
    )


@contextmanager
def _explained(cluster: ClusterAccess) -> Iterator[None]:
    try:
        yield
    except (StepError, ApiException) as failed:
        raise UserError(
            f"MetalLB does not start on {cluster.name}.",
            explain_api_error(failed) if isinstance(failed, ApiException) else str(failed),
            f"kubectl --kubeconfig {cluster.kubeconfig} --namespace {NAMESPACE} describe pods",
        ) from None


def _install(kube: KubeApi, objects: Sequence[Object], pool: str, step: OpenStep) -> None:
    # The namespace first, then the kinds, then everything else: its pods start looking for their kinds at once.
    for first in (("Namespace",), (_CRD,)):
        in_parallel(kube.apply, [manifest for manifest in objects if manifest["kind"] in first])
    with ThreadPoolExecutor(4) as pool_of_threads:
        rest = [manifest for manifest in objects if manifest["kind"] not in ("Namespace", _CRD)]
        list(pool_of_threads.map(kube.apply, rest))
    for name in _NEEDED:
        kube.wait("apiextensions.k8s.io/v1", _CRD, name, pending=_establishing, timeout=30, step=step)
    pools = pool_manifests(pool)
    # A kind may be established a moment before the API server lists it.
    wait_until(lambda: _unserved(kube, pools), 30, waiting=step.waiting)
    for manifest in pools:
        kube.apply(manifest)


def _unserved(kube: KubeApi, manifests: Sequence[Object]) -> str:
    missing = [each["kind"] for each in manifests if not kube.serves(each["apiVersion"], each["kind"])]
    return f"the API server does not list {', '.join(missing)} yet" if missing else ""


def _establishing(crd: Object | None) -> str:
    conditions = ((crd or {}).get("status") or {}).get("conditions") or ()
    established = any(entry["type"] == "Established" and entry["status"] == "True" for entry in conditions)
    return "" if established else "MetalLB's kinds are not served yet"


def _speaking(speaker: Object | None) -> str:
    status = (speaker or {}).get("status") or {}
    wanted, ready = status.get("desiredNumberScheduled", 0), status.get("numberReady", 0)
    return "" if wanted and ready == wanted else f"speaker ready on {ready} of {wanted} nodes"


def _controlling(controller: Object | None) -> str:
    ready = ((controller or {}).get("status") or {}).get("readyReplicas", 0)
    return "" if ready else "controller not ready"


def _why(kube: KubeApi) -> str:
    """What its pods and nodes say of themselves."""
    pods = kube.list("v1", "Pod", NAMESPACE)
    states = [
        (pod["metadata"]["name"], entry["state"].get("waiting") or {})
        for pod in pods
        for entry in pod.get("status", {}).get("containerStatuses") or ()
    ]
    reasons = [f"{pod}: {state.get('reason')}: {state.get('message', '')}" for pod, state in states if state]
    ready = [(node["metadata"]["name"], condition(node, "Ready")) for node in kube.list("v1", "Node")]
    reasons += [f"node {name}: {state.get('message', '')}" for name, state in ready if state.get("status") != "True"]
    return "; ".join(reasons) or "its pods have not been started: " + ", ".join(pod["metadata"]["name"] for pod in pods)


def _download() -> str:
    try:
        with urllib.request.urlopen(MANIFEST_URL, timeout=30) as answer:
            text: str = answer.read().decode()
    except (URLError, TimeoutError) as failed:
        raise UserError(
            "MetalLB's manifest can't be had.",
            f"{MANIFEST_URL}: {getattr(failed, 'reason', failed)}",
            "see that the address can be reached, or use --images=local",
        ) from None
    return text
