"""`update-messages`, `move-messages`, `delete-messages`: all that a search finds (contract, section 10)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final

from postbus.common.accounts import MailboxRecord
from postbus.common.commands import DeleteMessages, MoveMessages, SearchQuery, UpdateMessages
from postbus.common.ids import MessageId
from postbus.imap_sync.connection import ImapConnection
from postbus.imap_sync.operations.access import Session, find_mailbox, open_mailbox
from postbus.imap_sync.operations.answers import encode, max_answer
from postbus.imap_sync.operations.deleting import erase, expunge, trash_for
from postbus.imap_sync.operations.flagging import apply
from postbus.imap_sync.operations.moving import move, target_path
from postbus.imap_sync.protocol.values import Copied, UidRange
from postbus.imap_sync.search import compose_search

PAIR_BYTES: Final = 30  # of one pair of ids as JSON
PAIRS_AT_ONCE: Final = 1000  # composed before others get their turn: about 3 ms


async def update_messages(session: Session, payload: bytes, deadline_s: float) -> bytes:
    """Answer with what was done to all of them. NotFound `FolderNotFound`; errors of `compose_search`."""
    command = UpdateMessages.model_validate_json(payload)
    mailbox = find_mailbox(session, command.path)
    async with open_mailbox(session, mailbox, deadline_s=deadline_s, read_only=False) as connection:
        found = await _find(connection, command.search)
        try:
            done = await apply(connection, found, command.flags, command.labels)
        finally:
            session.poke(mailbox.path)
    return encode(done)


async def move_messages(session: Session, payload: bytes, deadline_s: float) -> bytes:
    """Answer with where they are now. Errors as `update_messages`, and CommandRefused (`TRYCREATE`, `OVERQUOTA`)."""
    command = MoveMessages.model_validate_json(payload)
    mailbox = find_mailbox(session, command.path)
    target = target_path(session, command.target)
    async with open_mailbox(session, mailbox, deadline_s=deadline_s, read_only=False) as connection:
        found = await _find(connection, command.search)
        moved = await move(session, connection, mailbox.path, found, target)
    return encode({"path": target, **await _id_map(session, mailbox, target, moved)})


async def delete_messages(session: Session, payload: bytes, deadline_s: float) -> bytes:
    """Answer with what became of them; `deleted` is false where there were none. Errors as `move_messages`."""
    command = DeleteMessages.model_validate_json(payload)
    mailbox = find_mailbox(session, command.path)
    trash = trash_for(session, mailbox, force=command.force)
    async with open_mailbox(session, mailbox, deadline_s=deadline_s, read_only=False) as connection:
        found = await _find(connection, command.search)
        if trash is None:
            gone = bool(found) and await expunge(session, connection, mailbox.path, found)
            return encode({"deleted": gone})
        moved = await move(session, connection, mailbox.path, found, trash.path)
    if command.force:
        return encode({"deleted": await erase(session, trash, moved, deadline_s)})
    id_map = await _id_map(session, mailbox, trash.path, moved)
    return encode({"deleted": False, "moved": {"destination": trash.path, **id_map}})


async def _find(connection: ImapConnection, search: SearchQuery) -> Sequence[UidRange]:
    criteria = compose_search(search, connection.capabilities)
    return await connection.search(criteria) if connection.exists else ()


async def _id_map(session: Session, mailbox: MailboxRecord, target: str, moved: Copied) -> dict[str, Any]:
    """`idMap`: old and new id of each message; nothing where the server did not tell, or for more than an answer holds.

    A mailbox that has no number yet has no ids either.
    """
    there = session.mailbox(target)
    if there is None or not there.number or len(moved.uids) * PAIR_BYTES > max_answer(session.bus):
        return {}
    if not moved.uids or moved.uid_validity != there.uid_validity:
        return {}
    pairs: list[tuple[str, str]] = []
    for position, (old, new) in enumerate(moved.uids.items(), start=1):
        pairs.append((str(MessageId(mailbox.number, old)), str(MessageId(there.number, new))))
        if position % PAIRS_AT_ONCE == 0:
            await asyncio.sleep(0)
    return {"idMap": pairs}
