"""What a pass over a mailbox has dealt with so far, committed in pieces: index, row and events together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from postbus.common.accounts import MailboxRecord
from postbus.common.events import (
    Changes,
    Event,
    FlagChanges,
    MessageChange,
    MessageDeleted,
    MessageInfo,
    MessageMissing,
    MessageNew,
    MessageRef,
    MessageUpdated,
    MissingMessage,
)
from postbus.common.ids import MessageId
from postbus.common.times import iso, now
from postbus.imap_sync.late_mail import MISSING_DELAY_MS, RETRY_GAPS_S
from postbus.imap_sync.protocol.ranges import compose_set, merge, subtract, to_ranges
from postbus.imap_sync.protocol.values import UidRange
from postbus.imap_sync.state.commit import Commit, MailboxChange
from postbus.imap_sync.state.diff import FlagChange
from postbus.imap_sync.state.identities import Identity, Seen
from postbus.imap_sync.state.index import Flags, MailboxIndex
from postbus.imap_sync.state.live import LiveAccount
from postbus.imap_sync.state.marks import split_marks

MAX_EVENTS = 500  # of one commit
MAX_SIZE = 1024 * 1024  # bytes of one commit
SEEN = "\\Seen"


class Progress:
    """Collects changes of one mailbox; every method that adds an event may commit, and waits for room to do so."""

    def __init__(
        self, live: LiveAccount, record: MailboxRecord, index: MailboxIndex, late: tuple[UidRange, ...]
    ) -> None:
        self._live = live
        self.record = record
        self._index = index
        self._late = late
        self.seen = Seen()  # of the messages that are added next
        self._settled: list[int] = []
        self._commit = Commit()
        self._messages = record.messages
        self._unseen = record.unseen or 0
        self._changed = False

    async def add(self, uid: int, flags: Flags, info: MessageInfo | None, identity: Identity | None = None) -> None:
        """A message is there; `info` None: it is too old to tell of. What was announced before is not new: it moved."""
        self._index.put(uid, flags)
        self._count(1, unseen=SEEN not in flags)
        self._settled.append(uid)
        if info is None:
            return
        if identity is not None:
            if info.seems_like_new and self.seen.was_announced(identity):
                info = info.model_copy(update={"seems_like_new": False})
            self.seen.put(identity)
        await self._tell(MessageNew, info, uid)

    async def update(self, change: FlagChange) -> None:
        """The flags or labels of a message differ."""
        record = self.record
        self._index.put(change.uid, change.after)
        self._unseen += (SEEN in change.before) - (SEEN in change.after)
        data = MessageChange(**self._ref(change.uid), changes=_changes(change))
        what = (change.modseq,) if change.modseq else (" ".join(change.after), record.version)
        await self._tell(MessageUpdated, data, change.uid, *what)

    async def delete(self, uid: int) -> None:
        """A known message is gone."""
        flags = self._index.get(uid) or ()
        self._index.remove(uid)
        self._count(-1, unseen=SEEN not in flags)
        await self._tell(MessageDeleted, MessageRef(**self._ref(uid)), uid)

    async def miss(self, uid: int, flags: Flags) -> None:
        """A message is listed and is not given."""
        self._settled.append(uid)
        self._index.put(uid, flags)
        self._count(1, unseen=SEEN not in flags)
        missing = MissingMessage(**self._ref(uid), missing_retries=len(RETRY_GAPS_S), missing_delay=MISSING_DELAY_MS)
        await self._tell(MessageMissing, missing, uid)

    def forget(self, uid: int) -> None:
        """A message was gone before anything could be told of it."""
        self._settled.append(uid)

    def postpone(self, uids: Iterable[int]) -> None:
        """These messages are there and can't be told of yet."""
        self._late = merge((*self._late, *to_ranges(uids)))

    async def commit(self, **state: Any) -> None:
        """Write what was collected, with these fields of the row."""
        written, deleted = self._index.take_changes() if self.record.indexed else ({}, [])
        self._late = subtract(self._late, to_ranges(self._settled))
        self._settled.clear()
        counts = {"messages": self._messages, "unseen": max(self._unseen, 0), "late": compose_set(self._late)}
        row = self.record.model_copy(update={**counts, **state})
        if row == self.record and not written and not deleted and not self._commit.events:
            return
        row = row.model_copy(update={"version": self.record.version + 1})
        self._commit.seen = self.seen.take_changes((self._live.listed_at or now()).timestamp())
        self._commit.mailboxes = [MailboxChange(row.path, row, written, deleted)]
        if self._commit.events:
            self._commit.fields["syncTime"] = iso(now())
            await self._live.outbox.room()
        commit, self._commit = self._commit, Commit()
        await self._live.commit(commit)
        self.record = row

    async def finish(self, **state: Any) -> bool:
        """Commit the rest together with the state of the server; whether there was anything to tell."""
        await self.commit(**state)
        return self._changed

    async def _tell(self, kind: type[Event], data: object, uid: int, *what: object) -> None:
        record = self.record
        event = kind(
            account=self._live.account.record.account, path=record.path, special_use=record.special_use, data=data
        )
        self._commit.events.append(self._live.seal(event, record.number, record.uid_validity, uid, *what))
        self._changed = True
        if len(self._commit.events) >= MAX_EVENTS or self._commit.size >= MAX_SIZE:
            await self.commit()

    def _ref(self, uid: int) -> dict[str, Any]:
        return {"id": str(MessageId(self.record.number, uid)), "uid": uid}

    def _count(self, step: int, *, unseen: bool) -> None:
        if self.record.indexed:
            self._messages += step
            self._unseen += step * unseen


def _changes(change: FlagChange) -> Changes:
    """The contract has flags and labels apart, and of each only what changed."""
    (flags, labels), (flags_before, labels_before) = split_marks(change.after), split_marks(change.before)
    return Changes(flags=_flag_changes(flags_before, flags), labels=_flag_changes(labels_before, labels))


def _flag_changes(before: Sequence[str], after: Sequence[str]) -> FlagChanges | None:
    added = [word for word in after if word not in before]
    deleted = [word for word in before if word not in after]
    return FlagChanges(added=added or None, deleted=deleted or None, value=list(after)) if added or deleted else None
