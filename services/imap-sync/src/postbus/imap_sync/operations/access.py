"""How operations get at mailboxes and messages: what they need of an account, and the errors of what is not there."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Final, Protocol

from postbus.common.accounts import Account, MailboxRecord
from postbus.common.bus.connection import Bus
from postbus.common.errors import CommandRefused, NotFound, Unavailable
from postbus.common.ids import MessageId
from postbus.imap_sync.connection import ImapConnection
from postbus.imap_sync.message_info import info_items
from postbus.imap_sync.protocol.values import Fetched, UidRange
from postbus.imap_sync.sanitiser import Sanitiser

_NO_MAILBOX: Final = (None, "NONEXISTENT", "TRYCREATE")  # what SELECT of an unknown mailbox says (RFC 5530, 3)


class Session(Protocol):
    """An account as operations see it."""

    @property
    def account(self) -> Account:
        """The current record."""

    @property
    def bus(self) -> Bus:
        """The connection to NATS."""

    @property
    def sanitiser(self) -> Sanitiser:
        """What makes HTML safe."""

    @property
    def is_gmail(self) -> bool:
        """Whether the server is Gmail and shows All Mail."""

    def mailbox(self, path: str) -> MailboxRecord | None:
        """The mailbox of a path or an alias such as `\\\\Sent`."""

    def mailbox_by_number(self, number: int) -> MailboxRecord | None:
        """The mailbox of a number, unless that belongs to an earlier life of it."""

    def special(self, use: str) -> MailboxRecord | None:
        """The mailbox with a special use."""

    def command(
        self, path: str | None = None, *, read_only: bool = True, deadline_s: float
    ) -> AbstractAsyncContextManager[ImapConnection]:
        """A connection for a short command, with the mailbox selected."""

    def transfer(self, path: str, *, deadline_s: float) -> AbstractAsyncContextManager[ImapConnection]:
        """A connection for a download, with the mailbox selected."""

    def poke(self, path: str) -> None:
        """Look at this mailbox soon."""

    async def relist(self) -> None:
        """List the mailboxes now: which there are has changed."""

    def resync(self) -> None:
        """Look at everything soon, as if nothing were known for sure."""


def find_mailbox(session: Session, path: str) -> MailboxRecord:
    """The mailbox of a path; NotFound `FolderNotFound` with the path.

    Unavailable for one whose UIDVALIDITY was not seen yet: it has no number, so its messages could have no ids.
    """
    mailbox = session.mailbox(path)
    if mailbox is None:
        raise unknown_mailbox(path)
    if not mailbox.number:
        session.poke(mailbox.path)
        raise Unavailable("The mailbox is not synced yet", code="MailboxNotReady")
    return mailbox


def locate(session: Session, message: MessageId, missing: NotFound) -> MailboxRecord:
    """The mailbox a message id points into; raises `missing` where that mailbox is no more, or is another one now."""
    mailbox = session.mailbox_by_number(message.mailbox)
    if mailbox is None:
        raise missing
    return mailbox


@asynccontextmanager
async def open_mailbox(
    session: Session, mailbox: MailboxRecord, *, deadline_s: float, read_only: bool = True
) -> AsyncIterator[ImapConnection]:
    """A command connection with the mailbox selected.

    NotFound where it is gone; Unavailable where it was replaced by another one of that name and we did not see it yet.
    """
    opening = session.command(mailbox.path, read_only=read_only, deadline_s=deadline_s)
    async with _checked(session, mailbox, opening) as connection:
        yield connection


@asynccontextmanager
async def open_transfer(
    session: Session, mailbox: MailboxRecord, *, deadline_s: float
) -> AsyncIterator[ImapConnection]:
    """A connection of a download's own; errors as `open_mailbox`."""
    opening = session.transfer(mailbox.path, deadline_s=deadline_s)
    async with _checked(session, mailbox, opening) as connection:
        yield connection


async def fetch_one(connection: ImapConnection, uid: int, items: Sequence[str]) -> Fetched | None:
    """The row of one message; None where it is gone. Rows of others that the server mixes in are left out."""
    found: Fetched | None = None
    async for row in connection.fetch((UidRange(uid, uid),), items):
        if isinstance(row, Fetched) and row.uid == uid:
            found = row
    return found


def items_for(connection: ImapConnection, *, headers: bool = False) -> tuple[str, ...]:
    """What to FETCH to show a message, as far as this server has it."""
    gmail, objects = connection.has("X-GM-EXT-1"), connection.has("OBJECTID")
    return info_items(gmail=gmail, object_ids=objects, headers=headers)


@asynccontextmanager
async def _checked(
    session: Session, mailbox: MailboxRecord, opening: AbstractAsyncContextManager[ImapConnection]
) -> AsyncIterator[ImapConnection]:
    async with AsyncExitStack() as stack:
        try:
            connection = await stack.enter_async_context(opening)
        except CommandRefused as error:
            if error.server_code not in _NO_MAILBOX:
                raise
            session.poke(mailbox.path)
            raise unknown_mailbox(mailbox.path) from error
        _refuse_other_life(session, mailbox, connection)
        yield connection


def _refuse_other_life(session: Session, mailbox: MailboxRecord, connection: ImapConnection) -> None:
    """RFC 9051, 2.3.1.1: with another UIDVALIDITY the same uids are other messages."""
    now = connection.selected.uid_validity if connection.selected else None
    if now and mailbox.uid_validity and now != mailbox.uid_validity:
        session.poke(mailbox.path)
        raise Unavailable("The mailbox was replaced on the server and is synced again", code="MailboxReset")


def unknown_mailbox(path: str) -> NotFound:
    """The error for a mailbox that is neither known nor found on the server."""
    return NotFound("Unknown mailbox", code="FolderNotFound", path=path)
