"""After delivery: the copy in Sent and the flag on the original, once, however often it is asked for (section 14)."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest

from postbus.common import jobs
from postbus.common.bus.connection import BusAddress, connect_bus
from postbus.common.bus.queue import chunk_count
from postbus.common.bus.streams import migrate_streams
from postbus.common.commands import CountMailboxes, FileMessage, FileResult
from postbus.common.errors import CommandRefused
from postbus.common.ids import MessageId
from postbus.common.jobs import Filing, ReferenceTask
from postbus.common.times import now
from postbus.imap_sync.operations import OPERATIONS
from tests.integration.imap_sync.reading_session import ReadingSession, open_session
from tests.mailserver import MailServer
from tests.servers import NatsServer

pytestmark = pytest.mark.anyio

MESSAGE = b"From: a@x.test\r\nTo: b@x.test\r\nMessage-ID: <sent@x.test>\r\nSubject: Sent\r\n\r\nBody\r\n"


@pytest.fixture
async def session(mail: MailServer, nats_server: NatsServer) -> AsyncIterator[ReadingSession]:
    bus = await connect_bus(BusAddress(nats_server.url), service="imap-sync")
    try:
        async with open_session(mail, f"filing-{uuid4().hex[:10]}@example.test", bus) as opened:
            yield opened
    finally:
        await bus.close()


async def file(session: ReadingSession, raw: bytes = MESSAGE, **more: Any) -> FileResult:
    values = {"queue_id": "q1", "account": "a", "message_id": "<sent@x.test>", "created": now(), "size": len(raw)}
    command = FileMessage(account="a", filing=Filing(**(values | more)), raw=raw)
    return FileResult.model_validate_json(
        await OPERATIONS["file"](session, command.model_dump_json(by_alias=True).encode(), 10.0)
    )


def reply_to(session: ReadingSession, uid: int, action: Any = "reply") -> ReferenceTask:
    return ReferenceTask(message=str(MessageId(session.boxes["INBOX"].number, uid)), action=action)


def flags(mail: MailServer, session: ReadingSession, path: str) -> bytes:
    client = mail.imap_client(session.record.account)
    client.select(path, readonly=True)
    answer = client.fetch("1", "(FLAGS)")[1][0]
    client.logout()
    assert isinstance(answer, bytes)
    return answer


async def test_a_copy_is_filed_as_seen_with_the_bcc_that_travelled_with_nobody(
    session: ReadingSession, mail: MailServer
) -> None:
    assert await file(session, bcc="secret@x.test,\r\n other@x.test") == FileResult(path="Sent")
    (copy,) = mail.messages(session.record.account, "Sent")
    assert copy == b"Bcc: secret@x.test,\r\n other@x.test\r\n" + MESSAGE
    assert b"\\Seen" in flags(mail, session, "Sent")
    assert session.poked == ["Sent"]


async def test_filing_twice_files_once(session: ReadingSession, mail: MailServer) -> None:
    assert await file(session) == await file(session) == FileResult(path="Sent")
    assert len(mail.messages(session.record.account, "Sent")) == 1


async def test_filing_twice_at_once_files_once(session: ReadingSession, mail: MailServer) -> None:
    await asyncio.gather(*(file(session) for _ in range(4)))
    assert len(mail.messages(session.record.account, "Sent")) == 1


async def test_other_messages_in_sent_are_no_copy_of_this_one(session: ReadingSession, mail: MailServer) -> None:
    await file(session, raw=MESSAGE.replace(b"<sent@", b"<other@"), message_id="<other@x.test>")
    await file(session)
    assert len(mail.messages(session.record.account, "Sent")) == 2


async def test_a_chosen_mailbox_takes_the_copy(session: ReadingSession, mail: MailServer) -> None:
    assert await file(session, sent_mail_path="Drafts") == FileResult(path="Drafts")
    assert len(mail.messages(session.record.account, "Drafts")) == 1


async def test_without_a_sent_mailbox_or_a_wish_there_is_no_copy_and_a_reason(
    session: ReadingSession, mail: MailServer
) -> None:
    assert (await file(session, sent_mail_path="Nowhere")).skipped
    assert (await file(session, copy_sent=False)).skipped
    session.gmail = True
    assert (await file(session)).skipped
    assert mail.messages(session.record.account, "Sent") == []


async def test_a_message_that_asks_for_its_copy_gets_one_on_gmail_too(
    session: ReadingSession, mail: MailServer
) -> None:
    """The provider's own copy is a rule that a message may break (trap 57)."""
    session.gmail = True
    assert await file(session, copy_asked=True) == FileResult(path="Sent")
    assert len(mail.messages(session.record.account, "Sent")) == 1


