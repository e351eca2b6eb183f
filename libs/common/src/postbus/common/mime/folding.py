"""Header fields for the wire (RFC 5322, 2.1.1 and 2.2.3; RFC 2047; RFC 2231): where lines may break, what is encoded.

The standard library's own folding loses quotes, encodes message ids and turns encoded line ends into real ones.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final
from urllib.parse import quote

from postbus.common.mime.addresses import MAX_LIST

MAX_LINE: Final = 998  # octets without the line end; RFC 5322, 2.1.1
WISHED_LINE: Final = 78
MAX_WORD: Final = 75  # characters of one encoded word; RFC 2047, 2
MAX_VALUE: Final = MAX_LIST  # characters; readers look at no more

_WORD_FRAME: Final = len("=?utf-8?b??=")
_MIN_FIRST_WORD: Final = 30  # characters the first word of a field gets, however long the field's name is
_SECTION: Final = 54  # characters of one RFC 2231 section
_PLAIN: Final = re.compile(r"[\t -~]*")
_SINGLE_SPACE: Final = re.compile(r"(?<! ) (?! )")
_Q_SAFE: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!*+-/")  # RFC 2047, 5 (3)
_Q_OCTET: Final = tuple(
    "_" if octet == 0x20 else chr(octet) if octet in _Q_SAFE else f"={octet:02X}" for octet in range(256)
)
_ENCODED: Final = re.compile(r"=\?[!->@-~]{1,60}\?[bBqQ]\?[!->@-~]*\?=")
_ATOMS: Final = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?: [A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_TOKEN: Final = re.compile(r"[A-Za-z0-9!#$&+.^_`{|}~-]+")
_QUOTABLE: Final = re.compile(r"[A-Za-z0-9 !#$&()*+,./:;<=>?@\[\]^_{|}~-]*")


def fold(name: str, tokens: Iterable[str]) -> str:
    """A field without its final line end: tokens joined by single spaces, broken only there."""
    lines: list[str] = []
    line = f"{name}:"
    bare = True  # nothing but the name yet: a break here would leave an empty first line
    for token in tokens:
        if not bare and len(line) + 1 + len(token) > WISHED_LINE:
            lines.append(line)
            line = ""
        line += " " + token
        bare = False
    return "\r\n".join([*lines, line])


def fold_value(tokens: Iterable[str], *, name: str) -> str:
    """The value alone of what `fold` makes: it goes behind `<name>: `."""
    return fold(name, tokens)[len(name) + 2 :]


def text_tokens(text: str, *, column: int, literal: bool = True) -> list[str]:
    """Tokens of unstructured text; readers get back exactly the text, with white space at its ends dropped.

    Words that can't stand as they are become encoded words. With `literal`, what looks like an encoded word is text
    too; without, it passes. `column` is where the first token starts.
    """
    words = _SINGLE_SPACE.split(text.replace("\t", " ").strip(" "))
    coded = [not _stands_plain(word, literal) for word in words]
    return list(_encoded_runs(words, coded, column))


def phrase_tokens(name: str, *, column: int) -> list[str]:
    """Tokens of a display name (RFC 5322, 3.2.5): atoms, a quoted string, or encoded words."""
    name = name.replace("\t", " ").strip(" ")
    if not name:
        return []
    if not _PLAIN.fullmatch(name) or "=?" in name or len(name) > MAX_LINE // 2:
        return encoded_words(name, first=_first_width(column))
    if _ATOMS.fullmatch(name):
        return name.split(" ")
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    return _SINGLE_SPACE.split(f'"{escaped}"') if len(escaped) > WISHED_LINE // 2 else [f'"{escaped}"']


def encoded_words(text: str, *, first: int = MAX_WORD) -> list[str]:
    """The text as encoded words of at most 75 characters (`first` for the first), never cutting a character in two."""
    data = text.encode()
    quoted = sum(map(len, map(_Q_OCTET.__getitem__, data)))
    use_q = quoted <= len(data) * 4 / 3
    words: list[str] = []
    piece: list[bytes] = []
    size, room = 0, first - _WORD_FRAME
    for character in text:
        octets = character.encode()
        cost = sum(len(_Q_OCTET[octet]) for octet in octets) if use_q else len(octets)
        if piece and size + cost > (room if use_q else room // 4 * 3):
            words.append(_word(b"".join(piece), use_q))
            piece, size, room = [], 0, MAX_WORD - _WORD_FRAME
        piece.append(octets)
        size += cost
    return [*words, _word(b"".join(piece), use_q)] if piece else words


def parameter_tokens(head: str, parameters: Iterable[tuple[str, str]]) -> list[str]:
    """Tokens of a Content-* value: `text/plain;`, `charset=utf-8`; long or non-ASCII values by RFC 2231."""
    pieces = [head, *(piece for name, value in parameters for piece in _parameter(name, value))]
    return [f"{piece};" for piece in pieces[:-1]] + pieces[-1:]


def _stands_plain(word: str, literal: bool) -> bool:
    if not literal and _ENCODED.fullmatch(word):
        return len(word) < MAX_LINE - WISHED_LINE
    return bool(_PLAIN.fullmatch(word)) and "=?" not in word and len(word) <= MAX_LINE - WISHED_LINE


def _encoded_runs(words: Sequence[str], coded: Sequence[bool], column: int) -> Iterator[str]:
    """Neighbours that are encoded share their words, as readers drop white space between encoded words."""
    run: list[str] = []
    first = True
    for word, code in zip(words, coded, strict=True):
        if code:
            run.append(word)
            continue
        if run:
            yield from encoded_words(" ".join(run), first=_first_width(column) if first else MAX_WORD)
            run, first = [], False
        yield word
        first = False
    if run:
        yield from encoded_words(" ".join(run), first=_first_width(column) if first else MAX_WORD)


def _first_width(column: int) -> int:
    return max(min(MAX_WORD, WISHED_LINE - 2 - column), _MIN_FIRST_WORD)


def _word(data: bytes, use_q: bool) -> str:
    if use_q:
        return f"=?utf-8?q?{''.join(map(_Q_OCTET.__getitem__, data))}?="
    return f"=?utf-8?b?{base64.b64encode(data).decode('ascii')}?="


def _parameter(name: str, value: str) -> list[str]:
    if _TOKEN.fullmatch(value) and len(value) <= _SECTION:
        return [f"{name}={value}"]
    if _QUOTABLE.fullmatch(value) and "=?" not in value and len(value) <= _SECTION and value == value.strip():
        return [f'{name}="{value}"']
    sections = _sections(value)
    if len(sections) == 1:
        return [f"{name}*={sections[0]}"]
    return [f"{name}*{number}*={section}" for number, section in enumerate(sections)]


def _sections(value: str) -> list[str]:
    """Percent-encoded pieces; a character is never cut in two, as some readers decode each piece alone."""
    sections = ["utf-8''"]
    for character in value:
        coded = quote(character, safe="")
        if len(sections[-1]) + len(coded) > _SECTION:
            sections.append("")
        sections[-1] += coded
    return sections
