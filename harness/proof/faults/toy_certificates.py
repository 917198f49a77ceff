"""Certificates made with toy keys, after the shape of others: what a fault changes is changed, the rest stays. Pure."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import cache

from cryptography import x509 as crypto
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import Encoding

from harness.model import x509
from harness.model.certificate import Certificate
from harness.proof.faults.toy_keys import toy_key

RSA_BITS = 4096


USAGES = ("digital_signature", "content_commitment", "key_encipherment", "key_cert_sign")


_ALL = (*USAGES, "data_encipherment", "key_agreement", "crl_sign", "encipher_only", "decipher_only")


@dataclass(frozen=True)
class Ca:
    """A CA certificate and its key."""

    certificate: Certificate
    key: RSAPrivateKey


@dataclass(frozen=True)
class Shape:
    """What a certificate is made with; None: as it was."""

    owner: str = ""
    """Whose key it has; for CAs."""
    bits: int = RSA_BITS
    ca: bool | None = None
    path_length: int | None = None
    any_path_length: bool = False
    """Without pathlen."""
    no_usage: bool = False
    not_before: datetime | None = None
    not_after: datetime | None = None
    dns_names: tuple[str, ...] | None = None
    uri: Callable[[str], str] | None = None
    """Changes each URI."""
    subject: str = ""
    """RFC 4514."""


def make(template: Certificate, shape: Shape, issuer: Ca | None) -> Certificate:
    """Make a certificate like another one, but for its shape; self-signed without an issuer."""
    issuer_pem = issuer.certificate.pem if issuer else ""
    return _signed(template.pem, shape, issuer_pem, issuer.key if issuer else None)


@cache
def _signed(pem: str, shape: Shape, issuer_pem: str, issuer_key: RSAPrivateKey | None) -> Certificate:
    """Made once: signing is slow, and most certificates of a mesh stay as they were whatever the fault is."""
    old = crypto.load_pem_x509_certificate(pem.encode())
    own = toy_key(shape.owner, shape.bits) if shape.owner else None
    subject = crypto.Name.from_rfc4514_string(shape.subject) if shape.subject else old.subject
    issued_by = crypto.load_pem_x509_certificate(issuer_pem.encode()).subject if issuer_pem else subject
    builder = (
        crypto.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issued_by)
        .public_key(own.public_key() if own else old.public_key())
        .serial_number(crypto.random_serial_number())
        .not_valid_before(shape.not_before or old.not_valid_before_utc)
        .not_valid_after(shape.not_after or old.not_valid_after_utc)
    )
    for extension in old.extensions:
        if (value := _extension(extension.value, shape)) is not None:
            builder = builder.add_extension(value, extension.critical)
    signing = issuer_key or own
    if signing is None:
        raise ValueError("a certificate without an issuer needs a key of its own")
    return x509.certificate(builder.sign(signing, hashes.SHA256()).public_bytes(Encoding.PEM))


def _extension(value: crypto.ExtensionType, shape: Shape) -> crypto.ExtensionType | None:
    if isinstance(value, crypto.SubjectKeyIdentifier | crypto.AuthorityKeyIdentifier):
        return None  # they name keys that are not used any more
    if isinstance(value, crypto.KeyUsage):
        return None if shape.no_usage else value
    if isinstance(value, crypto.BasicConstraints):
        ca = value.ca if shape.ca is None else shape.ca
        length = None if shape.any_path_length or not ca else value.path_length
        return crypto.BasicConstraints(ca, length)
    if isinstance(value, crypto.SubjectAlternativeName) and (shape.dns_names is not None or shape.uri):
        names: list[crypto.GeneralName] = []
        for name in value:
            if isinstance(name, crypto.UniformResourceIdentifier) and shape.uri:
                names.append(crypto.UniformResourceIdentifier(shape.uri(name.value)))
            elif not isinstance(name, crypto.DNSName) or shape.dns_names is None:
                names.append(name)
        return crypto.SubjectAlternativeName(names + [crypto.DNSName(name) for name in shape.dns_names or ()])
    return value
