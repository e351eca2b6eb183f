"""The fast indexer: nothing is kept of a mailbox but where new mail begins, and nothing is told but new mail.

The uids of new mail are committed as late, together with the UIDNEXT that goes with them, before anything is read of
them; each leaves that set with the commit that announces it. So a crash anywhere loses and repeats nothing.
"""

from __future__ import annotations

from postbus.common.accounts import AccountRecord, MailboxRecord
from postbus.imap_sync.connection import ImapConnection
from postbus.imap_sync.protocol.ranges import MAX_UID, compose_set, merge, parse_set, to_ranges
from postbus.imap_sync.protocol.values import MailboxStatus, Selected, UidRange
from postbus.imap_sync.state.commit import Commit, MailboxChange
from postbus.imap_sync.state.live import LiveAccount


def is_fast(record: AccountRecord) -> bool:
    """Whether the account is to be indexed so."""
    return record.imap_indexer == "fast"


def needs_fast_pass(record: MailboxRecord, status: MailboxStatus) -> bool:
    """Whether STATUS tells of something that has to be looked at: new mail, or another life of the mailbox. Pure."""
    if not record.synced or record.indexed or record.late:
        return True
    if status.uid_validity not in (None, record.uid_validity):
        return True
    return status.uid_next is None or status.uid_next != record.uid_next


def counted(record: MailboxRecord, status: MailboxStatus) -> MailboxRecord:
    """The row with the counters of STATUS. Pure."""
    messages = record.messages if status.messages is None else status.messages
    return record.model_copy(update={"messages": messages, "unseen": status.unseen})


class FastSync:
    """Passes of one session over one connection."""

    def __init__(self, live: LiveAccount, connection: ImapConnection) -> None:
        self._live = live
        self._connection = connection
        self._promised: dict[str, int] = {}

    async def catch_up(self, record: MailboxRecord, selected: Selected, *, fresh: bool) -> bool:
        """Note what is new in the selected mailbox, for `late` to announce; whether there was any."""
        first = record.uid_next or 1
        found: list[int] = []
        if not (fresh and selected.uid_next == first):
            rows = await self._connection.fetch_flags_compact((UidRange(first, MAX_UID),))
            found = [uid for uid, _ in rows if uid >= first]  # `n:*` gives the last message even where it is older
        beyond = max(found, default=first - 1) + 1
        row = record.model_copy(
            update={
                "indexed": False,
                "highest_modseq": None,
                "messages": self._connection.exists,
                "uid_next": self._uid_next(record.path, beyond, selected.uid_next if fresh else None),
                "late": compose_set(merge((*parse_set(record.late), *to_ranges(found)))),
            }
        )
        if row != record:
            row = row.model_copy(update={"version": record.version + 1})
            wiped = record.number if record.indexed else None
            await self._live.commit(Commit([MailboxChange(row.path, row, wiped=wiped)]))
        return bool(found)

    def _uid_next(self, path: str, beyond: int, promised: int | None) -> int:
        """Where new mail begins from now on; `beyond` what was shown, `promised` by the server.

        Between the two lie messages that are gone already, or that a replica does not show yet: only what is promised
        twice and still not there is given up.
        """
        if promised is None or promised <= beyond:
            self._promised.pop(path, None)
            return beyond
        if self._promised.get(path) == promised:
            return promised
        self._promised[path] = promised
        return beyond
