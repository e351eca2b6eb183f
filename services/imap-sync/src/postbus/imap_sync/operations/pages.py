"""The rows of one page, newest first by sequence number. One FETCH where all is well.

Where a server refuses the whole page, or drops the connection, because of one message (Dovecot: a file it can't read),
that one is found by asking for halves; it stays a row without content, and the others are shown.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from postbus.common.accounts import MailboxRecord
from postbus.common.errors import CommandRefused, ConnectionLost, ProtocolError
from postbus.imap_sync.connection import ImapConnection
from postbus.imap_sync.operations.access import Session, items_for, open_mailbox
from postbus.imap_sync.protocol.ranges import to_ranges
from postbus.imap_sync.protocol.values import Fetched, Vanished

log = structlog.get_logger()

MAX_TRIES: Final = 24  # groups that are asked for until the bad messages of a page are found

_BROKEN: Final = (CommandRefused, ConnectionLost, ProtocolError)
_CHANGING: Final = ("UID", "FLAGS", "X-GM-LABELS")  # all of a message that is not fixed for ever, and its name


@dataclass(frozen=True, slots=True)
class Page:
    """Which page; 0 is the newest. `size` is messages."""

    number: int
    size: int

    def window(self, total: int) -> str | None:
        """Its sequence numbers in a mailbox of `total` messages; None beyond the end."""
        last = total - self.number * self.size
        return f"{max(last - self.size + 1, 1)}:{last}" if last > 0 else None

    def count(self, total: int) -> int:
        """How many pages there are, at least one."""
        return max(-(-total // self.size), 1)


async def read_page(
    session: Session, mailbox: MailboxRecord, page: Page, known: Collection[int], deadline_s: float
) -> tuple[int, list[Fetched]]:
    """How many messages there are, and the rows by falling uid: some servers answer in any order.

    Of messages whose uid is known only flags and labels are fetched.
    """
    try:
        async with open_mailbox(session, mailbox, deadline_s=deadline_s) as connection:
            total = connection.exists
            rows = await _fetch_page(connection, page.window(total), known)
    except _BROKEN as error:
        log.info("page refused", account=session.account.token, path=mailbox.path, reason=error.message)
        total, rows = await _read_in_groups(session, mailbox, page, known, deadline_s)
    return total, [rows[uid] for uid in sorted(rows, reverse=True)]


async def _fetch_page(connection: ImapConnection, window: str | None, known: Collection[int]) -> dict[int, Fetched]:
    """One FETCH; where some messages are known, one of what can change, and another one for those that are new."""
    if window is None:
        return {}
    items = items_for(connection)
    if not known:
        return await _collect(connection.fetch(None, items, by_seq=window))
    rows = await _fetch_changing(connection, window)
    new = [uid for uid in rows if uid not in known]
    return rows | (await _collect(connection.fetch(to_ranges(new), items)) if new else {})


async def _read_in_groups(
    session: Session, mailbox: MailboxRecord, page: Page, known: Collection[int], deadline_s: float
) -> tuple[int, dict[int, Fetched]]:
    async with open_mailbox(session, mailbox, deadline_s=deadline_s) as connection:
        total = connection.exists
        window = page.window(total)
        rows = await _fetch_changing(connection, window) if window else {}
    waiting = deque([[uid for uid in rows if uid not in known]])
    for _ in range(MAX_TRIES):
        if not waiting or not (group := waiting.popleft()):
            break
        found = await _try_group(session, mailbox, group, deadline_s)
        rows |= found or {}
        if found is None and len(group) > 1:
            waiting += [group[: len(group) // 2], group[len(group) // 2 :]]
    return total, rows


async def _try_group(
    session: Session, mailbox: MailboxRecord, uids: Sequence[int], deadline_s: float
) -> dict[int, Fetched] | None:
    """The rows of these messages; None where one of them breaks it."""
    try:
        async with open_mailbox(session, mailbox, deadline_s=deadline_s) as connection:
            return await _collect(connection.fetch(to_ranges(uids), items_for(connection)))
    except _BROKEN:
        return None


async def _fetch_changing(connection: ImapConnection, window: str) -> dict[int, Fetched]:
    items = [item for item in items_for(connection) if item in _CHANGING]
    return await _collect(connection.fetch(None, items, by_seq=window))


async def _collect(answers: AsyncIterator[Fetched | Vanished]) -> dict[int, Fetched]:
    """Rows by uid: some servers repeat themselves."""
    return {row.uid: row async for row in answers if isinstance(row, Fetched) and row.uid}
