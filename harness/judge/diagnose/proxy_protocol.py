"""The cause of a gateway and its load balancer that disagree on the PROXY protocol."""

from collections.abc import Iterator

from harness.judge.diagnose.facts import attempt, few, mesh, read
from harness.judge.diagnose.gateways import named
from harness.judge.diagnose.graph import Layer
from harness.judge.diagnose.registry import Found, cause
from harness.judge.diagnose.repair import kubectl, noted
from harness.model import expectations, gateways, policies
from harness.model.cluster import ClusterObservation, Service, Subject
from harness.model.observation import Observation
from harness.model.topology import Cluster
from harness.model.traffic import ProbeKind, ProbeResult

_WORDS = ("proxy_protocol", "proxyProtocol")


@cause("proxy-protocol", Layer.GATEWAYS, "GW-DATAPATH", "GW-REACHABLE", "CERT-ISTIOD")
def proxy_protocol(observation: Observation) -> Iterator[Found]:
    """A gateway and its load balancer disagree on the PROXY protocol.

    A load balancer that sends it puts a line before the TLS handshake. A gateway that does not expect it finds no SNI
    and resets the connection; one that expects it waits for it and resets what comes without.
    """
    among = expectations.gateways(observation.topology)
    for cluster, observed in read(observation, Subject.SERVICES, Subject.PODS, among=among):
        broken = [
            attempt(probe)
            for probe in observation.probes
            if probe.target == cluster.name
            and probe.kind in {ProbeKind.TLS, ProbeKind.TCP}
            and probe.result is not ProbeResult.ANSWERED
        ]
        for service in gateways.serving(observation.topology, observation, cluster) if broken else ():
            expects = _expected_by(observation, cluster, observed, service)
            if bool(expects) != bool(service.proxy_protocol):
                yield _odds(observation, cluster, service, expects, broken)


def _odds(
    observation: Observation, cluster: Cluster, service: Service, expects: tuple[str, str] | None, broken: list[str]
) -> Found:
    observed, name = observation[cluster], f"Service {service.namespace}/{service.name}"
    where, field = expects or (named(observation, observed, "Service"), f"annotation {service.proxy_protocol}")
    kind, _, full = where.partition(" ")
    namespace, _, object_ = full.partition("/")
    at = observation[cluster.primary] if kind in {"EnvoyFilter", "ConfigMap"} else observed
    return Found(
        cluster=at.name,
        object=where,
        field=field,
        expected=f"no PROXY protocol: {name} says nothing of a load balancer that sends it"
        if expects
        else "no PROXY protocol: the gateway does not expect it",
        found=f"the gateway of {cluster.name} expects it" if expects else "the load balancer sends it",
        repair=noted(
            kubectl(at, "-n", namespace, f"get {kind.lower()} {object_} -o yaml"),
            "let the load balancer and the gateway agree: both with it, or both without",
        ),
        evidence=few(broken),
    )


def _expected_by(
    observation: Observation, cluster: Cluster, observed: ClusterObservation, service: Service
) -> tuple[str, str] | None:
    """The object by which a gateway expects the PROXY protocol, and its field; None where none does."""
    pods = gateways.pods(observed, service)
    primary = observation[cluster.primary]
    for item in primary.config:
        told = item.kind == "EnvoyFilter" and any(word in str(item.spec) for word in _WORDS)
        if told and policies.holds_for(observation, observed, item, pods):
            return f"EnvoyFilter {item.namespace}/{item.name}", "spec.configPatches"
    for pod in pods:
        if _WORDS[1] in pod.annotations.get("proxy.istio.io/config", ""):
            return f"Pod {pod.namespace}/{pod.name}", "annotation proxy.istio.io/config"
    if _WORDS[1] in str(mesh(observation, primary).get("defaultConfig") or {}):
        return f"ConfigMap {observation.asked.system_namespace}/istio", "mesh.defaultConfig.gatewayTopology"
    return None
