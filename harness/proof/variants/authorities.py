"""Certificate authorities of other valid shapes than the chapter's. Pure.

Source: RFC 5280; Istio, "Plug in CA Certificates".
"""

from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from harness.mesh.pki import SAN, Authority, CaFiles, pem, subject_name

BITS = 2048
LIFETIME = timedelta(days=365)
Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


def behind_policy_ca(root: Authority, location: str) -> CaFiles:
    """An issuing CA under a policy CA under the root."""
    policy_key = rsa.generate_private_key(65537, BITS)
    policy = Authority(_issued(root, policy_key, "Policy CA", location, path_length=1), policy_key)
    key = rsa.generate_private_key(65537, BITS)
    issuing = _issued(policy, key, "Issuing CA", location)
    return _files(issuing, key, root, policy.certificate)


def elliptic_curve(root: Authority, location: str) -> CaFiles:
    """An issuing CA with a key on the curve P-256, under the root."""
    key = ec.generate_private_key(ec.SECP256R1())
    return _files(_issued(root, key, "EC CA", location), key, root)


def pkcs1(key: str) -> str:
    """A private RSA key in PEM, as PKCS#1.

    Raises:
        TypeError: it is no RSA key.
    """
    loaded = serialization.load_pem_private_key(key.encode(), None)
    if not isinstance(loaded, rsa.RSAPrivateKey):
        raise TypeError("only an RSA key has the form PKCS#1")
    return _key(loaded, serialization.PrivateFormat.TraditionalOpenSSL)


def _issued(issuer: Authority, key: Key, common_name: str, location: str, *, path_length: int = 0) -> x509.Certificate:
    begin = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=1)
    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )
    return (
        x509.CertificateBuilder(
            issuer.certificate.subject,
            subject_name(common_name, location),
            key.public_key(),
            x509.random_serial_number(),
            begin,
            begin + LIFETIME,
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key()), critical=False)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(SAN)]), critical=False)
        .sign(issuer.key, hashes.SHA256())
    )


def _files(issuing: x509.Certificate, key: Key, root: Authority, *between: x509.Certificate) -> CaFiles:
    chain = "".join(map(pem, (issuing, *between, root.certificate)))
    return CaFiles(pem(issuing), _key(key, serialization.PrivateFormat.PKCS8), pem(root.certificate), chain)


def _key(key: Key, form: serialization.PrivateFormat) -> str:
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode()
