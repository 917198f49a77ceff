"""Secrets: what they say is kept, what they hold is not."""

import base64
from datetime import timedelta
from functools import cache

import pytest
import yaml
from cryptography import x509 as crypto
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from harness.base.redaction import redact
from harness.kube.api import Object
from harness.observe.secrets import ca_secret, credentials, is_remote_secret, remote_secret
from suites.selftest.support.certificates import OBSERVED, issue, pki

TOKEN = "eyJhbGciOiJSUzI1NiIsImtpZCI6IngifQ.eyJpc3MiOiJrdWJlcm5ldGVzIn0.c2lnbmF0dXJl"  # noqa: S105 - of no cluster
KUBECONFIG = {
    "apiVersion": "v1",
    "kind": "Config",
    "clusters": [
        {"name": "cluster2", "cluster": {"server": "https://172.18.0.4:6443", "certificate-authority-data": "Q0E="}}
    ],
    "contexts": [{"name": "cluster2", "context": {"cluster": "cluster2", "user": "cluster2"}}],
    "current-context": "cluster2",
    "users": [{"name": "cluster2", "user": {"token": TOKEN}}],
}


def secret(name: str, data: dict[str, bytes], **labels: str) -> Object:
    """A secret as the API server's JSON says it."""
    return {
        "metadata": {
            "name": name,
            "namespace": "istio-system",
            "labels": {key.replace("__", "/"): value for key, value in labels.items()},
            "creationTimestamp": "2026-11-23T21:32:19Z",
        },
        "data": {key: base64.b64encode(value).decode() for key, value in data.items()},
    }


def cacerts(owner: str = "east", **changes: bytes) -> Object:
    """A `cacerts` secret with the key of an owner."""
    intermediate = issue({NameOID.COMMON_NAME: "Intermediate CA"}, private_key("east")).pem.encode()
    root = pki().root.pem.encode()
    data = {
        "ca-cert.pem": intermediate,
        "root-cert.pem": root,
        "cert-chain.pem": intermediate + root,
        "ca-key.pem": pem(private_key(owner)),
    }
    return secret("cacerts", data | {name.replace("_", "-") + ".pem": value for name, value in changes.items()})


@cache
def private_key(owner: str) -> RSAPrivateKey:
    """A real private key, which must not be found anywhere afterwards."""
    return generate_private_key(65537, 2048)


