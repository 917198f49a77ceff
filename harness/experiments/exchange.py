"""Sends requests from the experiments' pods, and reads what came back."""

import re
import shlex
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from harness.base.redaction import redact
from harness.experiments.testbed import Testbed
from harness.kube.api import ExecResult, TransportError
from harness.model.experiment import PAYLOAD_BYTES, Exchange
from harness.model.topology import Cluster
from harness.model.traffic import ProbeResult
from harness.observe.probe_output import curl_results, unanswered
from harness.observe.probe_script import WRITE_OUT
from harness.observe.proxies import no_program
from harness.observe.reading import explain

REQUEST_SECONDS = 5.0
_VERSION = re.compile(r"(?:ServiceVersion=|\bversion: )([^\s,]+)")
_STATUS = re.compile(r"\bStatusCode=(\d+)")
_FATAL = re.compile(r"\bError .*", re.DOTALL)
_TIMED_OUT = re.compile(r"deadline exceeded|timed? ?out", re.IGNORECASE)
_NO_NAME = re.compile(r"no such host|no route to host|network is unreachable", re.IGNORECASE)
_COUNTED = "@@ counted "
_LOG_LINE = re.compile(r"^\d{4}-\d\d-\d\dT\S+\t\w+\t", re.MULTILINE)


@dataclass(frozen=True)
class Sender:
    """A pod that sends."""

    cluster: Cluster
    app: str
    """Its app label, the name of its container and of its service account."""
    account: str


@dataclass(frozen=True)
class Answer:
    """What became of the requests of one exec."""

    result: ProbeResult
    status: int = 0
    answers: tuple[tuple[str, int], ...] = ()
    """Version and number of its answers."""
    detail: str = ""
    returned: int = 0
    """Bytes of the payload that came back."""


def send_with_client(testbed: Testbed, sender: Sender, target: Cluster | None, url: str, count: int = 1) -> Exchange:
    """Send with the echo server's own client: gRPC calls over one connection, anything else on one for each request.

    The client says nothing of single requests when one of them fails.
    """
    limit = testbed.seconds(REQUEST_SECONDS)
    command = ("client", url, "--count", str(count), "--timeout", f"{limit:.1f}s")
    return _timed(
        testbed, sender, target, url, count=count, send=lambda: client_answer(_exec(testbed, sender, command))
    )


def send_payload(testbed: Testbed, sender: Sender, target: Cluster, url: str) -> Exchange:
    """Send one long message over TCP with the echo server's own client, which waits until it has come back whole."""
    script = payload_script(url, testbed.seconds(REQUEST_SECONDS))
    return _timed(
        testbed,
        sender,
        target,
        url,
        count=1,
        send=lambda: payload_answer(_exec(testbed, sender, ("sh", "-c", script))),
    )


def payload_script(url: str, limit: float) -> str:
    """The shell script that sends a payload of x, and counts each x that the client writes. Pure.

    The client writes what it sends and what comes back: a whole payload is counted twice. Its lines are cut short.
    """
    client = shlex.join(("client", url, "--count", "1", "--timeout", f"{limit:.1f}s"))
    return (
        f"said=$({client} --msg \"$(head -c {PAYLOAD_BYTES} /dev/zero | tr '\\0' x)\" 2>&1); status=$?\n"
        "printf '%s\\n' \"$said\" | cut -c 1-200\n"
        f'printf \'{_COUNTED}%s\\n\' "$(printf %s "$said" | tr -cd x | wc -c)"\n'
        "exit $status"
    )


def payload_answer(said: ExecResult) -> Answer:
    """What became of a payload. Pure."""
    text, _, counted = said.stdout.rpartition(_COUNTED)
    answer = client_answer(ExecResult(said.status, text, said.stderr))
    written = int(counted) if counted.strip().isdecimal() else 0
    return replace(answer, returned=max(0, written - PAYLOAD_BYTES) if answer.result is ProbeResult.ANSWERED else 0)


def send_with_curl(testbed: Testbed, sender: Sender, target: Cluster | None, url: str) -> Exchange:
    """Send one HTTP request with curl."""
    limit = str(max(1, round(testbed.seconds(REQUEST_SECONDS))))
    command = ("curl", "-sS", "--noproxy", "*", "--max-time", limit, "-w", WRITE_OUT, url)
    # What curl says of a failure belongs before the line that ends the request.
    merged = ("sh", "-c", f"{shlex.join(command)} 2>&1")
    return _timed(
        testbed, sender, target, url, count=1, send=lambda: curl_answer(_exec(testbed, sender, merged).stdout)
    )


def client_answer(said: ExecResult) -> Answer:
    """What the echo server's client came to. Pure."""
    text = said.stdout + said.stderr
    if said.status == 0:
        status = _STATUS.search(text)
        counted = tuple(sorted(Counter(_VERSION.findall(text)).items()))
        return Answer(ProbeResult.ANSWERED, int(status[1]) if status else 0, counted)
    fatal = _FATAL.search(text)
    detail = redact(_LOG_LINE.sub("", fatal[0] if fatal else text), 200)
    if _TIMED_OUT.search(detail):
        return Answer(ProbeResult.TIMEOUT, detail=detail)
    return Answer(ProbeResult.UNREACHABLE if _NO_NAME.search(detail) else ProbeResult.REFUSED, detail=detail)


def curl_answer(output: str) -> Answer:
    """What one request of curl came to. Pure."""
    found = curl_results(output.splitlines())
    if not found:
        return Answer(ProbeResult.TRANSPORT, detail=redact(output, 200) or "curl said nothing")
    curl = found[0]
    if curl.exit or not curl.status:
        return Answer(unanswered(curl), curl.status, detail=redact(curl.said, 200))
    counted = tuple(Counter(_VERSION.findall(curl.said)[:1]).items())
    return Answer(ProbeResult.ANSWERED, curl.status, counted, "" if counted else redact(curl.said, 200))


def _exec(testbed: Testbed, sender: Sender, command: Sequence[str]) -> ExecResult:
    pod = testbed.pods[sender.cluster.name, sender.app]
    kube = testbed.mesh.kube(sender.cluster)
    return kube.exec(testbed.namespace, pod, sender.app, command, timeout=testbed.seconds(REQUEST_SECONDS) + 10)


def _timed(
    testbed: Testbed, sender: Sender, target: Cluster | None, url: str, *, count: int, send: Callable[[], Answer]
) -> Exchange:
    began = time.monotonic()
    try:
        answer = send()
    except TransportError as failed:
        result = ProbeResult.NO_TOOL if no_program(failed) else ProbeResult.TRANSPORT
        answer = Answer(result, detail=explain(failed))
    return Exchange(
        source=sender.cluster.name,
        pod=testbed.pods[sender.cluster.name, sender.app],
        account=sender.account,
        target=target.name if target else "",
        url=url,
        sent=count,
        result=answer.result,
        status=answer.status,
        answers=dict(answer.answers),
        returned=answer.returned,
        detail=answer.detail,
        seconds=round(time.monotonic() - began, 3),
    )
