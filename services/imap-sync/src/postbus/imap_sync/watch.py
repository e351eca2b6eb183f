"""The watching connection of an account: everything is looked at once, then IDLE on the main mailbox, polls between.

A push only says "look": what changed is found by a pass over the mailbox. While one runs, further pushes add up to
one more.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import NoReturn

import structlog

from postbus.common.accounts import MailboxRecord
from postbus.common.errors import CommandRefused, ProtocolError
from postbus.common.events import MailboxDeleted, MailboxInfo
from postbus.common.times import now
from postbus.imap_sync.connection import ImapConnection
from postbus.imap_sync.fast import counted, is_fast, needs_fast_pass
from postbus.imap_sync.late_mail import LateMail
from postbus.imap_sync.listed import ListingPlan, is_gmail, plan_any_listing, watched
from postbus.imap_sync.mailbox_sync import MailboxSync
from postbus.imap_sync.new_mail import NewMail
from postbus.imap_sync.plan import compare_gap_s, needs_pass
from postbus.imap_sync.profiles import Profile
from postbus.imap_sync.protocol.values import ListedMailbox, MailboxStatus
from postbus.imap_sync.state.commit import Commit, MailboxChange
from postbus.imap_sync.state.live import LiveAccount
from postbus.imap_sync.tuning import Clocks, Tuning
from postbus.imap_sync.unwatched import count, new_since

log = structlog.get_logger()

JITTER = (0.8, 1.2)
OVERLAP = timedelta(seconds=10)  # mail may be moved, unseen, between a listing and the looks that follow it
LINGER_PASSES = 10  # an account that is always busy is in passes for a tenth of the time
LONGEST_LINGER_S = 1.0


OnListed = Callable[[Sequence[MailboxRecord], Profile], Awaitable[None]]  # mailboxes that are synced, main one first


async def _nobody(_: Sequence[MailboxRecord], __: Profile) -> None:
    """Nobody wants to know."""


class Pushes:
    """Whether the server pushed something since the last look."""

    def __init__(self) -> None:
        self._any = False

    def note(self, _: str) -> None:
        """There was one; its label does not matter."""
        self._any = True

    def take(self) -> bool:
        """Whether there was one since the last time."""
        seen, self._any = self._any, False
        return seen


class Watcher:
    """Keeps the index of one account current over one connection, until that breaks."""

    def __init__(
        self,
        live: LiveAccount,
        connection: ImapConnection,
        new_mail: NewMail,
        late: LateMail,
        pushes: Pushes,
        tuning: Tuning,
        changed: Callable[[], None],
    ) -> None:
        self._live = live
        self._connection = connection
        self._late = late
        self._pushes = pushes
        self._tuning = tuning
        self._changed = changed
        self._sync = MailboxSync(live, connection, new_mail, late)
        self._clocks = Clocks()
        self._poll_s = tuning.poll_s
        self._pokes: set[str] = set()
        self._waiting: list[asyncio.Event] = []
        self._nudge: asyncio.Task[None] | None = None
        self._idling = False
        self._main: str | None = None
        self._uncompared = False
        self._lost: set[str] = set()
        self._since: dict[str, datetime | None] = {}  # of mailboxes whose first pass did not succeed yet
        self._listed = False
        self.gmail = False
        self.on_listed: OnListed = _nobody

    @property
    def main(self) -> str | None:
        """The mailbox that IDLE is about; None where none is synced."""
        return self._main

    def poke(self, path: str) -> None:
        """Look at this mailbox soon: we changed it ourselves, or somebody missed it."""
        self._pokes.add(path)
        if self._idling and (self._nudge is None or self._nudge.done()):
            self._nudge = asyncio.ensure_future(self._interrupt())

    async def relist(self, limit_s: float) -> None:
        """List the mailboxes now; returns when what is stored is as current as that, or after `limit_s`."""
        done = asyncio.Event()
        self._waiting.append(done)
        self.poke("")  # no mailbox has that name, so the listing is due
        with suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                await done.wait()

    def resync(self) -> None:
        """List the mailboxes and compare every message of those that are synced, one mailbox after the other."""
        self._clocks.audit_at.update(dict.fromkeys(self._clocks.audit_at, 0.0))
        self.poke("")

    async def catch_up(self) -> None:
        """List the mailboxes and look at every one that differs from what is known."""
        await self._list()
        await self._live.flush()
        self._set_poll()

    async def run(self) -> NoReturn:
        """Wait for news and deal with it, until the connection breaks."""
        while True:
            waiting, self._waiting = self._waiting, []
            await self._do_due()
            started, found = self._now(), False
            if self._main is not None:
                self._uncompared |= self._pushes.take()
                found = await self._look(self._main)
            await self._live.flush()
            for done in waiting:
                done.set()
            if found:
                await self._linger(self._now() - started)
            self._idling = True
            try:
                if not self._pokes:
                    await self._connection.idle(max_s=max(self._wait_s(), 0.01))
            finally:
                self._idling = False

    async def _linger(self, pass_s: float) -> None:
        """Where mail comes in quick succession, ask once before the next IDLE, and less soon where a pass is slow.

        In IDLE servers gather what happens before they tell: Dovecot for 0.5 s from the first change on.
        """
        await asyncio.sleep(min(max(self._tuning.linger_s, LINGER_PASSES * pass_s), LONGEST_LINGER_S))
        await self._connection.noop()

    async def _interrupt(self) -> None:
        """What goes wrong with it, the watching task hears too."""
        try:
            await self._connection.interrupt()
        except Exception as error:  # noqa: BLE001
            log.debug("idle not interrupted", account=self._live.token, error=str(error))

    # when

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    def _wait_s(self) -> float:
        times = [
            self._now() + min(self._tuning.idle_s, self._connection.profile.idle_s),
            self._clocks.poll_at,
            self._clocks.list_at,
            self._late.next_at(),
            *(at for path, at in self._clocks.audit_at.items() if path in self._live.rows),
        ]
        if self._uncompared and self._main and (record := self._live.mailbox(self._main)):
            times.append(self._clocks.compared_at.get(self._main, 0.0) + compare_gap_s(record.messages))
        return min(times) - self._now()

    async def _do_due(self) -> None:
        for path in self._late.take_due(self._now()):
            await self._sync.retry_late(path, self._live.account.record.notify_from)
        while self._pokes:
            path = self._pokes.pop()
            if (record := self._live.mailbox(path)) is None:
                self._clocks.list_at = 0.0
            elif not self._is_watched(record):
                await count(self._live, record, (await self._connection.statuses([path])).get(path))
            elif path != self._main:
                await self._look(path)
        if self._now() >= min(self._clocks.poll_at, self._clocks.list_at):
            await self._poll()
        await self._audit()

    async def _poll(self) -> None:
        """List, and look at all mailboxes by their status: in one command where the server has LIST-STATUS."""
        changed = await self._list()
        quiet = min(self._poll_s * 2, max(self._tuning.longest_poll_s, self._tuning.poll_s))
        self._poll_s = self._tuning.poll_s if changed else quiet
        self._set_poll()

    def _set_poll(self) -> None:
        gap = min(self._poll_s, self._resync_s())
        self._clocks.poll_at = self._now() + gap * random.uniform(*JITTER)  # noqa: S311

    def _resync_s(self) -> float:
        imap = self._live.account.record.imap
        return float(imap.resync_delay) if imap else self._tuning.longest_poll_s

    async def _audit(self) -> None:
        """Once in a while compare everything: it finds what any mistake, of a server or of ours, left behind."""
        due = [path for path, at in self._clocks.audit_at.items() if at <= self._now() and path in self._live.rows]
        for path in due[:1]:
            self._clocks.audit_at[path] = self._now() + self._tuning.audit_s * random.uniform(*JITTER)  # noqa: S311
            if await self._look(path, full=True):
                log.info("audit found changes", account=self._live.token, path=path)

    # what

    def _watched(self) -> list[MailboxRecord]:
        return watched(list(self._live.mailboxes()), self._live.account.record, gmail=self.gmail)

    def _is_watched(self, record: MailboxRecord) -> bool:
        return bool(watched([record], self._live.account.record, gmail=self.gmail))

    async def _list(self) -> bool:
        """LIST, with STATUS where LIST gives it; whether anything had changed."""
        asked_at = now()
        listed = await self._connection.list_mailboxes(with_status=True)
        if not any(mailbox.selectable for mailbox in listed):  # trap: never a reason to forget mailboxes
            raise ProtocolError("the server lists no mailboxes", code="EmptyListing")
        known = {record.path: record for record in self._live.mailboxes()}
        complete = self._connection.listing_complete
        plan = await plan_any_listing(known, listed, self._live.account.record, complete=complete)
        plan.statuses |= await self._connection.statuses(self._without_status(plan, listed))
        if plan.new and not self._listed:
            self._lost = await self._live.lost_paths()
        await self._apply(plan)
        self.gmail = is_gmail(self._connection.capabilities, list(self._live.mailboxes()))
        self._main = next((row.path for row in self._watched()), None)
        self._clocks.list_at = self._now() + self._resync_s()
        if not self._listed:
            await self._live.flush()  # from now on commands are answered: the numbers of mailboxes have to be kept
        await self.on_listed(self._watched(), self._connection.profile)
        changed = await self._look_at_all(plan.statuses)
        self._note_listing(asked_at)
        return bool(plan.new or plan.gone) or changed

    def _without_status(self, plan: ListingPlan, listed: Sequence[ListedMailbox]) -> list[str]:
        """Mailboxes to ask STATUS of; never the selected one (RFC 9051, 6.3.11): the next pass looks at that anyway."""
        selected = self._connection.selected.path if self._connection.selected else None
        paths = (mailbox.path for mailbox in listed if mailbox.selectable)
        return [path for path in paths if path not in plan.statuses and path != selected]

    def _new_since(self, record: MailboxRecord) -> datetime | None:
        """Mail of a mailbox not seen before is new when it came after we last looked at which mailboxes there are."""
        account = self._live.account
        notify_from = account.record.notify_from
        if not account.connected_before and not self._listed:
            return new_since(account.record, record, notify_from)
        seen = self._live.listed_at
        if seen is None:  # stored by a version that did not note it
            seen = datetime.fromisoformat(account.sync_time) if account.sync_time else None
        since = max(filter(None, (seen - OVERLAP, notify_from))) if seen else None
        return new_since(account.record, record, since)

    def _note_listing(self, asked_at: datetime) -> None:
        """All mailboxes of this listing were looked at; where one was gone by then, the next listing tells why."""
        self._listed = True
        if self._clocks.list_at:
            self._live.listed_at = asked_at

    async def _apply(self, plan: ListingPlan) -> None:
        """Commit the rows of the listing, with the events of those that are gone and were watched."""
        commit = Commit()
        plan.new.sort(key=lambda row: (row.path != "INBOX", row.path))  # number 1 is INBOX
        wanted = [(self._validity(plan, row), row.path) for row in plan.new]
        for row, (number, numbered), (validity, _) in zip(
            plan.new, await self._live.assign_numbers(wanted), wanted, strict=True
        ):
            fresh = row.model_copy(update={"number": number, "uid_validity": validity})
            commit.mailboxes.append(MailboxChange(row.path, fresh, numbered=numbered))
        commit.mailboxes += [MailboxChange(row.path, row) for row in plan.changed]
        for row in plan.gone:
            commit.mailboxes.append(MailboxChange(row.path, None, wiped=row.number, retired=row))
            self._clocks.forget(row.path)
            self._since.pop(row.path, None)
            if not row.watched:
                continue
            info = MailboxInfo(path=row.path, name=row.name, special_use=row.special_use or False)
            account = self._live.account.record.account
            event = MailboxDeleted(account=account, path=row.path, special_use=row.special_use, data=info)
            commit.events.append(self._live.seal(event, row.number, row.uid_validity, row.path, row.version))
        if commit.mailboxes:
            await self._live.defer(commit)

    def _validity(self, plan: ListingPlan, row: MailboxRecord) -> int | None:
        status = plan.statuses.get(row.path)
        return status.uid_validity if status else None

    async def _look_at_all(self, statuses: dict[str, MailboxStatus]) -> bool:
        changed = False
        rows = self._watched()
        for record in rows:
            status = statuses.get(record.path)
            first = record.path == self._main and not self._listed
            if first or self._differs(record, status):
                changed |= await self._visit(record, status)
            elif status is not None and not record.indexed and (row := counted(record, status)) != record:
                await self._live.defer(Commit([MailboxChange(row.path, row)]))
        paths = {record.path for record in rows}
        for record in list(self._live.mailboxes()):
            if record.path not in paths:
                self._clocks.forget(record.path)
                await count(self._live, record, statuses.get(record.path))
        return changed

    def _differs(self, record: MailboxRecord, status: MailboxStatus | None) -> bool:
        if status is None:
            return not record.synced
        if is_fast(self._live.account.record):
            return needs_fast_pass(record, status)
        condstore = "CONDSTORE" in self._connection.enabled
        if needs_pass(record, status, condstore=condstore):
            return True
        return not condstore and self._compare_is_due(record, at_least_s=self._resync_s())

    async def _visit(self, record: MailboxRecord, status: MailboxStatus | None) -> bool:
        if status is not None and self._is_plainly_empty(record, status):
            await self._sync.build_empty(record, status)
            return True
        return await self._look(record.path)

    def _is_plainly_empty(self, record: MailboxRecord, status: MailboxStatus) -> bool:
        """Whether STATUS has told all there is to know of a mailbox that is not indexed yet."""
        same = bool(record.number) and status.uid_validity == record.uid_validity
        unseen = not record.synced and record.path not in self._lost
        return same and unseen and status.messages == 0 and status.uid_next is not None

    async def _look(self, path: str, *, full: bool = False) -> bool:
        """One pass. A mailbox that can't be selected is left alone for a while, unless it is the main one."""
        record, account = self._live.mailbox(path), self._live.account.record
        if record is None or self._clocks.parked_until.get(path, 0.0) > self._now():
            return False
        plain = not is_fast(account) and (not self._connection.enabled or record.highest_modseq is None)
        full = full or (plain and record.synced and self._compare_is_due(record))
        try:
            since = self._since.setdefault(path, self._new_since(record)) if not record.synced else None
            changed = await self._sync.run(path, full=full, since=since, lost=path in self._lost)
        except (CommandRefused, ProtocolError) as error:
            if self._connection.closed or path == self._main:
                raise
            log.warning("mailbox parked", account=self._live.token, path=path, reason=error.message)
            self._clocks.park(path, self._now(), self._tuning.parked_s)
            return False
        self._lost.discard(path)
        self._since.pop(path, None)
        self._clocks.refusals.pop(path, None)
        first_audit = self._now() + self._tuning.audit_s * random.uniform(0.3, 1.0)  # noqa: S311
        self._clocks.audit_at.setdefault(path, first_audit)
        if full:
            self._clocks.compared_at[path] = self._now()
        if path == self._main and (full or not plain):
            self._uncompared = False
        if changed:
            self._changed()
        return changed

    def _compare_is_due(self, record: MailboxRecord, at_least_s: float = 0.0) -> bool:
        gap = max(compare_gap_s(record.messages), at_least_s)
        return self._now() >= self._clocks.compared_at.get(record.path, float("-inf")) + gap
