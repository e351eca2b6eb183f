"""FETCH in its three forms: rows as they arrive, flags by the ten thousand, and a section piece by piece."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing

from postbus.common.errors import CommandRefused, NotFound, ProtocolError
from postbus.imap_sync.protocol.arguments import text
from postbus.imap_sync.protocol.fetches import broken_row, is_row, parse_flags_row, parse_row, section_key
from postbus.imap_sync.protocol.flags import Flags
from postbus.imap_sync.protocol.framer import Response
from postbus.imap_sync.protocol.ranges import compose_set, contains, split
from postbus.imap_sync.protocol.responses import Status, parse_untagged, parse_vanished
from postbus.imap_sync.protocol.values import Fetched, UidRange, Vanished
from postbus.imap_sync.wire import Wire

_LIGHT = frozenset({"UID", "FLAGS", "MODSEQ"})  # items that unsolicited rows have too
_FETCH_S = 90.0  # without a sign of life

OnStray = Callable[[Fetched], None]


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
    on_stray: OnStray,
) -> AsyncGenerator[Fetched | Vanished, None]:
    """Rows of one FETCH after the other; `sets` are the words before the items, and which uids they may bring."""
    heavy = not all(item.upper() in _LIGHT for item in items)
    for words, asked in sets:
        command = text(words, f"({' '.join(items)})", modifiers)
        try:
            async with aclosing(wire.stream(command, accept=_is_ours, timeout_s=_FETCH_S)) as rows:
                async for pieces in rows:
                    row = _parse(pieces)
                    if row is None:
                        continue
                    if isinstance(row, Vanished) or _answers(row, asked, heavy=heavy):
                        yield row
                    else:
                        on_stray(row)
        except CommandRefused as error:
            if not _only_gone(error):
                raise


async def fetch_flags(wire: Wire, ranges: Sequence[UidRange], *, modifiers: str, on_stray: OnStray) -> dict[int, Flags]:
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
            on_stray(slow)
        return True

    for group in split(ranges):
        command = text("UID FETCH", compose_set(group), "(UID FLAGS)", modifiers)
        try:
            await wire.run(command, on_response=on_response, timeout_s=_FETCH_S, total_s=900.0)
        except CommandRefused as error:
            if not _only_gone(error):
                raise
    if len(ranges) == 1:
        first, last = ranges[0].first, ranges[0].last
        return {uid: flags for uid, flags in found.items() if first <= uid <= last}
    return {uid: flags for uid, flags in found.items() if contains(ranges, uid)}


async def stream_section(wire: Wire, uid: int, section: str, *, chunk_size: int) -> AsyncGenerator[bytes, None]:
    """A section in pieces of `chunk_size` bytes; the connection is free between two of them.

    NotFound when the message or the section is not there, and when the message goes away in the middle.
    """
    offset = 0
    while True:
        piece = await _fetch_piece(wire, uid, section, offset, chunk_size)
        if piece:
            yield piece
        # Short: that was the end. Oversized: quirk_ignored_partial (Tencent Exmail), that was everything.
        if len(piece) != chunk_size:
            return
        offset += chunk_size


async def _fetch_piece(wire: Wire, uid: int, section: str, offset: int, size: int) -> bytes:
    for _ in range(2):  # quirk_empty_fetch (Apache James): an answer without the row, once
        row = await _fetch_one(wire, uid, f"BODY.PEEK[{section}]<{offset}.{size}>", section_key(section))
        if row is not None:
            piece = row.sections.get(section_key(section))
            if piece is not None:
                return piece
            if offset:
                return b""
    raise NotFound("the message or this part of it is not there any more", code="MessageNotFound")


async def _fetch_one(wire: Wire, uid: int, item: str, key: str) -> Fetched | None:
    """The row of this message that has the section, or else any row of it that was asked for."""
    rows: list[Fetched] = []

    def on_response(pieces: Response) -> bool:
        if not is_row(pieces[0]):
            return False
        row = _parse(pieces)
        if not isinstance(row, Fetched) or row.uid != uid:
            return False
        rows.append(row)
        return key in row.sections or row.flags is None

    try:
        await wire.run(text("UID FETCH", str(uid), f"(UID {item})"), on_response=on_response, total_s=900.0)
    except CommandRefused as error:
        if not _only_gone(error):
            raise
    return next((row for row in rows if key in row.sections), rows[-1] if rows else None)


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
    return Status(error.status, error.message, error.server_code).messages_gone
