"""Where a VirtualService, or a route of the Gateway API, sends the suite's requests for a service. Pure."""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from harness.model.istio import ConfigObject
from harness.model.policies import ROUTES, is_host_of
from harness.model.service import OwnService

_INDIFFERENT = {"gateways", "ignoreUriCase", "name", "port", "withoutHeaders"}
"""Keys of an HTTPMatchRequest that keep none of the suite's requests out: they come from a pod, and have no header."""


@dataclass(frozen=True)
class Asking:
    """What the suite's requests are: by this a rule takes them or not."""

    service: OwnService
    path: str
    labels: Mapping[str, str]
    """Of the client's pod."""
    namespace: str
    """Of the client's pod."""
    domains: Collection[str]


def subsets(item: ConfigObject, asking: Asking) -> set[str]:
    """The subsets of the service that an object sends requests to, by any rule."""
    return {subset for rule in _rules(item) for own, subset in _places(item, rule, asking) if own and subset}


def to_others(item: ConfigObject, asking: Asking) -> str:
    """Said where the suite's requests go to other services only, whose endpoints are not those of the service."""
    rule = _taken(item, asking)
    places = _places(item, rule, asking) if rule else []
    return _said(item, rule) if rule and places and not any(own for own, _ in places) else ""


def to_one_subset(item: ConfigObject, asking: Asking) -> str:
    """Said where the suite's requests go to one subset of the service only. Those of several have weights."""
    rule = _taken(item, asking)
    places = _places(item, rule, asking) if rule else []
    return _said(item, rule) if rule and len(places) == 1 and all(places[0]) else ""


def _taken(item: ConfigObject, asking: Asking) -> dict[str, Any] | None:
    """The rule that takes the suite's requests: the first that matches. Source: Istio, "Virtual Service"."""
    return next((rule for rule in _rules(item) if _matches(item, rule, asking)), None)


def _rules(item: ConfigObject) -> Iterator[dict[str, Any]]:
    for kind in ("rules",) if item.kind in ROUTES else ("http", "tcp", "tls"):
        yield from item.spec.get(kind) or ()


def _matches(item: ConfigObject, rule: Mapping[str, Any], asking: Asking) -> bool:
    """Whether it takes them; what is not known to take them is held not to: it explains nothing."""
    if item.kind in ROUTES:
        wanted = rule.get("matches") or [{}]
        return any(set(each) <= {"path"} and _path_fits(each.get("path") or {}, asking.path) for each in wanted)
    return any(_match_fits(each, asking) for each in rule.get("match") or [{}])


def _match_fits(match: Mapping[str, Any], asking: Asking) -> bool:
    labels: Mapping[str, str] = match.get("sourceLabels") or {}
    return (
        match.keys() <= _INDIFFERENT | {"uri", "sourceLabels", "sourceNamespace"}
        and "mesh" in (match.get("gateways") or ["mesh"])
        and match.get("port") in {None, asking.service.port}
        and match.get("sourceNamespace") in {None, asking.namespace}
        and labels.items() <= asking.labels.items()
        and _uri_fits(match.get("uri") or {}, asking.path)
    )


def _uri_fits(uri: Mapping[str, str], path: str) -> bool:
    return all(_text_fits(kind, str(text), path) for kind, text in uri.items())


def _text_fits(kind: str, text: str, path: str) -> bool:
    match kind:
        case "exact":
            return path == text
        case "prefix":
            return path.startswith(text)
        case "regex":
            return _regex_fits(text, path)
    return False


def _regex_fits(text: str, path: str) -> bool:
    try:
        return bool(re.fullmatch(text, path))
    except re.error:
        return False


def _path_fits(wanted: Mapping[str, str], path: str) -> bool:
    kind, value = wanted.get("type", "PathPrefix"), wanted.get("value", "/")
    return path == value or (kind == "PathPrefix" and path.startswith(f"{value.rstrip('/')}/"))


def _places(item: ConfigObject, rule: Mapping[str, Any], asking: Asking) -> list[tuple[bool, str]]:
    """Where a rule sends: whether to the service, and to which subset of it."""
    if item.kind in ROUTES:
        named = (asking.service.name, asking.service.namespace)
        refs = rule.get("backendRefs") or ()
        return [((each.get("name"), each.get("namespace") or item.namespace) == named, "") for each in refs]
    places = [route.get("destination") or {} for route in rule.get("route") or ()]
    return [
        (
            is_host_of(str(each.get("host")), asking.service, item.namespace, asking.domains),
            str(each.get("subset") or ""),
        )
        for each in places
    ]


def _said(item: ConfigObject, rule: Mapping[str, Any]) -> str:
    places = [route.get("destination") or {} for route in rule.get("route") or ()]
    named = [" ".join(filter(None, (str(each.get("host")), str(each.get("subset") or "")))) for each in places]
    named = named or [str(each.get("name")) for each in rule.get("backendRefs") or ()]
    return f"{item.kind} {item.namespace}/{item.name}: sends the requests to {', '.join(sorted(named))} only"
