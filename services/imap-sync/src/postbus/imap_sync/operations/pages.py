"""The rows of one page, newest first: of a mailbox by sequence number, or of what a search finds there.

One FETCH where all is well.

Where a server refuses the whole page, or drops the connection, because of one message (Dovecot: a file it can't read),
that one is found by asking for halves; it stays a row without content, and the others are shown.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import structlog

from postbus.common.accounts import MailboxRecord
from postbus.common.commands import SearchQuery
from postbus.common.errors import CommandRefused, ConnectionLost, ProtocolError
from postbus.imap_sync.connection import ImapConnection
from postbus.imap_sync.operations.access import Session, items_for, open_mailbox
from postbus.imap_sync.protocol.ranges import count, to_ranges
from postbus.imap_sync.protocol.values import Fetched, UidRange
from postbus.imap_sync.search import compose_search

log = structlog.get_logger()

MAX_TRIES: Final = 24  # groups that are asked for until the bad messages of a page are found

Known = Callable[[Iterable[int]], Mapping[int, bytes]]  # those rows of the mailbox that are known, by uid

_Changing = tuple[tuple[str, ...] | None, tuple[str, ...] | None]  # flags and labels
_Wanted = str | Sequence[int] | None  # sequence numbers, or uids
_Chosen = tuple[int, _Wanted]  # out of how many, and which
_Choose = Callable[[ImapConnection], Awaitable[_Chosen]]

_BROKEN: Final = (CommandRefused, ConnectionLost, ProtocolError)
_CHANGING: Final = ("UID", "FLAGS", "X-GM-LABELS")  # all of a message that is not fixed for ever, and its name


class KnownRow(NamedTuple):
    """A message whose row is known: that, and what can change of it."""

    uid: int
    flags: tuple[str, ...] | None
    labels: tuple[str, ...] | None
    fixed: bytes


Row = Fetched | KnownRow


@dataclass(frozen=True, slots=True)
class Page:
    """Which page; 0 is the newest. `size` is messages."""

    number: int
    size: int

    def window(self, total: int) -> str | None:
        """Its sequence numbers in a mailbox of `total` messages; None beyond the end."""
        last = total - self.number * self.size
        return f"{max(last - self.size + 1, 1)}:{last}" if last > 0 else None

    def uids(self, found: Sequence[UidRange]) -> list[int]:
        """Its uids among those that were found, in sorted ranges; newest first."""
        skipped, uids = self.number * self.size, list[int]()
        for span in reversed(found):
            last = span.last - skipped
            skipped = max(span.first - 1 - last, 0)
            uids += range(last, max(span.first - 1, last - self.size + len(uids)), -1)
            if len(uids) >= self.size:
                break
        return uids

    def count(self, total: int) -> int:
        """How many pages there are, at least one."""
        return max(-(-total // self.size), 1)


async def read_page(
    session: Session, mailbox: MailboxRecord, page: Page, known: Known | None, deadline_s: float
) -> tuple[int, list[Row]]:
    """How many messages there are, and the rows by falling uid: some servers answer in any order.

    Of messages whose row is known only flags and labels are fetched; `known` is None where none is.
    """

    async def choose(connection: ImapConnection) -> _Chosen:
        return connection.exists, page.window(connection.exists)

    return await _read(session, mailbox, choose, known, deadline_s)


async def read_found(
    session: Session, mailbox: MailboxRecord, search: SearchQuery, page: Page, known: Known | None, deadline_s: float
) -> tuple[int, list[Row]]:
    """How many messages the search finds, and the rows of the page; errors of `compose_search` and of the server."""

    async def choose(connection: ImapConnection) -> _Chosen:
        found = await connection.search(compose_search(search, connection.capabilities))
        return count(found), page.uids(found)

    return await _read(session, mailbox, choose, known, deadline_s)


async def _read(
    session: Session,
    mailbox: MailboxRecord,
    choose: _Choose,
    known: Known | None,
    deadline_s: float,
) -> tuple[int, list[Row]]:
    chosen: _Chosen | None = None
    try:
        async with open_mailbox(session, mailbox, deadline_s=deadline_s) as connection:
            chosen = await choose(connection)
            total, wanted = chosen
            rows = await _fetch_page(connection, wanted, known)
    except _BROKEN as error:
        if chosen is None and isinstance(error, CommandRefused):
            raise
        log.info("page refused", account=session.account.token, path=mailbox.path, reason=error.message)
        total, rows = await _read_in_groups(session, mailbox, choose, known, deadline_s)
    return total, [rows[uid] for uid in sorted(rows, reverse=True)]


async def _fetch_page(connection: ImapConnection, wanted: _Wanted, known: Known | None) -> Mapping[int, Row]:
    """One FETCH; where some messages are known, one of what can change, and another one for those that are new."""
    if not wanted:
        return {}
    items = items_for(connection)
    if known is None:
        return await _fetch(connection, wanted, items)
    changing = await _fetch_flags(connection, wanted) or await _fetch_changing(connection, wanted)
    rows = _with_known(changing, known)
    new = [uid for uid, row in rows.items() if isinstance(row, Fetched)]
    return {**rows, **(await _fetch(connection, new, items) if new else {})}


def _with_known(changing: Mapping[int, _Changing], known: Known | None) -> dict[int, Row]:
    """The rows as far as they are known; of others there is what can change."""
    fixed = known(changing) if known else {}
    return {
        uid: KnownRow(uid, flags, labels, fixed[uid]) if uid in fixed else Fetched(0, uid, flags, labels=labels)
        for uid, (flags, labels) in changing.items()
    }


async def _read_in_groups(
    session: Session,
    mailbox: MailboxRecord,
    choose: _Choose,
    known: Known | None,
    deadline_s: float,
) -> tuple[int, Mapping[int, Row]]:
    async with open_mailbox(session, mailbox, deadline_s=deadline_s) as connection:
        total, wanted = await choose(connection)
        rows = _with_known(await _fetch_changing(connection, wanted) if wanted else {}, known)
    waiting = deque([[uid for uid, row in rows.items() if isinstance(row, Fetched)]])
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
            return await _fetch(connection, uids, items_for(connection))
    except _BROKEN:
        return None


async def _fetch_flags(connection: ImapConnection, wanted: str | Sequence[int]) -> Mapping[int, _Changing] | None:
    """The quick way to what can change, 3 µs a row; None where there is more to it, or not each message has its row."""
    if connection.has("X-GM-EXT-1"):
        return None
    if isinstance(wanted, str):
        found = await connection.glance(wanted)
        first, _, last = wanted.partition(":")
        complete = len(found) == int(last) - int(first) + 1
    else:
        found = dict(await connection.fetch_flags_compact(to_ranges(wanted)))
        complete = len(found) == len(wanted)
    return {uid: (flags, None) for uid, flags in found.items()} if complete else None


async def _fetch_changing(connection: ImapConnection, wanted: _Wanted) -> Mapping[int, _Changing]:
    rows = await _fetch(connection, wanted, [item for item in items_for(connection) if item in _CHANGING])
    return {uid: (row.flags, row.labels) for uid, row in rows.items()}


async def _fetch(connection: ImapConnection, wanted: _Wanted, items: Sequence[str]) -> dict[int, Fetched]:
    """Rows by uid: some servers repeat themselves."""
    by_seq = wanted if isinstance(wanted, str) else None
    ranges = None if isinstance(wanted, str) else to_ranges(wanted or ())
    answers = connection.fetch(ranges, items, by_seq=by_seq)
    return {row.uid: row async for row in answers if isinstance(row, Fetched) and row.uid}
