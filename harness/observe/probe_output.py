"""Reads the output of the probes' script. Pure."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.base.redaction import redact
from harness.model import x509
from harness.model.certificate import Certificate
from harness.model.permissions import ALL
from harness.model.traffic import Probe, ProbeKind, ProbeResult
from harness.observe.probe_plan import STATUS_PORT, PlannedProbe
from harness.observe.probe_script import MARK

_REFUSED, _TIMED_OUT, _NO_NAME, _NO_HOST = 7, 28, (5, 6), ("No route to host", "unreachable", "Name or service")
_WITHIN_EXPIRED = 124
"""The status of `timeout` when it ended the command."""
_OK, _UNAUTHORIZED, _FORBIDDEN, _CREATED = 200, 401, 403, 201
_ARP_SECONDS = 1.0
"""A refusal comes at once; that nobody has the address is known only after this long."""
_ERRNO = {"111": ProbeResult.REFUSED, "110": ProbeResult.TIMEOUT, "113": ProbeResult.UNREACHABLE}
_NOISE = re.compile(r"^(depth=|verify |DONE|CONNECTED|Connecting to)|^$")


@dataclass(frozen=True)
class CurlResult:
    """How one request of curl ended."""

    status: int
    connected: bool
    seconds: float
    exit: int
    said: str


def by_probe(output: str) -> dict[int, list[str]]:
    """The lines of each probe, by its number."""
    found: dict[int, list[str]] = {}
    for line in output.splitlines():
        number, _, text = line.partition(" ")
        if number.isdigit():
            found.setdefault(int(number), []).append(text)
    return found


def probe(planned: PlannedProbe, lines: Sequence[str] | None, pod: str) -> Probe:
    """One probe's result; without any lines the script did not get to it."""
    missing = next((line.removeprefix(f"{MARK} missing ") for line in lines or () if line.startswith(f"{MARK} m")), "")
    if missing:
        return _result(planned, pod, ProbeResult.NO_TOOL, detail=f"no {missing} in the container")
    if not lines:
        return _result(planned, pod, ProbeResult.TRANSPORT, detail="the script ended before this probe did")
    return _READ_BY.get(planned.kind, _connection)(planned, lines, pod)


def _result(
    planned: PlannedProbe,
    pod: str,
    result: ProbeResult,
    *,
    status: int = 0,
    detail: str = "",
    seconds: float = 0.0,
    certificates: tuple[Certificate, ...] = (),
    permissions: Mapping[str, bool] | None = None,
) -> Probe:
    return Probe(
        kind=planned.kind,
        source=planned.source,
        source_pod=pod,
        target=planned.target,
        address=planned.address,
        port=planned.port,
        server_name=planned.server_name,
        result=result,
        status=status,
        detail=redact(detail, 200),
        certificates=certificates,
        permissions=dict(permissions or {}),
        seconds=round(seconds, 3),
    )


def not_sent(planned: PlannedProbe, pod: str, result: ProbeResult, detail: str) -> Probe:
    """A probe that could not be sent at all."""
    return _result(planned, pod, result, detail=detail)


def curl_results(lines: Sequence[str]) -> list[CurlResult]:
    """The requests of curl in a probe's lines, each with what was printed before its end."""
    found: list[CurlResult] = []
    said: list[str] = []
    for line in lines:
        if not line.startswith(f"{MARK} curl "):
            said.append(line)
            continue
        status, connected, seconds, code = [*line.split()[2:], "", "", "", ""][:4]
        text = "\n".join(said)
        # curl before 7.75 does not know its exit code there; what it writes to standard error says the same.
        spoken = re.search(r"curl: \((\d+)\)", text)
        known = int(code) if code.isdigit() else int(spoken[1]) if spoken else 0
        found.append(CurlResult(int(status or 0), _number(connected) > 0, _number(seconds), known, text))
        said = []
    # curl writes its errors to standard error, unbuffered, before or after the line above.
    if found and said:
        last = found[-1]
        found[-1] = CurlResult(last.status, last.connected, last.seconds, last.exit, "\n".join([last.said, *said]))
    return found


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


