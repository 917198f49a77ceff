"""The form of a remote secret's kubeconfig is kept, and nothing that is secret in it."""

import base64
import json
from datetime import UTC, datetime
from typing import Any

import yaml
from cryptography.x509.oid import NameOID

from harness.model.cluster import RemoteAccess
from harness.observe import istio_objects
from harness.observe.secrets import credentials, remote_secret
from suites.selftest.observe.test_secrets import KUBECONFIG, pem, private_key, secret
from suites.selftest.support.certificates import issue

ENDS = datetime(2026, 12, 1, tzinfo=UTC)


def _access(user: dict[str, Any], **server: str | bool) -> RemoteAccess:
    """What is kept of a kubeconfig with this user, and further settings of its cluster."""
    config = json.loads(json.dumps(KUBECONFIG))
    config["users"][0]["user"] = user
    config["clusters"][0]["cluster"] |= server
    raw = secret("clusters", {"cluster2": yaml.safe_dump(config).encode()}, istio__multiCluster="true")
    kept = remote_secret(raw).model_dump_json()
    assert not any(str(value) in kept for value in user.values())
    return remote_secret(raw).access[0]


def _token(**claims: object) -> str:
    parts = (base64.urlsafe_b64encode(json.dumps(part).encode()).decode() for part in ({}, claims, 1))
    return ".".join(part.rstrip("=") for part in parts)


def test_when_credentials_end() -> None:
    certificate = issue({NameOID.COMMON_NAME: "reader"}, private_key("east"))
    encoded = base64.b64encode(certificate.pem.encode()).decode()
    key = base64.b64encode(pem(private_key("east"))).decode()
    assert _access({"token": _token(exp=int(ENDS.timestamp()))}).ends == ENDS
    assert _access({"token": _token(sub="reader")}).ends is None
    assert _access({"token": "opaque"}).ends is None
    held = _access({"client-certificate-data": encoded, "client-key-data": key})
    assert (held.form, held.ends) == ("client certificate", certificate.not_after)


def test_forms_that_only_istiod_can_use() -> None:
    """No probe is sent with them, and the reason says which form it is."""
    held = _access({"token": "t0ken"}, **{"proxy-url": "http://me:pass@proxy:3128", "tls-server-name": "kubernetes"})
    assert (held.form, held.proxy_url, held.tls_server_name) == ("token", "http://proxy:3128", "kubernetes")
    config = json.loads(json.dumps(KUBECONFIG))
    (plain,) = credentials(secret("plain", {"cluster2": yaml.safe_dump(config).encode()}))
    assert plain.untried == ""
    config["clusters"][0]["cluster"]["proxy-url"] = "http://proxy:3128"
    (over,) = credentials(secret("over", {"cluster2": yaml.safe_dump(config).encode()}))
    assert "proxy" in over.untried
    config["users"][0]["user"] = {"exec": {"command": "aws"}}
    (executed,) = credentials(secret("executed", {"cluster2": yaml.safe_dump(config).encode()}))
    assert "exec" in executed.untried


def test_a_mesh_configuration_that_is_no_yaml() -> None:
    """Its line is named, and the other entries are read."""
    broken = {"mesh": "rootNamespace: istio-system\noutboundTrafficPolicy: mode: REGISTRY_ONLY\n"}
    values = {"values": '{"global": {"meshID": "mesh1"}}'}
    (config,) = istio_objects.mesh_configs(
        [
            {"metadata": {"name": "istio"}, "data": broken},
            {"metadata": {"name": "istio-sidecar-injector"}, "data": values},
        ]
    )
    assert config.problems == ("ConfigMap istio, key mesh: no YAML (line 2: mapping values are not allowed here)",)
    assert (config.mesh, config.values) == ({}, {"global": {"meshID": "mesh1"}})
