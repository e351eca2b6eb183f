"""FETCH rows (RFC 9051, 7.5.2; RFC 7162; RFC 8474; Gmail's X-GM items)."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, Final

from postbus.common.errors import ProtocolError
from postbus.imap_sync.protocol.body_structure import parse_body
from postbus.imap_sync.protocol.dates import parse_internal_date
from postbus.imap_sync.protocol.envelope import parse_envelope
from postbus.imap_sync.protocol.flags import Flags, flags_of, parse_flags
from postbus.imap_sync.protocol.mailboxes import object_id_of
from postbus.imap_sync.protocol.tokens import Token, number_of, parse_tokens, text_of
from postbus.imap_sync.protocol.utf7 import decode_utf7
from postbus.imap_sync.protocol.values import Fetched

# The rows of a plain look at flags, by far the most there are: 2 µs instead of 20. Anything else takes the long way.
_FLAGS_ROW = re.compile(
    rb"\* (\d{1,10}) FETCH \((?:UID (\d{1,10}) )?(?:MODSEQ \(\d{1,20}\) )?FLAGS \(([^()\"]*)\)"
    rb"(?: UID (\d{1,10}))?(?: MODSEQ \(\d{1,20}\))?\)"
)
_ROW = re.compile(rb"\* +(\d{1,10}) +FETCH *(?=\()", re.IGNORECASE)
_UID = re.compile(rb"\bUID +(\d{1,10})\b", re.IGNORECASE)
_SECTION = re.compile(rb"(?:BODY(?:\.PEEK)?|BINARY(?:\.PEEK)?)\[(.*)\](?:<[\d.]*>?)?", re.IGNORECASE | re.DOTALL)
_ORIGIN = re.compile(rb"\bBODY\[[^\]]*+\](?:<(\d{1,19})(?:\.\d*)?>)?", re.IGNORECASE)
_WHOLE: Final = {b"RFC822": "", b"RFC822.HEADER": "HEADER", b"RFC822.TEXT": "TEXT"}


def parse_flags_row(text: bytes) -> tuple[int, Flags] | None:
    """Uid and flags of `* 1 FETCH (UID 7 FLAGS (\\Seen))`, MODSEQ allowed; None for any other row."""
    found = _FLAGS_ROW.fullmatch(text)
    if found is None:
        return None
    uid = found[2] or found[4]
    return (int(uid), parse_flags(found[3])) if uid else None


def is_row(text: bytes) -> bool:
    """Whether a response is a FETCH row."""
    return _ROW.match(text) is not None


def parse_row(pieces: Sequence[bytes]) -> Fetched:
    """A FETCH row. ProtocolError when its words can't be told apart; single items that are malformed are left out."""
    head = _ROW.match(pieces[0])
    if head is None:
        raise ProtocolError("the server sent a malformed FETCH")
    tokens = parse_tokens(pieces, start=head.end())
    items = tokens[0] if tokens else None
    if not isinstance(items, list):
        raise ProtocolError("the server sent a FETCH without a list")
    return Fetched(int(head[1]), **_items(items))


def origin_of(pieces: Sequence[bytes]) -> int | None:
    """Where the first section of a row begins; None without a partial, or where the server does not say."""
    found = _ORIGIN.search(pieces[0])
    return int(found[1]) if found and found[1] else None


def broken_row(pieces: Sequence[bytes]) -> Fetched | None:
    """What is sure of a row that can't be parsed: its numbers. None without a uid."""
    head = _ROW.match(pieces[0])
    uid = _UID.search(pieces[0], head.end()) if head else None
    return Fetched(int(head[1]), uid=int(uid[1]), broken=True) if head and uid else None


def _items(items: list[Token]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    sections: dict[str, bytes] = {}
    at, end = 0, len(items)
    while at < end:
        name = items[at]
        at += 1
        if not isinstance(name, bytes):
            continue
        known = _ITEMS.get(name) or _ITEMS.get(name.upper())
        if known is not None:
            if at < end:
                field, parse = known
                values[field] = parse(items[at])
        elif b"[" in name and b"]" not in name:
            name, at = _split_section(name, items, at)
            _add_section(sections, name, items[at] if at < end else None)
        else:
            _add_section(sections, name, items[at] if at < end else None)
        at += 1
    if sections:
        values["sections"] = sections
    return values


def _split_section(name: bytes, items: list[Token], at: int) -> tuple[bytes, int]:
    """A section name with a literal inside comes in several tokens: put it together, up to its `]`."""
    words = [name]
    while at < len(items):
        token = items[at]
        at += 1
        if isinstance(token, list):
            words.append(b"(" + b" ".join(item for item in token if isinstance(item, bytes)) + b")")
        elif isinstance(token, bytes):
            words.append(token)
            if token.startswith(b"]"):
                break
    return b" ".join(words).replace(b" ]", b"]"), at


def _add_section(sections: dict[str, bytes], name: bytes, value: Token) -> None:
    if not isinstance(value, bytes):
        return
    whole = _WHOLE.get(name.upper())
    if whole is not None:
        sections[whole] = value
    elif found := _SECTION.fullmatch(name):
        sections[section_key(found[1].decode("latin-1"))] = value


def section_key(section: str) -> str:
    """A section as it is compared: upper case, without the quotes that some servers put around header names."""
    return " ".join(section.replace('"', "").upper().split())


def _modseq(token: Token) -> int | None:
    return number_of(token[0] if isinstance(token, list) and token else token)


def _uid(token: Token) -> int | None:
    return number_of(token, digits=10) or None


def _labels(token: Token) -> tuple[str, ...]:
    """X-GM-LABELS: modified UTF-7, system labels with a backslash."""
    return tuple(decode_utf7(item) for item in token if isinstance(item, bytes)) if isinstance(token, list) else ()


def _date(token: Token) -> Any:
    return parse_internal_date(token) if isinstance(token, bytes) else None


_ITEMS: Final[dict[bytes, tuple[str, Callable[[Token], Any]]]] = {
    b"UID": ("uid", _uid),
    b"FLAGS": ("flags", flags_of),
    b"MODSEQ": ("modseq", _modseq),
    b"RFC822.SIZE": ("size", number_of),
    b"INTERNALDATE": ("internal_date", _date),
    b"ENVELOPE": ("envelope", parse_envelope),
    b"BODYSTRUCTURE": ("structure", parse_body),
    b"BODY": ("structure", parse_body),
    b"EMAILID": ("email_id", object_id_of),
    b"X-GM-MSGID": ("email_id", text_of),
    b"THREADID": ("thread_id", object_id_of),
    b"X-GM-THRID": ("thread_id", text_of),
    b"X-GM-LABELS": ("labels", _labels),
}
