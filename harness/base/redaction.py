"""Takes private keys, tokens and passwords out of whatever others wrote. Pure.

They are known by their form (PEM, JSON Web Tokens, OAuth tokens of OpenShift, long base64) or by the name that stands
before them (`token:`, `Bearer`, `client-key-data:`). Every model is made through here, and so is what users are told.
"""

import re
from collections.abc import Callable, Mapping
from functools import cache, lru_cache
from typing import Any

HIDDEN = "[redacted]"

_LINE = 60
"""Characters of base64 that are taken for key material: a line of PEM has 64."""
_MARKS = re.compile(r"PRIVATE KEY|eyJ|sha256~|@|LS0tLS1CRUdJTi|ZXlK|YXBpVmVyc2lvb")
"""What the forms below contain. Most texts don't, and that is seen much faster than what the forms see."""
_FORMS = re.compile(
    "|".join(
        (
            # Certificates are public, and stay.
            r"(?P<public>-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----)",
            r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)",
            r"\beyJ[\w-]{6,}\.[\w-]+(?:\.[\w-]*)?",
            r"sha256~[\w-]{8,}",
            r"(?<=://)[^/\s@]+(?=@)",
            # Base64 of a PEM block, of a JSON Web Token, of a kubeconfig.
            r"(?:LS0tLS1CRUdJTi|ZXlK|YXBpVmVyc2lvb)[A-Za-z0-9+/=]{8,}",
            rf"(?P<long>[A-Za-z0-9+/_=-]{{{_LINE},}})",
        )
    ),
    re.DOTALL,
)
_LONG = re.compile(rf"[A-Za-z0-9+/_=-]{{{_LINE}}}")
"""A long text without this and without marks contains none of the forms."""
_MIXED = re.compile(r"(?=.*[A-Z])(?=.*[a-z])(?=.*\d)")
"""Base64 has all three; fingerprints, digests and names of Kubernetes don't."""

_NAMES = r"token|passw(?:or)?d|client-key(?:-data)?|private[-_]?key|api[-_]?key|authorization"
_NAME_MARKS = re.compile(r"token|passw|key|authorization|bearer")
_BEARER = re.compile(r"(?<=bearer )(?!token\b)[^\s\"']+", re.IGNORECASE)
_QUOTED = re.compile(rf"((?:{_NAMES})\\?[\"']\s*[:=]\s*\\?[\"'])(?!Bearer )[^\"'\\]+", re.IGNORECASE)
_UNQUOTED = re.compile(rf"((?:{_NAMES})\s*[:=]\s*)(?=\S*\d|\S{{24}})[^\s\"',;\[]{{8,}}", re.IGNORECASE)
"""Without quotes a value must look like one: "token: Unauthorized" says what went wrong."""
_TELLING = re.compile(rf"(?:^|[-_.])(?:{_NAMES})$", re.IGNORECASE)

PLAIN = frozenset({bool, int, float, type(None)})
"""Most of what is no text, and holds none. To ask whether it is a mapping takes much longer."""


def without_secrets(text: str) -> str:
    """The text, each private key, token and password in it replaced by `[redacted]`."""
    return _of_usual(text) if len(text) < _USUAL else _without_secrets(text)


def _without_secrets(text: str) -> str:
    if _MARKS.search(text) or (len(text) >= _LINE and _LONG.search(text)):
        text = _FORMS.sub(_form, text)
    if _NAME_MARKS.search(text.lower()):
        text = _BEARER.sub(HIDDEN, text)
        text = _UNQUOTED.sub(rf"\1{HIDDEN}", _QUOTED.sub(rf"\1{HIDDEN}", text))
    return text


_USUAL = 4096
"""Characters that most texts have less of, certificates among them."""
_of_usual = lru_cache(maxsize=8192)(_without_secrets)
"""An observation has the same names and labels thousands of times, and each certificate dozens of times."""


_is_mapping: Callable[[Any], bool] = cache(lambda kind: issubclass(kind, Mapping))
"""Of the type of a value: there are few types."""


def redact(text: str, limit: int = 400) -> str:
    """The text on one line, without private keys, tokens and passwords, cut after `limit` characters."""
    line = " ".join(without_secrets(text).split())
    return line if len(line) <= limit else f"{line[: limit - 1]}…"


def redacted(value: Any) -> Any:
    """The same data without secrets: texts, also as keys, in mappings, lists and tuples at any depth.

    The text under a key that names a secret is hidden whatever it looks like, and so is that of an environment
    variable (`{"name": "API_TOKEN", "value": …}`).
    """
    kind = type(value)
    if kind is str:  # a member of an enumeration stays what it is
        return without_secrets(value)
    if kind is list or kind is tuple:
        return kind(map(redacted, value)) if value else value
    if kind not in PLAIN and _is_mapping(kind):
        return {redacted(key): _member(value, key) for key in value}
    return value


def _member(mapping: Mapping[Any, Any], key: Any) -> Any:
    value = mapping[key]
    name = mapping.get("name") if key == "value" else key
    telling = isinstance(name, str) and isinstance(value, str) and value and _TELLING.search(name)
    return HIDDEN if telling else redacted(value)


def _form(found: re.Match[str]) -> str:
    if found["public"]:
        return found["public"]
    return found[0] if found["long"] and not _MIXED.match(found["long"]) else HIDDEN
