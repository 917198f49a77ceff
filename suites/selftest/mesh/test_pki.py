"""The certificates are those that OpenSSL 3 makes from the chapter's configuration files."""

import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from harness.base.errors import UserError
from harness.mesh import pki
from harness.model.certificate_paths import validates
from harness.model.topology import ControlPlaneModel, NetworkModel, preset
from harness.model.x509 import certificates

TOPOLOGY = preset(ControlPlaneModel.MULTI_PRIMARY, NetworkModel.MULTI)
BITS = 2048
"""The number of bits does not matter here, but takes time."""
CONFIGURATION = """
[ req ]
encrypt_key = no
prompt = no
utf8 = yes
default_md = sha256
default_bits = 4096
req_extensions = req_ext
x509_extensions = req_ext
distinguished_name = req_dn
[ req_ext ]
subjectKeyIdentifier = hash
basicConstraints = critical, CA:true{pathlen}
keyUsage = critical, digitalSignature, nonRepudiation, keyEncipherment, keyCertSign
{san}
[ san ]
DNS.1 = istiod.istio-system.svc
[ req_dn ]
O = Istio
CN = {name}
{location}
"""
ROOT = CONFIGURATION.format(pathlen="", san="", name="Root CA", location="")
INTERMEDIATE = CONFIGURATION.format(
    pathlen=", pathlen:0", san="subjectAltName=@san", name="Intermediate CA", location="L = east"
)


@pytest.fixture(scope="module")
def made() -> pki.Pki:
    """Certificates of this suite."""
    return pki.make(TOPOLOGY, bits=BITS)


@pytest.fixture(scope="module")
def by_openssl(tmp_path_factory: pytest.TempPathFactory) -> dict[str, x509.Certificate]:
    """The same by OpenSSL, with the chapter's files and commands."""
    if not shutil.which("openssl"):
        pytest.skip("there is no openssl to compare with")
    directory = tmp_path_factory.mktemp("chapter")

    def openssl(command: str) -> None:
        subprocess.run(["openssl", *command.split()], cwd=directory, check=True, capture_output=True)

    (directory / "root-ca.conf").write_text(ROOT)
    (directory / "intermediate.conf").write_text(INTERMEDIATE)
    openssl(f"genrsa -out root-key.pem {BITS}")
    openssl("req -sha256 -new -key root-key.pem -config root-ca.conf -out root-cert.csr")
    openssl(
        "x509 -req -sha256 -days 3650 -signkey root-key.pem -extensions req_ext -extfile root-ca.conf"
        " -in root-cert.csr -out root-cert.pem"
    )
    openssl(f"genrsa -out ca-key.pem {BITS}")
    openssl("req -new -config intermediate.conf -key ca-key.pem -out cluster-ca.csr")
    openssl(
        "x509 -req -sha256 -days 3650 -CA root-cert.pem -CAkey root-key.pem -CAcreateserial -extensions req_ext"
        " -extfile intermediate.conf -in cluster-ca.csr -out ca-cert.pem"
    )
    return {name: _parsed((directory / f"{name}.pem").read_text()) for name in ("root-cert", "ca-cert")}


@pytest.mark.parametrize("name", ["root-cert", "ca-cert"])
def test_same_as_openssl(made: pki.Pki, by_openssl: dict[str, x509.Certificate], name: str) -> None:
    """Names, lifetime, and extensions with their order and criticality."""
    ours, theirs = _parsed(made.clusters["east"].entries[f"{name}.pem"]), by_openssl[name]
    assert ours.subject.public_bytes() == theirs.subject.public_bytes()
    assert ours.issuer.public_bytes() == theirs.issuer.public_bytes()
    assert ours.version is theirs.version
    assert ours.signature_algorithm_oid == theirs.signature_algorithm_oid
    assert _lifetime(ours) == _lifetime(theirs) == timedelta(days=3650)
    assert [(found.oid, found.critical) for found in ours.extensions] == [
        (found.oid, found.critical) for found in theirs.extensions
    ]
    identifiers = (x509.SubjectKeyIdentifier, x509.AuthorityKeyIdentifier)
    for one, other in zip(ours.extensions, theirs.extensions, strict=True):
        if not isinstance(one.value, identifiers):
            assert one.value == other.value


