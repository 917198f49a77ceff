"""Root and intermediate certificate authorities as the chapter makes them. Pure but for `load`, which reads files.

Source: chapter "Creating certificates for a multi-cluster mesh"; RFC 5280. The certificates carry the same extensions,
in the same order, as OpenSSL 3 gives them from the chapter's configuration files.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from harness.base.errors import UserError
from harness.base.parallel import in_parallel
from harness.model.topology import Topology
from harness.model.x509 import certificates, key_matches

BITS = 4096
LIFETIME = timedelta(days=3650)
SAN = "istiod.istio-system.svc"
FILES = ("ca-cert.pem", "ca-key.pem", "root-cert.pem", "cert-chain.pem")
"""Names of the files, and of the entries of the `cacerts` secret."""

_USAGE = x509.KeyUsage(
    digital_signature=True,
    content_commitment=True,
    key_encipherment=True,
    key_cert_sign=True,
    data_encipherment=False,
    key_agreement=False,
    crl_sign=False,
    encipher_only=False,
    decipher_only=False,
)


@dataclass(frozen=True)
class CaFiles:
    """What the `cacerts` secret of one cluster holds, as PEM."""

    ca_cert: str
    ca_key: str = field(repr=False)
    root_cert: str
    cert_chain: str

    @property
    def entries(self) -> dict[str, str]:
        """The four files by their names."""
        return dict(zip(FILES, (self.ca_cert, self.ca_key, self.root_cert, self.cert_chain), strict=True))


@dataclass(frozen=True)
class Pki:
    """The certificates of a mesh."""

    clusters: Mapping[str, CaFiles]
    """By the cluster's name: east."""
    own: bool = False
    """Made by someone else, and loaded."""
    root: "Authority | None" = field(default=None, repr=False)
    """What the intermediates were signed with; None where someone else has its key."""


@dataclass(frozen=True)
class Authority:
    """A CA with its key."""

    certificate: x509.Certificate
    key: rsa.RSAPrivateKey = field(repr=False)


def make(topology: Topology, now: datetime | None = None, bits: int = BITS) -> Pki:
    """Make a root and an intermediate for every cluster. Keys exist in memory only.

    Args:
        topology: names the clusters; the name is the L of the intermediate's subject, as in the chapter.
        now: begin of the validity, which is 3650 days; default the present.
        bits: of the RSA keys. A key of 4096 bits takes one to two seconds; they are made side by side.
    """
    begin = (now or datetime.now(UTC)).replace(microsecond=0)
    names = [cluster.name for cluster in topology.clusters]
    root_key, *keys = in_parallel(lambda _: rsa.generate_private_key(65537, bits), ["root", *names])
    return _signed(_root(root_key, begin), dict(zip(names, keys, strict=True)), begin)


def renew(pki: Pki, now: datetime | None = None, bits: int = BITS) -> Pki:
    """Make a new intermediate for every cluster, with a key of its own, under the same root.

    Args:
        pki: one that `make` made.
        now: begin of the validity, as for `make`.
        bits: of the RSA keys.

    Raises:
        ValueError: the root's key is somebody else's.
    """
    if pki.root is None:
        raise ValueError("the root's key is not at hand")
    begin = (now or datetime.now(UTC)).replace(microsecond=0)
    keys = in_parallel(lambda _: rsa.generate_private_key(65537, bits), pki.clusters)
    return _signed(pki.root, dict(zip(pki.clusters, keys, strict=True)), begin)


def trusting(pki: Pki, *others: Pki) -> Pki:
    """The same certificates, with the roots of these behind their own in root-cert.pem."""
    files = {
        name: replace(own, root_cert=own.root_cert + "".join(other.clusters[name].root_cert for other in others))
        for name, own in pki.clusters.items()
    }
    return replace(pki, clusters=files)


def _signed(root: Authority, keys: Mapping[str, rsa.RSAPrivateKey], begin: datetime) -> Pki:
    root_pem = pem(root.certificate)
    files = {name: _files(_intermediate(root, key, name, begin), root_pem) for name, key in keys.items()}
    return Pki(files, root=root)


