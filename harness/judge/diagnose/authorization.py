"""Causes in AuthorizationPolicies that refuse what clusters need of each other."""

from collections.abc import Iterator, Mapping

from harness.judge.diagnose.facts import attempt, mesh, read, requests_logged
from harness.judge.diagnose.graph import Layer
from harness.judge.diagnose.policies import shown
from harness.judge.diagnose.registry import Found, cause
from harness.model import authorization, expectations, gateways, policies
from harness.model.cluster import ClusterObservation, ConfigObject, Subject
from harness.model.observation import Observation
from harness.model.topology import Cluster
from harness.model.traffic import ProbeKind, ProbeResult

FORBIDDEN = 403


def _of(observed: ClusterObservation) -> tuple[ConfigObject, ...]:
    return tuple(item for item in observed.config if item.kind == "AuthorizationPolicy")


@cause("gateway-denied", Layer.GATEWAYS, "GW-DATAPATH", "GW-REACHABLE", "CERT-ISTIOD", "CP-INJECTION-WEBHOOK")
def gateway_denied(observation: Observation) -> Iterator[Found]:
    """An AuthorizationPolicy holds for an east-west gateway.

    A gateway sees of the traffic it passes through nothing but addresses, ports and SNI: a rule with principals, paths
    or methods never matches there, so that an ALLOW policy refuses everything, and so does one without rules. Where the
    gateway leads to a control plane, remotes lose their configuration, certificates and injection. A policy in the root
    namespace without a selector holds for every gateway.
    """
    for primary, observed in read(observation, Subject.CONFIG, among=observation.topology.primaries):
        refused: dict[str, list[str]] = {}
        for cluster in observation.topology.served_by(primary):
            for port, items in _refused(observation, cluster, observed).items():
                for item in items:
                    refused.setdefault(f"{item.namespace}/{item.name}", []).append(f"{cluster.name} port {port}")
        for item in _of(observed):
            if places := refused.get(f"{item.namespace}/{item.name}"):
                rules = len(item.spec.get("rules") or ())
                seen = f"{authorization.action(item)} with {rules} rules refuses {', '.join(places)}"
                wanted = "the east-west gateways left aside, or a rule that holds for their ports"
                yield shown(primary.name, observed, item, _narrowed(item), wanted, seen, *_attempts(observation))


def _narrowed(item: ConfigObject) -> str:
    """The field that says for what a policy holds."""
    return next((f"spec.{key}" for key in ("targetRefs", "targetRef") if item.spec.get(key)), "spec.selector")


def _refused(
    observation: Observation, cluster: Cluster, primary: ClusterObservation
) -> Mapping[int, tuple[ConfigObject, ...]]:
    """By port that others need of a cluster's gateways, the policies that refuse connections there."""
    topology, observed = observation.topology, observation[cluster]
    settings = mesh(observation, primary).get("extensionProviders")
    providers = [str(entry.get("name")) for entry in (settings if isinstance(settings, list) else ())]
    found: dict[int, tuple[ConfigObject, ...]] = {}
    for service in gateways.serving(topology, observation, cluster):
        pods = gateways.pods(observed, service)
        held = [item for item in _of(primary) if policies.holds_for(observation, observed, item, pods)]
        for port in expectations.needed_ports(topology, cluster, expectations.mesh_port(observation.asked)):
            entrances = gateways.entrances(topology, observation, cluster, port)
            listener = next((entrance.listener for entrance in entrances), port)
            if items := authorization.refusing(held, listener, providers):
                found[port] = (*found.get(port, ()), *items)
    return found


def _attempts(observation: Observation) -> Iterator[str]:
    """What was tried at gateways and broke off."""
    for probe in observation.probes:
        if probe.kind in {ProbeKind.TCP, ProbeKind.TLS} and probe.result is not ProbeResult.ANSWERED:
            yield attempt(probe)


@cause("sample-denied", Layer.POLICIES, "TR-NO-ERRORS", "TR-REACH", breaks=Layer.TRAFFIC)
def sample_denied(observation: Observation) -> Iterator[Found]:
    """An AuthorizationPolicy refuses the sample's requests.

    helloworld's proxy answers 403 "RBAC: access denied". A policy that allows only some principals, namespaces or paths
    refuses all others; a client of another trust domain, service account or cluster is another principal.
    """
    if not any(_forbidden(observation)):
        return
    for primary, observed in read(observation, Subject.CONFIG, among=observation.topology.primaries):
        for item in _of(observed):
            does = authorization.action(item)
            harmless = does == "AUDIT" or _allows_all(item) or (does == "DENY" and not item.spec.get("rules"))
            if harmless or not policies.holds_for_requested(observation, item):
                continue
            seen = f"{does} with {len(item.spec.get('rules') or ())} rules; requests were answered {FORBIDDEN}"
            logged = requests_logged(observation, str(FORBIDDEN))
            yield shown(primary.name, observed, item, "spec.rules", "the sample's clients let in", seen, *logged)


def _forbidden(observation: Observation) -> Iterator[bool]:
    traffic, own = observation.traffic, observation.service_traffic
    for sequence in (*traffic.coverage, *traffic.distribution) if traffic else ():
        yield from (request.status == FORBIDDEN for request in sequence.requests)
    for requests in own.sequences if own else ():
        yield from (request.status == FORBIDDEN for request in requests.requests)


def _allows_all(item: ConfigObject) -> bool:
    return authorization.action(item) == "ALLOW" and any(not rule for rule in item.spec.get("rules") or ())
