"""An account in the hands of its owner: the record, the rows of its mailboxes, and commits one after the other.

While an account is idle this is all that is in memory: rows as the bytes they are stored as, no messages.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime

from postbus.common.account_log import AccountLog
from postbus.common.accounts import Account, MailboxRecord, SyncError
from postbus.common.events import Envelope, Event, seal_event
from postbus.common.times import iso, now
from postbus.imap_sync.outbox import Outbox
from postbus.imap_sync.protocol.values import UidRange
from postbus.imap_sync.state.commit import Commit, MailboxChange, dump_row, number_name, parse_row
from postbus.imap_sync.state.identities import FROM_FIELD, Identity, Seen, begin_at, buckets_of
from postbus.imap_sync.state.index import MailboxIndex, chunk_count, chunks_among, chunks_in, chunks_of
from postbus.imap_sync.state.store import SyncStore

MAX_CHUNKS_BY_NAME = 64  # where it may be more, it is asked first which there are
MAX_REASON_CHARS = 1024  # of a server's words
NO_MAILBOX = "there is no such mailbox"
MAX_DEFERRED_SIZE = 512 * 1024  # bytes


class LiveAccount:
    """What the owner knows, in step with the store. `commit` changes both; after a refused one, `load` again."""

    def __init__(self, store: SyncStore, account: Account, epoch: int, outbox: Outbox) -> None:
        self._store = store
        self.account = account
        self.epoch = epoch
        self.outbox = outbox
        self.rows: dict[str, bytes] = {}
        self.listed_at: datetime | None = None  # when all mailboxes were last listed and looked at
        self.log: AccountLog | None = None  # for people
        self._commit = ""
        self._last_number = 0
        self._seen_from: int | None = None
        self._deferred = Commit()
        self._lock = asyncio.Lock()

    @property
    def token(self) -> str:
        """The account's token."""
        return self.account.token

    async def load(self) -> None:
        """Take the account over and read its rows. Fenced when a later owner has it."""
        taken = await self._store.take(self.token, self.epoch)
        self._commit, self._last_number = taken.commit, taken.last_number
        self.listed_at, self._seen_from = taken.listed_at, taken.seen_from
        self.rows = await self._store.rows(self.token)
        self._deferred = Commit()
        self.outbox.note(taken.waiting)

    def mailbox(self, path: str) -> MailboxRecord | None:
        """The row of a mailbox by its exact path."""
        row = self.rows.get(path)
        return None if row is None else parse_row(row)

    def mailboxes(self) -> Iterator[MailboxRecord]:
        """All rows."""
        return map(parse_row, list(self.rows.values()))

    async def index(self, record: MailboxRecord, uids: Iterable[int], ranges: Iterable[UidRange] = ()) -> MailboxIndex:
        """The part of an index that these uids and ranges lie in. IndexLost when there is none and should be."""
        await self.flush()
        if not record.messages or not record.indexed:
            return MailboxIndex()
        spans = list(ranges)
        if chunk_count(spans) <= MAX_CHUNKS_BY_NAME:
            chunks = chunks_of(uids) | chunks_in(spans)
        else:  # of ranges that reach far beyond what is known
            chunks = chunks_of(uids) | chunks_among(await self._store.chunks(self.token, record.number), spans)
        return await self._store.index(self.token, record.number, chunks)

    async def whole_index(self, record: MailboxRecord) -> MailboxIndex:
        """All of an index."""
        await self.flush()
        if not record.messages or not record.indexed:
            return MailboxIndex()
        return await self._store.index(self.token, record.number, None)

    async def seen(self, identities: Iterable[Identity]) -> Seen:
        """What is known of these messages: whether they were announced before. One command, none for none of them."""
        buckets = buckets_of(identities)
        return await self._store.seen(self.token, buckets) if buckets else Seen()

    async def number(self, uid_validity: int | None, path: str) -> tuple[int, bool]:
        """The number of a mailbox in this validity, and whether it is new; the same again if it had one before."""
        [given] = await self.assign_numbers([(uid_validity, path)])
        return given

    async def assign_numbers(self, mailboxes: Sequence[tuple[int | None, str]]) -> list[tuple[int, bool]]:
        """The same for many at once. Without a validity it is 0: nothing that refers to a message can be made then."""
        names = [number_name(uid_validity, path) for uid_validity, path in mailboxes]
        given = []
        for (uid_validity, _), known in zip(mailboxes, await self._store.numbers(self.token, names), strict=True):
            fresh = known is None and uid_validity is not None
            self._last_number += fresh
            given.append((known or (self._last_number if fresh else 0), fresh))
        return given

    async def lost_paths(self) -> set[str]:
        """Paths that had a number once and have no row now."""
        known = await self._store.paths_once_numbered(self.token) if self._last_number else set()
        return known - self.rows.keys()

    def seal(self, event: Event, *what: object) -> Envelope:
        """An event of this account, ready for the outbox."""
        return seal_event(event, self.account.generation, *what)

    async def defer(self, commit: Commit) -> None:
        """Commit with the next one: for small things of which many come at once."""
        self._note(commit)
        self._deferred.add(commit)
        if self._deferred.size > MAX_DEFERRED_SIZE:
            await self.flush()

    async def flush(self) -> None:
        """Commit what was deferred."""
        if self._deferred.mailboxes or self._deferred.events or self._deferred.fields:
            await self.commit(Commit())

    async def commit(self, commit: Commit) -> None:
        """Write it all at once. What it can run into: Fenced, AccountGone, StateConflict, Unavailable.

        After an error the state in memory may be ahead of the store: `load` before going on.
        """
        self._note(commit)
        async with self._lock:
            whole, self._deferred = self._deferred, Commit()
            whole.add(commit)
            whole.fields["lastNumber"] = str(self._last_number)
            if self.listed_at is not None:
                whole.fields["listTime"] = iso(self.listed_at)
            begins = self._seen_from
            if begins is None:  # before the very first commit nothing was announced
                begins = begin_at(time.time()) if self._commit else 0
                whole.seen[FROM_FIELD] = str(begins).encode()
            name = secrets.token_hex(8)
            waiting = await self._store.commit(
                self.token, self.epoch, self.account.generation, self._commit, name, whole
            )
            self._commit = name
            self._seen_from = begins
        if whole.events:
            self.outbox.wake(waiting, whole.events)

    async def note_sync_error(self, path: str, reason: str) -> None:
        """Keep which mailbox can't be synced, and why, with the server's words."""
        error = SyncError(path=path, time=now(), error=reason[:MAX_REASON_CHARS])
        known = self.account.sync_error
        if known is None or (known.path, known.error) != (error.path, error.error):
            await self._put_sync_error(error)

    async def clear_sync_error(self, path: str) -> None:
        """This mailbox was synced; so much for what was noted of it, or of one that is gone."""
        known = self.account.sync_error
        if known is None or known.error == NO_MAILBOX:
            return
        if known.path == path or known.path not in self.rows:
            await self._put_sync_error(None)

    async def note_missing(self, name: str | None) -> None:
        """Keep that nothing is what `path` of the account names so; None: everything is there.

        A mailbox that is there and can't be synced is told first.
        """
        known = self.account.sync_error
        noted = known.path if known is not None and known.error == NO_MAILBOX else None
        if name == noted or (known is not None and noted is None):
            return
        await self._put_sync_error(SyncError(path=name, time=now(), error=NO_MAILBOX) if name is not None else None)

    async def _put_sync_error(self, error: SyncError | None) -> None:
        self.account = replace(self.account, sync_error=error)
        await self.commit(Commit(fields={"syncError": error.model_dump_json(by_alias=True) if error else None}))

    def _note(self, commit: Commit) -> None:
        for change in commit.mailboxes:
            self._note_row(change)

    def _note_row(self, change: MailboxChange) -> None:
        if change.row is None:
            self.rows.pop(change.path, None)
        else:
            self.rows[change.path] = dump_row(change.row)