def load(directory: Path, topology: Topology) -> Pki:
    """Read certificates that someone has made available, in the chapter's layout: DIRECTORY/NAME/ca-cert.pem and so on.

    Only what could never work is refused; whether the certificates are good is for the requirements to say.

    Args:
        directory: holds a directory for every cluster, named for it (east, west).
        topology: names the clusters.

    Raises:
        UserError: a file is missing, can't be read, is no certificate or key; or a key is not its certificate's.
    """
    return Pki({cluster.name: _load(directory / cluster.name) for cluster in topology.clusters}, own=True)


def _root(key: rsa.RSAPrivateKey, begin: datetime) -> Authority:
    name = subject_name("Root CA")
    builder = _builder(name, name, key, begin).add_extension(
        x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
    )
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    return Authority(builder.add_extension(_USAGE, critical=True).sign(key, hashes.SHA256()), key)


def _intermediate(root: Authority, key: rsa.RSAPrivateKey, location: str, begin: datetime) -> Authority:
    subject = subject_name("Intermediate CA", location)
    extensions: tuple[tuple[x509.ExtensionType, bool], ...] = (
        (x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False),
        (x509.BasicConstraints(ca=True, path_length=0), True),
        (_USAGE, True),
        (x509.SubjectAlternativeName([x509.DNSName(SAN)]), False),
        # Not in the chapter's file: OpenSSL 3 adds it to what is signed with -CA.
        (x509.AuthorityKeyIdentifier.from_issuer_public_key(root.key.public_key()), False),
    )
    builder = _builder(subject, root.certificate.subject, key, begin)
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    return Authority(builder.sign(root.key, hashes.SHA256()), key)


def _builder(subject: x509.Name, issuer: x509.Name, key: rsa.RSAPrivateKey, begin: datetime) -> x509.CertificateBuilder:
    return x509.CertificateBuilder(
        issuer, subject, key.public_key(), x509.random_serial_number(), begin, begin + LIFETIME
    )


def subject_name(common_name: str, location: str | None = None) -> x509.Name:
    """A subject as the chapter's openssl.conf has it: organization Istio, and the cluster as locality."""
    attributes = [
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Istio"),
        x509.NameAttribute(NameOID.COMMON_NAME, common_name),
    ]
    if location:
        attributes.append(x509.NameAttribute(NameOID.LOCALITY_NAME, location))
    return x509.Name(attributes)


def _files(authority: Authority, root: str) -> CaFiles:
    key = authority.key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    certificate = pem(authority.certificate)
    return CaFiles(ca_cert=certificate, ca_key=key.decode(), root_cert=root, cert_chain=certificate + root)


def pem(certificate: x509.Certificate) -> str:
    """A certificate in PEM."""
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _load(directory: Path) -> CaFiles:
    paths = {name: directory / name for name in FILES}
    texts = {name: _read(path) for name, path in paths.items()}
    for name in ("ca-cert.pem", "root-cert.pem", "cert-chain.pem"):
        try:
            found = len(certificates(texts[name]))
        except ValueError as malformed:
            raise _unusable(paths[name], f"a certificate in it can't be parsed: {malformed}") from None
        if not found:
            raise _unusable(paths[name], "there is no certificate in it")
    try:
        matches = key_matches(texts["ca-key.pem"], texts["ca-cert.pem"])
    except ValueError as malformed:
        raise _unusable(paths["ca-key.pem"], str(malformed)) from None
    if not matches:
        raise _unusable(paths["ca-key.pem"], "it is not the key of the ca-cert.pem beside it")
    return CaFiles(*(texts[name] for name in FILES))


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except OSError as missing:
        raise _unusable(path, str(missing.strerror)) from None
    except UnicodeDecodeError:
        raise _unusable(path, "it is not PEM text") from None


def _unusable(path: Path, why: str) -> UserError:
    return UserError(
        f"{path} can't be used as a CA file of the mesh.",
        why,
        f"give --pki a directory that holds, for every cluster, NAME/{{{','.join(FILES)}}}",
    )
