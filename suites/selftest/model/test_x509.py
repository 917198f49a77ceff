"""Certificates are read, compared and validated as RFC 5280 says."""

from datetime import timedelta
from ipaddress import ip_address

import pytest
from cryptography import x509 as crypto
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from harness.model import certificate_paths, x509
from harness.model.certificate import Certificate
from suites.selftest.support import certificates
from suites.selftest.support.certificates import OBSERVED, Authority, issue, key, pki

LEAF = "spiffe://cluster.local/ns/sample/sa/sleep"


def _named(name: str, issuer: Authority | None = None, **options: object) -> Authority:
    owner = key(2048, f"x509-{name}")
    cert = issue({NameOID.COMMON_NAME: name}, owner, issuer, **options)  # type: ignore[arg-type]
    return Authority(cert, owner)


def test_reads_the_chapters_root() -> None:
    """The fields are those that OpenSSL would show."""
    root = pki().root
    assert (root.subject, root.issuer) == ("CN=Root CA,O=Istio", "CN=Root CA,O=Istio")
    assert (root.public_key.algorithm, root.public_key.bits, root.signature_hash) == ("RSA", 4096, "sha256")
    assert root.basic_constraints and root.basic_constraints.critical and root.basic_constraints.ca
    assert root.key_usage and root.key_usage.usages == (
        "digitalSignature",
        "nonRepudiation",
        "keyEncipherment",
        "keyCertSign",
    )
    assert x509.self_signed(root)


def test_reads_a_leaf() -> None:
    """A workload's certificate has no subject, but a URI and two purposes."""
    leaf = pki().workload("east", LEAF)
    assert (leaf.subject, leaf.uris) == ("", (LEAF,))
    assert leaf.extended_key_usage == ("serverAuth", "clientAuth")
    assert leaf.issuer == pki().intermediates["east"].subject


def test_bundle_and_garbage() -> None:
    """A bundle is read in order; what is no certificate is an error."""
    east, root = pki().intermediates["east"], pki().root
    assert x509.certificates(east.pem + "\n" + root.pem) == (east, root)
    assert x509.certificates("") == ()
    with pytest.raises(ValueError, match="PEM"):
        x509.certificate("not a certificate")
    with pytest.raises(ValueError, match="line 1 can't be read"):
        x509.certificates(east.pem.replace("MII", "AAA", 1))


def test_key_matches() -> None:
    """A key belongs to its own certificate only, and garbage is an error that doesn't repeat it."""
    pem = key(2048, "leaf").private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    assert x509.key_matches(pem, pki().workload("east", LEAF))
    assert not x509.key_matches(pem, pki().intermediates["west"].pem)
    with pytest.raises(ValueError, match="or is encrypted"):
        x509.key_matches("secret", pki().root)


def test_signed_by() -> None:
    """Name and signature must both fit."""
    authority = pki()
    east, west = authority.intermediates["east"], authority.intermediates["west"]
    assert x509.signed_by(east, authority.root)
    assert not x509.signed_by(east, west)
    impostor = certificates.root_certificate(2048, "impostor")
    assert impostor.subject == authority.root.subject
    assert not x509.signed_by(east, impostor)


def test_covers_name() -> None:
    """A wildcard stands for one label; addresses are compared as addresses."""
    san = (crypto.DNSName("*.Example.org"), crypto.DNSName("istiod.svc"), crypto.IPAddress(ip_address("2001:db8::1")))
    cert = _named("names", names=san).certificate
    assert all(x509.covers_name(cert, name) for name in ("a.example.org", "istiod.svc.", "2001:db8:0::1"))
    assert not any(x509.covers_name(cert, name) for name in ("example.org", "a.b.example.org", "istiod", "192.0.2.1"))


def _path() -> tuple[Certificate, Certificate, Certificate]:
    return pki().workload("east", LEAF), pki().intermediates["east"], pki().root


def test_valid_paths() -> None:
    """Root -> intermediate (pathlen:0) -> leaf, with the root at the end of the chain or without it."""
    leaf, east, root = _path()
    assert certificate_paths.validates((leaf, east, root), root, OBSERVED) is None
    roots = (pki().intermediates["west"], root)
    assert certificate_paths.validates((leaf, east), roots, OBSERVED, purpose="clientAuth") is None
    assert certificate_paths.validates((root,), root, OBSERVED) is None


@pytest.mark.parametrize(
    ("chain", "offset", "purpose", "reason"),
    [
        ((), timedelta(), "", "empty"),
        ((0,), timedelta(), "", "not signed by a trusted root"),
        ((0, 1), timedelta(days=2), "", "expired"),
        ((0, 1), timedelta(minutes=-5), "", "not valid before"),
        ((0, 1), timedelta(), "codeSigning", "not for codeSigning"),
        ((0, 2), timedelta(), "", "not signed by"),
    ],
)
def test_invalid_paths(chain: tuple[int, ...], offset: timedelta, purpose: str, reason: str) -> None:
    """Each says what is wrong with it."""
    path = _path()
    found = certificate_paths.validates([path[index] for index in chain], path[2], OBSERVED + offset, purpose=purpose)
    assert found and reason in found


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"ca": False}, "not a CA"),
        ({"ca": None}, "not a CA"),
        ({"usages": ("digital_signature",)}, "keyCertSign"),
        ({"days": 0.5}, "expired"),
    ],
)
def test_invalid_issuers(options: dict[str, object], reason: str) -> None:
    """Root -> intermediate that may not sign -> leaf."""
    root = _named("root")
    intermediate = _named("intermediate", root, **options)
    leaf = _named("leaf", intermediate, ca=False)
    found = certificate_paths.validates((leaf.certificate, intermediate.certificate), root.certificate, OBSERVED)
    assert found and reason in found


def test_path_length() -> None:
    """Root -> A (pathlen:0) -> B -> leaf: A allows no CA below it."""
    root = _named("root")
    upper = _named("intermediate", root, path_length=0)
    lower = _named("lower", upper)
    leaf = _named("leaf", lower, ca=False)
    chain = (leaf.certificate, lower.certificate, upper.certificate)
    assert "allows 0 intermediates" in (certificate_paths.validates(chain, root.certificate, OBSERVED) or "")
    assert certificate_paths.validates(chain[1:], root.certificate, OBSERVED) is None
