"""From a request to a message in a mailbox: composed as a submission is, or taken as it is."""

from __future__ import annotations

import re
from typing import Any

import orjson

from postbus.api.owner import ask_owner
from postbus.api.schemas.submit import SubmitInput
from postbus.api.schemas.upload import UploadInput
from postbus.api.submissions import check_lengths, compose, compose_bcc, decode_content
from postbus.common import commands, ids
from postbus.common.accounts import Account
from postbus.common.bus.queue import chunk_count, drop_raw, put_raw
from postbus.common.errors import CommandRefused, Unavailable, UploadFailed
from postbus.common.mime.headers import parse_header_block, parse_message_ids
from postbus.common.service import Parts
from postbus.common.times import now

_BARE_LF = re.compile(rb"(?<!\r)\n")
_MESSAGE_FIELDS = SubmitInput.model_fields.keys() & UploadInput.model_fields.keys()


async def upload(parts: Parts, account: Account, given: UploadInput, *, deadline_s: float) -> dict[str, Any]:
    """Put the message into its mailbox and return what the client is told.

    UploadFailed with the server's own code where it does not take it; other errors as `compose` and `ask_owner`.
    """
    if given.raw is not None:
        raw, told = _ready_made(parts, given.raw)
    else:
        raw, told = await _composed(parts, account, given, deadline_s)
    command = commands.UploadMessage(
        account=account.record.account, path=given.path, flags=given.flags or [], internal_date=given.internal_date
    )
    return {**await _hand_over(parts, command, raw, deadline_s), **told}


def _ready_made(parts: Parts, content: str) -> tuple[bytes, dict[str, Any]]:
    """The message with CRLF at its line ends: IMAP knows no others (RFC 9051, 4.3)."""
    check_lengths([("raw", content)], parts.config.max_size)
    raw = _BARE_LF.sub(b"\r\n", decode_content(content, "raw"))
    fields = parse_header_block(raw)
    written = next((value for name, value in fields if name.lower() == "message-id"), None)
    message_id = next(iter(parse_message_ids(written)), None)
    return raw, {"messageId": message_id} if message_id else {}


async def _composed(
    parts: Parts, account: Account, given: UploadInput, deadline_s: float
) -> tuple[bytes, dict[str, Any]]:
    message = SubmitInput.model_construct(**{name: getattr(given, name) for name in _MESSAGE_FIELDS})
    composed = await compose(parts, account, message, given.internal_date or now(), deadline_s=deadline_s)
    told: dict[str, Any] = {"messageId": composed.message.message_id}
    if composed.reference:
        told["reference"] = composed.reference.model_dump(by_alias=True, exclude_none=True)
    bcc = compose_bcc(message)
    return (f"Bcc: {bcc}\r\n".encode() if bcc else b"") + composed.raw, told


async def _hand_over(parts: Parts, command: commands.UploadMessage, raw: bytes, deadline_s: float) -> dict[str, Any]:
    """Small messages ride in the command, large ones lie in RAW as long as it runs."""
    chunks = chunk_count(len(raw))
    raw_id = ids.new_queue_id()
    where = {"raw_id": raw_id, "raw_chunks": chunks} if chunks else {"raw": raw}
    try:
        await put_raw(parts.bus, raw_id, raw)
        answer = await ask_owner(parts, "upload-message", command.model_copy(update=where), deadline_s=deadline_s)
    except CommandRefused as error:
        raise UploadFailed(error.message, serverResponseCode=error.server_code) from error
    finally:
        if chunks:
            await _forget(parts, raw_id)
    told: dict[str, Any] = orjson.loads(answer)
    return told


async def _forget(parts: Parts, raw_id: str) -> None:
    try:
        await drop_raw(parts.bus, raw_id)
    except Unavailable:
        return  # it expires
