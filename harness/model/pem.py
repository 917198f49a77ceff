"""Reads PEM files as strictly as istiod and Envoy do. Pure.

Both take a block only where BEGIN and END stand on lines of their own (Go `encoding/pem`, BoringSSL `PEM_read_bio`).
Text between blocks, blank lines and CRLF line ends are allowed. OpenSSL's command line and Python are more tolerant.

Source: RFC 7468 sections 2 and 3.
"""

from dataclasses import dataclass, field

_BEGIN, _END, _DASHES = "-----BEGIN ", "-----END ", "-----"


@dataclass(frozen=True)
class Block:
    """One PEM block."""

    type: str
    """For instance CERTIFICATE."""
    line: int
    """Of its BEGIN, counted from 1."""
    text: str = field(repr=False)
    """From BEGIN to END. It may be a private key."""


class PemError(ValueError):
    """A file is not a list of PEM blocks; the message names the line, and quotes nothing of the file."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(f"not a list of PEM blocks (line {line}: {reason})")


def blocks(data: str | bytes) -> tuple[Block, ...]:
    """The blocks of a PEM file in its order; empty where there is none.

    Raises:
        PemError: a block begins or ends in the middle of a line, or has no end.
    """
    text = data.decode("latin-1") if isinstance(data, bytes) else data
    found: list[Block] = []
    kind, begun, inside = "", 0, list[str]()
    for number, line in enumerate((raw.rstrip() for raw in text.split("\n")), start=1):
        if not kind:
            if line.startswith(_BEGIN) and line.endswith(_DASHES) and _END not in line:
                kind, begun, inside = line[len(_BEGIN) : -len(_DASHES)], number, [line]
            elif _BEGIN in line or _END in line:
                reason = "BEGIN is not at the start of the line" if _BEGIN in line else "END without BEGIN"
                raise PemError(number, reason)
            continue
        inside.append(line)
        if line == f"{_END}{kind}{_DASHES}":
            found.append(Block(kind, begun, "\n".join(inside) + "\n"))
            kind = ""
        elif _BEGIN in line or _END in line:
            raise PemError(number, _inside(line))
    if kind:
        raise PemError(begun, "the block has no END")
    return tuple(found)


def _inside(line: str) -> str:
    """What is wrong with a BEGIN or END in the middle of a block."""
    if _BEGIN in line and _END in line:
        return "END and BEGIN on one line"
    return "BEGIN before the END of the block above" if _BEGIN in line else "not the END of this block, or more than it"
