"""`messages` and `search`: one page of a mailbox, or of what is found in it, as JSON (contract, sections 7 and 8)."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

import msgspec
import structlog

from postbus.common.accounts import MailboxRecord
from postbus.common.commands import ListMessages, SearchMessages
from postbus.imap_sync.message_info import View, bounded, changing_fields, compose_fields
from postbus.imap_sync.operations.access import Session, find_mailbox
from postbus.imap_sync.operations.answers import encode, max_answer
from postbus.imap_sync.operations.known_rows import KnownRows, MailboxKey
from postbus.imap_sync.operations.pages import Page, read_found, read_page
from postbus.imap_sync.protocol.values import Fetched

log = structlog.get_logger()

MAX_PAGE_SIZE: Final = 1000
ROWS_AT_ONCE: Final = 50  # composed before others get their turn: about 3 ms

Rows = tuple[int, list[Fetched]]  # out of how many, and those of the page
Read = Callable[[Page, Mapping[int, bytes]], Awaitable[Rows]]

_known: Final = KnownRows()


async def list_messages(session: Session, payload: bytes, deadline_s: float) -> bytes:
    """Answer with a page; beyond the end it is empty. NotFound `FolderNotFound` for an unknown mailbox."""
    command = ListMessages.model_validate_json(payload)
    mailbox = find_mailbox(session, command.path)

    async def read(page: Page, known: Mapping[int, bytes]) -> Rows:
        return await read_page(session, mailbox, page, known, deadline_s)

    return await _answer_page(session, mailbox, command, read)


async def search_messages(session: Session, payload: bytes, deadline_s: float) -> bytes:
    """Answer with a page of what is found; errors as `list_messages` and `read_found`."""
    command = SearchMessages.model_validate_json(payload)
    mailbox = find_mailbox(session, command.path)

    async def read(page: Page, known: Mapping[int, bytes]) -> Rows:
        return await read_found(session, mailbox, command.search, page, known, deadline_s)

    return await _answer_page(session, mailbox, command, read)


async def _answer_page(
    session: Session, mailbox: MailboxRecord, command: ListMessages | SearchMessages, read: Read
) -> bytes:
    """The answer with the rows that `read` reads: it is told which page, and which rows are known."""
    page = Page(max(command.page, 0), min(max(command.page_size, 1), MAX_PAGE_SIZE))
    key = (session.account.token, session.account.generation, mailbox.number)
    known = _known.of_mailbox(key) if mailbox.uid_validity else {}  # without, nobody knows whose uids these are
    total, rows = await read(page, known)
    entries = await _compose_entries(rows, mailbox, key, known)
    return _encode_page(entries, total, page, max_answer(session.bus))


def page_cursor(page: int) -> str:
    """The page as a cursor of the API."""
    return "imap_" + base64.urlsafe_b64encode(encode({"page": page})).decode("ascii").rstrip("=")


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
    changing = changing_fields(row, mailbox)
    fixed = known.get(row.uid or 0)
    if fixed is None and row.envelope is None and row.structure is None:
        return _failed(row, "The server does not describe this message")
    try:
        if fixed is None:
            fields = compose_fields(row, mailbox, View.LISTING)
            fixed = encode({name: value for name, value in fields.items() if name not in changing})
            if row.uid and row.envelope and row.structure and mailbox.uid_validity:
                _known.add(key, row.uid, fixed)
    except Exception:
        log.exception("message not readable", path=mailbox.path, uid=row.uid)
        return _failed(row, "The message can not be read")
    return fixed[:-1] + b"," + encode(changing)[1:]


def _failed(row: Fetched, reason: str) -> bytes:
    return encode({"uid": row.uid, "status": "failed", "error": reason})


def _encode_page(entries: Sequence[msgspec.Raw], total: int, page: Page, max_bytes: int) -> bytes:
    pages = page.count(total)
    answer = {
        "total": total,
        "page": page.number,
        "pages": pages,
        "nextPageCursor": page_cursor(page.number + 1) if page.number + 1 < pages else None,
        "prevPageCursor": page_cursor(min(page.number, pages) - 1) if page.number else None,
        "messages": entries,
    }
    body = encode(answer)
    if len(body) <= max_bytes:
        return body
    share = (max_bytes - 1024) // max(len(entries), 1)
    return encode({**answer, "messages": [bounded(msgspec.json.decode(entry), share) for entry in entries]})
