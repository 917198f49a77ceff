"""Writes the shell script that sends all probes of one cluster, side by side, in one exec. Pure.

It runs in any POSIX shell and writes no file. It is sent over standard input; what is secret in it reaches curl over a
pipe from the shell's own printf, so that no token stands on a command line. Every line it prints begins with the
number of its probe.
"""

import json
import shlex
from collections.abc import Sequence

from harness.kube.api import Object
from harness.model import expectations
from harness.model.permissions import ALL, Permission
from harness.model.traffic import ProbeKind
from harness.observe.probe_plan import STATUS_PORT, PlannedProbe

AT_ONCE = 16
"""Probes that run side by side."""
MARK = "@@"
WRITE_OUT = f"\\n{MARK} curl %{{http_code}} %{{time_connect}} %{{time_total}} %{{exitcode}}\\n"
_CREATE_CERTIFICATE = "/istio.v1.auth.IstioCertificateService/CreateCertificate"
_ACCESS_REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
_PRELUDE = f"""
tag() {{ while IFS= read -r line || [ -n "$line" ]; do printf '%s %s\\n' "$1" "$line"; done; }}
clock() {{ read -r up idle </proc/uptime; printf '{MARK} clock %s\\n' "$up"; }}
need() {{ command -v "$1" >/dev/null 2>&1 || {{ printf '{MARK} missing %s\\n' "$1"; exit 0; }}; }}
within() {{ if command -v timeout >/dev/null 2>&1; then timeout "$@"; else shift; "$@"; fi; }}
fill() {{ x=xxxxxxxxxxxxxxxx; for n in 1 2 3 4 5 6 7 8 9 10; do x=$x$x; done; printf %s "$x"; }}
ask() {{ curl -sS --noproxy '*' --connect-timeout "$limit" --max-time "$limit" -w {shlex.quote(WRITE_OUT)} "$@"; }}
"""


def script(probes: Sequence[PlannedProbe], limit: float, signing_request: bytes) -> str:
    """The whole script.

    Args:
        probes: of one source cluster; their positions are the numbers in the output.
        limit: seconds for each probe.
        signing_request: body of the certificate request that is sent without a token.
    """
    lines = [f"limit={max(1, round(limit))}", _PRELUDE]
    for number, probe in enumerate(probes):
        lines.append(f"( {_command(probe, signing_request)}\n) </dev/null 2>&1 | tag {number} &")
        if number % AT_ONCE == AT_ONCE - 1:
            lines.append("wait")
    return "\n".join([*lines, "wait", "exit 0", ""])


def _command(probe: PlannedProbe, signing_request: bytes) -> str:
    match probe.kind:
        case ProbeKind.TCP | ProbeKind.POD_ROUTE:
            other = "health" if probe.kind is ProbeKind.POD_ROUTE else ""
            path = "healthz/ready" if probe.port == STATUS_PORT else other
            return f"need curl; ask -o /dev/null {shlex.quote(f'http://{_at(probe)}/{path}')}"
        case ProbeKind.PACKETS:
            url = shlex.quote(f"http://{_at(probe)}/healthz/ready")
            return f'need curl; ask -o /dev/null {url} && ask -o /dev/null -H "x-eastwest-fill: $(fill)" {url}'
        case ProbeKind.TLS:
            return f"need openssl; clock; {_handshake(probe)} -showcerts; echo {MARK} exit $?; clock"
        case ProbeKind.TLS_NO_CERTIFICATE:
            host = ".".join(probe.server_name.split(".")[3:5])
            request = f"GET /hello HTTP/1.1\\r\\nHost: {host}\\r\\nConnection: close\\r\\n\\r\\n"
            return f"need openssl; clock; printf '{request}' | {_handshake(probe)} -quiet; echo {MARK} exit $?; clock"
        case ProbeKind.CSR_NO_TOKEN:
            return _certificate_request(probe, signing_request)
        case ProbeKind.API_SERVER:
            return _api_server(probe)


def _at(probe: PlannedProbe) -> str:
    """Host and port; an IPv6 address in brackets."""
    return f"{expectations.url_host(probe.address)}:{probe.port}"


def _handshake(probe: PlannedProbe) -> str:
    alpn = f" -alpn {probe.alpn}" if probe.alpn else ""
    return f"within $limit openssl s_client -connect {shlex.quote(_at(probe))} -servername {probe.server_name}{alpn}"


def _certificate_request(probe: PlannedProbe, body: bytes) -> str:
    url = f"https://{probe.server_name}:{probe.port}{_CREATE_CERTIFICATE}"
    return (
        f"need curl; curl -V | grep -q HTTP2 || {{ echo '{MARK} missing curl with HTTP/2'; exit 0; }}\n"
        f"printf '{octal(body)}' | ask -k --http2 -o /dev/null -D - -H 'content-type: application/grpc' "
        f"-H 'te: trailers' --data-binary @- --connect-to {shlex.quote(f'::{_at(probe)}')} {shlex.quote(url)}"
    )


def octal(body: bytes) -> str:
    """Bytes as a format for printf that prints them."""
    return "".join(chr(byte) if chr(byte).isalnum() and byte < 128 else f"\\{byte:03o}" for byte in body)  # noqa: PLR2004


def _api_server(probe: PlannedProbe) -> str:
    """`/version`, then a SelfSubjectAccessReview for each permission, over one connection, until one is not answered.

    The CA goes over descriptor 3, options and token over curl's standard input.
    """
    credential = probe.credential
    if credential is None:
        return f"echo {MARK} missing credential"
    common = [
        "silent",
        "show-error",
        "fail-early",
        'noproxy = "*"',
        f'header = "Authorization: Bearer {_quoted(credential.token)}"',
        'header = "Content-Type: application/json"',
        f'write-out = "{WRITE_OUT}"',
        *(['cacert = "/dev/fd/3"'] if credential.ca and not credential.insecure else []),
        *(["insecure"] if credential.insecure else []),
    ]
    requests = [f'url = "{_quoted(credential.server)}/version"']
    for permission in ALL:
        body = _quoted(json.dumps(access_review(permission)))
        requests.append(f'url = "{_quoted(credential.server)}{_ACCESS_REVIEWS}"\ndata = "{body}"')
    blocks = " 'next' ".join(f'"$common" {shlex.quote(request)}' for request in requests)
    return (
        f"need curl; common={shlex.quote(chr(10).join(common))}'\nconnect-timeout = '$limit'\nmax-time = '$limit\n"
        f"printf '%s' {shlex.quote(credential.ca)} | {{ exec 3<&0; printf '%s\\n' {blocks} | curl --config -; }}"
    )


def _quoted(text: str) -> str:
    """Inside double quotes of curl's configuration file."""
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "")


def access_review(permission: Permission) -> Object:
    """A SelfSubjectAccessReview for every namespace."""
    attributes = {
        "verb": permission.verb,
        "group": permission.group,
        "resource": permission.resource,
        "subresource": permission.subresource,
    }
    return {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": {key: value for key, value in attributes.items() if value}},
    }
