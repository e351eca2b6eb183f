"""Header blocks of messages (RFC 5322, 2.2 and 3.6) as lists of fields, and the values that are not text."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

from postbus.common.mime.addresses import Address, parse_addresses
from postbus.common.mime.parameters import decode_parameters
from postbus.common.mime.words import decode_words, header_bytes

__all__ = [
    "MAX_HEADER_BLOCK",
    "Address",
    "decode_parameters",
    "decode_words",
    "decoded_headers",
    "parse_addresses",
    "parse_date",
    "parse_header_block",
    "parse_message_ids",
]

MAX_HEADER_BLOCK: Final = 1024 * 1024  # bytes; what lies beyond is not read
MAX_FIELDS: Final = 10_000
MAX_IDS: Final = 1000  # message ids of one References header
MAX_ID: Final = 998  # characters: one line, RFC 5322, 2.1.1
MAX_DATE: Final = 200  # characters
OLDEST_YEAR: Final = 1900  # a date before is a broken clock or a joke

# field = 1*ftext *WSP ":" body, with every continuation line; ftext is any printable ASCII but the colon.
FIELD: Final = re.compile(rb"([!-9;-~]{1,998})[ \t]*:([^\n]*+(?:\n[ \t][^\n]*+)*+)\n?")
_LINE: Final = re.compile(rb"[^\n]*+(?:\n[ \t][^\n]*+)*+\n?")
_FOLD: Final = re.compile(rb"\r?\n[ \t]?")
_BRACKETED: Final = re.compile(r"<([^<>]{1,1100})>")
_BETWEEN_IDS: Final = re.compile(r"[\s,;<>()\"]+")
_MONTH: Final = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*"
_YEAR_0: Final = re.compile(rf"{_MONTH}[\s.,-]+0\d{{3}}\b|^\s*0\d{{3}}-", re.IGNORECASE)


def parse_header_block(block: bytes) -> list[tuple[str, bytes]]:
    """Fields of a header block in order: name as written, raw value on one line, without surrounding white space.

    Ends at the first empty line; lines that are no field are skipped with their continuations. Never raises; reads at
    most `MAX_HEADER_BLOCK` bytes and `MAX_FIELDS` fields.
    """
    fields: list[tuple[str, bytes]] = []
    block = block[:MAX_HEADER_BLOCK]
    position = 0
    while position < len(block) and len(fields) < MAX_FIELDS and not block.startswith((b"\r\n", b"\n"), position):
        if field := FIELD.match(block, position):
            fields.append((field[1].decode("ascii"), unfold(field[2])))
            position = field.end()
        elif line := _LINE.match(block, position):
            position = line.end()
    return fields


def unfold(value: bytes) -> bytes:
    """A field body on one line: folds become one space (RFC 5322, 2.2.3), a stray CR too."""
    return _FOLD.sub(b" ", value).replace(b"\r", b" ").strip()


def decoded_headers(block: bytes) -> dict[str, list[str]]:
    """Fields of a header block as lower-case name -> decoded values in order (RFC 2047)."""
    headers: dict[str, list[str]] = {}
    for name, value in parse_header_block(block):
        headers.setdefault(name.lower(), []).append(decode_words(value))
    return headers


def parse_message_ids(value: bytes | str | None) -> list[str]:
    """Message ids of a Message-ID, In-Reply-To or References value: with brackets, in order, each once.

    White space inside of brackets (folded ids) is dropped; ids without any brackets are understood too.
    """
    if not value:
        return []
    text = header_bytes(value)[:MAX_HEADER_BLOCK].decode("utf-8", "replace")
    found = ["".join(match[1].split()) for match in _BRACKETED.finditer(text)] or _bare_ids(text)
    usable = (f"<{message_id}>" for message_id in found if message_id and message_id.isprintable())
    return list(dict.fromkeys(message_id for message_id in usable if len(message_id) <= MAX_ID))[:MAX_IDS]


def _bare_ids(text: str) -> list[str]:
    """What stands between separators and has an `@` inside; no pattern for the whole, which would take square time."""
    return [word for word in _BETWEEN_IDS.split(text) if "@" in word[1:-1]]


def parse_date(value: bytes | str | None) -> datetime | None:
    """A Date value (RFC 5322, 3.3) as aware UTC; None for nonsense, year 0 and everything before 1900."""
    if not value:
        return None
    text = header_bytes(value)[:MAX_DATE].decode("ascii", "replace")
    if _YEAR_0.search(text):  # the standard library reads year 0000 as 2000
        return None
    try:
        parsed = parsedate_to_datetime(text)
        parsed = parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return parsed if parsed.year >= OLDEST_YEAR else None
