"""`upload-message`: put a message into a mailbox (contract, section 10; RFC 9051, 6.3.12; RFC 4315)."""

from __future__ import annotations

from postbus.common.bus.queue import fetch_raw
from postbus.common.commands import UploadMessage
from postbus.common.ids import MessageId
from postbus.imap_sync.operations.access import Session
from postbus.imap_sync.operations.answers import encode
from postbus.imap_sync.operations.moving import target_path
from postbus.imap_sync.protocol.values import Appended


async def upload_message(session: Session, payload: bytes, deadline_s: float) -> bytes:
    """Answer with where it is; uid and id are there if the server told them (UIDPLUS).

    NotFound `FolderNotFound` for an alias of nothing; CommandRefused with the server's code (`TRYCREATE`, `OVERQUOTA`).
    """
    command = UploadMessage.model_validate_json(payload)
    path = target_path(session, command.path)
    raw = await fetch_raw(session.bus, command.raw_id, command.raw_chunks) if command.raw_chunks else command.raw
    flags = [flag for flag in command.flags if flag.lower() != "\\recent"]  # the server's own (RFC 3501, 2.3.2)
    try:
        async with session.command(deadline_s=deadline_s) as connection:
            appended = await connection.append(path, raw, flags=flags, internal_date=command.internal_date)
    finally:
        session.poke(path)
    answer = {
        "path": path,
        "id": _id_of(session, path, appended),
        "uid": appended.uid,
        "uidValidity": str(appended.uid_validity) if appended.uid_validity else None,
    }
    return encode({name: value for name, value in answer.items() if value is not None})


def _id_of(session: Session, path: str, appended: Appended) -> str | None:
    """None where the server did not tell the uid, or the mailbox has no number yet."""
    mailbox = session.mailbox(path)
    if mailbox is None or not mailbox.number or not appended.uid or mailbox.uid_validity != appended.uid_validity:
        return None
    return str(MessageId(mailbox.number, appended.uid))
