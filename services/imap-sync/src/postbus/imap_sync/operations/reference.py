"""`reference`: what a reply or forward needs to know of the original (contract, section 12)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from postbus.common.commands import GetReference, ReferenceAddress, ReferenceInfo
from postbus.common.errors import NotFound
from postbus.common.ids import MessageId, parse_message_id
from postbus.common.mime.headers import parse_header_block, parse_message_ids
from postbus.imap_sync.envelope import decode_addresses, decode_line
from postbus.imap_sync.message_info import MAX_SUBJECT, header_block, info_items
from postbus.imap_sync.operations.access import Session, fetch_one, locate, open_mailbox
from postbus.imap_sync.protocol.values import EnvelopeAddress, Fetched, MessageEnvelope

REFERENCES: Final = "REFERENCES"
MAX_REFERENCES: Final = 100  # ids, of the newest: a thread of years fits, and so does the header


async def get_reference(session: Session, payload: bytes, deadline_s: float) -> bytes:
    """Answer with a ReferenceInfo. NotFound `ReferenceNotFound` where there is no such message."""
    command = GetReference.model_validate_json(payload)
    missing = NotFound("Referenced message was not found", code="ReferenceNotFound")
    message = _parse(command.message, missing)
    mailbox = locate(session, message, missing)
    async with open_mailbox(session, mailbox, deadline_s=deadline_s) as connection:
        gmail, objects = connection.has("X-GM-EXT-1"), connection.has("OBJECTID")
        items = info_items(gmail=gmail, object_ids=objects, headers=(REFERENCES,))
        row = await fetch_one(connection, message.uid, items)
    if row is None:
        raise missing
    return compose_reference(row).model_dump_json().encode()


def compose_reference(row: Fetched) -> ReferenceInfo:
    """What the row tells. Ids come out with brackets, white space inside of them undone. Never raises."""
    envelope = row.envelope or MessageEnvelope()
    references = [
        message_id
        for name, value in parse_header_block(header_block(row.sections))
        if name.upper() == REFERENCES
        for message_id in parse_message_ids(value)
    ]
    return ReferenceInfo(
        message_id=next(iter(parse_message_ids(envelope.message_id)), None),
        in_reply_to=_joined(parse_message_ids(envelope.in_reply_to)),
        references=_joined(references),
        subject=decode_line(envelope.subject, MAX_SUBJECT) or "",
        from_=_addresses(envelope.from_),
        reply_to=_addresses(envelope.reply_to),
        to=_addresses(envelope.to),
        cc=_addresses(envelope.cc),
        thread_id=row.thread_id,
    )


def _parse(text: str, missing: NotFound) -> MessageId:
    try:
        return parse_message_id(text)
    except NotFound as error:
        raise missing from error


def _joined(message_ids: Sequence[str]) -> str | None:
    return " ".join(message_ids[-MAX_REFERENCES:]) or None


def _addresses(addresses: Sequence[EnvelopeAddress]) -> list[ReferenceAddress]:
    return [ReferenceAddress.model_validate(address) for address in decode_addresses(addresses)]
