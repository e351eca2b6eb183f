"""BODY and BODYSTRUCTURE (RFC 9051, 7.5.2): the parts of a message, with their section numbers (6.4.5.1).

The fields of real servers are short, shifted or of the wrong type: what can't be read takes its default, and nothing
here raises. What is nested deeper than any honest mail is one part without children.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from postbus.imap_sync.protocol.envelope import parse_envelope
from postbus.imap_sync.protocol.tokens import Token, decode, number_of, text_of
from postbus.imap_sync.protocol.values import BodyPart

MAX_NESTING: Final = 50  # parts in parts

_FIELDS: Final = 10  # that are read by their place
_LONGEST_WORD: Final = 64  # bytes of words that are kept for the next message
_NONE: Final[dict[str, str]] = {}


def parse_body(token: Token) -> BodyPart | None:
    """body; None when it is no list, or an empty one."""
    return _body(token, "", 0) if isinstance(token, list) and token else None


def _body(token: list[Token], number: str, depth: int) -> BodyPart:
    """The body of a message whose section is `number`: a multipart has no number of its own, anything else is .1."""
    if token and isinstance(token[0], list):
        return _multipart(token, f"{number}.TEXT" if number else "", number, depth)
    return _single(token, f"{number}.1" if number else "1", depth)


def _part(token: list[Token], number: str, depth: int) -> BodyPart:
    if token and isinstance(token[0], list):
        return _multipart(token, number, number, depth)
    return _single(token, number, depth)


def _multipart(token: list[Token], number: str, prefix: str, depth: int) -> BodyPart:
    """body-type-mpart: the parts, media-subtype, then parameters, disposition, language, location."""
    count = next((at for at, item in enumerate(token) if not isinstance(item, list)), len(token))
    parts = [item for item in token[:count] if isinstance(item, list)]
    rest = token[count:]
    disposition, disposition_parameters = _disposition(rest[2:3])
    return BodyPart(
        number=number,
        type="multipart",
        subtype=_lower(_at(rest, 0)) or "mixed",
        parameters=_parameters(_at(rest, 1)),
        disposition=disposition,
        disposition_parameters=disposition_parameters,
        children=()
        if depth >= MAX_NESTING
        else tuple(
            _part(part, f"{prefix}.{index}" if prefix else str(index), depth + 1) for index, part in enumerate(parts, 1)
        ),
    )


def _single(token: list[Token], number: str, depth: int) -> BodyPart:
    """body-type-1part: seven basic fields, those of text or a message, then md5, disposition, language, location."""
    if len(token) < _FIELDS:
        token = [*token, *[None] * (_FIELDS - len(token))]
    type_ = _lower(token[0]) or "application"
    subtype = _lower(token[1]) or "octet-stream"
    is_message = type_ == "message" and subtype in ("rfc822", "global") and isinstance(token[8], list)
    after = 10 if is_message else 8 if type_ == "text" else 7
    disposition, disposition_parameters = _disposition(token[after:])
    body = token[8]
    description = token[4]
    return BodyPart(
        number=number,
        type=type_,
        subtype=subtype,
        parameters=_parameters(token[2]),
        content_id=text_of(token[3]),
        description=description if isinstance(description, bytes) else None,
        encoding=_lower(token[5]) or "7bit",
        size=number_of(token[6]) or 0,
        lines=number_of(token[9 if is_message else 7]) if is_message or type_ == "text" else None,
        disposition=disposition,
        disposition_parameters=disposition_parameters,
        children=(_body(body, number, depth + 1),)
        if is_message and isinstance(body, list) and body and depth < MAX_NESTING
        else (),
        envelope=parse_envelope(token[7]) if is_message else None,
    )


def _at(fields: Sequence[Token], index: int) -> Token:
    return fields[index] if index < len(fields) else None


def _lower(token: Token) -> str | None:
    if not token or not isinstance(token, bytes):
        return None
    return _lower_word(token) if len(token) <= _LONGEST_WORD else decode(token).strip().lower()


@lru_cache(maxsize=1024)
def _lower_word(raw: bytes) -> str:
    return decode(raw).strip().lower()


def _parameters(token: Token) -> dict[str, str]:
    """body-fld-param; of repeated names the first counts."""
    if not token or not isinstance(token, list):
        return _NONE
    named: dict[str, str] = {}
    for name, value in zip(token[::2], token[1::2], strict=False):
        if isinstance(name, bytes) and name:
            named.setdefault(_lower(name) or "", text_of(value) or "")
    return named


def _disposition(fields: Sequence[Token]) -> tuple[str | None, dict[str, str]]:
    """body-fld-dsp: the first list that begins with a word and goes on with a list or NIL.

    It is looked for, not counted to: some servers leave out the field before it (11 fields instead of 12).
    """
    for field in fields[:3]:
        if isinstance(field, list) and field and isinstance(field[0], bytes):
            parameters = _at(field, 1)
            if parameters is None or isinstance(parameters, list):
                return _lower(field[0]), _parameters(parameters)
        elif isinstance(field, bytes) and field.lower() in (b"attachment", b"inline"):
            return _lower(field), _NONE  # quirk_bare_disposition: without its list
    return None, _NONE
