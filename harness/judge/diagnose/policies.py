"""Causes in policies: what stands on one primary only, and what forbids traffic between the clusters."""

from collections.abc import Iterator
from typing import Any

from harness.judge.diagnose.facts import few, mesh, read, requests_logged
from harness.judge.diagnose.graph import Layer
from harness.judge.diagnose.registry import Found, cause
from harness.judge.diagnose.repair import applied, edit_mesh_config, kubectl, noted, patch
from harness.model import policies, requested
from harness.model.cluster import ClusterObservation, ConfigObject, ServicePort, Subject
from harness.model.observation import Observation

_OFF = {"PeerAuthentication": {"DISABLE"}, "DestinationRule": {"DISABLE", "SIMPLE", "MUTUAL"}}
"""The modes without Istio's own mutual TLS, by the kind of policy that sets them."""


def _standing(observation: Observation) -> dict[str, tuple[ClusterObservation, dict[str, ConfigObject]]]:
    """By primary, what was observed of it and its policies about helloworld's traffic."""
    found = read(observation, Subject.CONFIG, among=observation.topology.primaries)
    return {cluster.name: (seen, policies.traffic_policies(observation, seen)) for cluster, seen in found}


@cause("subset-unknown", Layer.POLICIES, "CONFIG-CONSISTENT", "TR-REACH", "TR-NO-ERRORS", breaks=Layer.TRAFFIC)
def subset_unknown(observation: Observation) -> Iterator[Found]:
    """A DestinationRule with subsets is missing on the destination's primary.

    A client that routes to a subset names it in the SNI. The east-west gateway of another network passes through only
    the subsets that its own control plane knows from a DestinationRule: it has no filter chain for others, and resets
    these connections.
    """
    standing = _standing(observation)
    for name in sorted({name for _, found in standing.values() for name in found}):
        having = [(seen, found[name]) for seen, found in standing.values() if name in found]
        item = having[0][1]
        if item.kind != "DestinationRule" or not item.spec.get("subsets"):
            continue
        there = ", ".join(seen.name for seen, _ in having)
        for primary, (lacking, found) in standing.items():
            if name not in found:
                subsets = ", ".join(str(subset.get("name")) for subset in item.spec["subsets"])
                yield Found(
                    cluster=primary,
                    object=name,
                    field="exists",
                    expected=f"as on {there}: subsets {subsets}",
                    found="none: its gateway has no filter chain for a subset",
                    repair=_applied_too(lacking, item, there),
                    change=f"apply the DestinationRule of {there} to {primary} as well",
                    evidence=few(requests_logged(observation, "filter_chain_not_found", "503", "NR")),
                )


@cause(
    "mtls-disabled", Layer.POLICIES, "EP-COMPLETE", "GW-DATAPATH", "TR-REACH", "TR-NO-ERRORS", breaks=Layer.ENDPOINTS
)
def mtls_disabled(observation: Observation) -> Iterator[Found]:
    """Mutual TLS is off for helloworld, where it is needed: between networks, and to pods that demand it.

    An east-west gateway finds a service by the SNI of mutual TLS. istiod leaves endpoints of other networks out where
    a PeerAuthentication says DISABLE, or a DestinationRule sets a TLS mode other than ISTIO_MUTUAL. On one network
    plaintext is refused where a PeerAuthentication says STRICT. What is set for other ports does not count.
    """
    crossed = len(observation.topology.networks) > 1
    standing = _standing(observation)
    modes = [
        (primary, observed, item, _modes(observation, observed, item))
        for primary, (observed, found) in standing.items()
        for item in found.values()
        if item.kind != "PeerAuthentication" or policies.holds_for_requested(observation, item)
    ]
    strict = any(item.kind == "PeerAuthentication" and "STRICT" in found for _, _, item, found in modes)
    why = "which is all that is routed between networks" if crossed else "which a PeerAuthentication demands"
    for primary, observed, item, found in modes:
        off = sorted(found & _OFF.get(item.kind, set()))
        if off and (crossed or (strict and item.kind == "DestinationRule")):
            field = "spec.mtls.mode" if item.kind == "PeerAuthentication" else "spec.trafficPolicy.tls.mode"
            yield shown(primary, observed, item, field, f"mutual TLS, {why}", ", ".join(off))


