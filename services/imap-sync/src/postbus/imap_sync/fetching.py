"""FETCH in its three forms: rows as they arrive, flags by the ten thousand, and a section piece by piece."""

from __future__ import annotations

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
from postbus.imap_sync.protocol.ranges import compose_set, contains, split, to_ranges
from postbus.imap_sync.protocol.responses import parse_untagged, parse_vanished, refusal
from postbus.imap_sync.protocol.values import Fetched, UidRange, Vanished
from postbus.imap_sync.wire import Handler, Wire

_LIGHT = frozenset({"UID", "FLAGS", "MODSEQ"})  # items that unsolicited rows have too
_FETCH_S = 90.0  # without a sign of life
_EMPTY_TRIES = 3


@dataclass(frozen=True, slots=True)
class Answering:
    """How answers are taken: what becomes of rows that were not asked for, and whether the mailbox is empty.

    quirk_empty_mailbox: some servers refuse any set of messages where there are none.
    """

    on_stray: Callable[[Fetched], None]
    is_empty: Callable[[], bool]


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
    patience = Patience(wire.longest_wait_s)
    given: set[int] = set()
    while True:
        before = frozenset(given)
        try:
            async with aclosing(wire.stream(command, accept=_is_ours, timeout_s=_FETCH_S)) as rows:
                async for pieces in rows:
                    row = _parse(pieces)
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
            if _only_gone(error) or answer.is_empty():
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
        slow = _parse(pieces)
        if isinstance(slow, Fetched) and slow.uid is not None and slow.flags is not None:
            found[slow.uid] = slow.flags
        elif isinstance(slow, Fetched):
            answer.on_stray(slow)
        return True

    for group in split(ranges):
        command = text("UID FETCH", compose_set(group), "(UID FLAGS)", modifiers)
        await _run_fetch(wire, command, on_response, answer)
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
        row = _parse(pieces)
        if not isinstance(row, Fetched) or row.uid != uid:
            return False
        if origin_of(pieces) in (None, offset):
            rows.append(row)
        return key in row.sections or row.flags is None

    await _run_fetch(wire, text("UID FETCH", str(uid), f"(UID {item})"), on_response, answer)
    return next((row for row in rows if key in row.sections), rows[-1] if rows else None)


async def _run_fetch(wire: Wire, command: str, on_response: Handler, answer: Answering) -> None:
    """A FETCH whose rows are taken as they come."""
    try:
        await wire.run(command, on_response=on_response, timeout_s=_FETCH_S, total_s=900.0)
    except CommandRefused as error:
        if not _only_gone(error) and not answer.is_empty():
            raise


def _is_ours(pieces: Response) -> bool:
    return is_row(pieces[0]) or _is_earlier(pieces[0])


def _is_earlier(text: bytes) -> bool:
    return text[2:10].upper() == b"VANISHED" and b"(EARLIER)" in text[:24].upper()


def _parse(pieces: Response) -> Fetched | Vanished | None:
    """A row; what can't be understood of it is left out, and without a uid it is nothing."""
    if not is_row(pieces[0]):
        untagged = parse_untagged(pieces[0])
        return parse_vanished(pieces[0][untagged.start :]) if untagged else None
    try:
        return parse_row(pieces)
    except ProtocolError:
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
