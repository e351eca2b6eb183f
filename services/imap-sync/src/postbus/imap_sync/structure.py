"""What a message is made of, read from BODYSTRUCTURE: its text parts and its attachments (contract, section 7).

Text is `text/plain` and `text/html` unless it is marked as an attachment; every other leaf is an attachment, and so is
a message inside (RFC 9051, 7.5.2). What lies below a message inside is its own: its text is not ours, its attachments
are listed as `encoded_in_message`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from postbus.common.mime.parameters import decode_parameters
from postbus.common.mime.words import decode_words
from postbus.imap_sync.protocol.values import BodyPart

MAX_PARTS: Final = 2000  # leaves of one message that are looked at; mail of people has fewer than 100
MAX_TEXT_PARTS: Final = 50  # of one type; what goes beyond is listed as attachments
MAX_NESTING: Final = 64  # levels; a part number has no more, see `postbus.common.ids`
MAX_FILENAME: Final = 1024  # characters
MAX_CONTENT_ID: Final = 998  # characters: one line, RFC 5322, 2.1.1

_MESSAGES: Final = ("message/rfc822", "message/global")
_CONTENT_TYPE: Final = re.compile(r"[!#$%&'*+.^_`{|}~0-9a-z-]{1,127}/[!#$%&'*+.^_`{|}~0-9a-z-]{1,127}")
_UNKNOWN_TYPE: Final = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class TextPart:
    """One piece of the text. `size` is bytes as transferred, `flowed` and `delsp` are those of RFC 3676."""

    number: str
    charset: str | None
    encoding: str
    size: int
    flowed: bool = False
    delsp: bool = False


@dataclass(frozen=True, slots=True)
class Attachment:
    """One attachment. `encoded_size` is bytes as transferred; `content_id` has its brackets."""

    number: str
    content_type: str
    encoded_size: int
    filename: str | None
    embedded: bool
    inline: bool
    content_id: str | None
    encoded_in_message: bool
    method: str | None


@dataclass(frozen=True, slots=True)
class Content:
    """The text parts by type, and the attachments, each in the order of the message."""

    plain: tuple[TextPart, ...] = ()
    html: tuple[TextPart, ...] = ()
    attachments: tuple[Attachment, ...] = ()


NO_CONTENT: Final = Content()


def read_structure(structure: BodyPart | None) -> Content:
    """Sort the parts of a message; a structure the server could not give is a message without content. Never raises."""
    if structure is None:
        return NO_CONTENT
    if structure.type == "text" and structure.disposition != "attachment" and structure.number:  # most mail, quickly
        if structure.subtype == "plain":
            return Content(plain=(_text_part(structure),))
        if structure.subtype == "html":
            return Content(html=(_text_part(structure),))
    sorter = _Sorter()
    sorter.add(structure, related=False, nested=False, level=0)
    return Content(tuple(sorter.plain), tuple(sorter.html), tuple(sorter.attachments))


def find_part(structure: BodyPart | None, number: str) -> BodyPart | None:
    """The part with this section number; None where there is none, or where it is a mere container."""
    waiting = [(structure, 0)] if structure else []
    while waiting:
        part, level = waiting.pop()
        if part.number == number and _is_leaf(part):
            return part
        if level < MAX_NESTING:
            waiting.extend((child, level + 1) for child in part.children[:MAX_PARTS])
    return None


def as_text_part(part: BodyPart) -> TextPart | None:
    """The part as a piece of text; None where it is something else."""
    return _text_part(part) if part.type == "text" else None


def part_filename(part: BodyPart) -> str | None:
    """The name its sender gave the part: of the disposition, else of the content type (RFC 2183, 2.3)."""
    name = _parameter(part.disposition_parameters, "filename") or _parameter(part.parameters, "name")
    return name[:MAX_FILENAME] or None if name else None


def part_content_type(part: BodyPart) -> str:
    """The content type, or the one of unknown bytes where a sender wrote none that could stand in a header."""
    return part.content_type if _CONTENT_TYPE.fullmatch(part.content_type) else _UNKNOWN_TYPE


class _Sorter:
    """Takes parts in the order of the message and puts each where it belongs."""

    def __init__(self) -> None:
        self.plain: list[TextPart] = []
        self.html: list[TextPart] = []
        self.attachments: list[Attachment] = []
        self._found = 0

    def add(self, part: BodyPart, *, related: bool, nested: bool, level: int) -> None:
        """Add a part and what is in it; `related` and `nested` tell where it is."""
        is_message = part.type == "message" and part.content_type in _MESSAGES
        if _is_leaf(part) and self._found < MAX_PARTS:
            self._found += 1
            self._add_leaf(part, related, nested)
        if part.children and level < MAX_NESTING:
            related = part.type == "multipart" and (related or part.subtype == "related")
            for child in part.children[:MAX_PARTS]:
                self.add(child, related=related, nested=nested or is_message, level=level + 1)

    def _add_leaf(self, part: BodyPart, related: bool, nested: bool) -> None:
        if part.type == "text" and part.disposition != "attachment" and part.subtype in ("plain", "html"):
            texts = self.plain if part.subtype == "plain" else self.html
            if nested:
                return  # the text of the message inside
            if len(texts) < MAX_TEXT_PARTS:
                texts.append(_text_part(part))
                return
        self.attachments.append(_attachment(part, related, nested))


def _is_leaf(part: BodyPart) -> bool:
    """Whether the part has content of its own: all but containers, and a message inside is no mere container."""
    if not part.number or part.type == "multipart":
        return False
    return not part.children or part.content_type in _MESSAGES


def _text_part(part: BodyPart) -> TextPart:
    parameters = part.parameters
    flowed = part.subtype == "plain" and parameters.get("format", "").lower() == "flowed"
    return TextPart(
        number=part.number,
        charset=_parameter(parameters, "charset"),
        encoding=part.encoding,
        size=part.size,
        flowed=flowed,
        delsp=flowed and parameters.get("delsp", "").lower() == "yes",
    )


def _attachment(part: BodyPart, related: bool, nested: bool) -> Attachment:
    return Attachment(
        number=part.number,
        content_type=part_content_type(part),
        encoded_size=part.size,
        filename=part_filename(part),
        embedded=related,
        inline=part.disposition == "inline" or (part.disposition is None and related),
        content_id=_content_id(part.content_id),
        encoded_in_message=nested,
        method=_method(part),
    )


def _parameter(parameters: Mapping[str, str], name: str) -> str | None:
    """A decoded parameter; most parts have it in plain ASCII, and many have none."""
    plain = parameters.get(name)
    if plain is None and not any(key.startswith(name) for key in parameters):
        return None
    if plain is not None and len(parameters) == 1 and plain.isascii() and plain.isprintable() and "=?" not in plain:
        return plain
    return decode_parameters(parameters).get(name)


def _content_id(raw: str | None) -> str | None:
    """The content id with brackets, whether or not it came with them (RFC 2392)."""
    inner = decode_words(raw).strip().strip("<>").strip()[:MAX_CONTENT_ID] if raw else ""
    return f"<{inner}>" if inner else None


def _method(part: BodyPart) -> str | None:
    """The iTIP method of a calendar part (RFC 5546, 1.4), in upper case."""
    if part.content_type != "text/calendar":
        return None
    method = _parameter(part.parameters, "method")
    return method.strip().upper()[:MAX_FILENAME] or None if method else None
