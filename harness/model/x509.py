"""Reads, compares and validates X.509 certificates. Pure: it opens no file, reads no clock and keeps no private key.

Source: RFC 5280; names of usages are OpenSSL's, as in the chapter's configuration files.
"""

from datetime import datetime
from functools import lru_cache
from ipaddress import ip_address
from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from harness.model import pem as pem_files
from harness.model.certificate import BasicConstraints, Certificate, KeyUsage, PublicKey

Kind = TypeVar("Kind", bound=x509.ExtensionType)

_CERTIFICATE = "CERTIFICATE"
_KEY_TYPES = ("PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY")
"""The PEM types of private keys that istiod reads: PKCS#8, PKCS#1, SEC 1."""
_USAGES = (
    ("digitalSignature", "digital_signature"),
    ("nonRepudiation", "content_commitment"),
    ("keyEncipherment", "key_encipherment"),
    ("dataEncipherment", "data_encipherment"),
    ("keyAgreement", "key_agreement"),
    ("keyCertSign", "key_cert_sign"),
    ("cRLSign", "crl_sign"),
)
_EXTENDED_USAGES = {
    ExtendedKeyUsageOID.SERVER_AUTH: "serverAuth",
    ExtendedKeyUsageOID.CLIENT_AUTH: "clientAuth",
}
_ALGORITHMS = (
    (rsa.RSAPublicKey, "RSA"),
    (ec.EllipticCurvePublicKey, "EC"),
    (ed25519.Ed25519PublicKey, "Ed25519"),
    (ed448.Ed448PublicKey, "Ed448"),
    (dsa.DSAPublicKey, "DSA"),
)


def certificate(pem: str | bytes) -> Certificate:
    """Read one certificate; of several in one PEM text the first.

    Raises:
        ValueError: it is not a certificate, or an extension in it is malformed.
    """
    data = pem.encode() if isinstance(pem, str) else pem
    try:
        return _model(x509.load_pem_x509_certificate(data))
    except (x509.DuplicateExtension, x509.UnsupportedGeneralNameType, UnsupportedAlgorithm) as malformed:
        raise ValueError(str(malformed)) from None


def certificates(bundle: str | bytes) -> tuple[Certificate, ...]:
    """Read every certificate of a PEM bundle, in its order; empty where there is none.

    Blocks of other types are passed over, as istiod and Envoy do.

    Raises:
        ValueError: the file is not a list of PEM blocks, or a certificate can't be read. The message names the line.
    """
    found = []
    for block in pem_files.blocks(bundle):
        if block.type == _CERTIFICATE:
            try:
                found.append(certificate(block.text))
            except ValueError:
                raise ValueError(f"the certificate that begins in line {block.line} can't be read") from None
    return tuple(found)


def key_matches(key_pem: str | bytes, cert: Certificate | str | bytes) -> bool:
    """Whether an unencrypted private key belongs to a certificate; nothing of the key is kept.

    The first block must be the key: istiod reads no other (`ParsePemEncodedKey` in security/pkg/pki/util/crypto.go).

    Raises:
        ValueError: the key or the certificate can't be read.
    """
    first = next(iter(pem_files.blocks(key_pem)), None)
    if first is None:
        raise ValueError("the private key can't be read, or is encrypted")
    if first.type not in _KEY_TYPES:
        raise ValueError(f"the first block (line {first.line}) is {first.type}, not an unencrypted private key")
    try:
        key = serialization.load_pem_private_key(first.text.encode("latin-1"), None)
    except (TypeError, ValueError, UnsupportedAlgorithm):
        raise ValueError("the private key can't be read, or is encrypted") from None
    pem = cert.pem if isinstance(cert, Certificate) else cert
    return _public_key(key.public_key()).sha256 == certificate(pem).public_key.sha256


def signed_by(cert: Certificate, issuer: Certificate) -> bool:
    """Whether the certificate names the issuer, and the issuer's key verifies its signature."""
    return _signed_by(cert.pem, issuer.pem)


@lru_cache(maxsize=4096)  # the same few certificates are compared by many requirements
def _signed_by(cert: str, issuer: str) -> bool:
    try:
        _parsed(cert).verify_directly_issued_by(_parsed(issuer))
    except (InvalidSignature, UnsupportedAlgorithm, TypeError, ValueError):
        return False
    return True