def _modes(observation: Observation, observed: ClusterObservation, item: ConfigObject) -> set[str]:
    """The modes of TLS that a policy sets for the port that requests are sent to; a port's own mode comes first."""
    service = requested.found(observed, observation.asked)
    number = requested.service(observation.asked).port
    port = next((port for port in service.ports if port.port == number), None) if service else None
    if item.kind == "PeerAuthentication":
        listening = {port.target_port, str(port.endpoint_port)} if port else set()
        own = [mode for key, mode in (item.spec.get("portLevelMtls") or {}).items() if str(key) in listening]
        return {str(found.get("mode")) for found in own or [item.spec.get("mtls") or {}]}
    rules = [item.spec, *(item.spec.get("subsets") or ())]
    return {_tls_mode(rule.get("trafficPolicy") or {}, number) for rule in rules}


def _tls_mode(policy: dict[str, Any], number: int) -> str:
    ports = policy.get("portLevelSettings") or ()
    levels = [each for each in ports if (each.get("port") or {}).get("number") == number]
    return next((str(each["tls"].get("mode")) for each in (*levels, policy) if each.get("tls")), "")


def _peer_modes(item: ConfigObject) -> set[str]:
    modes = {(item.spec.get("mtls") or {}).get("mode")}
    modes |= {(port or {}).get("mode") for port in (item.spec.get("portLevelMtls") or {}).values()}
    return {str(mode) for mode in modes if mode}


def shown(primary: str, observed: ClusterObservation, item: ConfigObject, *values: str) -> Found:
    """A policy of the user's: it is shown, and changed by hand; nothing of it is deleted.

    Args:
        primary: name of the cluster where it stands.
        observed: that cluster.
        item: the policy.
        values: the field at fault, as it should be, as it is, and further lines of evidence.
    """
    field, wanted, seen, *evidence = values
    look = kubectl(observed, "-n", item.namespace, f"get {item.kind.lower()} {item.name} -o yaml")
    return Found(
        cluster=primary,
        object=f"{item.kind} {item.namespace}/{item.name}",
        field=field,
        expected=wanted,
        found=seen,
        repair=noted(look, f"change {field} where it is declared"),
        evidence=few(evidence),
    )


@cause("policies-differ", Layer.POLICIES, "CONFIG-CONSISTENT", breaks=Layer.TRAFFIC)
def policies_differ(observation: Observation) -> Iterator[Found]:
    """A policy stands on one primary and not, or differently, on another.

    Every primary configures its own clusters from its own API server only: the policy holds in one half of the mesh,
    and which half a request meets is chance. Policies count that can hold for the sample or for an east-west gateway.
    """
    standing = _standing(observation)
    known = {found.object for found in subset_unknown.find(observation)}
    for name in sorted({name for _, found in standing.values() for name in found} - known):
        having = [(seen, found[name]) for seen, found in standing.values() if name in found]
        lacking = [seen for seen, found in standing.values() if name not in found]
        specs = {str(item.spec) for _, item in having}
        if not lacking and len(specs) <= 1:
            continue
        if having[0][1].kind == "ServiceEntry":
            continue  # a cause by itself
        (first, item), there = having[0], ", ".join(seen.name for seen, _ in having)
        observed = first if lacking else having[-1][0]
        yield Found(
            cluster=observed.name,
            object=name,
            field="on every primary",
            expected="the same everywhere",
            found=f"only on {there}" if lacking else f"differs on {observed.name}",
            repair=noted(
                kubectl(observed, "-n", item.namespace, f"get {item.kind.lower()} {item.name} -o yaml"),
                f"if it is meant, apply it to {', '.join(seen.name for seen in lacking)} as well; else take it away"
                if lacking
                else f"if it is meant, apply it to {first.name} as well; else the one of {first.name} here",
            ),
            change=f"Have {name} on every primary alike, or on none",
            evidence=few([f"spec: {having[0][1].spec}"]),
        )


