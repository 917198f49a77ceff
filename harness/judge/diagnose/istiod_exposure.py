"""Causes in how a primary's gateway leads remotes to its control plane."""

from collections.abc import Iterator
from dataclasses import dataclass

from harness.judge.diagnose.exposure import (
    REVISION_LABEL,
    gateway_objects,
    installed,
    leads_to,
    servers,
    serving_revisions,
    words,
)
from harness.judge.diagnose.facts import failed_steps, few, readiness
from harness.judge.diagnose.graph import Layer
from harness.judge.diagnose.registry import Found, cause
from harness.judge.diagnose.repair import kubectl, manifest
from harness.model import expectations, gateways
from harness.model.cluster import ClusterObservation, ConfigObject, Pod
from harness.model.observation import Observation
from harness.model.topology import Cluster

PORTS = frozenset({expectations.XDS_PORT, expectations.WEBHOOK_PORT})


@dataclass(frozen=True)
class _Astray:
    """An object that is to lead remotes to istiod and does not, and why."""

    item: ConfigObject
    field: str
    expected: str
    found: str


@cause("istiod-not-exposed", Layer.GATEWAYS, "GW-EXPOSE-ISTIOD")
def istiod_not_exposed(observation: Observation) -> Iterator[Found]:
    """The primary's gateway does not lead to its control plane.

    The Gateway for 15012 and 15017, or the VirtualService behind it, is missing, or configures nothing: it selects no
    gateway, is for another revision, is bound to another Gateway or leads to a host that is not there. Remotes get no
    injection, no configuration and no certificates.
    """
    for cluster, observed in installed(observation, expectations.serving_primaries(observation.topology)):
        proxies = gateways.proxies(observed, gateways.istiod_service(observed))
        if all(leads_to(proxies, "istiod", port) for port in sorted(PORTS)):
            continue
        missing = PORTS - {port for item in gateway_objects(observed) for port, _, _ in servers(item)}
        if missing or not _routes(observed):
            yield _absent(observation, cluster, sorted(missing))
        elif astray := _astray_gateway(observed, cluster) or _astray_route(observed):
            yield _configures_nothing(observation, cluster, astray)


def _absent(observation: Observation, cluster: Cluster, missing: list[int]) -> Found:
    observed, system = observation[cluster], observation.asked.system_namespace
    return Found(
        cluster=cluster.name,
        object=f"Gateway {system}/istiod-gateway",
        field="servers" if missing else "VirtualService",
        expected="15012 and 15017 to istiod",
        found=f"nothing for {', '.join(map(str, missing))}" if missing else "no route to istiod",
        repair=manifest(observed, "expose-istiod", namespace=system),
        evidence=few(failed_steps(observation, cluster.name), _said(observation)),
    )


def _configures_nothing(observation: Observation, cluster: Cluster, astray: _Astray) -> Found:
    observed, item = observation[cluster], astray.item
    label = f"label gateways.networking.istio.io {item.name} {REVISION_LABEL}-"
    return Found(
        cluster=cluster.name,
        object=f"{item.kind} {item.namespace}/{item.name}",
        field=astray.field,
        expected=astray.expected,
        found=astray.found,
        repair=kubectl(observed, "-n", item.namespace, label)
        if REVISION_LABEL in astray.field
        else manifest(observed, "expose-istiod", namespace=observation.asked.system_namespace),
        evidence=few(_said(observation)),
    )


def _said(observation: Observation) -> Iterator[str]:
    return (line for remote in observation.clusters for line in readiness(remote))


def _hosts(item: ConfigObject) -> tuple[str, ...]:
    """Where a VirtualService routes to."""
    rules = (rule for kind in ("tls", "tcp", "http") for rule in item.spec.get(kind) or ())
    routes = (route for rule in rules for route in rule.get("route") or ())
    return tuple(str((route.get("destination") or {}).get("host") or "") for route in routes)


def _routes(observed: ClusterObservation) -> tuple[ConfigObject, ...]:
    """The VirtualServices that route to istiod."""
    found = (item for item in observed.config if item.kind == "VirtualService")
    return tuple(item for item in found if any("istiod" in host for host in _hosts(item)))


def _meant(observed: ClusterObservation) -> tuple[ConfigObject, ...]:
    """The Gateways with a server for one of istiod's ports."""
    return tuple(item for item in gateway_objects(observed) if PORTS & {port for port, _, _ in servers(item)})


def _astray_gateway(observed: ClusterObservation, cluster: Cluster) -> _Astray | None:
    """A Gateway for istiod's ports that configures nothing, where no other one has these ports."""
    service = gateways.istiod_service(observed, cluster.network)
    pods = gateways.pods(observed, service) if service else ()
    meant = _meant(observed)
    wrong = [each for item in meant if (each := _unused(observed, item, pods))]
    at_fault = [each.item for each in wrong]
    open_ports = {port for item in meant if item not in at_fault for port, _, _ in servers(item)}
    return next(iter(wrong), None) if PORTS - open_ports else None


def _unused(observed: ClusterObservation, item: ConfigObject, pods: tuple[Pod, ...]) -> _Astray | None:
    selector, revision = item.spec.get("selector") or {}, item.labels.get(REVISION_LABEL, "")
    known = serving_revisions(observed, pods)
    if pods and not any(selector.items() <= pod.labels.items() for pod in pods):
        own = {key: value for key, value in pods[0].labels.items() if key in {"istio", "app"}}
        return _Astray(item, "spec.selector", f"labels of the gateway's pods: {words(own)}", words(selector))
    if revision and known and revision not in known:
        return _Astray(item, f"label {REVISION_LABEL}", f"none, or {', '.join(sorted(known))}", revision)
    return None


def _astray_route(observed: ClusterObservation) -> _Astray | None:
    """A VirtualService that routes to istiod and is bound elsewhere, or leads to no Service; if all of them are so."""
    routes = _routes(observed)
    wrong = [each for item in routes if (each := _unbound(observed, item) or _lost(observed, item))]
    return wrong[0] if wrong and len(wrong) == len(routes) else None


def _unbound(observed: ClusterObservation, item: ConfigObject) -> _Astray | None:
    names = {f"{each.namespace}/{each.name}" for each in _meant(observed)}
    bound = [str(name) for name in item.spec.get("gateways") or ()]
    if names.isdisjoint(name if "/" in name else f"{item.namespace}/{name}" for name in bound):
        return _Astray(item, "spec.gateways", ", ".join(sorted(names)), ", ".join(bound) or "none")
    return None


def _lost(observed: ClusterObservation, item: ConfigObject) -> _Astray | None:
    known = {f"{each.name}.{each.namespace}" for each in observed.services}
    for host in _hosts(item):
        # A short name is meant in the namespace of its object.
        if "istiod" in host and ".".join([*host.split("."), item.namespace][:2]) not in known:
            return _Astray(item, "route.destination.host", "a Service of istiod", f"{host}: no such Service")
    return None