def pem(key: RSAPrivateKey) -> bytes:
    """A private key as in `ca-key.pem`."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def test_a_ca_secret_keeps_certificates_and_whether_the_key_matches() -> None:
    found = ca_secret(cacerts())
    assert found.exists
    assert found.keys == ("ca-cert.pem", "ca-key.pem", "cert-chain.pem", "root-cert.pem")
    assert [cert.subject for cert in found.cert_chain] == [
        found.ca_cert and found.ca_cert.subject,
        found.root_cert and found.root_cert.subject,
    ]
    assert found.key_matches is True
    assert ca_secret(cacerts("west")).key_matches is False
    assert not ca_secret(None).exists


def test_what_can_not_be_parsed_is_said_without_being_quoted() -> None:
    found = ca_secret(
        cacerts(ca_key=b"secret-key-material", root_cert=b"nonsense", cert_chain=b"-----END CERTIFICATE-----")
    )
    assert found.key_matches is None
    assert found.problems == (
        "root-cert.pem: no certificate in it",
        "cert-chain.pem: not a list of PEM blocks (line 1: END without BEGIN)",
        "ca-key.pem: the private key can't be read, or is encrypted",
    )
    assert "secret-key-material" not in found.model_dump_json()


def test_a_private_key_is_not_kept() -> None:
    kept = ca_secret(cacerts()).model_dump_json()
    lines = [line for line in pem(private_key("east")).decode().splitlines() if len(line) > 40]
    assert lines
    assert not any(line in kept for line in lines)


def test_a_remote_secret_keeps_its_server_and_not_its_token() -> None:
    raw = secret("x", {"cluster2": yaml.safe_dump(KUBECONFIG).encode()}, istio__multiCluster="true")
    found = remote_secret(raw)
    assert (found.clusters, found.servers, found.has_token) == (("cluster2",), ("https://172.18.0.4:6443",), True)
    assert found.labelled
    assert TOKEN not in found.model_dump_json()
    (credential,) = credentials(raw)
    assert (credential.token, credential.ca) == (TOKEN, "CA")
    assert TOKEN not in f"{credential} {credential!r}"


@pytest.mark.parametrize("kubeconfig", [b"", b"{", b"[]", b"clusters: 3", b"users: [{name: a}]"])
def test_a_kubeconfig_that_is_none_has_no_server(kubeconfig: bytes) -> None:
    found = remote_secret(secret("istio-remote-secret-a", {"a": kubeconfig}))
    assert (found.servers, found.has_token, found.labelled) == (("",), False, False)


def test_remote_secrets_are_found_by_label_or_by_name() -> None:
    assert is_remote_secret(secret("any", {}, istio__multiCluster="true"))
    assert is_remote_secret(secret("istio-remote-secret-cluster2", {}))
    assert not is_remote_secret(secret("cacerts", {}, istio__multiCluster="false"))


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        (f"cannot use {TOKEN} for cluster2", "cannot use [redacted] for cluster2"),
        ("Authorization: Bearer abc.def", "Authorization: Bearer [redacted]"),
        ('{"token": "abc"}', '{"token": "[redacted]"}'),
        ("https://me:secret@registry/x", "https://[redacted]@registry/x"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMII\n-----END RSA PRIVATE KEY----- then", "[redacted] then"),
        ("-----BEGIN PRIVATE KEY-----\nMII cut", "[redacted]"),
        ("two\n lines", "two lines"),
    ],
)
def test_secrets_in_texts_are_taken_out(text: str, kept: str) -> None:
    assert redact(text) == kept


def _tls(crt: str, key: bytes, root: str) -> Object:
    return secret("cacerts", {"tls.crt": crt.encode(), "tls.key": key, "ca.crt": root.encode()})


def test_a_tls_secret_is_read_as_istiod_reads_it() -> None:
    """The chain is both files, one after the other: without a line break between them it is none."""
    own, root = issue({NameOID.COMMON_NAME: "Intermediate CA"}, private_key("east")).pem, pki().root.pem
    found = ca_secret(_tls(own, pem(private_key("east")), root + own))
    assert (found.missing, found.problems, found.key_matches) == ((), (), True)
    assert [cert.pem for cert in found.roots] == [root, own]
    assert [cert.pem for cert in found.cert_chain] == [own, root, own]
    glued = ca_secret(_tls(own.rstrip(), pem(private_key("east")), root))
    assert glued.cert_chain == ()
    assert "END and BEGIN on one line" in glued.problems[0]
    assert ca_secret(secret("cacerts", {"tls.crt": own.encode(), "tls.key": b""})).missing == ("ca.crt",)


def test_a_glued_chain_is_named_with_its_line() -> None:
    """Python and the openssl command take such a file; Go and BoringSSL don't. CRLF and text between do no harm."""
    own, root = pki().intermediates["east"].pem, pki().root.pem
    (problem,) = ca_secret(cacerts(cert_chain=(own.rstrip() + root).encode())).problems
    line = len(own.splitlines())
    assert problem == f"cert-chain.pem: not a list of PEM blocks (line {line}: END and BEGIN on one line)"
    fine = ca_secret(cacerts(cert_chain=f"of us\n{own}\n\n{root}".replace("\n", "\r\n").encode()))
    assert (len(fine.cert_chain), fine.problems) == (2, ())


@pytest.mark.parametrize("form", [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL])
def test_an_ec_key_comes_without_its_parameters(form: PrivateFormat) -> None:
    """`openssl ecparam -genkey` writes them first, and istiod reads the first block only."""
    curve = ec.generate_private_key(ec.SECP256R1())
    name = crypto.Name([crypto.NameAttribute(NameOID.COMMON_NAME, "EC")])
    builder = crypto.CertificateBuilder().subject_name(name).issuer_name(name).public_key(curve.public_key())
    dated = builder.serial_number(1).not_valid_before(OBSERVED).not_valid_after(OBSERVED + timedelta(days=9))
    cert = dated.sign(curve, hashes.SHA256()).public_bytes(Encoding.PEM)
    key = curve.private_bytes(Encoding.PEM, form, NoEncryption())
    assert ca_secret(cacerts(ca_cert=cert, ca_key=key)).key_matches is True
    parameters = b"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
    found = ca_secret(cacerts(ca_cert=cert, ca_key=parameters + key))
    assert found.key_matches is None
    assert found.problems == ("ca-key.pem: the first block (line 1) is EC PARAMETERS, not an unencrypted private key",)
