"""`messages`: one page of a mailbox, newest first by sequence number (contract, section 7). One FETCH a page."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Final

import msgspec
import structlog

from postbus.common.accounts import MailboxRecord
from postbus.common.commands import ListMessages
from postbus.imap_sync.connection import ImapConnection
from postbus.imap_sync.message_info import View, bounded, compose_fields, flag_fields
from postbus.imap_sync.operations.access import Session, find_mailbox, items_for, open_mailbox
from postbus.imap_sync.operations.answers import encode, max_answer
from postbus.imap_sync.operations.known_rows import KnownRows, MailboxKey
from postbus.imap_sync.protocol.ranges import to_ranges
from postbus.imap_sync.protocol.values import Fetched, Vanished

log = structlog.get_logger()

MAX_PAGE_SIZE: Final = 1000
ROWS_AT_ONCE: Final = 50  # composed before others get their turn: about 3 ms

_known: Final = KnownRows()


async def list_messages(session: Session, payload: bytes, deadline_s: float) -> bytes:
    """Answer with a page; beyond the end it is empty. NotFound `FolderNotFound` for an unknown mailbox."""
    command = ListMessages.model_validate_json(payload)
    mailbox = find_mailbox(session, command.path)
    page, size = max(command.page, 0), min(max(command.page_size, 1), MAX_PAGE_SIZE)
    key = (session.account.token, session.account.generation, mailbox.number)
    known = _known.of_mailbox(key)
    async with open_mailbox(session, mailbox, deadline_s=deadline_s) as connection:
        total = connection.exists
        rows = await _fetch_page(connection, page_window(total, page, size), known)
    entries = await _compose_entries(rows, mailbox, key, known)
    return _encode_page(entries, total, page, size, max_answer(session.bus))


def page_window(total: int, page: int, size: int) -> str | None:
    """The sequence numbers of a page, page 0 the newest; None beyond the end."""
    last = total - page * size
    return f"{max(last - size + 1, 1)}:{last}" if last > 0 else None


def page_cursor(page: int) -> str:
    """The page as a cursor of the API."""
    return "imap_" + base64.urlsafe_b64encode(encode({"page": page})).decode("ascii").rstrip("=")


async def _fetch_page(connection: ImapConnection, window: str | None, known: Mapping[int, bytes]) -> list[Fetched]:
    """The rows of a page by falling uid: some servers answer in any order, and some repeat themselves.

    One FETCH; where the mailbox was listed before, one of what can change, and another one for rows that are new.
    """
    if window is None:
        return []
    items = items_for(connection)
    rows = await _fetch_rows(connection.fetch(None, _changing(items) if known else items, by_seq=window))
    if known and (new := [uid for uid in rows if uid not in known]):
        rows |= await _fetch_rows(connection.fetch(to_ranges(new), items))
    return [rows[uid] for uid in sorted(rows, reverse=True)]


async def _fetch_rows(answers: AsyncIterator[Fetched | Vanished]) -> dict[int, Fetched]:
    return {row.uid: row async for row in answers if isinstance(row, Fetched) and row.uid}


def _changing(items: Sequence[str]) -> list[str]:
    """The uid, and those items that can change."""
    return [item for item in items if item in ("UID", "FLAGS", "X-GM-LABELS")]


async def _compose_entries(
    rows: Sequence[Fetched], mailbox: MailboxRecord, key: MailboxKey, known: Mapping[int, bytes]
) -> list[msgspec.Raw]:
    entries = []
    for number, row in enumerate(rows, start=1):
        entries.append(msgspec.Raw(_compose_entry(row, mailbox, key, known)))
        if number % ROWS_AT_ONCE == 0:
            await asyncio.sleep(0)
    return entries


def _compose_entry(row: Fetched, mailbox: MailboxRecord, key: MailboxKey, known: Mapping[int, bytes]) -> bytes:
    """A message, or why it can't be shown: one bad row never fails the page."""
    changing = flag_fields(row)
    fixed = known.get(row.uid or 0)
    if fixed is None and row.envelope is None and row.structure is None:
        return _failed(row, "The server does not describe this message")
    try:
        if fixed is None:
            fields = compose_fields(row, mailbox, View.LISTING)
            fixed = encode({name: value for name, value in fields.items() if name not in changing})
            if row.uid and row.envelope and row.structure:
                _known.add(key, row.uid, fixed)
    except Exception:
        log.exception("message not readable", path=mailbox.path, uid=row.uid)
        return _failed(row, "The message can not be read")
    return fixed[:-1] + b"," + encode(changing)[1:]


def _failed(row: Fetched, reason: str) -> bytes:
    return encode({"uid": row.uid, "status": "failed", "error": reason})


def _encode_page(entries: list[msgspec.Raw], total: int, page: int, size: int, max_bytes: int) -> bytes:
    pages = max(-(-total // size), 1)
    answer = {
        "total": total,
        "page": page,
        "pages": pages,
        "nextPageCursor": page_cursor(page + 1) if page + 1 < pages else None,
        "prevPageCursor": page_cursor(min(page, pages) - 1) if page else None,
        "messages": entries,
    }
    body = encode(answer)
    if len(body) <= max_bytes:
        return body
    share = (max_bytes - 1024) // max(len(entries), 1)
    return encode({**answer, "messages": [bounded(msgspec.json.decode(entry), share) for entry in entries]})
