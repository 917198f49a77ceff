"""What an AuthorizationPolicy does to connections that a gateway passes through. Pure.

A gateway that does not end TLS sees addresses, ports and SNI, and no identity: a rule that asks for a principal or a
namespace never matches there. What only HTTP has makes a rule of an ALLOW policy void, and is left out of one that
denies.

Source: Istio, "Authorization Policy", and pilot/pkg/security/authz/model.
"""

from collections.abc import Iterable, Mapping
from enum import IntEnum
from typing import Any

from harness.model.istio import ConfigObject

_IDENTITY = frozenset({"principals", "namespaces", "serviceAccounts"})
_NOT_IDENTITY = frozenset({"notPrincipals", "notNamespaces", "notServiceAccounts"})
_ADDRESSES = frozenset({"ipBlocks", "notIpBlocks", "remoteIpBlocks", "notRemoteIpBlocks"})
_SEEN = ("source.ip", "remote.ip", "destination.ip", "connection.sni")
_IDENTITY_ATTRIBUTES = ("source.principal", "source.namespace", "source.serviceAccount")


class Match(IntEnum):
    """How many of a port's connections a rule matches."""

    NONE = 0
    SOME = 1
    """It depends on addresses or on the SNI."""
    ALL = 2


def action(item: ConfigObject) -> str:
    """ALLOW, DENY, CUSTOM or AUDIT."""
    return str(item.spec.get("action") or "ALLOW")


def on_gateway(item: ConfigObject, port: int) -> Match:
    """How many connections to a port of a gateway the rules of a policy match."""
    rules, allows = item.spec.get("rules") or (), action(item) == "ALLOW"
    return max((_rule(rule or {}, port, allows=allows) for rule in rules), default=Match.NONE)


def refusing(items: Iterable[ConfigObject], port: int, providers: Iterable[str]) -> tuple[ConfigObject, ...]:
    """The policies that refuse connections to a port of a gateway, in part or altogether.

    Args:
        items: all AuthorizationPolicies that hold for the gateway.
        port: Envoy's port.
        providers: names in the mesh configuration's extensionProviders. What a CUSTOM policy of another provider
            matches is denied.
    """
    held, known = tuple(items), set(providers)
    denying = [
        item
        for item in held
        if on_gateway(item, port)
        and (action(item) == "DENY" or (action(item) == "CUSTOM" and _provider(item) not in known))
    ]
    allowing = [item for item in held if action(item) == "ALLOW"]
    if any(on_gateway(item, port) is Match.ALL for item in allowing):
        allowing = []
    return (*denying, *sorted(allowing, key=lambda item: on_gateway(item, port)))


def _provider(item: ConfigObject) -> str:
    return str((item.spec.get("provider") or {}).get("name") or "")


def _rule(rule: Mapping[str, Any], port: int, *, allows: bool) -> Match:
    """All three parts of a rule must match, and of each list any entry; an absent list matches everything."""
    sources = [_source(entry.get("source") or {}, allows=allows) for entry in rule.get("from") or ()]
    operations = [_operation(entry.get("operation") or {}, port, allows=allows) for entry in rule.get("to") or ()]
    conditions = [_condition(entry, port, allows=allows) for entry in rule.get("when") or ()]
    return min(max(sources, default=Match.ALL), max(operations, default=Match.ALL), *conditions, Match.ALL)


def _source(source: Mapping[str, Any], *, allows: bool) -> Match:
    keys = {key for key, values in source.items() if values}
    of_http = keys - _IDENTITY - _NOT_IDENTITY - _ADDRESSES
    if keys & _IDENTITY or (of_http and allows):
        return Match.NONE
    return Match.SOME if keys & _ADDRESSES else Match.ALL


def _operation(operation: Mapping[str, Any], port: int, *, allows: bool) -> Match:
    ports, others = operation.get("ports"), operation.get("notPorts") or ()
    if (ports and str(port) not in map(str, ports)) or str(port) in map(str, others):
        return Match.NONE
    of_http = {key for key, values in operation.items() if values} - {"ports", "notPorts"}
    return Match.NONE if of_http and allows else Match.ALL


def _condition(condition: Mapping[str, Any], port: int, *, allows: bool) -> Match:
    key = str(condition.get("key") or "")
    if key == "destination.port":
        named = {"ports": condition.get("values"), "notPorts": condition.get("notValues")}
        return _operation(named, port, allows=allows)
    if key in _SEEN:
        return Match.SOME
    if key in _IDENTITY_ATTRIBUTES:
        return Match.NONE if condition.get("values") else Match.ALL
    return Match.NONE if allows else Match.ALL
