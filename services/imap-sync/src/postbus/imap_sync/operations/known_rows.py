"""Rows of listings that were composed before. All of a message but its flags and labels never changes (RFC 9051, 2.3).

Clients list the same page again and again: a row that is known costs 5 µs and its flags, a new one 130 µs. What is
kept is JSON, by mailbox; the mailbox that was not listed for the longest time is forgotten first.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import Final
from uuid import UUID

MAX_BYTES: Final = 6 * 1024 * 1024  # of all rows of this process: about 8,000
MAX_ROW: Final = 4096  # bytes of a row that is worth it
MAX_ROWS: Final = 1000  # of one mailbox: the largest page
_OVERHEAD: Final = 150  # bytes of a dict entry and its objects

MailboxKey = tuple[str, UUID, int]  # account, its generation, number of the mailbox: never used for another one


class KnownRows:
    """Rows by mailbox and uid."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._mailboxes: OrderedDict[MailboxKey, dict[int, bytes]] = OrderedDict()
        self._size = 0

    @property
    def size(self) -> int:
        """Bytes of all that is kept."""
        return self._size

    def knows(self, key: MailboxKey) -> bool:
        """Whether there are rows of a mailbox."""
        return key in self._mailboxes

    def pick(self, key: MailboxKey, uids: Iterable[int]) -> dict[int, bytes]:
        """Those rows of a mailbox that are known, by uid."""
        if key not in self._mailboxes:
            return {}
        self._mailboxes.move_to_end(key)
        rows = self._mailboxes[key]
        return {uid: row for uid in uids if (row := rows.get(uid))}

    def add(self, key: MailboxKey, uid: int, row: bytes) -> None:
        """Keep a row, and forget others for it."""
        if len(row) > MAX_ROW:
            return
        rows = self._mailboxes.setdefault(key, {})
        self._mailboxes.move_to_end(key)
        if len(rows) >= MAX_ROWS and uid not in rows:
            self._size -= _weight(rows.pop(next(iter(rows))))
        self._size += _weight(row) - (_weight(rows[uid]) if uid in rows else 0)
        rows[uid] = row
        while self._size > self._max_bytes and len(self._mailboxes) > 1:
            _, forgotten = self._mailboxes.popitem(last=False)
            self._size -= sum(map(_weight, forgotten.values()))


def _weight(row: bytes) -> int:
    return len(row) + _OVERHEAD
