"""The chapter's openssl commands. Source: chapter "Creating certificates for a multi-cluster mesh"."""

from collections.abc import Iterable

from harness.mesh.pki import BITS, FILES, LIFETIME, SAN, CaFiles

DIRECTORY = "${CERTS}"
_REQUEST = f"""[ req ]
encrypt_key = no
prompt = no
utf8 = yes
default_md = sha256
default_bits = {BITS}
req_extensions = req_ext
x509_extensions = req_ext
distinguished_name = req_dn
[ req_ext ]
subjectKeyIdentifier = hash
basicConstraints = critical, {{constraints}}
keyUsage = critical, digitalSignature, nonRepudiation, keyEncipherment, keyCertSign
{{alternative}}[ req_dn ]
O = Istio
CN = {{name}}"""


def root() -> str:
    """The commands for the root; they leave one alone that is there."""
    config = _REQUEST.format(constraints="CA:true", alternative="", name="Root CA")
    return f"""mkdir -p "{DIRECTORY}"
if [ ! -f "{DIRECTORY}/root-cert.pem" ]; then
openssl genrsa -out "{DIRECTORY}/root-key.pem" {BITS}
cat > "{DIRECTORY}/root-ca.conf" <<'EOF'
{config}
EOF
openssl req -sha256 -new -key "{DIRECTORY}/root-key.pem" \\
  -config "{DIRECTORY}/root-ca.conf" -out "{DIRECTORY}/root-cert.csr"
openssl x509 -req -sha256 -days {LIFETIME.days} -signkey "{DIRECTORY}/root-key.pem" \\
  -extensions req_ext -extfile "{DIRECTORY}/root-ca.conf" \\
  -in "{DIRECTORY}/root-cert.csr" -out "{DIRECTORY}/root-cert.pem"
fi"""


def intermediate(name: str) -> str:
    """The commands for the intermediate of one cluster; they leave one alone that is there."""
    alternative = f"subjectAltName=@san\n[ san ]\nDNS.1 = {SAN}\n"
    config = _REQUEST.format(
        constraints="CA:true, pathlen:0", alternative=alternative, name=f"Intermediate CA\nL = {name}"
    )
    where = f"{DIRECTORY}/{name}"
    return f"""if [ ! -f "{where}/cert-chain.pem" ]; then
mkdir -p "{where}"
openssl genrsa -out "{where}/ca-key.pem" {BITS}
cat > "{where}/intermediate.conf" <<'EOF'
{config}
EOF
openssl req -new -config "{where}/intermediate.conf" -key "{where}/ca-key.pem" -out "{where}/cluster-ca.csr"
openssl x509 -req -sha256 -days {LIFETIME.days} \\
  -CA "{DIRECTORY}/root-cert.pem" -CAkey "{DIRECTORY}/root-key.pem" -CAcreateserial \\
  -extensions req_ext -extfile "{where}/intermediate.conf" \\
  -in "{where}/cluster-ca.csr" -out "{where}/ca-cert.pem"
cp "{DIRECTORY}/root-cert.pem" "{where}"
cat "{where}/ca-cert.pem" "{DIRECTORY}/root-cert.pem" > "{where}/cert-chain.pem"
fi"""


def commands(names: Iterable[str]) -> str:
    """Root, and an intermediate for every cluster."""
    return "\n".join([root(), *(intermediate(name) for name in names)])


def paths(name: str) -> CaFiles:
    """In place of what the files hold, where they are."""
    return CaFiles(*(f"{DIRECTORY}/{name}/{file}" for file in FILES))
