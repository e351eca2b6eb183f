"""Which messages of a mailbox arrived lately, where uids can't tell: by INTERNALDATE, and by what was announced before.

After UIDVALIDITY changed, or the index was lost, old mail must not be announced again, and mail that came meanwhile
must be. So only what arrived since the mailboxes were last looked at is asked about, and of that only what was never
announced, under whatever uid, is new. ADR 5 has the reasons.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import structlog

from postbus.common.mime.headers import parse_date
from postbus.imap_sync.connection import ImapConnection
from postbus.imap_sync.new_mail import is_older
from postbus.imap_sync.protocol.ranges import cut, to_ranges
from postbus.imap_sync.protocol.values import Fetched, UidRange
from postbus.imap_sync.state.identities import identity_items, identity_of
from postbus.imap_sync.state.live import LiveAccount

log = structlog.get_logger()

FIRST_WINDOW, NEXT_WINDOW = 50, 500  # messages whose INTERNALDATE is looked at, from the newest back
BATCH = 250  # messages that are identified at once
MAX_ARRIVALS = 10_000  # since the last look; where there are more, the dates are those of a restored mailbox
LOOK_BACK = timedelta(minutes=10)  # from the last look: the clock of the server is not ours, and some mail comes late
LONGEST_WAY = timedelta(days=1)  # of a message from its Date header to INTERNALDATE, where the latter are in doubt


@dataclass(slots=True)
class Arrivals:
    """Uids of what arrived since a moment. `dated`: there is older mail, so the mailbox has kept its INTERNALDATEs."""

    uids: list[int] = field(default_factory=list)
    dated: bool = False


async def find_arrivals(
    connection: ImapConnection, since: datetime, top: int, *, limit: int | None = None
) -> Arrivals | None:
    """Uids up to `top`: looks back from the newest as long as there are any. None where there are more than `limit`."""
    found = Arrivals()
    high, window = connection.exists, FIRST_WINDOW
    while high > 0:
        low = max(high - window + 1, 1)
        hits = 0
        async for row in connection.fetch(None, ("UID", "INTERNALDATE"), by_seq=f"{low}:{high}"):
            if not isinstance(row, Fetched) or not row.uid or not row.internal_date:
                continue
            if is_older(row, since):
                found.dated = True
            else:
                hits += 1
                found.uids += [row.uid] if row.uid <= top else []
        if limit is not None and len(found.uids) > limit:
            return None
        if not hits:
            break
        high, window = low - 1, NEXT_WINDOW
    return found


async def find_unannounced(live: LiveAccount, connection: ImapConnection, path: str, top: int) -> list[int]:
    """Uids up to `top` of the selected mailbox that came since all mailboxes were last looked at, and nobody told of.

    None of them where that can't be told: old mail is never announced again.
    """
    since = _last_look(live)
    if since is None:
        return []
    arrivals = await find_arrivals(connection, since, top, limit=MAX_ARRIVALS)
    if arrivals is None:
        log.warning("too much mail since the last look, taken for old", account=live.token, path=path)
        return []
    unannounced: list[int] = []
    for group in cut(to_ranges(arrivals.uids), BATCH):
        rows = await _identified(connection, group)
        identities = {uid: known for uid, row in rows.items() if (known := identity_of(row))}
        seen = await live.seen(identities.values())
        new = [uid for uid, identity in identities.items() if seen.is_new(identity)]
        unannounced += [uid for uid in new if arrivals.dated or not _was_sent_before(rows[uid], since)]
    return unannounced


def _last_look(live: LiveAccount) -> datetime | None:
    """Since when mail may be unannounced; None where nobody knows."""
    account, looked_at = live.account, live.listed_at
    if not account.connected_before:  # the first look is not over
        return account.record.notify_from
    if looked_at is None and account.sync_time:  # no look ever found every mailbox open: the last event has to do
        looked_at = datetime.fromisoformat(account.sync_time)
    return max(filter(None, (looked_at - LOOK_BACK, account.record.notify_from))) if looked_at else None


async def _identified(connection: ImapConnection, group: Sequence[UidRange]) -> dict[int, Fetched]:
    items = identity_items(gmail=connection.has("X-GM-EXT-1"), object_ids=connection.has("OBJECTID"))
    rows = {}
    async for row in connection.fetch(group, items):
        if isinstance(row, Fetched) and row.uid:
            rows[row.uid] = row
    return rows


def _was_sent_before(row: Fetched, since: datetime) -> bool:
    """Whether its Date header says that it is old; without one it may be new."""
    sent = parse_date(row.envelope.date) if row.envelope else None
    return sent is not None and sent < since - LONGEST_WAY
