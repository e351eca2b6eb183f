"""Indexing a whole mailbox in silence: the first time, after its uids lost their meaning, after the index was lost."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum

import structlog

from postbus.common.accounts import MailboxRecord
from postbus.common.events import (
    Event,
    ListedMailboxInfo,
    MailboxNew,
    MailboxReset,
    MailboxResetInfo,
)
from postbus.common.times import iso, now
from postbus.imap_sync.arrivals import find_arrivals
from postbus.imap_sync.connection import ImapConnection
from postbus.imap_sync.fast import is_fast
from postbus.imap_sync.looking import fetch_marks
from postbus.imap_sync.protocol.ranges import MAX_UID, compose_set, contains, cut, intersect, merge, to_ranges
from postbus.imap_sync.protocol.values import Fetched, MailboxStatus, Selected, UidRange
from postbus.imap_sync.state.commit import Commit, MailboxChange
from postbus.imap_sync.state.index import MailboxIndex
from postbus.imap_sync.state.live import LiveAccount

log = structlog.get_logger()

SLICE = 50_000  # messages that are in memory at once


class Reason(StrEnum):
    """Why a mailbox is indexed as a whole."""

    NEW = "new"
    VALIDITY = "uidValidityChange"
    LOST = "syncStateLost"
    ANEW = "anew"  # its index was given up on purpose: nothing happened to it that anybody had to know


def reason_of(record: MailboxRecord, *, lost: bool) -> Reason:
    """Why a mailbox that has no index is indexed; `lost`: it had one, and the store forgot. Pure."""
    if not lost and not record.version:
        return Reason.NEW
    return Reason.LOST if record.watched else Reason.ANEW


class Builder:
    """Indexes mailboxes of one account over one connection."""

    def __init__(self, live: LiveAccount, connection: ImapConnection) -> None:
        self._live = live
        self._connection = connection

    async def build(
        self,
        record: MailboxRecord,
        selected: Selected,
        reason: Reason,
        since: datetime | None,
        unannounced: Sequence[UidRange] = (),
    ) -> bool:
        """Index the selected mailbox; True when there is mail since `since` or unannounced, which then waits for that.

        Nothing is announced here. The uids of new mail go into `late`, so a crash after the commit does not lose them.
        """
        base, numbered = await self._numbered(record, selected.uid_validity)
        top = (selected.uid_next or MAX_UID + 1) - 1
        fresh = merge((*await self._to_announce(base, record, since, top), *unannounced))
        wiped: int | None = record.number if record.synced or reason is Reason.LOST else None
        retired = record if base.number != record.number else None
        messages = unseen = last_uid = 0
        index = MailboxIndex()
        fast = is_fast(self._live.account.record)
        slices = [] if fast else await self._slices(selected, top)
        for position, ranges in enumerate(slices, 1):
            rows = await fetch_marks(self._connection, ranges)
            last_uid = max(last_uid, max((uid for uid, _ in rows), default=0))
            kept = [row for row in rows if not contains(fresh, row[0])] if fresh else rows
            index.fill(kept)
            messages += len(kept)
            unseen += sum("\\Seen" not in flags for _, flags in kept)
            counts = {"messages": messages, "unseen": unseen}
            if position < len(slices):
                base = base.model_copy(update={**counts, "synced": False})
                written, _ = index.take_changes()
                await self._live.commit(Commit([MailboxChange(base.path, base, written, (), wiped, numbered, retired)]))
                wiped, numbered, retired = None, False, None
                index.forget_below(last_uid)
        done = base.model_copy(
            update={
                "messages": selected.exists if fast else messages,
                "unseen": None if fast else unseen,
                "synced": True,
                "watched": True,
                "indexed": not fast,
                "uid_next": selected.uid_next or (await self._last_uid() if fast else last_uid) + 1,
                "highest_modseq": None if fast else selected.highest_modseq,
                "mailbox_id": selected.mailbox_id or base.mailbox_id,
                "version": record.version + 1,
                "late": compose_set(fresh),
                "dealt_with": 0,
            }
        )
        written, _ = index.take_changes()
        change = MailboxChange(done.path, done, written, (), wiped, numbered, retired)
        await self._live.defer(self._told(change, record, done, reason))
        log.info("mailbox indexed", account=self._live.token, path=done.path, messages=messages, reason=reason.value)
        return bool(fresh)

    async def commit_empty(self, record: MailboxRecord, status: MailboxStatus) -> None:
        """Index a mailbox that has no messages, as STATUS tells."""
        fast = is_fast(self._live.account.record)
        done = record.model_copy(
            update={
                "messages": 0,
                "unseen": 0,
                "synced": True,
                "watched": True,
                "indexed": not fast,
                "uid_next": status.uid_next,
                "highest_modseq": None if fast else status.highest_modseq,
                "version": record.version + 1,
                "late": "",
                "dealt_with": 0,
            }
        )
        reason = reason_of(record, lost=False)
        await self._live.defer(self._told(MailboxChange(done.path, done), record, done, reason))

    async def _numbered(self, record: MailboxRecord, uid_validity: int | None) -> tuple[MailboxRecord, bool]:
        """The row with the number of this validity, and whether that number is new."""
        if uid_validity == record.uid_validity and record.number:
            return record, False
        number, numbered = await self._live.number(uid_validity, record.path)
        return record.model_copy(update={"number": number, "uid_validity": uid_validity}), numbered

    async def _last_uid(self) -> int:
        """The highest uid of the selected mailbox, where SELECT gave no UIDNEXT."""
        exists = str(self._connection.exists)
        rows = self._connection.fetch(None, ("UID",), by_seq=exists) if exists != "0" else None
        return max([row.uid or 0 async for row in rows if isinstance(row, Fetched)], default=0) if rows else 0

    async def _slices(self, selected: Selected, top: int) -> Sequence[tuple[UidRange, ...]]:
        if not selected.exists or not top:
            return [()]
        whole = (UidRange(1, top),)
        if selected.exists <= SLICE:
            return [whole]
        present = await self._connection.search(["ALL"])
        return list(cut(intersect(present, whole), SLICE)) or [()]

    async def _to_announce(
        self, base: MailboxRecord, record: MailboxRecord, since: datetime | None, top: int
    ) -> tuple[UidRange, ...]:
        """Uids up to `top` that came since then; of a mailbox that was flushed, those that were not dealt with before.

        Uids that were known to be late still are: nobody told of them.
        """
        same = base.number == record.number
        below = record.dealt_with if same else 0
        found: Sequence[UidRange] = ()
        if since:
            arrivals = await find_arrivals(self._connection, since, top)
            found = to_ranges(arrivals.uids) if arrivals else ()
        elif below:
            found = await self._present(f"{below}:*")
        late = await self._present(record.late) if same and record.late else ()
        beyond = intersect(found, (UidRange(max(below, 1), MAX_UID),))
        return intersect(merge((*beyond, *late)), (UidRange(1, top),)) if top else ()

    async def _present(self, uids: str) -> Sequence[UidRange]:
        return await self._connection.search(["UID", uids])

    def _told(self, change: MailboxChange, before: MailboxRecord, done: MailboxRecord, reason: Reason) -> Commit:
        if reason is Reason.ANEW:
            return Commit([change])
        event, what = self._event(before, done, reason)
        sealed = self._live.seal(event, done.number, done.uid_validity, *what)
        return Commit([change], [sealed], {"syncTime": iso(now())})

    def _event(self, before: MailboxRecord, done: MailboxRecord, reason: Reason) -> tuple[Event, tuple[object, ...]]:
        named = {"path": done.path, "name": done.name, "special_use": done.special_use or False}
        common = {
            "account": self._live.account.record.account,
            "path": done.path,
            "special_use": done.special_use,
        }
        if reason is Reason.NEW:
            info = ListedMailboxInfo(**named, uid_validity=str(done.uid_validity))
            return MailboxNew(**common, data=info), ()
        reset = MailboxResetInfo(
            **named,
            uid_validity=str(done.uid_validity),
            prev_uid_validity=str(before.uid_validity) if before.uid_validity else False,
            reason="uidValidityChange" if reason is Reason.VALIDITY else "syncStateLost",
        )
        return MailboxReset(**common, data=reset), (before.uid_validity, reason.value, done.version)
