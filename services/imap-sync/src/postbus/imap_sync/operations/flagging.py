"""`update-message`: flags of a message, and on Gmail its labels (contract, section 10)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from postbus.common.commands import Change, UpdateMessage
from postbus.common.errors import NotFound
from postbus.common.ids import parse_message_id
from postbus.imap_sync.connection import ImapConnection
from postbus.imap_sync.operations.access import Session, fetch_one, locate, open_mailbox
from postbus.imap_sync.operations.answers import encode
from postbus.imap_sync.protocol.values import Fetched, UidRange


async def update_message(session: Session, payload: bytes, deadline_s: float) -> bytes:
    """Answer with what was done, and the flags and labels there are now. NotFound `MessageNotFound`."""
    command = UpdateMessage.model_validate_json(payload)
    missing = NotFound("Message not found", code="MessageNotFound")
    message = parse_message_id(command.message)
    mailbox = locate(session, message, missing)
    async with open_mailbox(session, mailbox, deadline_s=deadline_s, read_only=False) as connection:
        try:
            done = await apply(connection, (UidRange(message.uid, message.uid),), command.flags, command.labels)
        finally:
            session.poke(mailbox.path)
        items = ("UID", "FLAGS", "X-GM-LABELS") if "labels" in done else ("UID", "FLAGS")
        row = await fetch_one(connection, message.uid, items)
    if row is None:
        raise missing
    return encode(_with_result(done, row))


async def apply(
    connection: ImapConnection, ranges: Sequence[UidRange], flags: Change | None, labels: Change | None
) -> dict[str, dict[str, Any]]:
    """Change flags and labels; tells of each kind of change that was asked for whether it was made.

    It was not where the mailbox keeps none of the flags. BadInput for what is no flag.
    """
    done: dict[str, dict[str, Any]] = {}
    if flags is not None:
        done["flags"] = await _change_flags(connection, ranges, flags)
    if labels is not None and connection.has("X-GM-EXT-1"):
        done["labels"] = await _change_labels(connection, ranges, labels)
    return done


async def _change_flags(connection: ImapConnection, ranges: Sequence[UidRange], change: Change) -> dict[str, Any]:
    if change.set is not None:
        await connection.replace_flags(ranges, change.set)
        return {"set": not change.set or bool(connection.storable(change.set))}
    await connection.store_flags(ranges, add=change.add, remove=change.delete)
    asked = (("add", change.add), ("delete", change.delete))
    return {name: bool(connection.storable(named)) for name, named in asked if named}


async def _change_labels(connection: ImapConnection, ranges: Sequence[UidRange], change: Change) -> dict[str, Any]:
    if change.set is not None:
        await connection.store_labels(ranges, "", change.set)
        return {"set": True}
    if change.add:
        await connection.store_labels(ranges, "+", change.add)
    if change.delete:
        await connection.store_labels(ranges, "-", change.delete)
    return {name: True for name, named in (("add", change.add), ("delete", change.delete)) if named}


def _with_result(done: dict[str, dict[str, Any]], row: Fetched) -> dict[str, dict[str, Any]]:
    now = {"flags": [flag for flag in row.flags or () if flag != "\\Recent"], "labels": list(row.labels or ())}
    return {name: {**what, "result": now[name]} for name, what in done.items()}
