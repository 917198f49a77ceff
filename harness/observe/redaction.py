"""Texts that others wrote (log lines, messages, errors) as a line of an observation. Pure."""

from harness.redaction import without_secrets


def redact(text: str, limit: int = 400) -> str:
    """The text on one line without private keys, tokens and passwords, cut after `limit` characters."""
    line = " ".join(without_secrets(text).split())
    return line if len(line) <= limit else f"{line[: limit - 1]}…"
