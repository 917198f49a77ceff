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


class CaFileNames(Model):
    """What the entries of a `cacerts` secret are called."""

    ca_cert: str
    ca_key: str
    root_cert: str
    cert_chain: str = ""
    """Empty where istiod makes the chain from `ca_cert` and `root_cert`."""

    @property
    def all(self) -> tuple[str, ...]:
        """Every entry, in the order in which istiod's documentation names them."""
        return tuple(filter(None, (self.ca_cert, self.ca_key, self.root_cert, self.cert_chain)))

    @property
    def chain(self) -> str:
        """The file that the chain is read from, in words."""
        return self.cert_chain or f"{self.ca_cert} + {self.root_cert}"


CHAPTER_FILES = CaFileNames(
    ca_cert="ca-cert.pem", ca_key="ca-key.pem", root_cert="root-cert.pem", cert_chain="cert-chain.pem"
)
TLS_FILES = CaFileNames(ca_cert="tls.crt", ca_key="tls.key", root_cert="ca.crt")
"""A secret of type kubernetes.io/tls, for instance from cert-manager."""


class CaSecret(Model):
    """The `cacerts` secret of one cluster (chapter: "Apply root and intermediate CA certificates").

    istiod takes the CA from `tls.crt`, `tls.key`, `ca.crt` where there is a `tls.crt`, else from the chapter's four
    files (`detectSigningCABundleAndCRL` in pilot/pkg/bootstrap/istio_ca.go). The fields are the same for both.
    """

    exists: bool
    created: datetime | None = None
    keys: tuple[str, ...] = ()
    """The names of its entries, sorted; never their values."""
    ca_cert: Certificate | None = None
    """The CA that signs: the first certificate of its file."""
    root_cert: Certificate | None = None
    """The first of `roots`."""
    roots: tuple[Certificate, ...] = ()
    """All certificates of the root file, in its order; empty in recordings that have only `root_cert`."""
    cert_chain: tuple[Certificate, ...] = ()
    """In the file's order; with `tls.crt` its certificates followed by those of `ca.crt`, as istiod joins them."""
    key_matches: bool | None = None
    """Whether the private key belongs to `ca_cert`; None where one of them is missing or can't be parsed."""
    problems: tuple[str, ...] = ()
    """What could not be parsed, one line each: the file's name, then the reason with the line."""
    origin: Origin | None = None
    """What declares it; None where that was not observed."""

    @property
    def files(self) -> CaFileNames:
        """The entries from which istiod takes its CA."""
        return TLS_FILES if TLS_FILES.ca_cert in self.keys else CHAPTER_FILES

    @property
    def missing(self) -> tuple[str, ...]:
        """The entries that istiod needs and that are not there."""
        return tuple(name for name in self.files.all if name not in self.keys)
