"""`text`: the text of a message by its text id (contract, section 9). One round trip: the id names the parts."""

from __future__ import annotations

import asyncio
from typing import Final

from postbus.common.commands import GetText
from postbus.common.errors import NotFound
from postbus.common.ids import TextId, parse_text_id
from postbus.imap_sync.html.images import Image
from postbus.imap_sync.operations.access import Session, fetch_one, locate, open_mailbox
from postbus.imap_sync.operations.answers import encode_with_text, max_answer
from postbus.imap_sync.operations.html import as_wanted, images_size
from postbus.imap_sync.protocol.values import BodyPart
from postbus.imap_sync.structure import MAX_TEXT_PARTS, Content, TextPart, as_text_part, find_part
from postbus.imap_sync.texts import MAX_TEXT_CHARS, byte_limits, decode_texts, text_items, wanted_parts
from postbus.imap_sync.web_safe import Wish, fetch_images

_LONGEST: Final = "quoted-printable"  # the encoding that needs most bytes for a character


async def get_text(session: Session, payload: bytes, deadline_s: float) -> bytes:
    """Answer with the text. NotFound `TextNotFound` where there is no such message or none of its parts is text."""
    command = GetText.model_validate_json(payload)
    missing = NotFound("Text not found", code="TextNotFound")
    ends_at = asyncio.get_running_loop().time() + deadline_s
    wanted = parse_text_id(command.text)
    text_type = "*" if command.web_safe_html else command.text_type
    mailbox = locate(session, wanted.message, missing)
    max_chars = MAX_TEXT_CHARS if command.max_bytes is None else min(command.max_bytes, MAX_TEXT_CHARS)
    limits = byte_limits(wanted_parts(_guessed(wanted), text_type), max_chars)
    async with open_mailbox(session, mailbox, deadline_s=deadline_s) as connection:
        items = ("UID", "BODYSTRUCTURE", *text_items(limits))
        row = await fetch_one(connection, wanted.message.uid, items)
        if row is None or not row.uid:
            raise missing
        content = wanted_parts(_found(row.structure, wanted), text_type)
        if limits and not content.plain and not content.html:
            raise missing
        text = await decode_texts(row.sections, content, limits, max_chars)
        images: list[Image] = []
        if command.web_safe_html:
            images = await fetch_images(connection, row.uid, row.structure, text.html, images_size(session))
    wish = Wish(safe=command.web_safe_html, embed=command.web_safe_html)
    text = await as_wanted(session, text, images, wish, ends_at=ends_at)
    fields: dict[str, object] = {}
    return encode_with_text(fields, fields, text, max_answer(session.bus))


def _guessed(wanted: TextId) -> Content:
    """The parts as large as they can be: what they are is known when they are there."""
    plain, html = wanted.plain[:MAX_TEXT_PARTS], wanted.html[:MAX_TEXT_PARTS]
    return Content(
        tuple(TextPart(number, None, _LONGEST, 0) for number in plain),
        tuple(TextPart(number, None, _LONGEST, 0) for number in html),
    )


def _found(structure: BodyPart | None, wanted: TextId) -> Content:
    """The parts as the message has them."""
    return Content(_text_parts(structure, wanted.plain), _text_parts(structure, wanted.html))


def _text_parts(structure: BodyPart | None, numbers: tuple[str, ...]) -> tuple[TextPart, ...]:
    parts = (find_part(structure, number) for number in numbers[:MAX_TEXT_PARTS])
    return tuple(text for part in parts if part and (text := as_text_part(part)))
