"""X.509 certificates as observed. Never a private key: only whether it matches."""

from datetime import datetime

from harness.model.base import Model
from harness.model.origin import Origin


class PublicKey(Model):
    """The subject's public key."""

    algorithm: str
    """RSA, EC or another name."""
    bits: int
    sha256: str
    """Hex digest of the DER SubjectPublicKeyInfo: equal for equal keys."""


class BasicConstraints(Model):
    """RFC 5280 section 4.2.1.9."""

    critical: bool
    ca: bool
    path_length: int | None


class KeyUsage(Model):
    """RFC 5280 section 4.2.1.3."""

    critical: bool
    usages: tuple[str, ...]
    """OpenSSL's names in the standard's order: digitalSignature, nonRepudiation, keyEncipherment, keyCertSign …"""


class Certificate(Model):
    """One certificate; everything but `pem` is read from it."""

    pem: str
    subject: str
    """RFC 4514, for instance `CN=Root CA,O=Istio`."""
    issuer: str
    serial: str
    """Lower-case hex without separators."""
    not_before: datetime
    not_after: datetime
    public_key: PublicKey
    signature_hash: str
    """For instance sha256; empty where the algorithm has none."""
    basic_constraints: BasicConstraints | None
    key_usage: KeyUsage | None
    extended_key_usage: tuple[str, ...] = ()
    """OpenSSL's short names: serverAuth, clientAuth; dotted OIDs for others."""
    dns_names: tuple[str, ...] = ()
    uris: tuple[str, ...] = ()
    ip_addresses: tuple[str, ...] = ()
    subject_key_id: str | None = None
    """Hex."""
    authority_key_id: str | None = None
    """Hex."""
    sha256: str
    """Hex fingerprint of the DER certificate."""


class CaSecret(Model):
    """The `cacerts` secret of one cluster (chapter: "Apply root and intermediate CA certificates")."""

    exists: bool
    created: datetime | None = None
    keys: tuple[str, ...] = ()
    """The names of its entries, sorted; never their values."""
    ca_cert: Certificate | None = None
    root_cert: Certificate | None = None
    cert_chain: tuple[Certificate, ...] = ()
    """In the file's order."""
    key_matches: bool | None = None
    """Whether ca-key.pem belongs to ca-cert.pem; None where one of them is missing or can't be parsed."""
    problems: tuple[str, ...] = ()
    """What could not be parsed, one line each."""
    origin: Origin | None = None
    """What declares it; None where that was not observed."""
