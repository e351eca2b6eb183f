"""One pass over one mailbox: look at the server, compare with the index, commit what differs with its events.

What is stored as UIDNEXT and HIGHESTMODSEQ was read before the messages were, and is stored after all of them are
dealt with: a pass that breaks off is done again and finds the same, and mail that comes meanwhile is found next time.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

import structlog

from postbus.common import metrics, telemetry
from postbus.common.accounts import MailboxRecord
from postbus.common.errors import CommandRefused, ProtocolError
from postbus.imap_sync.arrivals import find_unannounced
from postbus.imap_sync.build import Builder, Reason, reason_of
from postbus.imap_sync.connection import ImapConnection
from postbus.imap_sync.fast import FastSync, is_fast
from postbus.imap_sync.late_mail import LateMail
from postbus.imap_sync.looking import GMAIL, fetch_marks, mark_items
from postbus.imap_sync.new_mail import NewMail
from postbus.imap_sync.opening import open_mailbox, with_validity
from postbus.imap_sync.passes import noted_pass
from postbus.imap_sync.plan import Route, has_to_compare, plan_pass
from postbus.imap_sync.progress import Progress
from postbus.imap_sync.protocol.ranges import MAX_UID, contains, cut, merge, parse_set, subtract, to_ranges
from postbus.imap_sync.protocol.values import Fetched, MailboxStatus, Selected, UidRange, Vanished
from postbus.imap_sync.state.diff import Diff, Row, compare
from postbus.imap_sync.state.index import MailboxIndex
from postbus.imap_sync.state.live import LiveAccount
from postbus.imap_sync.state.marks import marks_of
from postbus.imap_sync.state.store import IndexLost

log = structlog.get_logger()

SLICE = 50_000  # messages that are compared at once
ALL = (UidRange(1, MAX_UID),)


@dataclass(frozen=True, slots=True)
class Observation:
    """What the server showed: rows, uids that are gone, ranges where the rows are all there is, and its state."""

    rows: list[Row]
    vanished: tuple[UidRange, ...] = ()
    complete: tuple[UidRange, ...] = ()
    uid_next: int = 1
    highest_modseq: int | None = None
    last: bool = True


class MailboxSync:
    """Passes of one session over one connection. What outlives connections is in `new_mail` and `late`."""

    def __init__(self, live: LiveAccount, connection: ImapConnection, new_mail: NewMail, late: LateMail) -> None:
        self._live = live
        self._connection = connection
        self._new_mail = new_mail
        self._late = late
        self._builder = Builder(live, connection)
        self._fast = FastSync(live, connection)
        self._no_changes = False  # whether the server refuses CHANGEDSINCE

    async def run(self, path: str, *, full: bool = False, since: datetime | None = None, lost: bool = False) -> bool:
        """Bring the index of a mailbox up to date; whether anything had changed.

        `full` compares everything, whatever the server says of changes. A mailbox that is indexed for the first time
        announces what arrived since `since`; None: nothing. `lost`: it was indexed before, and the store forgot.
        CommandRefused where it can't be selected.
        """
        record = self._live.mailbox(path)
        if record is None:
            return False
        try:
            with telemetry.span("sync mailbox", account=self._live.token), noted_pass(self._live, path, full=full):
                changed = await self._run(record, full=full, since=since, lost=lost)
        except (CommandRefused, ProtocolError) as error:
            await self._live.note_sync_error(path, error.message)
            raise
        await self._live.clear_sync_error(path)
        return changed

    async def build_empty(self, record: MailboxRecord, status: MailboxStatus) -> None:
        """A mailbox without messages, as STATUS told, is indexed without looking at it."""
        await self._builder.commit_empty(record, status)

    async def _run(self, record: MailboxRecord, *, full: bool, since: datetime | None, lost: bool) -> bool:
        fresh = self._connection.selected is None or self._connection.selected.path != record.path
        selected = await self._select(record) if fresh else self._connection.selected
        assert selected is not None
        selected = await with_validity(self._connection, selected, record, fresh=fresh)
        enabled = self._connection.enabled
        match plan_pass(record, selected, enabled=enabled, fresh=fresh):
            case Route.BUILD:
                reason = reason_of(record, lost=lost)  # flushed, or the last build was broken off
                known = reason is Reason.LOST and not record.dealt_with and self._live.listed_at is not None
                await self._build(record, selected, reason, None if known else since, meanwhile=known)
                return True
            case Route.RESET:
                await self._build(record, selected, Reason.VALIDITY, None, meanwhile=True)
                return True
            case _ if is_fast(self._live.account.record):
                return await self._catch_up_fast(record, selected, fresh)
            case _ if not record.indexed:
                told = record.model_copy(update={"dealt_with": record.uid_next or 0, "watched": False})
                await self._build(told, selected, Reason.ANEW, None)
                return True
            case route:
                full = full or (route is Route.PLAIN and has_to_compare(selected, enabled=enabled))
                try:
                    return await self._catch_up(record, selected, Route.PLAIN if full else route, fresh, full)
                except IndexLost:
                    log.warning("index lost, building it again", account=self._live.token, path=record.path)
                    again = self._live.mailbox(record.path) or record
                    await self._build(again, await self._select(again), Reason.LOST, None, meanwhile=True)
                    return True

    async def _select(self, record: MailboxRecord) -> Selected:
        return await open_mailbox(self._connection, record, self._late.suspects)

    async def _build(
        self,
        record: MailboxRecord,
        selected: Selected,
        reason: Reason,
        since: datetime | None,
        *,
        meanwhile: bool = False,
    ) -> None:
        """Index it anew; `meanwhile`: announce what came since the last look, if that was not done before."""
        unannounced: Sequence[UidRange] = ()
        if meanwhile:
            top = (selected.uid_next or MAX_UID + 1) - 1
            unannounced = to_ranges(await find_unannounced(self._live, self._connection, record.path, top))
        fresh = await self._builder.build(record, selected, reason, since, unannounced)
        if fresh:
            await self.retry_late(record.path, since)

    async def _catch_up(self, record: MailboxRecord, selected: Selected, route: Route, fresh: bool, full: bool) -> bool:
        changed = False
        async for observation in self._observe(record, selected, route, fresh, full):
            current = self._live.mailbox(record.path) or record
            changed |= await self._settle(current, observation)
        if (again := self._live.mailbox(record.path)) and again.late and record.path not in self._late.due:
            await self.retry_late(record.path, self._live.account.record.notify_from)
        return changed

    async def _catch_up_fast(self, record: MailboxRecord, selected: Selected, fresh: bool) -> bool:
        found = await self._fast.catch_up(record, selected, fresh=fresh)
        if (again := self._live.mailbox(record.path)) and again.late and (found or record.path not in self._late.due):
            await self.retry_late(record.path, self._live.account.record.notify_from)
        return found

    # looking

    async def _observe(
        self, record: MailboxRecord, selected: Selected, route: Route, fresh: bool, full: bool
    ) -> AsyncIterator[Observation]:
        match route:
            case Route.QRESYNC if fresh:
                rows = await self._rows_of(selected.changed)
                yield self._observation(record, selected, rows, fresh=True, vanished=selected.vanished)
            case Route.QRESYNC | Route.CONDSTORE:
                changes: tuple[list[Row], tuple[UidRange, ...]] | None = ([], ())
                if not fresh or selected.highest_modseq != record.highest_modseq:
                    changes = await self._fetch_changes(record)
                if changes is None:
                    async for observation in self._observe_all(record, selected, fresh):
                        yield observation
                else:
                    yield self._observation(record, selected, changes[0], fresh=fresh, vanished=changes[1])
            case _ if full:
                async for observation in self._observe_all(record, selected, fresh):
                    yield observation
            case _:
                ranges = (UidRange(record.uid_next or 1, MAX_UID),)
                rows = [Row(uid, flags) for uid, flags in await fetch_marks(self._connection, ranges)]
                yield self._observation(record, selected, rows, fresh=fresh)

    async def _observe_all(self, record: MailboxRecord, selected: Selected, fresh: bool) -> AsyncIterator[Observation]:
        """Everything, in slices that memory and the event loop can bear."""
        slices: list[tuple[UidRange, ...]] = [ALL]
        if self._connection.exists > SLICE:
            present = await self._connection.search(["ALL"])
            firsts = [group[0].first for group in cut(present, SLICE)]
            bounds = [1, *firsts[1:], MAX_UID + 1]
            slices = [(UidRange(low, high - 1),) for low, high in pairwise(bounds)]
        for position, ranges in enumerate(slices, 1):
            rows = [Row(uid, flags) for uid, flags in await fetch_marks(self._connection, ranges)]
            last = position == len(slices)
            yield self._observation(record, selected, rows, fresh=fresh, complete=ranges, last=last)

    def _observation(
        self,
        record: MailboxRecord,
        selected: Selected,
        rows: list[Row],
        *,
        fresh: bool,
        vanished: tuple[UidRange, ...] = (),
        complete: tuple[UidRange, ...] = (),
        last: bool = True,
    ) -> Observation:
        """With the state to store: SELECT's own where it was just given, else what the rows prove."""
        seen = max((row.uid for row in rows), default=0) + 1
        before = (selected.uid_next if fresh else None) or record.uid_next or 1
        if fresh:
            modseq = selected.highest_modseq
        else:
            modseq = max((row.modseq or 0 for row in rows), default=0)
            modseq = max(modseq, record.highest_modseq or 0) or None
        return Observation(rows, vanished, complete, max(seen, before), modseq, last)

    async def _fetch_changes(self, record: MailboxRecord) -> tuple[list[Row], tuple[UidRange, ...]] | None:
        """Rows that changed, and what vanished; None where the server offers that and does not understand it."""
        if self._no_changes:
            return None
        try:
            return await self._changes_since(record)
        except CommandRefused as error:
            self._no_changes = True
            log.warning("changes refused", account=self._live.token, path=record.path, reason=error.message)
            return None

    async def _changes_since(self, record: MailboxRecord) -> tuple[list[Row], tuple[UidRange, ...]]:
        fetched: list[Fetched] = []
        vanished: list[UidRange] = []
        items = (*mark_items(self._connection), "MODSEQ")
        changes = self._connection.fetch(ALL, items, changed_since=record.highest_modseq, vanished=True)
        async for row in changes:
            if isinstance(row, Vanished):
                vanished.extend(row.ranges)
            else:
                fetched.append(row)
        return await self._rows_of(fetched), merge(vanished)

    async def _rows_of(self, fetched: list[Fetched] | tuple[Fetched, ...]) -> list[Row]:
        """Rows with a uid and marks; those that came without are asked for again (quirk_bare_rows)."""
        labelled = self._connection.has(GMAIL)
        whole = [row for row in fetched if row.flags is not None and (row.labels is not None or not labelled)]
        rows = {row.uid: Row(row.uid, marks_of(row), row.modseq) for row in whole if row.uid}
        bare = [row.uid for row in fetched if row.uid and row.uid not in rows]
        if bare:
            again = await fetch_marks(self._connection, to_ranges(bare))
            rows |= {uid: Row(uid, flags) for uid, flags in again}
        return list(rows.values())

    # settling

    async def _settle(self, record: MailboxRecord, seen: Observation) -> bool:
        late = parse_set(record.late)
        index = await self._live.index(record, [row.uid for row in seen.rows], (*seen.vanished, *seen.complete))
        if seen.complete == ALL:
            index.compact()
        diff = compare(index, seen.rows, vanished=seen.vanished, complete=seen.complete)
        diff.new = [row for row in diff.new if not contains(late, row.uid)]
        if seen.last and not seen.complete and self._count(record, diff, seen) != self._connection.exists:
            index, diff = await self._reconcile(record, seen, index, diff)
        shown = to_ranges(row.uid for row in seen.rows)
        absent = subtract(seen.complete, shown) if seen.complete else ()
        still_late = subtract(subtract(late, seen.vanished), absent)
        return await self._apply(record, seen, index, diff, still_late)

    def _count(self, record: MailboxRecord, diff: Diff, seen: Observation) -> int:
        """How many messages there should be."""
        late = subtract(parse_set(record.late), seen.vanished)
        return record.messages + sum(span.last - span.first + 1 for span in late) + len(diff.new) - len(diff.gone)

    async def _reconcile(
        self, record: MailboxRecord, seen: Observation, index: MailboxIndex, diff: Diff
    ) -> tuple[MailboxIndex, Diff]:
        """The numbers do not add up: without QRESYNC that is how deletions show; with it, there was a hole."""
        await self._connection.noop()  # expunges that the server holds back until a command ends
        if self._count(record, diff, seen) == self._connection.exists:
            return index, diff
        more = await fetch_marks(self._connection, (UidRange(seen.uid_next, MAX_UID),))
        arrived = [Row(uid, flags) for uid, flags in more if not contains(seen.vanished, uid)]
        if arrived and self._count(record, diff, seen) + len(arrived) <= self._connection.exists:
            diff.new += arrived  # where there are still more, the next pass finds them
            return await self._live.index(record, [row.uid for row in (*seen.rows, *arrived)], seen.vanished), diff
        present = await self._connection.search(["ALL"])
        index = await self._live.whole_index(record)
        known = to_ranges(index.uids())
        asked = subtract(subtract(present, known), merge((*parse_set(record.late), *seen.vanished)))
        unknown = subtract(asked, to_ranges(row.uid for row in seen.rows))
        found = await fetch_marks(self._connection, unknown) if unknown else []
        vanished = merge((*seen.vanished, *subtract(known, present)))
        diff = compare(index, [*seen.rows, *(Row(uid, flags) for uid, flags in found)], vanished=vanished)
        diff.new = [row for row in diff.new if not contains(parse_set(record.late), row.uid)]
        return index, diff

    async def _apply(
        self,
        record: MailboxRecord,
        seen: Observation,
        index: MailboxIndex,
        diff: Diff,
        late: tuple[UidRange, ...],
    ) -> bool:
        self._count_holes(record, diff)
        progress = Progress(self._live, record, index, late)
        for uid in diff.gone:
            await progress.delete(uid)
        for change in diff.changed:
            await progress.update(change)
        if diff.new:
            await self._announce(progress, [row.uid for row in diff.new], self._live.account.record.notify_from)
        uid_next = max([seen.uid_next, *(row.uid + 1 for row in diff.new[-1:])])
        state = {"uid_next": uid_next, "highest_modseq": seen.highest_modseq} if seen.last else {}
        return await progress.finish(**state)

    def _count_holes(self, record: MailboxRecord, diff: Diff) -> None:
        """Messages among those that were dealt with long ago: the server told of none of them, or we forgot."""
        holes = sum(row.uid < (record.uid_next or 0) for row in diff.new)
        if holes:
            metrics.HOLES.inc(holes)
            log.warning("hole healed", account=self._live.token, path=record.path, messages=holes)

    # announcing

    async def _announce(self, progress: Progress, uids: list[int], since: datetime | None) -> None:
        """Deal with these messages. The last batch is left to the caller to commit, with the state of the server."""
        now = asyncio.get_running_loop().time()
        record = progress.record
        async for batch in self._new_mail.read(self._connection, record, uids, since):
            progress.seen = await self._live.seen(batch.identities.values())
            for uid, marks in batch.marks.items():
                await progress.add(uid, marks, batch.infos.get(uid), batch.identities.get(uid))
            self._late.came(record.number, list(batch.marks))
            given_up = [*self._late.missed(record.path, record.number, batch.missing, now), *batch.hopeless]
            progress.postpone([uid for uid in batch.missing if uid not in given_up])
            await self._give_up(progress, given_up)
            if not batch.last:
                await progress.commit()

    async def _give_up(self, progress: Progress, uids: list[int]) -> None:
        """The server lists them and does not give them: say so, once, and go on. What is gone by now never was."""
        if not uids:
            return
        await self._connection.noop()  # an expunge may be held back, and what is expunged still be listed until then
        listed = dict(await fetch_marks(self._connection, to_ranges(uids)))
        for uid in uids:
            if uid not in listed:
                progress.forget(uid)
                continue
            log.warning("message missing", account=self._live.token, path=progress.record.path, uid=uid)
            await progress.miss(uid, listed[uid])

    async def retry_late(self, path: str, since: datetime | None) -> None:
        """Try again what could not be fetched so far."""
        record = self._live.mailbox(path)
        if record is None or not record.late:
            return
        if self._connection.selected is None or self._connection.selected.path != path:
            await self._select(record)
        late = parse_set(record.late)
        for group in cut(late, SLICE):
            uids = [uid for span in group for uid in range(span.first, span.last + 1)]
            record = self._live.mailbox(path) or record
            index = await self._live.index(record, uids)
            progress = Progress(self._live, record, index, parse_set(record.late))
            await self._announce(progress, uids, since)
            await progress.commit()