def unanswered(curl: CurlResult) -> ProbeResult:
    """Why curl got no answer."""
    if curl.exit == _TIMED_OUT:
        return ProbeResult.TIMEOUT
    if curl.exit in _NO_NAME or any(text in curl.said for text in _NO_HOST):
        return ProbeResult.UNREACHABLE
    if curl.exit == _REFUSED and curl.seconds >= _ARP_SECONDS:
        return ProbeResult.UNREACHABLE
    return ProbeResult.REFUSED


def _errors(text: str) -> str:
    """What curl said went wrong."""
    return " ".join(re.findall(r"curl: \(\d+\) [^\n]*", text))


def _connection(planned: PlannedProbe, lines: Sequence[str], pod: str) -> Probe:
    """A connection that is accepted counts, whatever follows; on the readiness port its answer must be good."""
    curl = next(iter(curl_results(lines)), None)
    if curl is None:
        return _result(planned, pod, ProbeResult.TRANSPORT, detail=" ".join(lines))
    if not curl.connected:
        result, detail = unanswered(curl), _errors(curl.said)
    elif planned.port == STATUS_PORT and curl.status != _OK:
        result = ProbeResult.TIMEOUT if curl.exit == _TIMED_OUT else ProbeResult.REFUSED
        detail = f"not ready: status {curl.status} {_errors(curl.said)}"
    else:
        result, detail = ProbeResult.ANSWERED, "" if curl.exit == 0 else "accepted, then closed without a word"
    return _result(planned, pod, result, status=curl.status, detail=detail, seconds=curl.seconds)


def _packets(planned: PlannedProbe, lines: Sequence[str], pod: str) -> Probe:
    """A long request after a short one; the status is the short one's, without which the long one shows nothing."""
    results = curl_results(lines)
    if not results:
        return _result(planned, pod, ProbeResult.TRANSPORT, detail=" ".join(lines))
    short, last = results[0], results[-1]
    if last.status and len(results) > 1:
        result, detail = ProbeResult.ANSWERED, ""
    else:
        result, detail = unanswered(last), _errors(last.said)
    return _result(planned, pod, result, status=short.status, detail=detail, seconds=last.seconds)


def _seconds(lines: Sequence[str]) -> float:
    times = [_number(line.split()[-1]) for line in lines if line.startswith(f"{MARK} clock ")]
    return times[-1] - times[0] if times else 0.0


def _status(lines: Sequence[str]) -> int | None:
    return next((int(line.split()[-1]) for line in lines if line.startswith(f"{MARK} exit ")), None)


