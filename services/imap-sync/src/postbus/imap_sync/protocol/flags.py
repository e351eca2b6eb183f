"""Flags of messages (RFC 9051, 2.3.2): names, and one shared tuple for equal sets of them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

from postbus.common.errors import BadInput
from postbus.imap_sync.protocol.tokens import Token, decode

Flags = tuple[str, ...]

_SYSTEM: Final = {
    flag.lower(): flag for flag in ("\\Seen", "\\Answered", "\\Flagged", "\\Deleted", "\\Draft", "\\Recent")
}
_ATOM = re.compile(r"\\?[^\x00-\x20\x7f-\U0010ffff(){%*\"\\\]]+")  # flag = "\" atom / atom
_GLUED = re.compile(rb"\\[^\\]+|[^\\]+")
_MAX_CACHED: Final = 4096  # sets of flags; real mailboxes have a few dozen

_LONGEST_CACHED: Final = 1_000  # bytes
_cache: dict[bytes, Flags] = {}


def parse_flags(raw: bytes) -> Flags:
    """`\\Seen $Forwarded`, without its parentheses; equal text gives the same tuple object."""
    flags = _cache.get(raw)
    if flags is None:
        flags = _name_all(raw.split())
        if len(_cache) >= _MAX_CACHED:
            _cache.clear()
        if len(raw) <= _LONGEST_CACHED:
            _cache[raw] = flags
    return flags


def flags_of(token: Token) -> Flags:
    """Flags out of a list of tokens; what is no flag is left out."""
    if not isinstance(token, list):
        return ()
    return parse_flags(b" ".join(item for item in token if isinstance(item, bytes)))


def compose_flags(flags: Iterable[str]) -> str:
    """`(\\Seen $Forwarded)` for a command; BadInput for what is no flag."""
    named = list(flags)
    _check(named)
    return f"({' '.join(named)})"


def storable(flags: Sequence[str], permanent: frozenset[str] | None) -> Flags:
    """Those that the mailbox keeps, by its PERMANENTFLAGS; all where it did not say (RFC 9051, 7.1).

    BadInput for what is no flag, whatever the mailbox keeps.
    """
    _check(flags)
    if permanent is None or "\\*" in permanent:
        return tuple(flags)
    kept = {flag.lower() for flag in permanent}
    return tuple(flag for flag in flags if flag.lower() in kept)


def _check(flags: Iterable[str]) -> None:
    for flag in flags:
        if not _ATOM.fullmatch(flag):
            raise BadInput("not a valid flag", fields=[{"key": "flags", "message": f"{flag!r} is not a valid flag"}])


def _name_all(words: Iterable[bytes]) -> Flags:
    return tuple(dict.fromkeys(_name(flag) for word in words for flag in _split(word)))


def _split(word: bytes) -> Sequence[bytes]:
    """quirk_glued_flags: `\\Seen\\Answered` without the space between."""
    return _GLUED.findall(word) if word.find(b"\\", 1) > 0 else (word,)


def _name(raw: bytes) -> str:
    flag = decode(raw)
    return _SYSTEM.get(flag.lower(), flag)
