"""`move-message`: to another mailbox of the account (contract, section 10)."""

from __future__ import annotations

from collections.abc import Sequence

from postbus.common.commands import MoveMessage
from postbus.common.errors import NotFound
from postbus.common.ids import MessageId, parse_message_id
from postbus.imap_sync.connection import ImapConnection
from postbus.imap_sync.operations.access import Session, fetch_one, locate, open_mailbox
from postbus.imap_sync.operations.answers import encode
from postbus.imap_sync.protocol.values import Copied, UidRange


async def move_message(session: Session, payload: bytes, deadline_s: float) -> bytes:
    """Answer with where the message is now; its new id and uid are there if the server told them (UIDPLUS).

    NotFound `MessageNotFound`; CommandRefused with the server's code (`TRYCREATE`, `OVERQUOTA`).
    """
    command = MoveMessage.model_validate_json(payload)
    missing = NotFound("Message not found", code="MessageNotFound")
    message = parse_message_id(command.message)
    mailbox = locate(session, message, missing)
    target = target_path(session, command.path)
    async with open_mailbox(session, mailbox, deadline_s=deadline_s, read_only=False) as connection:
        await check_there(connection, message.uid, missing)
        moved = await move(session, connection, mailbox.path, [UidRange(message.uid, message.uid)], target)
    answer = {"path": target, "id": new_id(session, target, moved, message.uid), "uid": moved.uids.get(message.uid)}
    return encode({name: value for name, value in answer.items() if value is not None})


def target_path(session: Session, path: str) -> str:
    """The path that a path or an alias (`\\\\Trash`) stands for; NotFound `FolderNotFound` for an alias of nothing.

    A path that we do not know may be a mailbox that was just made: the server knows.
    """
    mailbox = session.mailbox(path)
    if mailbox is None and path.startswith("\\"):
        raise NotFound("Unknown mailbox", code="FolderNotFound", path=path)
    return path if mailbox is None else mailbox.path


async def check_there(connection: ImapConnection, uid: int, missing: NotFound) -> None:
    """Raise `missing` for a message that is gone: commands on such a uid succeed (RFC 9051, 6.4.9)."""
    if await fetch_one(connection, uid, ("UID", "FLAGS")) is None:
        raise missing


async def move(
    session: Session, connection: ImapConnection, source: str, uids: Sequence[UidRange], target: str
) -> Copied:
    """Move messages of the selected mailbox and let the sync look at both mailboxes, also after a failure."""
    try:
        return await connection.move(uids, target)
    finally:
        session.poke(source)
        session.poke(target)


def new_id(session: Session, target: str, moved: Copied, uid: int) -> str | None:
    """The id of a message that was moved; None where the server did not tell or its mailbox has no number yet."""
    mailbox = session.mailbox(target)
    new_uid = moved.uids.get(uid)
    if mailbox is None or not mailbox.number or new_uid is None or mailbox.uid_validity != moved.uid_validity:
        return None
    return str(MessageId(mailbox.number, new_uid))
