"""MTLS-STRICT: plaintext is answered under PERMISSIVE, refused under STRICT, and the loop passes all the same."""

from dataclasses import dataclass
from typing import Any

from harness.base.parallel import in_parallel
from harness.experiments.exchange import Sender, send_with_curl
from harness.experiments.policy import InForce, applied
from harness.experiments.testbed import Testbed, ready_pods
from harness.model import expectations
from harness.model.experiment import PLAIN, Exchange, StrictExperiment
from harness.model.topology import Cluster
from harness.observe import traffic

NAME = "eastwest-strict"
CONVERTED = "istio_converted_static_strict"
"""What istiod makes of STRICT for ztunnels: a policy against whoever has no identity (pilot, ambient's policies)."""


@dataclass(frozen=True)
class PlaintextTarget:
    """A pod of helloworld."""

    cluster: Cluster
    pod: str
    ip: str

    @property
    def url(self) -> str:
        """By address: a Service would choose a pod."""
        return f"http://{expectations.url_host(self.ip)}:{expectations.HELLOWORLD_PORT}/hello"


def make(testbed: Testbed) -> StrictExperiment:
    """Send plaintext to each pod of helloworld, before and under STRICT; then the loop."""
    with testbed.step("Request in plaintext from a pod that is no part of the mesh (positive control)"):
        destinations = _destinations(testbed)
        control = _plaintext(testbed, destinations)
    spec = {"mtls": {"mode": "STRICT"}}
    pods = [(destination.cluster, destination.pod) for destination in destinations]
    with applied(testbed, "PeerAuthentication", NAME, spec, destinations=pods, in_force=IN_FORCE) as policy:
        with testbed.step("Request in plaintext from a pod that is no part of the mesh under STRICT"):
            plaintext = _plaintext(testbed, destinations)
        with testbed.step("Send the loop under STRICT"):
            seen = {observed.name: observed for observed in testbed.observation.clusters}
            scale, mesh = testbed.mesh.settings.timeout_scale, testbed.mesh
            clients = traffic.clients(mesh.topology, testbed.observation.asked, seen, mesh.kubes, scale)
            cap = traffic.coverage(mesh.topology, testbed.observation.asked, seen).cap
            loop = tuple(in_parallel(lambda client: traffic.cover(client, cap, converged=True), clients))
    return StrictExperiment(control=control, policy=policy, plaintext=plaintext, loop=loop)


def refuses_plaintext(chains: list[Any]) -> bool:
    """Whether a sidecar's inbound filter chains take nothing but TLS at helloworld's port. Pure."""
    transports = [
        match.get("transport_protocol", "")
        for chain in chains
        if (match := chain.get("filter_chain_match") or {}).get("destination_port") == expectations.HELLOWORLD_PORT
    ]
    return bool(transports) and set(transports) == {"tls"}


IN_FORCE = InForce(in_sidecar=refuses_plaintext, in_ztunnel=CONVERTED)


def _destinations(testbed: Testbed) -> list[PlaintextTarget]:
    return [
        PlaintextTarget(cluster, pod["metadata"]["name"], pod["status"]["podIP"])
        for cluster in testbed.clusters
        for pod in ready_pods(testbed.mesh.kube(cluster), testbed.namespace, expectations.HELLOWORLD)
    ]


def _plaintext(testbed: Testbed, destinations: list[PlaintextTarget]) -> tuple[Exchange, ...]:
    """One request to each pod, from every cluster of its network: a gateway lets no plaintext through."""
    work = [
        (Sender(source, PLAIN, "default"), destination)
        for destination in destinations
        for source in testbed.clusters
        if source.network == destination.cluster.network
    ]
    return tuple(in_parallel(lambda item: send_with_curl(testbed, item[0], item[1].cluster, item[1].url), work))
