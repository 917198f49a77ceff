"""Causes in where VirtualServices send helloworld's requests, and what they do to them."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from harness.judge.diagnose.facts import read, requests_logged
from harness.judge.diagnose.graph import Layer
from harness.judge.diagnose.policies import shown
from harness.judge.diagnose.registry import Found, cause
from harness.model import expectations, policies
from harness.model.cluster import ClusterObservation, ConfigObject, Subject
from harness.model.observation import Observation

Rule = Mapping[str, Any]
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
SHORT = 1.0
"""Seconds. A longer timeout ends no request of the suite in a mesh that is whole."""


def _about(observation: Observation, kind: str) -> Iterator[tuple[str, ClusterObservation, ConfigObject]]:
    """The objects of a kind about helloworld, with the primary on which each stands."""
    for cluster, observed in read(observation, Subject.CONFIG, among=observation.topology.primaries):
        for item in observed.config:
            if item.kind == kind and policies.is_about_requested(observation, item):
                yield cluster.name, observed, item


def _matches_all(rule: Rule) -> bool:
    """Whether a rule holds for every request."""
    matches = rule.get("match") or []
    return not matches or any(set(each) <= {"uri"} and (each.get("uri") or {}).get("prefix") == "/" for each in matches)


def _default_rules(item: ConfigObject) -> tuple[Rule, ...]:
    """The rules of a VirtualService that hold for whatever no other one matches: the first of each kind."""
    kinds = ([rule for rule in item.spec.get(kind) or () if _matches_all(rule)] for kind in ("http", "tls", "tcp"))
    return tuple(rule for rules in kinds for rule in rules[:1])


def _destinations(rule: Rule) -> list[Mapping[str, Any]]:
    """Where a rule sends requests to; what has the weight 0 gets none."""
    routes = rule.get("route") or []
    return [route.get("destination") or {} for route in routes if len(routes) == 1 or route.get("weight", 1)]


def _is_requested(observation: Observation, destination: Mapping[str, Any], namespace: str) -> bool:
    domains = {expectations.cluster_domain(observed) for observed in observation.clusters}
    return policies.mentions(observation.asked, [str(destination.get("host") or "")], namespace, domains)


def undefined_subsets(observation: Observation, item: ConfigObject) -> tuple[str, ...]:
    """The subsets to which a VirtualService sends helloworld's requests and that no DestinationRule defines anywhere.

    One that is defined on another primary only is missing there: a cause of its own.
    """
    rules = [rule for _, _, rule in _about(observation, "DestinationRule")]
    defined = {str(each.get("name")) for rule in rules for each in rule.spec.get("subsets") or ()}
    named = {
        str(to["subset"])
        for rule in _default_rules(item)
        for to in _destinations(rule)
        if to.get("subset") and _is_requested(observation, to, item.namespace)
    }
    return tuple(sorted(named - defined))


@cause("subset-undefined", Layer.POLICIES, "TR-REACH", "TR-NO-ERRORS", breaks=Layer.TRAFFIC)
def subset_undefined(observation: Observation) -> Iterator[Found]:
    """A VirtualService sends requests to a subset that no DestinationRule defines.

    Envoy has no cluster of that name, and answers 503 with the flag NC (no cluster) at once. Source: Istio, "Traffic
    Management Problems", 503 errors after setting destination rule.
    """
    for primary, observed, item in _about(observation, "VirtualService"):
        if lost := undefined_subsets(observation, item):
            wanted = f"a subset that a DestinationRule on {primary} defines"
            told = requests_logged(observation, "503", "NC")
            field = "spec.http.route.destination.subset"
            yield shown(primary, observed, item, field, wanted, f"{', '.join(lost)}: no such subset", *told)


@cause(
    "route-decides", Layer.POLICIES, "TR-REACH", "TR-NO-ERRORS", "TR-DISTRIBUTION", breaks=Layer.TRAFFIC, fallback=True
)
def route_decides(observation: Observation) -> Iterator[Found]:
    """A setting: a VirtualService decides which of helloworld's requests are answered, and by whom.

    It aborts or delays requests, ends them by a short timeout, sends all of them to one subset or to another host, or
    matches only some. The mesh does what it is told to. Source: Istio, "Virtual Service", HTTPRoute.
    """
    for primary, observed, item in _about(observation, "VirtualService"):
        if said := list(dict.fromkeys(_decides(observation, item))):
            seen, told = f"a setting: {', '.join(said)}", requests_logged(observation)
            yield shown(primary, observed, item, "spec.http", "requests go to all of helloworld", seen, *told)


def _decides(observation: Observation, item: ConfigObject) -> Iterator[str]:
    """What a VirtualService does to requests beside sending them on, in words."""
    rules = _default_rules(item)
    if item.spec.get("http") and not rules:
        yield "no rule without match"
    for rule in rules:
        yield from (f"fault.{kind} {said}" for kind, said in (rule.get("fault") or {}).items() if _happens(said))
        yield from (f"{kind} {rule[kind]}" for kind in ("redirect", "directResponse", "delegate") if rule.get(kind))
        if 0 < (_seconds(str(rule.get("timeout") or "")) or 0) <= SHORT:
            yield f"timeout {rule['timeout']}"
        yield from _sends(observation, item, _destinations(rule))


def _sends(observation: Observation, item: ConfigObject, to: list[Mapping[str, Any]]) -> Iterator[str]:
    meant = [each for each in to if _is_requested(observation, each, item.namespace)]
    yield from (f"to {each.get('host')}" for each in to if each not in meant)
    subsets = {str(each.get("subset") or "") for each in meant}
    if len(subsets) == 1 and any(subsets):
        yield f"all to subset {subsets.pop()}"


def _happens(fault: Mapping[str, Any]) -> bool:
    """Whether a fault is injected into any request; without a percentage it is into all."""
    percentage = fault.get("percentage")
    return bool(percentage.get("value")) if isinstance(percentage, dict) else fault.get("percent", 1) != 0


def _seconds(duration: str) -> float | None:
    found = re.fullmatch(r"([\d.]+)(ms|s|m|h)", duration)
    return float(found[1]) * _SECONDS[found[2]] if found else None
