"""Takes secrets out of texts that others wrote: log lines, messages, errors. Pure."""

import re

_HIDDEN = "[redacted]"
_PATTERNS = (
    re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(-----END [A-Z ]*PRIVATE KEY-----|$)", re.DOTALL),
    re.compile(r"\beyJ[\w-]{6,}\.[\w-]+(\.[\w-]*)?"),
    re.compile(r"(?<=bearer )[^\s\"']+", re.IGNORECASE),
    re.compile(r"(?<=token[\"']: [\"'])[^\"']+", re.IGNORECASE),
    re.compile(r"(?<=://)[^/\s:@]+:[^/\s@]+(?=@)"),
)


def redact(text: str, limit: int = 400) -> str:
    """The text on one line without private keys, tokens and passwords in URLs, cut after `limit` characters."""
    for pattern in _PATTERNS:
        text = pattern.sub(_HIDDEN, text)
    line = " ".join(text.split())
    return line if len(line) <= limit else f"{line[: limit - 1]}…"
