"""Distils secrets: private keys and tokens are read in memory, only the answer is kept. Pure."""

import base64
import binascii
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import yaml

from harness.kube.api import Object, metadata
from harness.model import pem, x509
from harness.model.certificate import CaSecret, Certificate
from harness.model.cluster import RemoteAccess, RemoteSecret
from harness.model.origin import origin
from harness.observe.api_objects import created, labels

CA_SECRET = "cacerts"  # noqa: S105 - a name
MULTI_CLUSTER_LABEL = "istio/multiCluster"
_FORMS = {
    "token": ("token",),
    "client certificate": ("client-certificate-data", "client-certificate"),
    "exec": ("exec",),
    "auth provider": ("auth-provider",),
    "token file": ("tokenFile",),
    "basic": ("username",),
}
"""By the form of a user's credentials in a kubeconfig, the keys that it is known by."""
_REMOTE_PREFIX = "istio-remote-secret-"


@dataclass(frozen=True)
class Credential:
    """What a remote secret gives access to; lives in memory only, and does not show its token."""

    secret: str
    """namespace/name."""
    cluster: str
    """The cluster name it is keyed by."""
    server: str
    ca: str
    """PEM; empty where the system's roots are to be used."""
    token: str = field(repr=False)
    insecure: bool = False
    labelled: bool = True
    access: RemoteAccess = field(default_factory=lambda: RemoteAccess(cluster="", form="token"))

    @property
    def untried(self) -> str:
        """Why only istiod can use it, and no probe from a pod; empty where one can."""
        if not self.token:
            return f"the kubeconfig in the remote secret holds no token, but: {self.access.form or 'no credentials'}"
        if self.access.proxy_url or self.access.tls_server_name:
            return "the kubeconfig in the remote secret goes over a proxy, or to a server of another name"
        return ""


def ca_secret(raw: Object | None) -> CaSecret:
    """The `cacerts` secret as istiod would read it; its private key is compared and not kept."""
    if raw is None:
        return CaSecret(exists=False)
    data = _decoded(raw)
    names = CaSecret(exists=True, keys=tuple(sorted(data))).files
    problems: list[str] = []

    def read(file: str, content: bytes) -> tuple[Certificate, ...]:
        try:
            found = x509.certificates(content)
        except ValueError as unreadable:
            problems.append(f"{file}: {unreadable}")
            return ()
        if content and not found:
            problems.append(f"{file}: no certificate in it")
        return found

    authority = _signing_certificate(names.ca_cert, data.get(names.ca_cert), problems)
    roots = read(names.root_cert, data.get(names.root_cert, b""))
    if names.cert_chain:
        chain = read(names.cert_chain, data.get(names.cert_chain, b""))
    else:
        # istiod joins the two files as they are: without a final line break END and BEGIN meet on one line.
        chain = read(names.chain, data.get(names.ca_cert, b"") + data.get(names.root_cert, b"")) if roots else ()
    return CaSecret(
        exists=True,
        created=created(raw),
        keys=tuple(sorted(data)),
        ca_cert=authority,
        root_cert=next(iter(roots), None),
        roots=roots,
        cert_chain=chain,
        key_matches=_key_matches(names.ca_key, data.get(names.ca_key), authority, problems),
        problems=tuple(problems),
        origin=origin(metadata(raw)),
    )


def _signing_certificate(file: str, content: bytes | None, problems: list[str]) -> Certificate | None:
    """The first block of a file: istiod reads no other (`ParsePemEncodedCertificate`)."""
    if content is None:
        return None
    try:
        first = next(iter(pem.blocks(content)), None)
        if first is not None and first.type == "CERTIFICATE":
            return x509.certificate(first.text)
    except pem.PemError as malformed:
        problems.append(f"{file}: {malformed}")
        return None
    except ValueError:
        first = None
    found = f"the first block (line {first.line}) is {first.type}" if first else "the first block is not a certificate"
    problems.append(f"{file}: {found}")
    return None


def _key_matches(file: str, content: bytes | None, authority: Certificate | None, problems: list[str]) -> bool | None:
    if content is None or authority is None:
        return None
    try:
        return x509.key_matches(content, authority)
    except ValueError as unreadable:
        problems.append(f"{file}: {unreadable}")
        return None


