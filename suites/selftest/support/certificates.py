"""Real certificates for synthetic observations: the chapter's PKI, made once a session; keys stay in memory."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache

from cryptography import x509 as crypto
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from harness.model import x509
from harness.model.certificate import Certificate
from harness.proof.faults.toy_keys import toy_key

OBSERVED = datetime(2026, 11, 28, 14, 0, tzinfo=UTC)
CLUSTERS = ("east", "west", "north")
CHAPTER_USAGES = ("digital_signature", "content_commitment", "key_encipherment", "key_cert_sign")
_USAGES = (*CHAPTER_USAGES, "data_encipherment", "key_agreement", "crl_sign", "encipher_only", "decipher_only")


@dataclass(frozen=True)
class Authority:
    """A certificate with its key."""

    certificate: Certificate
    key: RSAPrivateKey


def key(bits: int, owner: str) -> RSAPrivateKey:
    """The key of an owner, the same one each time."""
    return toy_key(owner, bits)


def issue(
    name: dict[crypto.ObjectIdentifier, str],
    public: RSAPrivateKey,
    issuer: Authority | None = None,
    *,
    ca: bool | None = True,
    path_length: int | None = None,
    usages: tuple[str, ...] = CHAPTER_USAGES,
    critical: bool = True,
    names: tuple[crypto.GeneralName, ...] = (),
    purposes: tuple[crypto.ObjectIdentifier, ...] = (),
    not_before: datetime = OBSERVED - timedelta(days=1),
    days: float = 3650,
) -> Certificate:
    """Make a certificate; self-signed without an issuer, without basicConstraints where `ca` is None."""
    subject = crypto.Name([crypto.NameAttribute(oid, value) for oid, value in name.items()])
    issued_by = crypto.load_pem_x509_certificate(issuer.certificate.pem.encode()).subject if issuer else subject
    builder = (
        crypto.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issued_by)
        .public_key(public.public_key())
        .serial_number(crypto.random_serial_number())
        .not_valid_before(not_before)
        .not_valid_after(not_before + timedelta(days=days))
    )
    if ca is not None:
        builder = builder.add_extension(crypto.BasicConstraints(ca, path_length if ca else None), critical)
    if usages:
        builder = builder.add_extension(crypto.KeyUsage(**{usage: usage in usages for usage in _USAGES}), critical)
    if names:
        builder = builder.add_extension(crypto.SubjectAlternativeName(names), False)
    if purposes:
        builder = builder.add_extension(crypto.ExtendedKeyUsage(purposes), False)
    signed = builder.sign(issuer.key if issuer else public, hashes.SHA256())
    return x509.certificate(signed.public_bytes(Encoding.PEM))


@dataclass(frozen=True)
class Pki:
    """The chapter's root and an intermediate for each cluster."""

    root: Certificate
    intermediates: dict[str, Certificate]

    def signer(self, cluster: str) -> Authority:
        """The intermediate CA of a cluster."""
        return Authority(self.intermediates[cluster], key(4096, cluster))

    def workload(self, cluster: str, identity: str) -> Certificate:
        """A workload's certificate as istiod makes it, dated back by two minutes."""
        return _workload(cluster, identity)

    def istiod(self, cluster: str) -> Certificate:
        """A control plane's serving certificate."""
        return _istiod(cluster)


@cache
def pki() -> Pki:
    """Make the root and the intermediates, as the chapter's commands do."""
    root = Authority(root_certificate(), key(4096, "root"))
    return Pki(root.certificate, {name: intermediate(name, root) for name in CLUSTERS})


def root_certificate(bits: int = 4096, owner: str = "root", usages: tuple[str, ...] = CHAPTER_USAGES) -> Certificate:
    """The chapter's root."""
    name = {NameOID.ORGANIZATION_NAME: "Istio", NameOID.COMMON_NAME: "Root CA"}
    return issue(name, key(bits, owner), usages=usages)


def intermediate(
    cluster: str,
    root: Authority,
    *,
    ca: bool = True,
    path_length: int | None = 0,
    days: float = 3650,
    not_before: datetime = OBSERVED - timedelta(days=1) + timedelta(seconds=5),
    dns_name: str = "istiod.istio-system.svc",
) -> Certificate:
    """The chapter's intermediate of a cluster."""
    name = {
        NameOID.ORGANIZATION_NAME: "Istio",
        NameOID.COMMON_NAME: "Intermediate CA",
        NameOID.LOCALITY_NAME: cluster,
    }
    return issue(
        name,
        key(4096, cluster),
        root,
        ca=ca,
        path_length=path_length,
        days=days,
        not_before=not_before,
        names=(crypto.DNSName(dns_name),),
    )


@cache
def _workload(cluster: str, identity: str) -> Certificate:
    return workload(pki().signer(cluster), identity)


def workload(
    signer: Authority, identity: str, *, not_before: datetime = OBSERVED - timedelta(minutes=4), days: float = 1
) -> Certificate:
    """A workload's certificate."""
    return issue(
        {},
        key(2048, "leaf"),
        signer,
        ca=False,
        usages=("digital_signature", "key_encipherment"),
        names=(crypto.UniformResourceIdentifier(identity),),
        purposes=(ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH),
        not_before=not_before,
        days=days,
    )


@cache
def _istiod(cluster: str) -> Certificate:
    return istiod(pki().signer(cluster))


def istiod(signer: Authority, dns_name: str = "istiod.istio-system.svc") -> Certificate:
    """A control plane's serving certificate."""
    return issue(
        {},
        key(2048, "leaf"),
        signer,
        ca=False,
        usages=("digital_signature", "key_encipherment"),
        names=(crypto.DNSName(dns_name),),
        purposes=(ExtendedKeyUsageOID.SERVER_AUTH,),
        not_before=OBSERVED - timedelta(minutes=4),
        days=365,
    )