def self_signed(cert: Certificate) -> bool:
    """Whether it is signed with its own key under its own name."""
    return signed_by(cert, cert)


def same_key(one: Certificate, other: Certificate) -> bool:
    """Whether both certify the same public key: two certificates of one CA, for instance."""
    return one.public_key.sha256 == other.public_key.sha256


def valid_at(cert: Certificate, at: datetime) -> bool:
    """Whether that time lies within its validity, both ends included (RFC 5280 section 4.1.2.5)."""
    return cert.not_before <= at <= cert.not_after


def covers_name(cert: Certificate, name: str) -> bool:
    """Whether the certificate is valid for a host name or IP address (RFC 9525: subjectAltName only).

    A wildcard stands for exactly one label, the leftmost.
    """
    try:
        address = ip_address(name)
    except ValueError:
        wanted = name.rstrip(".").lower()
        _, _, parent = wanted.partition(".")
        return any(dns.lower() in {wanted, f"*.{parent}"} for dns in cert.dns_names)
    return any(ip_address(found) == address for found in cert.ip_addresses)


def _parsed(pem: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate(pem.encode())


def _model(parsed: x509.Certificate) -> Certificate:
    names = _extension(parsed, x509.SubjectAlternativeName)
    extended = _extension(parsed, x509.ExtendedKeyUsage)
    subject_key = _extension(parsed, x509.SubjectKeyIdentifier)
    authority_key = _extension(parsed, x509.AuthorityKeyIdentifier)
    identifier = authority_key.key_identifier if authority_key else None
    return Certificate(
        pem=parsed.public_bytes(serialization.Encoding.PEM).decode(),
        subject=parsed.subject.rfc4514_string(),
        issuer=parsed.issuer.rfc4514_string(),
        serial=f"{parsed.serial_number:x}",
        not_before=parsed.not_valid_before_utc,
        not_after=parsed.not_valid_after_utc,
        public_key=_public_key(parsed.public_key()),
        signature_hash=_signature_hash(parsed),
        basic_constraints=_basic_constraints(parsed),
        key_usage=_key_usage(parsed),
        extended_key_usage=tuple(_EXTENDED_USAGES.get(oid, oid.dotted_string) for oid in extended or ()),
        dns_names=tuple(names.get_values_for_type(x509.DNSName)) if names else (),
        uris=tuple(names.get_values_for_type(x509.UniformResourceIdentifier)) if names else (),
        ip_addresses=tuple(str(found) for found in names.get_values_for_type(x509.IPAddress)) if names else (),
        subject_key_id=subject_key.digest.hex() if subject_key else None,
        authority_key_id=identifier.hex() if identifier else None,
        sha256=parsed.fingerprint(hashes.SHA256()).hex(),
    )


def _extension(parsed: x509.Certificate, kind: type[Kind]) -> Kind | None:
    found = _extension_of(parsed, kind)
    return found.value if found else None


def _extension_of(parsed: x509.Certificate, kind: type[Kind]) -> x509.Extension[Kind] | None:
    try:
        return parsed.extensions.get_extension_for_class(kind)
    except x509.ExtensionNotFound:
        return None


def _public_key(key: object) -> PublicKey:
    if not hasattr(key, "public_bytes"):
        raise ValueError("the public key is of no kind that can be written")
    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    digest = hashes.Hash(hashes.SHA256())
    digest.update(der)
    name = next((name for kind, name in _ALGORITHMS if isinstance(key, kind)), type(key).__name__)
    return PublicKey(algorithm=name, bits=getattr(key, "key_size", 0), sha256=digest.finalize().hex())


def _signature_hash(parsed: x509.Certificate) -> str:
    try:
        algorithm = parsed.signature_hash_algorithm
    except UnsupportedAlgorithm:
        return ""
    return algorithm.name if algorithm else ""


def _basic_constraints(parsed: x509.Certificate) -> BasicConstraints | None:
    found = _extension_of(parsed, x509.BasicConstraints)
    if found is None:
        return None
    return BasicConstraints(critical=found.critical, ca=found.value.ca, path_length=found.value.path_length)


def _key_usage(parsed: x509.Certificate) -> KeyUsage | None:
    found = _extension_of(parsed, x509.KeyUsage)
    if found is None:
        return None
    usages = tuple(name for name, attribute in _USAGES if getattr(found.value, attribute))
    return KeyUsage(critical=found.critical, usages=usages)
