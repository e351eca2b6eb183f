"""`file`: what is left to do after a delivery (contract, section 14): a flag on the original, a copy in Sent.

Safe to repeat: the flag is set only where it is missing, the copy is filed only where its Message-ID is not there yet.
"""

from __future__ import annotations

import asyncio
from typing import Final
from weakref import WeakValueDictionary

import structlog

from postbus.common.accounts import AccountRecord, MailboxRecord
from postbus.common.bus.queue import fetch_raw
from postbus.common.commands import FileMessage, FileResult
from postbus.common.errors import CommandRefused, NotFound
from postbus.common.ids import parse_message_id
from postbus.common.jobs import Filing, ReferenceTask
from postbus.common.mime.headers import parse_message_ids
from postbus.imap_sync.connection import ImapConnection
from postbus.imap_sync.operations.access import Session, fetch_one, locate, open_mailbox
from postbus.imap_sync.protocol.values import Fetched, UidRange

log = structlog.get_logger()

FLAGS: Final = {"reply": "\\Answered", "forward": "$Forwarded"}
RECENT_COPIES: Final = 50  # messages that are looked at one by one where the server can't search for a header
FILING_BY_ITSELF: Final = ".office365.com"  # hosts under it put what they send into Sent

_running: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()


async def file_message(session: Session, payload: bytes, deadline_s: float) -> bytes:
    """Answer with a FileResult. CommandRefused where the server does not take the copy (`OVERQUOTA`)."""
    command = FileMessage.model_validate_json(payload)
    filing = command.filing
    async with _alone(session.account.token, filing.message_id):
        if filing.reference:
            await _flag_original(session, filing.reference, deadline_s)
        result = await _file_copy(session, command, deadline_s)
    log.info("submission filed", account=session.account.token, queue_id=filing.queue_id, skipped=result.skipped)
    return result.model_dump_json().encode()


def skip_reason(record: AccountRecord, filing: Filing, *, is_gmail: bool) -> str | None:
    """Why there is no copy to make; None where there is one.

    The message's own wish goes before what the provider does, that before the wish of the account.
    """
    if not filing.copy_sent:
        return "The copy was not wanted"
    if not filing.copy_asked and (is_gmail or _outlook_files(record)):
        return "The server keeps sent messages by itself"
    return None


def _outlook_files(record: AccountRecord) -> bool:
    """Whether Microsoft puts what is sent into Sent: into that of the user who logs in to send.

    A shared mailbox, which has its own login to IMAP and sends by that of a person, gets nothing by itself.
    """
    servers = [server for server in (record.imap, record.smtp) if server]
    hosts = [f".{server.host.rstrip('.').lower()}" for server in servers]
    users = {server.user.lower() for server in servers if server.user}
    return any(host.endswith(FILING_BY_ITSELF) for host in hosts) and len(users) <= 1


def _alone(token: str, message_id: str) -> asyncio.Lock:
    """A job may be given out again while it still runs: the second one waits, and then finds the copy."""
    return _running.setdefault((token, message_id), asyncio.Lock())


async def _flag_original(session: Session, task: ReferenceTask, deadline_s: float) -> None:
    """Flag the message that was answered or forwarded; one that is gone, or refused, is no reason to fail."""
    missing = NotFound("Referenced message was not found", code="ReferenceNotFound")
    try:
        message = parse_message_id(task.message)
        mailbox = locate(session, message, missing)
        async with open_mailbox(session, mailbox, deadline_s=deadline_s, read_only=False) as connection:
            changed = await _add_flag(connection, message.uid, FLAGS[task.action])
    except (NotFound, CommandRefused) as error:
        log.info("original not flagged", account=session.account.token, reason=error.message)
        return
    if changed:
        session.poke(mailbox.path)


async def _add_flag(connection: ImapConnection, uid: int, flag: str) -> bool:
    """Whether the flag was set; one that the mailbox would not keep (PERMANENTFLAGS) is not even sent."""
    row = await fetch_one(connection, uid, ("UID", "FLAGS"))
    known = {present.lower() for present in (row.flags or ())} if row else set()
    if row is None or flag.lower() in known:
        return False
    await connection.store_flags((UidRange(uid, uid),), add=(flag,))
    return True


async def _file_copy(session: Session, command: FileMessage, deadline_s: float) -> FileResult:
    filing = command.filing
    if reason := skip_reason(session.account.record, filing, is_gmail=session.is_gmail):
        return FileResult(skipped=reason)
    mailbox = _sent_mailbox(session, filing)
    if mailbox is None:
        return FileResult(skipped="There is no Sent mailbox")
    async with open_mailbox(session, mailbox, deadline_s=deadline_s) as connection:
        if not await _is_filed(connection, filing.message_id):
            copy = await _copy_of(session, command)
            await connection.append(mailbox.path, copy, flags=("\\Seen",))
            session.poke(mailbox.path)
    return FileResult(path=mailbox.path)


def _sent_mailbox(session: Session, filing: Filing) -> MailboxRecord | None:
    return session.mailbox(filing.sent_mail_path) if filing.sent_mail_path else session.special("\\Sent")


async def _copy_of(session: Session, command: FileMessage) -> bytes:
    """The message as it was sent, with the Bcc header that travelled with nobody."""
    filing = command.filing
    raw = await fetch_raw(session.bus, filing.raw_name, filing.raw_chunks) if filing.raw_chunks else command.raw
    return f"Bcc: {filing.bcc}\r\n".encode() + raw if filing.bcc else raw


async def _is_filed(connection: ImapConnection, message_id: str) -> bool:
    """Whether the copy is there; NOOP first, as a connection may not have heard of what another one appended."""
    await connection.noop()
    if not connection.exists:
        return False
    try:
        return bool(await connection.search(("HEADER", b"Message-ID", message_id.encode())))
    except CommandRefused as error:
        log.info("search for a copy refused", reason=error.message)
        return await _is_among_newest(connection, message_id)


async def _is_among_newest(connection: ImapConnection, message_id: str) -> bool:
    window = f"{max(connection.exists - RECENT_COPIES + 1, 1)}:{connection.exists}"
    wanted = set(parse_message_ids(message_id))
    found = False
    async for row in connection.fetch(None, ("UID", "ENVELOPE"), by_seq=window):
        if isinstance(row, Fetched) and row.envelope and wanted & set(parse_message_ids(row.envelope.message_id)):
            found = True
    return found