async def test_a_large_message_comes_from_the_bus(
    session: ReadingSession, mail: MailServer, fresh_nats: NatsServer
) -> None:
    session.nats = await connect_bus(BusAddress(fresh_nats.url), service="imap-sync")
    await migrate_streams(session.nats)
    raw = MESSAGE + b"0123456789abcde\r\n" * 60_000
    for chunk in range(chunk_count(len(raw))):
        piece = raw[chunk * jobs.RAW_CHUNK_BYTES : (chunk + 1) * jobs.RAW_CHUNK_BYTES]
        await session.nats.publish(jobs.raw_subject("q1", chunk), piece)
    try:
        assert await file(session, raw=b"", raw_chunks=chunk_count(len(raw)), size=len(raw)) == FileResult(path="Sent")
    finally:
        await session.nats.close()
    assert mail.messages(session.record.account, "Sent") == [raw]


async def test_the_original_of_a_reply_is_answered(session: ReadingSession, mail: MailServer) -> None:
    mail.deliver(session.record.account)
    await file(session, reference=reply_to(session, 1))
    assert b"\\Answered" in flags(mail, session, "INBOX")
    assert session.poked == ["INBOX", "Sent"]
    await file(session, reference=reply_to(session, 1))
    assert session.poked == ["INBOX", "Sent"]


async def test_the_original_of_a_forward_is_forwarded(session: ReadingSession, mail: MailServer) -> None:
    mail.deliver(session.record.account)
    await file(session, copy_sent=False, reference=reply_to(session, 1, "forward"))
    assert b"$Forwarded" in flags(mail, session, "INBOX")
    assert b"\\Answered" not in flags(mail, session, "INBOX")


async def test_an_original_that_is_gone_is_no_reason_to_fail(session: ReadingSession, mail: MailServer) -> None:
    gone = ReferenceTask(message=str(MessageId(999, 1)), action="reply")
    for task in (reply_to(session, 77), gone, ReferenceTask(message="no id", action="reply")):
        assert await file(session, reference=task) == FileResult(path="Sent")


async def test_a_full_mailbox_says_so(nats_server: NatsServer) -> None:
    bus = await connect_bus(BusAddress(nats_server.url), service="imap-sync")
    with MailServer(quota="50k", mta="none") as small:
        async with open_session(small, "full@example.test", bus) as opened:
            with pytest.raises(CommandRefused) as error:
                await file(opened, raw=MESSAGE + b"0123456789abcde\r\n" * 10_000)
    assert error.value.server_code == "OVERQUOTA"
    await bus.close()


async def test_a_server_without_extensions_is_counted_and_filed_into_all_the_same(nats_server: NatsServer) -> None:
    bus = await connect_bus(BusAddress(nats_server.url), service="imap-sync")
    dropped = "LIST-STATUS,LIST-EXTENDED,ESEARCH,UIDPLUS,LITERAL+,CONDSTORE,QRESYNC,ENABLE"
    with MailServer(mta="none", drop_caps=dropped, strict=True) as plain:
        async with open_session(plain, "plain@example.test", bus) as opened:
            opened.boxes["Sent"] = opened.boxes["Sent"].model_copy(update={"special_use": "\\Sent"})
            assert await file(opened) == await file(opened) == FileResult(path="Sent")
            payload = CountMailboxes(account="a").model_dump_json().encode()
            counters = json.loads(await OPERATIONS["mailboxes"](opened, payload, 10.0))
    assert counters["Sent"] == {"messages": 1, "unseen": 0}
    await bus.close()