def _manifest(item: ConfigObject) -> dict[str, Any]:
    metadata = {"name": item.name, "namespace": item.namespace}
    return {"apiVersion": item.api_version, "kind": item.kind, "metadata": metadata, "spec": item.spec}


def _applied_too(lacking: ClusterObservation, item: ConfigObject, there: str) -> str:
    return noted(applied(lacking, _manifest(item)), f"as on {there}; or take it away there, if it is not meant")


@cause("mesh-config-differs", Layer.POLICIES, "CONFIG-CONSISTENT", breaks=Layer.TRAFFIC, fallback=True)
def mesh_config_differs(observation: Observation) -> Iterator[Found]:
    """Primaries have different mesh configurations.

    Trust domain and mesh id apart, which are causes of their own: outlier detection, locality settings, discovery
    selectors and the like then differ by which control plane serves a workload.
    """
    apart, shared = {"trustDomain", "defaultConfig"}, observation.asked.mode == "verify-only"
    configs = [
        (
            cluster,
            observed,
            {
                key: value
                for key, value in policies.written(observation, mesh(observation, observed)).items()
                if key not in apart and (not shared or key in policies.SETTINGS)
            },
        )
        for cluster, observed in read(observation, Subject.MESH_CONFIG, among=observation.topology.primaries)
    ]
    for cluster, _, config in configs[1:]:
        first, _, reference = configs[0]
        for key in sorted({*config, *reference}):
            if config.get(key) != reference.get(key):
                yield Found(
                    cluster=cluster.name,
                    object=f"ConfigMap {observation.asked.system_namespace}/istio",
                    field=f"mesh.{key}",
                    expected=f"{reference.get(key, 'none')} (as on {first.name})",
                    found=str(config.get(key, "none")),
                    repair=edit_mesh_config(observation, cluster, f"give {key} the value it has on {first.name}"),
                )


@cause("ports-differ", Layer.POLICIES, "CONFIG-CONSISTENT", breaks=Layer.ENDPOINTS)
def ports_differ(observation: Observation) -> Iterator[Found]:
    """Helloworld's Service has other ports on one cluster.

    istiod merges a Service of all clusters under one name. Ports that differ in number or name give endpoints that some
    clients don't see, or see with another protocol.
    """
    reference: tuple[str, tuple[str, ...]] | None = None
    ports_of: dict[str, tuple[ServicePort, ...]] = {}
    for cluster, observed in read(observation, Subject.SERVICES):
        service = requested.found(observed, observation.asked)
        if service is None:
            continue
        ports = policies.ports(service)
        first, wanted = reference = reference or (cluster.name, ports)
        ports_of[cluster.name] = service.ports
        if ports != wanted:
            yield Found(
                cluster=cluster.name,
                object=f"Service {service.namespace}/{service.name}",
                field="spec.ports",
                expected=f"{', '.join(wanted)} (as on {first})",
                found=", ".join(ports),
                repair=patch(
                    observed,
                    f"service/{service.name}",
                    {"spec": {"ports": [_port(port) for port in ports_of[first]]}},
                    namespace=service.namespace,
                ),
            )


def _port(port: ServicePort) -> dict[str, object]:
    target = int(port.target_port) if port.target_port.isdigit() else port.target_port
    protocol = {"appProtocol": port.app_protocol} if port.app_protocol else {}
    return {"name": port.name, "port": port.port, "targetPort": target, **protocol}


@cause("plaintext-accepted", Layer.POLICIES, "MTLS-STRICT", breaks=None)
def plaintext_accepted(observation: Observation) -> Iterator[Found]:
    """A policy lets a workload accept plaintext although the mesh is meant to be STRICT.

    A PeerAuthentication for one workload, or one port, comes before that of its namespace.
    """
    for cluster, observed in read(observation, Subject.CONFIG, among=observation.topology.primaries):
        for item in observed.config:
            if item.kind != "PeerAuthentication":
                continue
            loose = sorted(_peer_modes(item) & {"PERMISSIVE", "DISABLE"})
            if loose and (item.spec.get("selector") or "DISABLE" in loose):
                yield shown(cluster.name, observed, item, "spec.mtls.mode", "STRICT", ", ".join(loose))
