"""The few lines of a container's log that name a fault. Pure."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from harness.base.redaction import redact

MOST_LINES = 6
WIDTH = 300
_SEVERE = frozenset({"warn", "warning", "error", "critical", "fatal", "panic", "dpanic"})
_LEVELS = "|".join(_SEVERE)
_FORMATS = (
    # istiod, pilot-agent and what they pass on of Envoy: time, level, scope and text; zap's console: the same.
    re.compile(rf"^\S+\s+(?P<level>{_LEVELS})\s+(?P<text>.*)", re.IGNORECASE),
    # Envoy by itself: [time][thread][level][logger] text.
    re.compile(rf"^\[[^\]]*\](?:\[\d+\])?\[(?P<level>{_LEVELS})\]\s*(?P<text>.*)"),
    # klog: a letter for the level.
    re.compile(r"^(?P<level>[EWF])\d{4} \S+\s+\d+ (?P<text>.*)"),
    # logfmt.
    re.compile(rf"^.*\blevel=\"?(?P<level>{_LEVELS})\"?\s+(?P<text>.*)", re.IGNORECASE),
    # What programs say when they end: cobra, Go's runtime.
    re.compile(r"^(?P<level>error|panic|fatal error|fatal):\s*(?P<text>.*)", re.IGNORECASE),
)
_KLOG = {"W": "warn", "E": "error", "F": "fatal"}
_NOISE = re.compile(r"\s+(thread=\d+|controller=\S+)$")
_VARYING = re.compile(r"\b\d+(\.\d+)?(ms|s)( ago)?\b|(?<=:)\d{5}(?=->)|\bretry count: \d+")


def telling_lines(text: str, most: int = MOST_LINES) -> tuple[str, ...]:
    """The last warnings and errors of a log, without their times and without secrets.

    Lines that differ in durations, ephemeral ports and counts of attempts only are one, at its last place.

    Args:
        text: the end of the log, of any program whose format is common on Kubernetes.
        most: at most so many lines.
    """
    found: dict[str, str] = {}
    for said in _severe(text):
        key = _VARYING.sub("", said)
        found.pop(key, None)
        found[key] = redact(said, WIDTH)
    return tuple(found.values())[-most:]


def last_words(text: str, most: int = 3) -> tuple[str, ...]:
    """What a program that has ended said at last: its warnings and errors, else its last lines."""
    lines = [line for line in text.splitlines() if line.strip()]
    return telling_lines(text, most) or tuple(redact(line, WIDTH) for line in lines[-most:])


def _severe(text: str) -> Iterator[str]:
    for line in text.splitlines():
        if line.startswith("{"):
            yield from _of_json(line)
        elif match := next(filter(None, (form.match(line) for form in _FORMATS)), None):
            level = _KLOG.get(match["level"], match["level"].lower())
            yield f"{level} {_NOISE.sub('', _without_fields(match['text']))}"


def _of_json(line: str) -> Iterator[str]:
    try:
        said = json.loads(line)
    except ValueError:
        return
    if said.get("response_flags") not in (None, "-"):
        yield _access(said)
    level = str(said.get("level") or said.get("severity") or "").lower()
    if level in _SEVERE:
        words = (said.get("msg") or said.get("message"), said.get("error") or said.get("err"))
        yield " ".join([level, ": ".join(str(word) for word in words if word)])


def _access(said: Mapping[str, Any]) -> str:
    """A line of Envoy's access log that has response flags: what became of a request, and where it was sent."""
    name = said.get("requested_server_name") or said.get("authority") or "?"
    where = f"{said.get('upstream_host') or 'no host'} of {said.get('upstream_cluster') or 'no cluster'}"
    return f"access {name}: {said.get('response_code')} {said['response_flags']}, {where}"


def _without_fields(text: str) -> str:
    """In zap's console format a line ends with fields as JSON: only the error among them says anything."""
    head, _, fields = text.partition("\t{")
    try:
        error = json.loads("{" + fields).get("error") if fields else ""
    except ValueError:
        return text
    return f"{head}: {error}" if error else head
