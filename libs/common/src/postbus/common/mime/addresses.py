"""Address lists (RFC 5322, 3.4), read tolerantly and without ever inventing an address.

Tokens first, RFC 2047 afterwards: a comma or an `@` inside an encoded word or a quoted string is never structure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from postbus.common.mime.charsets import decode_text
from postbus.common.mime.words import decode_words, header_bytes

MAX_ADDRESSES: Final = 10_000
MAX_LIST: Final = 256 * 1024  # bytes of one header value that are looked at

_TOKEN: Final = re.compile(
    r"""(?P<space>\s+)
      | (?P<encoded>=\?[^?\s=]{1,80}\?[bBqQ]\?(?:(?!\?=)(?!=\?[^=]).)*+\?=)
      | "(?P<quoted>(?:[^"\\]|\\.)*+)(?:"|\\?$)
      | <(?P<angle>(?:"(?:[^"\\]|\\.)*+"|[^<>"])*+)>?
      | (?P<comment>\()
      | (?P<separator>[,;:])
      | (?P<word>(?:\[[^\]\s,;<>]{0,255}+\]|[^\s"(<>,;:])(?:\[[^\]\s,;<>]{0,255}+\]|[^\s"(<>,;:=]|=(?!\?))*+)
      | (?P<other>.)""",
    re.DOTALL | re.VERBOSE,
)
_PARENTHESIS: Final = re.compile(r"[()]|\\.", re.DOTALL)
_ESCAPED: Final = re.compile(r"\\(.)", re.DOTALL)
_AROUND_AT: Final = re.compile(r"\s*([@.])\s*")
_UNPRINTABLE: Final = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Address:
    """One mailbox of an address header: decoded display name (may be empty) and address (empty if there was none)."""

    name: str
    address: str


def parse_addresses(value: bytes | str) -> list[Address]:
    """Mailboxes of an address header, in order; groups are flattened, comments become names when nothing else is.

    An element with a name but no address gives `Address(name, "")`. Never raises; at most `MAX_ADDRESSES`.
    """
    raw = header_bytes(value)[:MAX_LIST]
    text = decode_text(raw, None)
    found: list[Address] = []
    element = _Element()
    for kind, token in _tokens(text):
        if kind != "separator":
            element.add(kind, token)
            continue
        if element.empty:
            continue
        if token != ":":  # noqa: S105 - a group's name is dropped, its members stay
            found.extend(element.addresses())
        element = _Element()
        if len(found) >= MAX_ADDRESSES:
            return found[:MAX_ADDRESSES]
    found.extend(element.addresses())
    return found[:MAX_ADDRESSES]


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    comment_ends = _comment_ends(text) if "(" in text else {}
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        assert match is not None and match.lastgroup is not None  # "other" takes any character
        kind, position = match.lastgroup, match.end()
        if kind == "comment":
            start, position = match.start(), comment_ends.get(match.start(), position)
            yield kind, text[start + 1 : position - 1]  # empty for a stray parenthesis
        elif kind != "other":
            yield kind, match[kind]


def _comment_ends(text: str) -> dict[int, int]:
    """End of the comment for every opening parenthesis that is closed; found in one pass, whatever is nested how."""
    ends: dict[int, int] = {}
    opened: list[int] = []
    for match in _PARENTHESIS.finditer(text):
        if match[0] == "(":
            opened.append(match.start())
        elif match[0] == ")" and opened:
            ends[opened.pop()] = match.end()
    return ends


@dataclass(slots=True)
class _Element:
    """What stands between two commas."""

    parts: list[tuple[str, str]] = field(default_factory=list)
    comments: list[str] = field(default_factory=list)
    angle: str | None = None

    @property
    def empty(self) -> bool:
        """Whether nothing stands there."""
        return self.angle is None and not self.parts and not self.comments

    def add(self, kind: str, token: str) -> None:
        match kind:
            case "comment":
                self.comments.append(token)
            case "angle":
                self.angle = self.angle or token
            case _:
                self.parts.append((kind, token))

    def addresses(self) -> list[Address]:
        if self.angle is not None:
            return self._named(_clean(_without_route(self.angle.strip())), self.parts)
        bare = _bare_addresses(self.parts)
        if len(bare) == 1:
            index, size = bare[0]
            address = _raw_text(self.parts[index : index + size])
            return self._named(_clean(address), self.parts[:index] + self.parts[index + size :])
        words = [part for part in self.parts if part[0] != "space"]
        if bare and len(bare) == len(words):  # only the commas are missing
            return [Address("", _clean(self.parts[index][1])) for index, _ in bare]
        return self._named("", self.parts)

    def _named(self, address: str, phrase: list[tuple[str, str]]) -> list[Address]:
        name = _phrase_text(phrase)
        if not name and address:
            name = " ".join(decode_words(comment) for comment in self.comments).strip()
        return [Address(name, address)] if name or address else []


def _bare_addresses(parts: list[tuple[str, str]]) -> list[tuple[int, int]]:
    """Where addresses without angle brackets stand: (first part, number of parts)."""
    found = []
    for index, (kind, token) in enumerate(parts):
        if kind != "word" or "@" not in token:
            continue
        local, _, domain = token.rpartition("@")
        if local and domain:
            found.append((index, 1))
        elif domain and index and parts[index - 1][0] == "quoted":  # "local part"@domain
            found.append((index - 1, 2))
        elif _spaced_at(parts, index):  # local @ domain: obs-addr-spec
            found.append((index - 2, 5))
    return found


def _spaced_at(parts: list[tuple[str, str]], index: int) -> bool:
    kinds = [kind for kind, _ in parts[max(index - 2, 0) : index + 3]]
    return parts[index][1] == "@" and kinds == ["word", "space", "word", "space", "word"]


def _raw_text(parts: list[tuple[str, str]]) -> str:
    return "".join(f'"{token}"' if kind == "quoted" else token for kind, token in parts)


def _without_route(address: str) -> str:
    """RFC 5322, 4.4: `@relay,@relay:user@host` is an obsolete way to write user@host."""
    return address.partition(":")[2] if address.startswith("@") and ":" in address else address


def _clean(address: str) -> str:
    """The address without white space where RFC 5322 lets it stand, and without control characters anywhere."""
    address = _UNPRINTABLE.sub("", address).strip()
    if address.startswith("'") and address.endswith("'"):  # quirk: Outlook quotes addresses it copies
        address = address.strip("'")
    return address if '"' in address else _AROUND_AT.sub(r"\1", address)


def _phrase_text(parts: list[tuple[str, str]]) -> str:
    """A display name: quoted strings unescaped, white space collapsed outside of them, encoded words decoded."""
    pieces: list[str] = []
    for kind, token in parts:
        match kind:
            case "space":
                pieces.append(" " if pieces[-1:] != [" "] else "")
            case "quoted":
                pieces.append(_ESCAPED.sub(r"\1", token))
            case _:
                pieces.append(token)
    return decode_words("".join(pieces)).strip()
