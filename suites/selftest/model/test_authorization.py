"""What an AuthorizationPolicy does to connections that a gateway passes through."""

import pytest

from harness.model.authorization import Match, on_gateway, refusing
from harness.model.istio import ConfigObject

ANYBODY = {"source": {"principals": ["*"]}}
NOT_INSIDE = {"source": {"notIpBlocks": ["10.0.0.0/8"]}}
AT = {"operation": {"ports": ["15443"]}}


def policy(action: str = "", *rules: dict[str, object], **spec: object) -> ConfigObject:
    """A policy for a gateway."""
    given = {"rules": list(rules)} if rules else {}
    return ConfigObject(
        api_version="security.istio.io/v1",
        kind="AuthorizationPolicy",
        namespace="istio-system",
        name="x",
        spec={**({"action": action} if action else {}), **given, **spec},
    )


@pytest.mark.parametrize(
    ("action", "rule", "match"),
    [
        ("ALLOW", {}, Match.ALL),
        ("ALLOW", {"to": [AT]}, Match.ALL),
        ("ALLOW", {"to": [{"operation": {"ports": ["80"]}}]}, Match.NONE),
        ("ALLOW", {"to": [{"operation": {"methods": ["GET"]}}]}, Match.NONE),
        ("ALLOW", {"from": [ANYBODY]}, Match.NONE),
        ("ALLOW", {"from": [ANYBODY, NOT_INSIDE]}, Match.SOME),
        ("ALLOW", {"from": [NOT_INSIDE], "to": [AT]}, Match.SOME),
        ("ALLOW", {"when": [{"key": "connection.sni", "values": ["outbound*"]}]}, Match.SOME),
        ("ALLOW", {"when": [{"key": "request.headers[x]", "values": ["y"]}]}, Match.NONE),
        ("ALLOW", {"when": [{"key": "destination.port", "values": ["15443"]}]}, Match.ALL),
        ("DENY", {"from": [ANYBODY]}, Match.NONE),
        ("DENY", {"from": [{"source": {"notPrincipals": ["a"]}}]}, Match.ALL),
        ("DENY", {"to": [{"operation": {"methods": ["GET"]}}]}, Match.ALL),
        ("DENY", {"when": [{"key": "source.principal", "notValues": ["a"]}]}, Match.ALL),
        ("DENY", {"to": [{"operation": {"notPorts": ["15443"]}}]}, Match.NONE),
    ],
)
def test_what_a_rule_matches(action: str, rule: dict[str, object], match: Match) -> None:
    assert on_gateway(policy(action, rule), 15443) is match


def test_what_refuses() -> None:
    """Without rules ALLOW refuses everything and DENY nothing; one policy that allows all makes up for others."""
    deny_all, nothing, allow_all = policy(), policy("DENY"), policy("ALLOW", {})
    narrow = policy("ALLOW", {"from": [NOT_INSIDE]})
    assert refusing([deny_all, nothing], 15443, ()) == (deny_all,)
    assert refusing([narrow, deny_all], 15443, ()) == (deny_all, narrow)
    assert refusing([narrow, deny_all, allow_all], 15443, ()) == ()
    assert refusing([policy("DENY", {"to": [AT]}), allow_all], 15443, ()) == (policy("DENY", {"to": [AT]}),)
    assert refusing([policy("AUDIT", {})], 15443, ()) == ()


def test_a_custom_policy_without_its_provider_denies() -> None:
    """Istiod makes a rule that denies what it matches (pilot/pkg/security/authz/builder)."""
    custom = policy("CUSTOM", {}, provider={"name": "opa"})
    assert refusing([custom], 15443, ()) == (custom,)
    assert refusing([custom], 15443, ("opa",)) == ()