def presented(lines: Sequence[str]) -> tuple[Certificate, ...]:
    """The certificates that openssl s_client shows, in the peer's order, each once."""
    found: dict[str, Certificate] = {}
    for block in re.findall(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", "\n".join(lines), re.DOTALL):
        try:
            cert = x509.certificate(f"{block}\n")
        except ValueError:
            continue
        found.setdefault(cert.sha256, cert)
    return tuple(found.values())


def _openssl_failure(lines: Sequence[str]) -> tuple[ProbeResult, str]:
    """Why openssl s_client saw no certificate."""
    words = [line for line in lines if not line.startswith(MARK) and not _NOISE.search(line)]
    text = "\n".join(words)
    detail = next((line for line in words if "error" in line.lower() or "errno" in line), "")
    if _status(lines) == _WITHIN_EXPIRED:
        return ProbeResult.TIMEOUT, "no answer in time"
    connect = re.search(r"connect:errno=(\d+)", text)
    if connect:
        return _ERRNO.get(connect[1], ProbeResult.UNREACHABLE), detail
    if "Name or service not known" in text or "BIO_lookup" in text:
        return ProbeResult.UNREACHABLE, detail
    return ProbeResult.REFUSED, _alert(text) or detail or "closed during the handshake"


def _alert(text: str) -> str:
    found = re.search(r"(alert [a-z ]+|errno=\d+|unexpected eof[a-z ]*)", text)
    return found[1].strip() if found else ""


def _handshake(planned: PlannedProbe, lines: Sequence[str], pod: str) -> Probe:
    certificates = presented(lines)
    result, detail = (ProbeResult.ANSWERED, "") if certificates else _openssl_failure(lines)
    alpn = next((line.partition(": ")[2] for line in lines if line.startswith("ALPN protocol: ")), "")
    return _result(
        planned,
        pod,
        result,
        detail=f"ALPN {alpn}" if alpn and not detail else detail,
        seconds=_seconds(lines),
        certificates=certificates,
    )


def _without_certificate(planned: PlannedProbe, lines: Sequence[str], pod: str) -> Probe:
    answer = next((line for line in lines if line.startswith("HTTP/")), "")
    if answer:
        words = answer.split()
        status = int(words[1]) if len(words) > 1 and words[1].isdigit() else 0
        return _result(
            planned, pod, ProbeResult.ANSWERED, status=status, detail=answer.strip(), seconds=_seconds(lines)
        )
    result, detail = _openssl_failure(lines)
    return _result(planned, pod, result, detail=detail, seconds=_seconds(lines))


def _without_token(planned: PlannedProbe, lines: Sequence[str], pod: str) -> Probe:
    """Only gRPC status 0 is a signed certificate; 16 is Unauthenticated (gRPC status codes)."""
    curl = next(iter(curl_results(lines)), None)
    if curl is None:
        return _result(planned, pod, ProbeResult.TRANSPORT, detail=" ".join(lines))
    headers = dict(re.findall(r"^(grpc-[a-z]+): *(.*?)\r?$", curl.said, re.MULTILINE | re.IGNORECASE))
    if "grpc-status" in headers:
        signed = headers["grpc-status"] == "0"
        detail = f"gRPC status {headers['grpc-status']} {headers.get('grpc-message', '')}".strip()
        result = ProbeResult.ANSWERED if signed else ProbeResult.REFUSED
    elif curl.status:
        result, detail = ProbeResult.REFUSED, f"status {curl.status} without a gRPC status"
    else:
        result, detail = unanswered(curl), _errors(curl.said)
    return _result(planned, pod, result, status=curl.status, detail=detail, seconds=curl.seconds)


def _api_server(planned: PlannedProbe, lines: Sequence[str], pod: str) -> Probe:
    results = curl_results(lines)
    if not results:
        return _result(planned, pod, ProbeResult.TRANSPORT, detail=" ".join(lines))
    version, *reviews = results
    allowed = {
        str(permission): answer
        for permission, review in zip(ALL, reviews, strict=False)
        if (answer := _allowed(review)) is not None
    }
    statuses = {curl.status for curl in (version, *reviews)}
    denied = statuses & {_UNAUTHORIZED, _FORBIDDEN}
    if not version.status:
        result, detail = unanswered(version), _errors(version.said)
    elif denied:
        result, detail = ProbeResult.REFUSED, f"status {max(denied)}"
    else:
        result, detail = ProbeResult.ANSWERED, ""
    return _result(
        planned,
        pod,
        result,
        status=max(denied, default=version.status),
        detail=detail,
        seconds=version.seconds,
        permissions=allowed,
    )


def _allowed(review: CurlResult) -> bool | None:
    """The answer of an access review; None where it is none."""
    if review.status not in {_OK, _CREATED}:
        return None
    start = review.said.find("{")
    try:
        answer, _ = json.JSONDecoder().raw_decode(review.said[start:])
    except ValueError:
        return None
    return bool((answer.get("status") or {}).get("allowed"))


_READ_BY = {
    ProbeKind.PACKETS: _packets,
    ProbeKind.TLS: _handshake,
    ProbeKind.TLS_NO_CERTIFICATE: _without_certificate,
    ProbeKind.CSR_NO_TOKEN: _without_token,
    ProbeKind.API_SERVER: _api_server,
}