@pytest.mark.parametrize("whose", ["ours", "openssl"])
def test_key_identifiers(made: pki.Pki, by_openssl: dict[str, x509.Certificate], whose: str) -> None:
    """Both take the identifiers from the public keys in the same way."""
    if whose == "ours":
        root, intermediate = (
            _parsed(made.clusters["east"].entries[f"{name}.pem"]) for name in ("root-cert", "ca-cert")
        )
    else:
        root, intermediate = by_openssl["root-cert"], by_openssl["ca-cert"]
    for certificate in (root, intermediate):
        found = certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        assert found == x509.SubjectKeyIdentifier.from_public_key(certificate.public_key())
    authority = intermediate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    assert authority == x509.AuthorityKeyIdentifier.from_issuer_public_key(root.public_key())  # type: ignore[arg-type]


def test_one_root_and_intermediates_of_their_own(made: pki.Pki) -> None:
    """The chain is intermediate then root, and valid."""
    assert {files.root_cert for files in made.clusters.values()} == {made.clusters["east"].root_cert}
    assert made.clusters["east"].ca_cert != made.clusters["west"].ca_cert
    for name, files in made.clusters.items():
        chain = certificates(files.cert_chain)
        assert [found.pem for found in chain] == [files.ca_cert, files.root_cert]
        assert validates(chain, chain[-1], datetime.now(UTC)) is None
        assert f"L={name}" in chain[0].subject


def test_the_default_is_the_chapters_key_length() -> None:
    """The chapter's commands say 4096."""
    assert pki.BITS == 4096


def test_keys_are_not_shown(made: pki.Pki) -> None:
    """A traceback or a log line must not hold a private key."""
    assert "PRIVATE KEY" not in repr(made)
    assert all("PRIVATE KEY" in files.ca_key for files in made.clusters.values())


def test_load_gives_what_was_made(made: pki.Pki, tmp_path: Path) -> None:
    """Files in the chapter's layout are taken as they are."""
    _write(made, tmp_path)
    loaded = pki.load(tmp_path, TOPOLOGY)
    assert loaded.clusters == made.clusters
    assert loaded.own


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("ca-cert.pem", None, "No such file"),
        ("root-cert.pem", "", "there is no certificate in it"),
        ("cert-chain.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "can't be parsed"),
        ("ca-key.pem", "nonsense", "the private key can't be read"),
        ("ca-key.pem", "of the other cluster", "not the key of the ca-cert.pem"),
        ("ca-key.pem", "encrypted", "encrypted"),
        ("ca-cert.pem", "\x80", "not PEM text"),
    ],
)
def test_load_names_the_file(made: pki.Pki, tmp_path: Path, name: str, content: str | None, why: str) -> None:
    """Each unusable file is named, with what is wrong with it."""
    _write(made, tmp_path)
    path = tmp_path / "west" / name
    match content:
        case None:
            path.unlink()
        case "of the other cluster":
            path.write_text(made.clusters["east"].ca_key)
        case "encrypted":
            key = serialization.load_pem_private_key(made.clusters["west"].ca_key.encode(), None)
            path.write_bytes(
                key.private_bytes(
                    serialization.Encoding.PEM,
                    serialization.PrivateFormat.PKCS8,
                    serialization.BestAvailableEncryption(b"secret"),
                )
            )
        case _:
            path.write_text(content)
    with pytest.raises(UserError) as error:
        pki.load(tmp_path, TOPOLOGY)
    assert str(path) in error.value.what
    assert why in error.value.why


def _write(made: pki.Pki, directory: Path) -> None:
    for cluster, files in made.clusters.items():
        (directory / cluster).mkdir()
        for name, text in files.entries.items():
            (directory / cluster / name).write_text(text)


def _parsed(pem: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate(pem.encode())


def _lifetime(certificate: x509.Certificate) -> timedelta:
    return certificate.not_valid_after_utc - certificate.not_valid_before_utc
