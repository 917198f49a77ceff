"""An Istio policy for the length of an experiment: applied where it is read, in force before anything is sent."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from harness.base.errors import StepError
from harness.base.parallel import in_parallel
from harness.experiments.testbed import Testbed
from harness.kube.api import Object
from harness.mesh.context import environment_faults
from harness.model.experiment import Policy
from harness.model.topology import Cluster
from harness.model.ztunnel import Ztunnel

API_VERSION = "security.istio.io/v1"
LISTENERS = "config_dump?resource=dynamic_listeners&name_regex=virtualInbound"


@dataclass(frozen=True)
class InForce:
    """How it is told that a policy is in force at a pod."""

    in_sidecar: Callable[[list[Any]], bool]
    """Told from the inbound filter chains of the pod's sidecar."""
    in_ztunnel: str
    """The name under which the ztunnel of the pod's node has it."""

    def at(self, testbed: Testbed, cluster: Cluster, pod: str) -> bool:
        """Whether it is, as far as the proxy can be asked."""
        if testbed.mesh.settings.ambient:
            ztunnel = testbed.ztunnel(cluster, pod)
            return ztunnel is not None and self.in_ztunnel in enforced(ztunnel, testbed.namespace, pod)
        return self.in_sidecar(active_chains(testbed.ask(cluster, pod, LISTENERS)))


@contextmanager
def applied(
    testbed: Testbed,
    kind: str,
    name: str,
    spec: dict[str, Any],
    *,
    destinations: list[tuple[Cluster, str]],
    in_force: InForce,
) -> Iterator[Policy]:
    """Apply a policy to the sample namespace, wait until the proxies that it concerns have it, and withdraw it.

    A control plane reads policies from the API server of its own cluster alone: in primary-remote the primary's policy
    is also the remotes'. So it is applied on every cluster with a control plane, and on no other.

    Args:
        testbed: the mesh.
        kind: of security.istio.io/v1.
        name: the object's.
        spec: the object's.
        destinations: the pods whose proxies must have it.
        in_force: tells whether one has.
    """
    primaries = testbed.mesh.topology.primaries
    manifest = {
        "apiVersion": API_VERSION,
        "kind": kind,
        "metadata": {"name": name, "namespace": testbed.namespace},
        "spec": spec,
    }
    try:
        with testbed.step(f"Apply {kind} {testbed.namespace}/{name}") as opened:
            opened.note(f"on {', '.join(cluster.name for cluster in primaries)}")
            in_parallel(lambda cluster: _apply(testbed, cluster, manifest), primaries)
        yield _awaited(testbed, manifest, destinations, in_force)
    finally:
        _withdraw(testbed, kind, name)


def active_chains(listeners: Any) -> list[Any]:
    """The filter chains with which a proxy works; not those of a listener that is still warming. Pure.

    Args:
        listeners: the answer of Envoy's `config_dump?resource=dynamic_listeners`, None where there is none.
    """
    return [
        chain
        for config in (listeners or {}).get("configs") or ()
        for chain in ((config.get("active_state") or {}).get("listener") or {}).get("filter_chains") or ()
    ]


def enforced(ztunnel: Ztunnel, namespace: str, pod: str) -> set[str]:
    """The names of the policies that a ztunnel enforces for a pod: those that select it, and that it has. Pure."""
    return {
        policy.rpartition(":")[2]
        for workload in ztunnel.workloads
        if (workload.namespace, workload.name) == (namespace, pod)
        for policy in workload.policies
    }


def _awaited(testbed: Testbed, manifest: Object, destinations: list[tuple[Cluster, str]], in_force: InForce) -> Policy:
    kind, name = manifest["kind"], manifest["metadata"]["name"]
    began = time.monotonic()
    with testbed.step(f"Wait until the destinations' proxies have {kind} {name}") as opened:
        pending = testbed.await_proxies(
            dict.fromkeys(destinations, lambda cluster, pod: in_force.at(testbed, cluster, pod))
        )
        if pending:
            opened.note(f"not after {time.monotonic() - began:.0f} s: {', '.join(pending)}")
    return Policy(
        kind=kind,
        namespace=testbed.namespace,
        name=name,
        clusters=tuple(cluster.name for cluster in testbed.mesh.topology.primaries),
        spec=manifest["spec"],
        seconds=round(time.monotonic() - began, 3),
        pending=pending,
    )


def _apply(testbed: Testbed, cluster: Cluster, manifest: Object) -> None:
    with environment_faults():
        testbed.mesh.apply(cluster, manifest)


def _withdraw(testbed: Testbed, kind: str, name: str) -> None:
    def of_cluster(cluster: Cluster) -> None:
        try:
            with testbed.step(f"Withdraw {kind} {testbed.namespace}/{name} on {cluster.name}"):
                testbed.mesh.kube(cluster).delete(API_VERSION, kind, name, testbed.namespace)
        except StepError:
            return  # recorded; the removal of the namespace takes it along

    in_parallel(of_cluster, testbed.mesh.topology.primaries)
