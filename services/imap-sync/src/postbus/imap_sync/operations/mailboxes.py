"""`mailboxes`: live counters of all mailboxes, in one round trip where the server knows LIST-STATUS (RFC 5819).

`sync`: look at all of them again. `quota`: how full they may become, and are.
"""

from __future__ import annotations

from typing import Any

from postbus.common.errors import CommandRefused
from postbus.imap_sync.connection import ImapConnection
from postbus.imap_sync.operations.access import Session
from postbus.imap_sync.operations.answers import encode
from postbus.imap_sync.protocol.values import MailboxStatus


async def count_mailboxes(session: Session, payload: bytes, deadline_s: float) -> bytes:
    """Answer with `{path: {messages, unseen}}`, and `{path: {error}}` where the server refuses one."""
    async with session.command(deadline_s=deadline_s) as connection:
        mailboxes = [mailbox for mailbox in await connection.list_mailboxes(with_status=True) if mailbox.selectable]
        counters = {
            mailbox.path: _counters(mailbox.status) if mailbox.status else await _ask(connection, mailbox.path)
            for mailbox in mailboxes
        }
    return encode(counters)


async def get_quota(session: Session, payload: bytes, deadline_s: float) -> bytes:
    """Answer with `{usage, limit, status}`, sizes in bytes, or `false` where the server tells of no limit."""
    try:
        async with session.command(deadline_s=deadline_s) as connection:
            quota = await connection.quota()
    except CommandRefused:
        quota = None
    if quota is None:
        return b"false"
    return encode({"usage": quota.usage, "limit": quota.limit, "status": f"{round(100 * quota.usage / quota.limit)}%"})


async def resync(session: Session, payload: bytes, deadline_s: float) -> bytes:
    """Answer at once; what was missed is announced as it is found."""
    session.resync()
    return b"{}"


async def _ask(connection: ImapConnection, path: str) -> dict[str, Any]:
    try:
        return _counters(await connection.status(path))
    except CommandRefused as error:
        return {"error": error.message}


def _counters(status: MailboxStatus) -> dict[str, Any]:
    counters = {"messages": status.messages, "unseen": status.unseen}
    return {name: value for name, value in counters.items() if value is not None}
