"""FETCH in its three forms: rows as they arrive, flags by the ten thousand, and a section piece by piece."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass

from postbus.common.errors import CommandRefused, NotFound, ProtocolError
from postbus.imap_sync.mending import Mender
from postbus.imap_sync.patience import Patience
from postbus.imap_sync.protocol.arguments import text
from postbus.imap_sync.protocol.fetches import broken_row, is_row, origin_of, parse_flags_row, parse_row, section_key
from postbus.imap_sync.protocol.flags import Flags
from postbus.imap_sync.protocol.framer import Response
from postbus.imap_sync.protocol.ranges import compose_set, contains, count, split, to_ranges
from postbus.imap_sync.protocol.responses import parse_untagged, parse_vanished, refusal
from postbus.imap_sync.protocol.values import Fetched, UidRange, Vanished
from postbus.imap_sync.wire import FLAGS, ROWS, Handler, Limit, Wire

_LIGHT = frozenset({"UID", "FLAGS", "MODSEQ"})  # items that unsolicited rows have too
_FETCH_S = 90.0  # without a sign of life
_EMPTY_TRIES = 3
_METADATA = 32 * 1024  # bytes of a message
_SPARE = 16 * 1024 * 1024  # bytes, for those that have more
_NEWS = 20_000  # rows that may come beside those of the messages there are
_MANY = 1_000  # messages asked for at once
_PARTIAL = re.compile(r"<\d+\.(\d{1,9})>$")


@dataclass(frozen=True, slots=True)
class Answering:
    """How answers are taken: what becomes of rows that were not asked for, and how many messages the mailbox has.

    quirk_empty_mailbox: some servers refuse any set of messages where there are none.
    """

    on_stray: Callable[[Fetched], None]
    exists: Callable[[], int | None]  # None where no mailbox is selected

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to ask for."""
        return self.exists() == 0

    @property
    def flags_limit(self) -> Limit:
        """How much the answer may be where flags are asked for: every message once, and some that are new."""
        exists = self.exists()
        rows = FLAGS.responses if exists is None else min(2 * exists + _NEWS, FLAGS.responses)
        return Limit(rows, FLAGS.size)


def compose_modifiers(changed_since: int | None, *, vanished: bool) -> str:
    """fetch-modifiers of RFC 7162."""
    if changed_since is None:
        return ""
    return f"(CHANGEDSINCE {changed_since} VANISHED)" if vanished else f"(CHANGEDSINCE {changed_since})"


async def fetch_rows(
    wire: Wire,
    sets: Sequence[tuple[str, tuple[UidRange, ...] | None]],
    items: Sequence[str],
    *,
    modifiers: str,
    answer: Answering,
) -> AsyncGenerator[Fetched | Vanished, None]:
    """Rows of one FETCH after the other; `sets` are the words before the items, and which uids they may bring.

    A row that lacks something comes last, mended as far as that goes.
    """
    mender = Mender(items)
    for words, asked in sets:
        async with aclosing(_fetch_set(wire, words, asked, items, modifiers=modifiers, answer=answer)) as rows:
            async for row in rows:
                if isinstance(row, Fetched) and row.uid in mender.held:
                    mender.mend(row)
                elif isinstance(row, Vanished) or not mender.holds(row):
                    yield row
    for lacking, uids in mender.questions().items():
        asked = to_ranges(uids)
        words = text("UID FETCH", compose_set(asked))
        async with aclosing(_fetch_set(wire, words, asked, ("UID", *lacking), modifiers="", answer=answer)) as rows:
            with suppress(CommandRefused):
                async for row in rows:
                    if isinstance(row, Fetched):
                        mender.mend(row)
    for row in mender.held.values():
        yield row


async def _fetch_set(
    wire: Wire,
    words: str,
    asked: tuple[UidRange, ...] | None,
    items: Sequence[str],
    *,
    modifiers: str,
    answer: Answering,
) -> AsyncGenerator[Fetched | Vanished, None]:
    """One FETCH, repeated while the server asks us to slow down; what it gave before that is not given again."""
    heavy = not all(item.upper() in _LIGHT for item in items)
    command = text(words, f"({' '.join(dict.fromkeys(items))})", modifiers)
    limit = _limit_of(items, asked) if heavy else answer.flags_limit
    patience = Patience(wire.longest_wait_s)
    given: set[int] = set()
    while True:
        before = frozenset(given)
        try:
            async with aclosing(wire.stream(command, accept=_is_ours, timeout_s=_FETCH_S, limit=limit)) as rows:
                async for pieces in rows:
                    row = _parse(wire, pieces)
                    if row is None:
                        continue
                    if isinstance(row, Vanished):
                        yield row
                    elif not _answers(row, asked, heavy=heavy):
                        answer.on_stray(row)
                    elif row.uid is not None and row.uid not in before:
                        given.add(row.uid)
                        yield row
            return
        except CommandRefused as error:
            if _only_gone(error) or answer.is_empty:
                return
            await patience.wait(error)


