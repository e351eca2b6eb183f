"""`attachment` and `source`: bytes of a message as a stream, decoded piece by piece; memory stays that of a piece."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Final

from postbus.common.commands import DownloadHead, GetAttachment, GetSource
from postbus.common.errors import NotFound
from postbus.common.ids import parse_attachment_id, parse_message_id
from postbus.common.mime.transfer import TransferDecoder
from postbus.imap_sync.operations.access import Session, fetch_one, locate, open_transfer
from postbus.imap_sync.protocol.values import BodyPart
from postbus.imap_sync.structure import find_part, part_content_type, part_filename

SOURCE_NAME: Final = "message.eml"
WHOLE: Final = ""  # the section that is the whole message

Reply = Callable[[DownloadHead, AsyncIterator[bytes]], Awaitable[None]]


async def send_attachment(session: Session, payload: bytes, deadline_s: float, reply: Reply) -> None:
    """Send the decoded content of one part. NotFound `AttachmentNotFound` where there is none.

    The connection is the download's own and is given back when the reader has all of it, leaves, or fails.
    """
    command = GetAttachment.model_validate_json(payload)
    missing = NotFound("Attachment not found", code="AttachmentNotFound")
    attachment = parse_attachment_id(command.attachment)
    mailbox = locate(session, attachment.message, missing)
    uid = attachment.message.uid
    async with open_transfer(session, mailbox, deadline_s=deadline_s) as connection:
        row = await fetch_one(connection, uid, ("UID", "BODYSTRUCTURE"))
        part = find_part(row.structure, attachment.part) if row else None
        if part is None:
            raise missing
        pieces = _decoded(connection.stream_section(uid, part.number), part.encoding)
        async with aclosing(pieces):
            await reply(_head_of(part), pieces)


async def send_source(session: Session, payload: bytes, deadline_s: float, reply: Reply) -> None:
    """Send a message as it came. NotFound `MessageNotFound` where there is none."""
    command = GetSource.model_validate_json(payload)
    missing = NotFound("Message not found", code="MessageNotFound")
    message = parse_message_id(command.message)
    mailbox = locate(session, message, missing)
    async with open_transfer(session, mailbox, deadline_s=deadline_s) as connection:
        if await fetch_one(connection, message.uid, ("UID", "FLAGS")) is None:
            raise missing
        pieces = _decoded(connection.stream_section(message.uid, WHOLE), "binary")
        async with aclosing(pieces):
            await reply(DownloadHead(content_type="message/rfc822", filename=SOURCE_NAME), pieces)


def _head_of(part: BodyPart) -> DownloadHead:
    """What a part is. Its size is not told: servers count what they transfer, and some are wrong even there."""
    disposition = "inline" if part.disposition == "inline" else "attachment"
    return DownloadHead(content_type=part_content_type(part), filename=part_filename(part), disposition=disposition)


async def _decoded(pieces: AsyncGenerator[bytes, None], encoding: str) -> AsyncGenerator[bytes, None]:
    """The pieces without their transfer encoding."""
    decoder = TransferDecoder(encoding)
    async with aclosing(pieces):
        async for piece in pieces:
            if data := decoder.feed(piece):
                yield data
    if data := decoder.finish():
        yield data
