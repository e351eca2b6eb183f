"""Arguments of commands: strings that the server can't take for anything else (RFC 9051, 4.3)."""

from __future__ import annotations

import re
from collections.abc import Sequence

from postbus.common.errors import BadInput
from postbus.imap_sync.protocol.utf7 import encode_utf7

Argument = str | bytes  # str goes as it is, bytes go as a literal

_QUOTABLE = re.compile(rb"[\x01-\x09\x0b\x0c\x0e-\x7f]*")  # TEXT-CHAR
_LONGEST_QUOTED = 1_000  # bytes; longer ones as literals
_FORBIDDEN = re.compile(r"[\x00\r\n]")


def astring(value: str | bytes) -> Argument:
    """A string for a command: quoted where that is possible, else a literal. BadInput for NUL: neither can hold it."""
    raw = value.encode() if isinstance(value, str) else value
    if b"\0" in raw:
        raise BadInput("NUL is not allowed in an IMAP command")
    if len(raw) > _LONGEST_QUOTED or not _QUOTABLE.fullmatch(raw):
        return raw
    return '"' + raw.decode("ascii").replace("\\", "\\\\").replace('"', '\\"') + '"'


def mailbox(path: str) -> Argument:
    """The name of a mailbox; BadInput for control characters."""
    return astring(encode_utf7(path))


def text(*words: str) -> str:
    """Words that stand as they are. BadInput for CR, LF and NUL: they would begin another command."""
    line = " ".join(word for word in words if word)
    if _FORBIDDEN.search(line):
        raise BadInput("CR, LF and NUL are not allowed in an IMAP command")
    if not line.isascii():
        raise BadInput("only ASCII is allowed outside of strings in an IMAP command")
    return line


def search_criteria(criteria: Sequence[str | bytes], *, charset: bool = True) -> list[Argument]:
    """Search keys: str are atoms and stay, bytes are values and become strings; CHARSET where they are not ASCII."""
    arguments: list[Argument] = [astring(item) if isinstance(item, bytes) else text(item) for item in criteria]
    if charset and any(isinstance(item, bytes) and not item.isascii() for item in criteria):
        arguments.insert(0, "CHARSET UTF-8")
    return arguments