async def fetch_flags(wire: Wire, ranges: Sequence[UidRange], *, modifiers: str, answer: Answering) -> dict[int, Flags]:
    """Flags by uid. The rows are parsed as they arrive: 3 µs each, and nothing is kept of them but the flags."""
    found: dict[int, Flags] = {}

    def on_response(pieces: Response) -> bool:
        row = parse_flags_row(pieces[0]) if len(pieces) == 1 else None
        if row is not None:
            found[row[0]] = row[1]
            return True
        if not is_row(pieces[0]):
            return False
        slow = _parse(wire, pieces)
        if isinstance(slow, Fetched) and slow.uid is not None and slow.flags is not None:
            found[slow.uid] = slow.flags
        elif isinstance(slow, Fetched):
            answer.on_stray(slow)
        return True

    for group in split(ranges):
        command = text("UID FETCH", compose_set(group), "(UID FLAGS)", modifiers)
        await _run_fetch(wire, command, on_response, answer, answer.flags_limit)
    if len(ranges) == 1:
        first, last = ranges[0].first, ranges[0].last
        return {uid: flags for uid, flags in found.items() if first <= uid <= last}
    return {uid: flags for uid, flags in found.items() if contains(ranges, uid)}


async def stream_section(
    wire: Wire, uid: int, section: str, *, chunk_size: int, answer: Answering
) -> AsyncGenerator[bytes, None]:
    """A section in pieces of `chunk_size` bytes; the connection is free between two of them.

    NotFound when the message or the section is not there, and when the message goes away in the middle.
    """
    offset = 0
    while True:
        piece = await _fetch_piece(wire, uid, section, offset, chunk_size, answer)
        if piece:
            yield piece
        # Short: that was the end. Oversized: quirk_ignored_partial (Tencent Exmail), that was everything.
        if len(piece) != chunk_size:
            return
        offset += chunk_size


async def _fetch_piece(wire: Wire, uid: int, section: str, offset: int, size: int, answer: Answering) -> bytes:
    key = section_key(section)
    item = f"BODY.PEEK[{section}]<{offset}.{size}>"
    for _ in range(_EMPTY_TRIES):  # quirk_empty_fetch (Apache James): an answer without the row, or one that is late
        row = await _fetch_one(wire, uid, item, key, offset, answer)
        if row is not None:
            piece = row.sections.get(key)
            if piece is not None:
                if offset and len(piece) > size:
                    raise ProtocolError("the server sent more of the message than it was asked for")
                return piece
            if offset:
                return b""
    raise NotFound("the message or this part of it is not there any more", code="MessageNotFound")


async def _fetch_one(wire: Wire, uid: int, item: str, key: str, offset: int, answer: Answering) -> Fetched | None:
    """The row of this message that has the section, or else any row of it that was asked for.

    A piece from elsewhere in the section is the late answer to an earlier question, and no answer to this one.
    """
    rows: list[Fetched] = []

    def on_response(pieces: Response) -> bool:
        if not is_row(pieces[0]):
            return False
        row = _parse(wire, pieces)
        if not isinstance(row, Fetched) or row.uid != uid:
            return False
        if origin_of(pieces) in (None, offset):
            rows.append(row)
        return key in row.sections or row.flags is None

    await _run_fetch(wire, text("UID FETCH", str(uid), f"(UID {item})"), on_response, answer)
    return next((row for row in rows if key in row.sections), rows[-1] if rows else None)


async def _run_fetch(wire: Wire, command: str, on_response: Handler, answer: Answering, limit: Limit = ROWS) -> None:
    """A FETCH whose rows are taken as they come."""
    try:
        await wire.run(command, on_response=on_response, timeout_s=_FETCH_S, total_s=900.0, limit=limit)
    except CommandRefused as error:
        if not _only_gone(error) and not answer.is_empty:
            raise


def _limit_of(items: Sequence[str], asked: Sequence[UidRange] | None) -> Limit:
    """How much the answer may be, and with it what is in memory: what was asked for, and a generous share for the rest.

    Metadata of a message is 1 KB; some have thousands of recipients. Sections are as long as asked for.
    """
    partials = [_PARTIAL.search(item) for item in items if "[" in item]
    if not all(partials):
        return ROWS
    messages = min(count(asked) if asked else _MANY, _MANY)
    sections = sum(int(partial[1]) for partial in partials if partial)
    return Limit(ROWS.responses, min(_SPARE + messages * (_METADATA + sections), ROWS.size))


def _is_ours(pieces: Response) -> bool:
    return is_row(pieces[0]) or _is_earlier(pieces[0])


def _is_earlier(text: bytes) -> bool:
    return text[2:10].upper() == b"VANISHED" and b"(EARLIER)" in text[:24].upper()


def _parse(wire: Wire, pieces: Response) -> Fetched | Vanished | None:
    """A row; what can't be understood of it is left out, and without a uid it is nothing."""
    if not is_row(pieces[0]):
        untagged = parse_untagged(pieces[0])
        return parse_vanished(pieces[0][untagged.start :]) if untagged else None
    try:
        return parse_row(pieces)
    except ProtocolError:
        wire.tolerate(sum(map(len, pieces)))
        return broken_row(pieces)


def _answers(row: Fetched, asked: tuple[UidRange, ...] | None, *, heavy: bool) -> bool:
    """Whether a row is an answer to what was asked, and not news that came in between (RFC 9051, 7.5.2)."""
    if row.uid is None or (asked is not None and not contains(asked, row.uid)):
        return False
    if not heavy:
        return row.flags is not None or row.modseq is not None
    return row.broken or bool(row.sections) or _has_metadata(row)


def _has_metadata(row: Fetched) -> bool:
    values = (row.envelope, row.structure, row.size, row.internal_date, row.email_id, row.thread_id, row.labels)
    return any(value is not None for value in values)


def _only_gone(error: CommandRefused) -> bool:
    return refusal(error).messages_gone
