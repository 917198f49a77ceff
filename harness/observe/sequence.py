"""A sequence of requests: the script that sends it in one exec, and the reading of its output."""

import re
import secrets
import shlex
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from harness.base.redaction import redact
from harness.model.traffic import Request

MARK = "@@"
_TIMEOUT_COSTS = 5
_OK = 200
_REPLY = re.compile(r"version: (?P<version>[^,\s]+), instance: (?P<instance>\S+)")
WRITE_OUT = f"\\n{MARK} %{{http_code}} %{{time_total}} %{{num_connects}} %{{exitcode}} %{{errormsg}}\\n"
_LOOP = """
set -f
newline='
'
spaces=$IFS sent=0 trouble=0 missing=$wanted
while [ "$sent" -lt "$cap" ] && [ "$trouble" -lt "$patience" ]; do
  [ -n "$wanted" ] && [ -z "$missing" ] && [ "$sent" -ge "$least" ] && break
  read -r up idle </proc/uptime
  : "${began:=${up%%.*}}"
  [ "$sent" -gt 0 ] && [ $((${up%%.*} - began)) -ge "$seconds_at_most" ] && break
  size=$chunk
  [ $((cap - sent)) -lt "$size" ] && size=$((cap - sent))
  before=$sent
  replies=$(curl -s --noproxy '*' --fail-early --max-time "$limit" -H 'Connection: close' -H "x-request-id: $id" \
    -w "$format" "$url#[1-$size]")
  printf '@@ clock %s\\n%s\\n' "$up" "$replies"
  IFS=$newline
  for line in $replies; do
    case $line in
    '@@ 200 '*) sent=$((sent + 1)) ;;
    '@@ '*)
      sent=$((sent + 1))
      seconds=${line#@@ * } seconds=${seconds%%.*}
      case $line in *' 28 '*) seconds=$limit ;; esac
      if [ "${seconds:-0}" -ge "$limit" ]; then trouble=$((trouble + timeout_costs)); else trouble=$((trouble + 1)); fi
      ;;
    *'version: '*)
      version=${line#*version: } version=${version%%,*} left=
      IFS=$spaces
      for name in $missing; do [ "$name" = "$version" ] || left="$left $name"; done
      IFS=$newline
      missing=$left
      ;;
    esac
  done
  IFS=$spaces
  [ "$sent" -eq "$before" ] && break
done
exit 0
"""


@dataclass(frozen=True)
class SequencePlan:
    """What a sequence sends, and when it ends before its cap."""

    url: str
    cap: int
    """Requests at most."""
    versions: tuple[str, ...] = ()
    """It ends when each of these has answered, and `least` requests were sent; sent to its cap where empty."""
    least: int = 0
    patience: int = 10
    """A failed request costs 1, one that timed out 5; at this sum the sequence is broken off."""
    limit: int = 5
    """Seconds for one request."""
    seconds: int = 3600
    """After which no further request is sent."""
    request_id: str = ""
    """Header x-request-id of each request, by which the destination's access log tells them from others; none sent
    where empty. Envoy passes one on that is there already (Envoy, "x-request-id")."""
    chunk: int = 1
    """Requests that one curl sends: 1 lets the sequence end after any request, more is faster. Each request is on a
    connection of its own either way."""


def new_request_id() -> str:
    """An x-request-id that nobody else sends; no UUID, in whose place Envoy would write what it decided on tracing."""
    return f"ew-{secrets.token_hex(5)}"


def script(plan: SequencePlan) -> str:
    """The shell script that sends the sequence."""
    settings = {
        "url": plan.url,
        "cap": plan.cap,
        "wanted": " ".join(plan.versions),
        "least": plan.least,
        "patience": plan.patience,
        "limit": plan.limit,
        "chunk": plan.chunk,
        "seconds_at_most": plan.seconds,
        "timeout_costs": _TIMEOUT_COSTS,
        "format": WRITE_OUT,
        "id": plan.request_id,
    }
    return "\n".join(f"{name}={shlex.quote(str(value))}" for name, value in settings.items()) + _LOOP


def command(plan: SequencePlan) -> str:
    """What is sent, as one would type it."""
    return f"curl -s --max-time {plan.limit} -H 'Connection: close' {plan.url}"


def requests(output: str) -> tuple[Request, ...]:
    """The requests in a sequence's output.

    A request's `sent` is exact to 10 ms for the first one of each curl; those after it follow by their durations.
    """
    return tuple(_requests(output))


def _requests(output: str) -> Iterator[Request]:
    began: float | None = None
    clock = 0.0
    body: list[str] = []
    for line in output.splitlines():
        if line.startswith(f"{MARK} clock "):
            clock = float(line.split()[2])
            began, body = (clock if began is None else began), []
        elif line.startswith(f"{MARK} "):
            found = request(line, "\n".join(body), clock - (began or clock))
            clock, body = clock + found.seconds, []
            yield found
        else:
            body.append(line)


def request(line: str, body: str, sent: float) -> Request:
    """One request, from the line that WRITE_OUT makes curl print and the body before it."""
    fields = line.split(maxsplit=5)
    status, seconds = int(fields[1]), float(fields[2])
    said = fields[5] if len(fields) > 5 else ""  # noqa: PLR2004
    reply = _REPLY.search(body) if status == _OK else None
    error = "" if reply else redact(said or body or "no answer", 200)
    return Request(
        sent=round(max(0.0, sent), 3),
        seconds=seconds,
        status=status,
        version=reply["version"] if reply else "",
        instance=reply["instance"] if reply else "",
        error=error,
    )


def versions_seen(found: Collection[Request]) -> set[str]:
    """The versions that answered."""
    return {request.version for request in found if request.version}


def broken_off(plan: SequencePlan, found: Collection[Request]) -> bool:
    """Whether it ended because too much failed."""
    failed = [request for request in found if request.status != _OK]
    cost = sum(_TIMEOUT_COSTS if round(request.seconds, 1) >= plan.limit else 1 for request in failed)
    return cost >= plan.patience