def is_remote_secret(raw: Object) -> bool:
    """Whether a secret is a remote secret, or was meant as one: by its label, or by the name istioctl gives."""
    return labels(raw).get(MULTI_CLUSTER_LABEL) == "true" or metadata(raw)["name"].startswith(_REMOTE_PREFIX)


def remote_secret(raw: Object) -> RemoteSecret:
    """A remote secret without its token."""
    found = credentials(raw)
    return RemoteSecret(
        namespace=metadata(raw)["namespace"],
        name=metadata(raw)["name"],
        labelled=labels(raw).get(MULTI_CLUSTER_LABEL) == "true",
        clusters=tuple(credential.cluster for credential in found),
        servers=tuple(credential.server for credential in found),
        has_token=bool(found) and all(credential.token for credential in found),
        created=created(raw),
        access=tuple(credential.access for credential in found),
        origin=origin(metadata(raw)),
    )


def credentials(raw: Object) -> tuple[Credential, ...]:
    """The credentials in a remote secret, one for each cluster name it is keyed by."""
    name = f"{metadata(raw)['namespace']}/{metadata(raw)['name']}"
    labelled = labels(raw).get(MULTI_CLUSTER_LABEL) == "true"
    return tuple(
        _credential(name, cluster, kubeconfig, labelled) for cluster, kubeconfig in sorted(_decoded(raw).items())
    )


def _credential(secret: str, cluster: str, kubeconfig: bytes, labelled: bool) -> Credential:
    try:
        config = yaml.safe_load(kubeconfig)
    except yaml.YAMLError:
        config = None
    config = config if isinstance(config, dict) else {}
    context = _named(config.get("contexts"), str(config.get("current-context", "")), "context")
    server = _named(config.get("clusters"), str(context.get("cluster", "")), "cluster")
    user = _named(config.get("users"), str(context.get("user", "")), "user")
    begins, ends = _token_lasts(str(user.get("token") or "")) or _certificate_lasts(user.get("client-certificate-data"))
    return Credential(
        secret=secret,
        cluster=cluster,
        server=str(server.get("server", "")),
        ca=_base64(server.get("certificate-authority-data")).decode(errors="replace"),
        token=str(user.get("token") or ""),
        insecure=bool(server.get("insecure-skip-tls-verify")),
        labelled=labelled,
        access=RemoteAccess(
            cluster=cluster,
            form=next((form for form, keys in _FORMS.items() if any(user.get(key) for key in keys)), ""),
            proxy_url=re.sub(r"//[^/@]*@", "//", str(server.get("proxy-url") or "")),
            tls_server_name=str(server.get("tls-server-name") or ""),
            insecure=bool(server.get("insecure-skip-tls-verify")),
            begins=begins,
            ends=ends,
        ),
    )


_Lasts = tuple[datetime | None, datetime | None]


def _token_lasts(token: str) -> _Lasts | None:
    """The claims `iat` and `exp` of a JSON web token (RFC 7519); None where it has no end, or is of another kind."""
    try:
        payload = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        begins = datetime.fromtimestamp(claims["iat"], UTC) if "iat" in claims else None
        return begins, datetime.fromtimestamp(claims["exp"], UTC)
    except (IndexError, ValueError, KeyError, TypeError, OverflowError):
        return None


def _certificate_lasts(data: object) -> _Lasts:
    try:
        found = x509.certificate(_base64(data)) if data else None
    except ValueError:
        found = None
    return (found.not_before, found.not_after) if found else (None, None)


def _named(entries: object, name: str, kind: str) -> Mapping[str, Any]:
    """The entry of a kubeconfig's list; of a single one whatever its name."""
    found: Iterable[Any] = entries if isinstance(entries, list) else ()
    known = [entry for entry in found if isinstance(entry, dict) and isinstance(entry.get(kind), dict)]
    chosen = [entry for entry in known if entry.get("name") == name] or (known if len(known) == 1 else [])
    return chosen[0][kind] if chosen else {}


def _decoded(raw: Object) -> dict[str, bytes]:
    return {key: _base64(value) for key, value in (raw.get("data") or {}).items()}


def _base64(value: object) -> bytes:
    try:
        return base64.b64decode(str(value or ""))
    except (binascii.Error, ValueError):
        return b""
