"""`message`: one message with its headers, and its text where that is asked for (contract, section 9)."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Final

import structlog

from postbus.common.commands import GetMessage
from postbus.common.errors import NotFound, PostbusError
from postbus.common.ids import parse_message_id
from postbus.imap_sync.connection import ImapConnection
from postbus.imap_sync.html.images import Image
from postbus.imap_sync.message_info import View, compose_fields, compose_headers
from postbus.imap_sync.operations.access import Session, fetch_one, items_for, locate, open_mailbox
from postbus.imap_sync.operations.answers import encode_with_text, max_answer
from postbus.imap_sync.operations.html import as_wanted, images_size
from postbus.imap_sync.protocol.values import Fetched, UidRange
from postbus.imap_sync.structure import read_structure
from postbus.imap_sync.texts import MAX_TEXT_CHARS, Text, byte_limits, decode_texts, text_items, wanted_parts
from postbus.imap_sync.web_safe import Wish, fetch_images

log = structlog.get_logger()

SEEN: Final = "\\Seen"


async def get_message(session: Session, payload: bytes, deadline_s: float) -> bytes:
    """Answer with the message. NotFound `MessageNotFound` where there is none."""
    command = GetMessage.model_validate_json(payload)
    ends_at = asyncio.get_running_loop().time() + deadline_s
    missing = NotFound("Message not found", code="MessageNotFound")
    message = parse_message_id(command.message)
    mailbox = locate(session, message, missing)
    read_only = not command.mark_as_seen
    async with open_mailbox(session, mailbox, deadline_s=deadline_s, read_only=read_only) as connection:
        row = await fetch_one(connection, message.uid, items_for(connection, headers=True))
        if row is None:
            raise missing
        text = await _fetch_text(connection, row, command, missing)
        wish = _wish_of(command)
        images = await _fetch_images(session, connection, row, text, wish)
        if command.mark_as_seen:
            row = await _marked_as_seen(session, connection, row)
    fields = compose_fields(row, mailbox, View.MESSAGE)
    fields["headers"] = compose_headers(row, ("*",))
    if text is None:
        return encode_with_text(fields, {}, Text(None, None, has_more=False), max_answer(session.bus))
    text = await as_wanted(session, text, images, wish, ends_at=ends_at)
    return encode_with_text(fields, fields["text"], text, max_answer(session.bus))


def _wish_of(command: GetMessage) -> Wish:
    """`webSafeHtml` is short for all of it; only the images can be declined."""
    embed = command.embed_attached_images
    return Wish(
        safe=command.web_safe_html or command.pre_process_html, embed=command.web_safe_html if embed is None else embed
    )


async def _fetch_images(
    session: Session, connection: ImapConnection, row: Fetched, text: Text | None, wish: Wish
) -> list[Image]:
    if not wish.embed or text is None or not row.uid:
        return []
    return await fetch_images(connection, row.uid, row.structure, text.html, images_size(session))


async def _fetch_text(connection: ImapConnection, row: Fetched, command: GetMessage, missing: NotFound) -> Text | None:
    """The text of the wanted type; None where none is wanted. Raises `missing` where the message vanished meanwhile."""
    text_type = "*" if command.web_safe_html else command.text_type
    if text_type is None or not row.uid:
        return None
    content = wanted_parts(read_structure(row.structure), text_type)
    max_chars = MAX_TEXT_CHARS if command.max_bytes is None else min(command.max_bytes, MAX_TEXT_CHARS)
    limits = byte_limits(content, max_chars)
    if not limits:
        return Text(None, None, has_more=False)
    fetched = await fetch_one(connection, row.uid, ("UID", *text_items(limits)))
    if fetched is None:
        raise missing
    return await decode_texts(fetched.sections, content, limits, max_chars)


async def _marked_as_seen(session: Session, connection: ImapConnection, row: Fetched) -> Fetched:
    """Set `\\\\Seen` and mirror it in the row; where that fails, the message was read all the same."""
    flags = row.flags or ()
    if not row.uid or SEEN in flags:
        return row
    try:
        await connection.store_flags((UidRange(row.uid, row.uid),), add=(SEEN,))
    except PostbusError as error:
        log.info("message not marked as seen", account=session.account.token, reason=error.message)
        return row
    if connection.selected:
        session.poke(connection.selected.path)
    return replace(row, flags=(*flags, SEEN))
