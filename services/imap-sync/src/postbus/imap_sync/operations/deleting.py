"""`delete-message`: to Trash, or for good (contract, section 10)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from postbus.common.accounts import MailboxRecord
from postbus.common.commands import DeleteMessage
from postbus.common.errors import NotFound
from postbus.common.ids import parse_message_id
from postbus.imap_sync.connection import ImapConnection
from postbus.imap_sync.operations.access import Session, locate, open_mailbox
from postbus.imap_sync.operations.answers import encode
from postbus.imap_sync.operations.moving import check_there, move, new_id
from postbus.imap_sync.protocol.ranges import to_ranges
from postbus.imap_sync.protocol.values import Copied, UidRange

TRASH: Final = "\\Trash"
ENDS_HERE: Final = frozenset({TRASH, "\\Junk"})  # what is deleted in these mailboxes is gone


async def delete_message(session: Session, payload: bytes, deadline_s: float) -> bytes:
    """Answer with what became of the message. NotFound `MessageNotFound`.

    `deleted` is false as well where the message could only be flagged as deleted (see `expunge_uids`).
    """
    command = DeleteMessage.model_validate_json(payload)
    missing = NotFound("Message not found", code="MessageNotFound")
    message = parse_message_id(command.message)
    mailbox = locate(session, message, missing)
    trash = trash_for(session, mailbox, force=command.force)
    uids = [UidRange(message.uid, message.uid)]
    async with open_mailbox(session, mailbox, deadline_s=deadline_s, read_only=False) as connection:
        await check_there(connection, message.uid, missing)
        if trash is None:
            return encode({"deleted": await expunge(session, connection, mailbox.path, uids)})
        moved = await move(session, connection, mailbox.path, uids, trash.path)
    if command.force:
        return encode({"deleted": await erase(session, trash, moved, deadline_s)})
    answer: dict[str, Any] = {"deleted": False, "moved": {"destination": trash.path}}
    if new := new_id(session, trash.path, moved, message.uid):
        answer["moved"]["message"] = new
    return encode(answer)


def trash_for(session: Session, mailbox: MailboxRecord, *, force: bool) -> MailboxRecord | None:
    """Where messages of a mailbox go when they are deleted; None where they are expunged at once.

    Gmail only archives what is expunged outside of Trash and Spam: there the way out leads through Trash, by force too.
    """
    if mailbox.special_use in ENDS_HERE or (force and not session.is_gmail):
        return None
    return session.special(TRASH)


async def expunge(session: Session, connection: ImapConnection, path: str, uids: Sequence[UidRange]) -> bool:
    """Delete messages of the selected mailbox for good and let the sync look, also after a failure."""
    try:
        return await connection.expunge_uids(uids)
    finally:
        session.poke(path)


async def erase(session: Session, trash: MailboxRecord, moved: Copied, deadline_s: float) -> bool:
    """Delete for good what was just moved to Trash; False where the server did not tell what that is there."""
    async with open_mailbox(session, trash, deadline_s=deadline_s, read_only=False) as connection:
        selected = connection.selected
        if not moved.uids or selected is None or selected.uid_validity != moved.uid_validity:
            return False
        return await expunge(session, connection, trash.path, to_ranges(moved.uids.values()))
