"""`create-mailbox`, `change-mailbox`, `delete-mailbox` (contract, section 6). The listing follows at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from postbus.common.accounts import MailboxRecord
from postbus.common.commands import ChangeMailbox, CreateMailbox, DeleteMailbox
from postbus.common.errors import BadInput, CommandRefused
from postbus.imap_sync.arranging import compose_path
from postbus.imap_sync.connection import ImapConnection
from postbus.imap_sync.operations.access import Session, unknown_mailbox
from postbus.imap_sync.operations.answers import encode


async def create_mailbox(session: Session, payload: bytes, deadline_s: float) -> bytes:
    """Create and subscribe a mailbox. CommandRefused with the server's code, else `CreateFailed`."""
    command = CreateMailbox.model_validate_json(payload)
    async with session.command(deadline_s=deadline_s) as connection:
        path = await _new_path(session, connection, command.path)
        answer = await _create(session, connection, path)
    if answer["created"]:
        await session.relist()
    return encode(answer)


async def change_mailbox(session: Session, payload: bytes, deadline_s: float) -> bytes:
    """Rename or subscribe a mailbox. CommandRefused with the server's code, else `RenameFailed`, `SubscribeFailed`."""
    command = ChangeMailbox.model_validate_json(payload)
    if command.new_path is None and command.subscribed is None:
        raise BadInput("Neither newPath nor subscribed is given")
    mailbox = session.mailbox(command.path)
    path = mailbox.path if mailbox else command.path
    answer: dict[str, Any] = {"path": path, **_id_of(mailbox)}
    async with session.command(deadline_s=deadline_s) as connection:
        if command.new_path is not None:
            answer |= await _rename(session, connection, path, command.new_path)
        if command.subscribed is not None:
            with _failing_as("SubscribeFailed"):
                await connection.subscribe(answer.get("newPath", path), subscribed=command.subscribed)
            answer["subscribed"] = command.subscribed
    await session.relist()
    return encode(answer)


async def delete_mailbox(session: Session, payload: bytes, deadline_s: float) -> bytes:
    """Delete a mailbox with its messages; `deleted` is false where the server refuses."""
    command = DeleteMailbox.model_validate_json(payload)
    mailbox = session.mailbox(command.path)
    path = mailbox.path if mailbox else command.path
    async with session.command(deadline_s=deadline_s) as connection:
        try:
            await connection.delete_mailbox(path)
            deleted = True
        except CommandRefused:
            deleted = False
        if deleted:
            with suppress(CommandRefused):
                await connection.subscribe(path, subscribed=False)
    await session.relist()
    return encode({"path": path, **_id_of(mailbox), "deleted": deleted})


async def _create(session: Session, connection: ImapConnection, path: str) -> dict[str, Any]:
    if (known := session.mailbox(path)) is not None:
        return {"path": known.path, **_id_of(known), "created": False}
    try:
        with _failing_as("CreateFailed"):
            mailbox_id = await connection.create_mailbox(path)
    except CommandRefused as error:
        if error.server_code != "ALREADYEXISTS" and not await _exists(connection, path):
            raise
        return {"path": path, "created": False}
    with suppress(CommandRefused):
        await connection.subscribe(path)
    return {"path": path, **({"mailboxId": mailbox_id} if mailbox_id else {}), "created": True}


async def _rename(session: Session, connection: ImapConnection, path: str, segments: Sequence[str]) -> dict[str, Any]:
    """Rename, and subscribe the new name: a subscription belongs to a name (RFC 9051, 6.3.7)."""
    new_path = await _new_path(session, connection, segments)
    if new_path == path:
        if session.mailbox(path) is None and not await _exists(connection, path):
            raise unknown_mailbox(path)
        return {"newPath": new_path, "renamed": False}
    with _failing_as("RenameFailed"):
        await connection.rename_mailbox(path, new_path)
    with suppress(CommandRefused):
        await connection.subscribe(path, subscribed=False)
    with suppress(CommandRefused):
        await connection.subscribe(new_path)
    return {"newPath": new_path, "renamed": True, "subscribed": True}


async def _new_path(session: Session, connection: ImapConnection, segments: Sequence[str]) -> str:
    """The path of these segments, below the user's namespace; the first may be an alias such as `\\Archive`."""
    inbox = session.mailbox("INBOX")
    if segments[0].startswith("\\") and (parent := session.mailbox(segments[0])):
        segments = [parent.path, *segments[1:]]
    prefix = await connection.personal_prefix()
    return compose_path(segments, delimiter=inbox.delimiter if inbox else None, prefix=prefix)


async def _exists(connection: ImapConnection, path: str) -> bool:
    """For servers that refuse to create what is there, and do not say that this is why."""
    try:
        await connection.status(path)
    except CommandRefused:
        return False
    return True


def _id_of(mailbox: MailboxRecord | None) -> dict[str, str]:
    return {"mailboxId": mailbox.mailbox_id} if mailbox and mailbox.mailbox_id else {}


@contextmanager
def _failing_as(code: str) -> Iterator[None]:
    """A refusal without a code of the server has this one."""
    try:
        yield
    except CommandRefused as error:
        if error.server_code is None:
            error.code = code
        raise
