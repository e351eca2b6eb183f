"""`messages`: one page of a mailbox, newest first by sequence number (contract, section 7). One FETCH a page."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Sequence
from typing import Any, Final

import structlog

from postbus.common.accounts import MailboxRecord
from postbus.common.commands import ListMessages
from postbus.imap_sync.connection import ImapConnection
from postbus.imap_sync.message_info import View, bounded, compose_fields
from postbus.imap_sync.operations.access import Session, find_mailbox, items_for, open_mailbox
from postbus.imap_sync.operations.answers import encode, max_answer
from postbus.imap_sync.protocol.values import Fetched

log = structlog.get_logger()

MAX_PAGE_SIZE: Final = 1000
ROWS_AT_ONCE: Final = 50  # composed before others get their turn: about 3 ms


async def list_messages(session: Session, payload: bytes, deadline_s: float) -> bytes:
    """Answer with a page; beyond the end it is empty. NotFound `FolderNotFound` for an unknown mailbox."""
    command = ListMessages.model_validate_json(payload)
    mailbox = find_mailbox(session, command.path)
    page, size = max(command.page, 0), min(max(command.page_size, 1), MAX_PAGE_SIZE)
    async with open_mailbox(session, mailbox, deadline_s=deadline_s) as connection:
        total = connection.exists
        rows = await _fetch_page(connection, page_window(total, page, size))
    entries = await _compose_entries(rows, mailbox)
    return _encode_page(entries, total, page, size, max_answer(session.bus))


def page_window(total: int, page: int, size: int) -> str | None:
    """The sequence numbers of a page, page 0 the newest; None beyond the end."""
    last = total - page * size
    return f"{max(last - size + 1, 1)}:{last}" if last > 0 else None


def page_cursor(page: int) -> str:
    """The page as a cursor of the API."""
    return "imap_" + base64.urlsafe_b64encode(encode({"page": page})).decode("ascii").rstrip("=")


async def _fetch_page(connection: ImapConnection, window: str | None) -> list[Fetched]:
    """The rows of a page by falling uid: some servers answer in any order, and some repeat themselves."""
    if window is None:
        return []
    rows: dict[int, Fetched] = {}
    async for row in connection.fetch(None, items_for(connection), by_seq=window):
        if isinstance(row, Fetched) and row.uid:
            rows[row.uid] = row
    return [rows[uid] for uid in sorted(rows, reverse=True)]


async def _compose_entries(rows: Sequence[Fetched], mailbox: MailboxRecord) -> list[dict[str, Any]]:
    entries = []
    for number, row in enumerate(rows, start=1):
        entries.append(_entry(row, mailbox))
        if number % ROWS_AT_ONCE == 0:
            await asyncio.sleep(0)
    return entries


def _entry(row: Fetched, mailbox: MailboxRecord) -> dict[str, Any]:
    """A message, or why it can't be shown: one bad row never fails the page."""
    if row.envelope is None and row.structure is None:
        return _failed(row, "The server does not describe this message")
    try:
        return compose_fields(row, mailbox, View.LISTING)
    except Exception:
        log.exception("message not readable", path=mailbox.path, uid=row.uid)
        return _failed(row, "The message can not be read")


def _failed(row: Fetched, reason: str) -> dict[str, Any]:
    return {"uid": row.uid, "status": "failed", "error": reason}


def _encode_page(entries: list[dict[str, Any]], total: int, page: int, size: int, max_bytes: int) -> bytes:
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
    return encode({**answer, "messages": [bounded(entry, share) for entry in entries]})
