"""Reading messages that are to be announced: metadata in one FETCH, texts in few, and nobody's mail stops the others.

A message the server does not give is told as missing. One that breaks the connection is found by asking for fewer and
fewer at a time, and is given up after `MAX_STRIKES`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import structlog

from postbus.common.accounts import MailboxRecord
from postbus.common.errors import CommandRefused
from postbus.common.events import MAX_EVENT_BYTES, MessageInfo, TextInfo
from postbus.common.service_settings import ServiceSettings
from postbus.common.times import now
from postbus.imap_sync.connection import ImapConnection
from postbus.imap_sync.message_info import compose_info, info_items
from postbus.imap_sync.protocol.ranges import to_ranges
from postbus.imap_sync.protocol.values import Fetched
from postbus.imap_sync.sanitiser import Sanitiser
from postbus.imap_sync.state.identities import Identity, identity_of
from postbus.imap_sync.state.index import Flags
from postbus.imap_sync.state.marks import marks_of
from postbus.imap_sync.texts import fetch_texts
from postbus.imap_sync.web_safe import make_events_safe

log = structlog.get_logger()

BATCH = 250  # messages in one FETCH and one commit
MAX_TEXTS_SIZE = 4 * 1024 * 1024  # bytes of texts that are in memory at once
MAX_STRIKES = 3
FRESH = timedelta(days=1)

_OWN_MAIL = frozenset({"\\Sent", "\\Drafts"})  # special uses of mailboxes where nothing is received
_OWN_LABELS = frozenset({"\\sent", "\\draft"})  # of Gmail's All Mail


@dataclass(slots=True)
class Batch:
    """What became of some messages: infos of those to tell of, marks of all, and uids that were not given."""

    infos: dict[int, MessageInfo] = field(default_factory=dict)
    identities: dict[int, Identity] = field(default_factory=dict)  # of those that have infos
    marks: dict[int, Flags] = field(default_factory=dict)
    missing: list[int] = field(default_factory=list)
    hopeless: list[int] = field(default_factory=list)
    last: bool = False


class NewMail:
    """Reads messages for `messageNew`. It outlives connections, so that it learns which message breaks them."""

    def __init__(self, settings: Callable[[], ServiceSettings], sanitiser: Sanitiser) -> None:
        self._settings = settings
        self._sanitiser = sanitiser
        self._limit = BATCH
        self._in_hand: tuple[int, list[int]] | None = None
        self._strikes: dict[tuple[int, int], int] = {}

    async def read(
        self, connection: ImapConnection, record: MailboxRecord, uids: Sequence[int], since: datetime | None
    ) -> AsyncIterator[Batch]:
        """These messages of the selected mailbox, batch by batch. Those that came before `since` have no info."""
        self._learn()
        left = list(uids)
        while left:
            part, left = left[: self._limit], left[self._limit :]
            hopeless = [uid for uid in part if self._strikes.get((record.number, uid), 0) >= MAX_STRIKES]
            wanted = [uid for uid in part if uid not in hopeless]
            self._in_hand = (record.number, wanted)
            batch = await self._read_batch(connection, record, wanted, since)
            self._in_hand = None
            self._limit = min(self._limit * 2, BATCH)
            batch.hopeless, batch.last = hopeless, not left
            yield batch

    def _learn(self) -> None:
        """The last batch was never finished: ask for fewer, or blame the one message that was left."""
        if self._in_hand is None:
            return
        number, uids = self._in_hand
        self._in_hand = None
        self._limit = max(len(uids) // 4, 1)
        if len(uids) == 1:
            strikes = self._strikes.get((number, uids[0]), 0) + 1
            self._strikes[number, uids[0]] = strikes
            log.warning("message breaks the connection", mailbox=number, uid=uids[0], strikes=strikes)

    async def _read_batch(
        self, connection: ImapConnection, record: MailboxRecord, uids: Sequence[int], since: datetime | None
    ) -> Batch:
        settings = self._settings()
        headers = settings.notify_headers or []
        gmail, objects = connection.has("X-GM-EXT-1"), connection.has("OBJECTID")
        items = info_items(gmail=gmail, headers=headers, object_ids=objects)
        rows = await self._rows(connection, uids, items)
        batch = Batch(missing=[uid for uid in uids if uid not in rows])
        batch.marks = {uid: marks_of(row) for uid, row in rows.items()}
        told = [row for row in rows.values() if not is_older(row, since)]
        for row in told:
            info = compose_info(row, record, headers=headers)
            batch.infos[info.uid] = info.model_copy(update={"seems_like_new": seems_new(row, record, now())})
            if (identity := identity_of(row)) is not None:
                batch.identities[info.uid] = identity
        if settings.effective_notify_text and settings.effective_notify_text_size:
            await self._add_texts(connection, record, told, batch, settings)
        return batch

    async def _rows(self, connection: ImapConnection, uids: Sequence[int], items: Sequence[str]) -> dict[int, Fetched]:
        """Rows by uid, in order (quirk_out_of_order: Yahoo); flags that a row came without are asked for again."""
        found = await fetch_each(connection, uids, items)
        bare = [uid for uid, row in found.items() if row.flags is None]
        for uid, flags in await connection.fetch_flags_compact(to_ranges(bare)) if bare else ():
            found[uid] = replace(found[uid], flags=flags)
        return dict(sorted(found.items()))

    async def _add_texts(
        self,
        connection: ImapConnection,
        record: MailboxRecord,
        rows: Sequence[Fetched],
        batch: Batch,
        settings: ServiceSettings,
    ) -> None:
        limit = min(settings.effective_notify_text_size, MAX_EVENT_BYTES)
        for group in _by_text_size(rows, batch.infos, limit):
            texts = await _texts(connection, record, group, limit)
            if settings.notify_web_safe_html:
                texts = await make_events_safe(connection, group, texts, self._sanitiser)
            for uid, text in texts.items():
                batch.infos[uid] = batch.infos[uid].model_copy(update={"text": text})


async def fetch_each(connection: ImapConnection, uids: Sequence[int], items: Sequence[str]) -> dict[int, Fetched]:
    """The rows of these messages that the server gives. Where it refuses all at once, it is asked for halves.

    Some servers answer NO or BAD to a whole FETCH because of one message (Dovecot: a damaged file).
    """
    rows: dict[int, Fetched] = {}
    try:
        async for row in connection.fetch(to_ranges(uids), items):
            if isinstance(row, Fetched) and row.uid:
                rows[row.uid] = row
    except CommandRefused as error:
        if len(uids) == 1:
            log.warning("message refused", uid=uids[0], reason=error.message)
            return rows
        left = [uid for uid in uids if uid not in rows]
        for half in (left[: len(left) // 2], left[len(left) // 2 :]):
            rows |= await fetch_each(connection, half, items) if half else {}
    return rows


def is_older(row: Fetched, since: datetime | None) -> bool:
    """Whether the message came before; INTERNALDATE counts whole seconds, so the second of `since` itself is in."""
    if since is None or row.internal_date is None:
        return False
    return row.internal_date < since.replace(microsecond=0)


def seems_new(row: Fetched, record: MailboxRecord, at: datetime) -> bool:
    """Whether it was sent just now, as far as can be told: what is moved keeps its INTERNALDATE (RFC 9051, 6.4.7)."""
    if record.special_use in _OWN_MAIL or "\\draft" in map(str.lower, row.flags or ()):
        return False
    labels = set(map(str.lower, row.labels or ()))
    if labels & _OWN_LABELS and "\\inbox" not in labels:
        return False
    return row.internal_date is None or row.internal_date > at - FRESH


async def _texts(
    connection: ImapConnection, record: MailboxRecord, rows: Sequence[Fetched], max_chars: int
) -> dict[int, TextInfo]:
    try:
        return await fetch_texts(connection, rows, record, max_chars=max_chars)
    except CommandRefused as error:
        log.warning("texts refused", path=record.path, reason=error.message)
        return {}


def _by_text_size(
    rows: Sequence[Fetched], infos: dict[int, MessageInfo], max_chars: int
) -> Iterable[Sequence[Fetched]]:
    """Groups whose texts fit into memory together."""
    group: list[Fetched] = []
    size = 0
    for row in rows:
        text = infos[row.uid].text if row.uid else None
        sizes = (text.encoded_size.plain or 0, text.encoded_size.html or 0) if text else (0, 0)
        need = sum(min(encoded, 4 * max_chars) for encoded in sizes)
        if group and size + need > MAX_TEXTS_SIZE:
            yield group
            group, size = [], 0
        group.append(row)
        size += need
    if group:
        yield group
