"""Looking at many messages at once: uid and marks of each, the quick way where there are only flags."""

from __future__ import annotations

from collections.abc import Sequence

from postbus.imap_sync.connection import ImapConnection
from postbus.imap_sync.protocol.values import Fetched, UidRange
from postbus.imap_sync.state.index import Flags
from postbus.imap_sync.state.marks import marks_of

GMAIL = "X-GM-EXT-1"
LABELS = "X-GM-LABELS"


def mark_items(connection: ImapConnection) -> tuple[str, ...]:
    """What of a message can change while it stays where it is."""
    return ("UID", "FLAGS", LABELS) if connection.has(GMAIL) else ("UID", "FLAGS")


async def fetch_marks(connection: ImapConnection, ranges: Sequence[UidRange]) -> list[tuple[int, Flags]]:
    """Uids and marks of those messages that are there; each uid once, in the order of the server."""
    if not connection.has(GMAIL):
        return await connection.fetch_flags_compact(ranges)
    found: dict[int, Flags] = {}
    async for row in connection.fetch(ranges, mark_items(connection)):
        if isinstance(row, Fetched) and row.uid and row.flags is not None:
            found[row.uid] = marks_of(row)
    return list(found.items())
