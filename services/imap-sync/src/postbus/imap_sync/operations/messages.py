"""`messages` and `search`: one page of a mailbox, or of what is found in it, as JSON (contract, sections 7 and 8)."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable, Collection, Sequence
from functools import partial
from typing import Final, NamedTuple, Self

import msgspec
import structlog

from postbus.common.accounts import MailboxRecord
from postbus.common.commands import ListMessages, SearchMessages
from postbus.imap_sync.message_info import View, bounded, changing_fields, compose_fields
from postbus.imap_sync.operations.access import Session, find_mailbox
from postbus.imap_sync.operations.answers import encode, max_answer
from postbus.imap_sync.operations.known_rows import KnownRows, MailboxKey
from postbus.imap_sync.operations.pages import Known, Page, Row, read_found, read_page
from postbus.imap_sync.protocol.values import Fetched

log = structlog.get_logger()

MAX_PAGE_SIZE: Final = 1000
ROWS_AT_ONCE: Final = 50  # composed before others get their turn: about 3 ms

Rows = tuple[int, list[Row]]  # out of how many, and those of the page
Read = Callable[[Page, Known | None], Awaitable[Rows]]

_known: Final = KnownRows()


async def list_messages(session: Session, payload: bytes, deadline_s: float) -> bytes:
    """Answer with a page; beyond the end it is empty. NotFound `FolderNotFound` for an unknown mailbox."""
    command = ListMessages.model_validate_json(payload)
    mailbox = find_mailbox(session, command.path)

    async def read(page: Page, known: Known | None) -> Rows:
        return await read_page(session, mailbox, page, known, deadline_s)

    return await _answer_page(session, mailbox, command, read)


async def search_messages(session: Session, payload: bytes, deadline_s: float) -> bytes:
    """Answer with a page of what is found; errors as `list_messages` and `read_found`."""
    command = SearchMessages.model_validate_json(payload)
    mailbox = find_mailbox(session, command.path)

    async def read(page: Page, known: Known | None) -> Rows:
        return await read_found(session, mailbox, command.search, page, known, deadline_s)

    return await _answer_page(session, mailbox, command, read)


async def _answer_page(
    session: Session, mailbox: MailboxRecord, command: ListMessages | SearchMessages, read: Read
) -> bytes:
    """The answer with the rows that `read` reads: it is told which page, and which rows are known."""
    page = Page(max(command.page, 0), min(max(command.page_size, 1), MAX_PAGE_SIZE))
    key = (session.account.token, session.account.generation, mailbox.number)
    sure = mailbox.uid_validity is not None  # else nobody knows whose uids these are
    total, rows = await read(page, partial(_known.pick, key) if sure and _known.knows(key) else None)
    entries = await _compose_entries(rows, mailbox, key)
    return _encode_page(entries, total, page, max_answer(session.bus))


def page_cursor(page: int) -> str:
    """The page as a cursor of the API."""
    return "imap_" + base64.urlsafe_b64encode(encode({"page": page})).decode("ascii").rstrip("=")


async def _compose_entries(rows: Sequence[Row], mailbox: MailboxRecord, key: MailboxKey) -> list[msgspec.Raw]:
    entries = []
    changing: dict[tuple[object, object], _Changing] = {}  # few sets of flags occur on a page
    for number, row in enumerate(rows, start=1):
        shown = changing.get((row.flags, row.labels))
        if shown is None:
            shown = changing[row.flags, row.labels] = _Changing.of(row, mailbox)
        entries.append(msgspec.Raw(_compose_entry(row, shown, mailbox, key)))
        if number % ROWS_AT_ONCE == 0:
            await asyncio.sleep(0)
    return entries


class _Changing(NamedTuple):
    """What can change of a message: names of its fields, and the end of a row as JSON."""

    names: Collection[str]
    ending: bytes

    @classmethod
    def of(cls, row: Row, mailbox: MailboxRecord) -> Self:
        fields = changing_fields(Fetched(0, flags=row.flags, labels=row.labels), mailbox)
        return cls(fields.keys(), b"," + encode(fields)[1:])


def _compose_entry(row: Row, changing: _Changing, mailbox: MailboxRecord, key: MailboxKey) -> bytes:
    """A message, or why it can't be shown: one bad row never fails the page."""
    if not isinstance(row, Fetched):
        return row.fixed[:-1] + changing.ending
    if row.envelope is None and row.structure is None:
        return _failed(row, "The server does not describe this message")
    try:
        fields = compose_fields(row, mailbox, View.LISTING)
        fixed = encode({name: value for name, value in fields.items() if name not in changing.names})
    except Exception:
        log.exception("message not readable", path=mailbox.path, uid=row.uid)
        return _failed(row, "The message can not be read")
    if row.uid and row.envelope and row.structure and mailbox.uid_validity:
        _known.add(key, row.uid, fixed)
    return fixed[:-1] + changing.ending


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
