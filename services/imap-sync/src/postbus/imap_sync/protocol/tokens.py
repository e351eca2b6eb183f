"""The words of a response: atoms, strings, literals and lists of them (RFC 9051, 4).

One regular expression cuts a piece of text, one loop builds the lists; nesting costs no stack. A token is bytes, None
for NIL (`"NIL"` is bytes), or a list. Tolerated: atoms with brackets, `BODY[HEADER.FIELDS (X)]<0>` as one atom, 8-bit.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, TypeAlias

from postbus.common.errors import ProtocolError

Token: TypeAlias = "bytes | list[Token] | None"  # noqa: S105

MAX_TOKENS: Final = 200_000  # of one response; 10,000 recipients are 60,000
MAX_DEPTH: Final = 1_000  # lists in lists

_TOKEN = re.compile(  # in linear time, whatever comes: no alternative is tried twice over the same bytes
    rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'  # quoted
    rb"|[()]"
    rb'|[^ ()"\[]++(?:\[(?:[^\[\]]*+\][^ ()"]*+|[^ ()"]*+))?'  # atom, maybe with a section
    rb'|\[[^ ()"]*+'  # quirk_bracket_atom: [Gmail]/Trash unquoted
    rb'|".*',  # a quote without its end
    re.DOTALL,
)
_QUOTED = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_ESCAPED = re.compile(rb"\\(.)", re.DOTALL)


def parse_tokens(pieces: Sequence[bytes], *, start: int = 0) -> list[Token]:
    """The tokens of a response whose pieces are text and literal in turn, from `start` of the first text.

    ProtocolError for unbalanced parentheses or quotes, and above the limits.
    """
    current: list[Token] = []
    outer: list[list[Token]] = []
    budget = MAX_TOKENS
    for index, piece in enumerate(pieces):
        if index & 1:
            current.append(piece)
            continue
        words = _TOKEN.findall(piece, start)
        start = 0
        if words and not _ends_well(words[-1]):
            raise ProtocolError("the server did not close a quoted string")
        budget -= len(words)
        if budget < 0:
            raise ProtocolError("the server sent a response with too many parts")
        current = _place(words, current, outer)
    if outer:
        raise ProtocolError("the server did not close a list")
    return current


def _ends_well(word: bytes) -> bool:
    """Whether a word is no quoted string that has begun and not ended; only the last one can be."""
    return word[:1] != b'"' or _QUOTED.fullmatch(word) is not None


def _place(words: list[bytes], current: list[Token], outer: list[list[Token]]) -> list[Token]:
    """Put words into the list that is open, opening and closing more; return the one that is open then.

    Runs for every word of every message: tests are in the order of how often they hit, and nothing is called.
    """
    for word in words:
        first = word[0]
        if first == 0x22:  # "
            inner = word[1:-1]
            current.append(_ESCAPED.sub(rb"\1", inner) if b"\\" in inner else inner)
        elif word == b"NIL":
            current.append(None)
        elif first == 0x28:  # (
            if len(outer) >= MAX_DEPTH:
                raise ProtocolError("the server sent lists that are nested too deeply")
            outer.append(current)
            current = []
            outer[-1].append(current)
        elif first == 0x29:  # )
            if not outer:
                raise ProtocolError("the server closed a list that it had not opened")
            current = outer.pop()
        else:
            current.append(None if word == b"nil" else word)
    return current


def number_of(token: Token, *, digits: int = 20) -> int | None:
    """The number an atom says; None for anything else, absurdly long ones included."""
    if isinstance(token, bytes) and len(token) <= digits and token.isdigit():
        return int(token)
    return None


def text_of(token: Token) -> str | None:
    """Bytes as text: UTF-8, else Latin-1; None for NIL and lists."""
    return decode(token) if isinstance(token, bytes) else None


def decode(raw: bytes) -> str:
    """UTF-8, else Latin-1: keeps every byte of what has no charset (RFC 9051 wants UTF-8)."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")
