"""Security policies of a valid mesh."""

import json

from harness.kube.api import Object
from harness.model import expectations
from harness.proof.faults.acts.policies import SECURITY
from harness.proof.faults.fault import EVERY_PLANE, everywhere
from harness.proof.live.live_mesh import LiveMesh
from harness.proof.variants.acts.common import adds, east, manifest
from harness.proof.variants.variant import Variant

KEYS = json.dumps(
    {
        "keys": [
            {
                "kty": "EC",
                "crv": "P-256",
                "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
                "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM",
                "kid": "1",
            }
        ]
    }
)
"""A public key whose private key nobody signs with here: RFC 7517, appendix A.1."""


def _ingress(live: LiveMesh) -> list[Object]:
    spec = {
        "selector": {"matchLabels": {"istio": "ingressgateway"}},
        "action": "DENY",
        "rules": [{"from": [{"source": {"notIpBlocks": ["10.0.0.0/8"]}}]}],
    }
    return [manifest(SECURITY, "AuthorizationPolicy", "ingress", live.mesh.settings.system_namespace, spec)]


def _strict_sample(live: LiveMesh) -> list[Object]:
    spec = {"mtls": {"mode": "STRICT"}}
    return [manifest(SECURITY, "PeerAuthentication", "default", live.mesh.settings.sample_namespace, spec)]


def _permissive(live: LiveMesh) -> list[Object]:
    spec = {"mtls": {"mode": "PERMISSIVE"}}
    return [manifest(SECURITY, "PeerAuthentication", "default", live.mesh.settings.system_namespace, spec)]


def _other_port(live: LiveMesh) -> list[Object]:
    spec = {
        "selector": {"matchLabels": {"app": expectations.HELLOWORLD}},
        "portLevelMtls": {"9999": {"mode": "DISABLE"}},
    }
    return [manifest(SECURITY, "PeerAuthentication", "metrics", live.mesh.settings.sample_namespace, spec)]


def _allow_sample(live: LiveMesh) -> list[Object]:
    namespace = live.mesh.settings.sample_namespace
    spec = {
        "selector": {"matchLabels": {"app": expectations.HELLOWORLD}},
        "action": "ALLOW",
        "rules": [{"from": [{"source": {"namespaces": [namespace]}}]}],
    }
    return [manifest(SECURITY, "AuthorizationPolicy", "callers", namespace, spec)]


def _deny_elsewhere(live: LiveMesh) -> list[Object]:
    spec = {"selector": {"matchLabels": {"app": "shop"}}}
    return [manifest(SECURITY, "AuthorizationPolicy", "shop", live.mesh.settings.sample_namespace, spec)]


def _request_authentication(live: LiveMesh) -> list[Object]:
    spec = {
        "selector": {"matchLabels": {"app": expectations.HELLOWORLD}},
        "jwtRules": [{"issuer": "https://issuer.example.com", "jwks": KEYS}],
    }
    return [manifest(SECURITY, "RequestAuthentication", "tokens", live.mesh.settings.sample_namespace, spec)]


VARIANTS = (
    Variant(
        "ingress-policy",
        "An AuthorizationPolicy for an ingress gateway in East's system namespace",
        "its selector matches no pod of the mesh between the clusters",
        adds(_ingress, east),
        everywhere,
    ),
    Variant(
        "strict-sample",
        "STRICT mTLS in the sample namespace only",
        "traffic between the clusters is mTLS already",
        adds(_strict_sample),
        everywhere,
        planes=EVERY_PLANE,
    ),
    Variant(
        "permissive",
        "PERMISSIVE mTLS in the whole mesh, said explicitly",
        "it is the default",
        adds(_permissive),
        everywhere,
        planes=EVERY_PLANE,
    ),
    Variant(
        "port-without-mtls",
        "A PeerAuthentication takes mTLS from port 9999 of helloworld",
        "portLevelMtls holds for that port alone; helloworld's Service has another",
        adds(_other_port),
        everywhere,
    ),
    Variant(
        "allow-sample",
        "An AuthorizationPolicy lets only the sample namespace call helloworld",
        "the identity of the clients names that namespace, on every cluster",
        adds(_allow_sample),
        everywhere,
        planes=EVERY_PLANE,
    ),
    Variant(
        "deny-elsewhere",
        "An AuthorizationPolicy on East lets nobody call an application that is not the sample",
        "a policy without rules denies everything, but to the pods it selects only",
        adds(_deny_elsewhere, east),
        everywhere,
        planes=EVERY_PLANE,
    ),
    Variant(
        "request-authentication",
        "A RequestAuthentication names an issuer of tokens for helloworld",
        "without an AuthorizationPolicy a request without a token is accepted",
        adds(_request_authentication),
        everywhere,
    ),
)
