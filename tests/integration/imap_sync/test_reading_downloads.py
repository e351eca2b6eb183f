"""Attachments and sources stream from a real IMAP server, decoded, whatever their size (contract, section 9)."""

import base64
import hashlib
import os
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest

from postbus.common.bus.connection import BusAddress, connect_bus
from postbus.common.commands import DownloadHead, GetAttachment, GetSource
from postbus.common.errors import NotFound
from postbus.common.ids import AttachmentId, MessageId
from postbus.imap_sync.operations import STREAMS
from tests.integration.imap_sync.reading_session import ReadingSession, open_session
from tests.mailserver import MailServer
from tests.servers import NatsServer

pytestmark = pytest.mark.anyio

INSIDE = b"Subject: inside\r\n\r\nHello from inside.\r\n"
PARTS = (
    b"From: a@x.test\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
    b"--b\r\nContent-Type: text/plain\r\n\r\nHi\r\n"
    b'--b\r\nContent-Type: image/png; name="=?utf-8?q?=C3=BC.png?="\r\nContent-Transfer-Encoding: base64\r\n'
    b"Content-Disposition: inline\r\n\r\niVBORw0KGgo=\r\n"
    b"--b\r\nContent-Type: text/csv; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n"
    b"Content-Disposition: attachment; filename=t.csv\r\n\r\na=3D1=\r\n,2\r\n"
    b"--b\r\nContent-Type: message/rfc822\r\n\r\n" + INSIDE + b"--b--\r\n"
)
LARGE = 50 * 1024 * 1024  # bytes


class Reader:
    """The other end of a download."""

    def __init__(self, leave_after: int | None = None) -> None:
        self.head: DownloadHead | None = None
        self.size = 0
        self.pieces: list[bytes] = []
        self.digest = hashlib.sha256()
        self.peak = 0
        self._leave_after = leave_after

    async def __call__(self, head: DownloadHead, body: AsyncIterator[bytes]) -> None:
        self.head = head
        before = memory()
        async for piece in body:
            self.size += len(piece)
            self.digest.update(piece)
            self.peak = max(self.peak, memory() - before)
            if self.size < 1_000_000:
                self.pieces.append(piece)
            if self._leave_after is not None and self.size >= self._leave_after:
                return

    @property
    def content(self) -> bytes:
        return b"".join(self.pieces)


def memory() -> int:
    """Resident bytes of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.fixture
async def session(mail: MailServer, nats_server: NatsServer) -> AsyncIterator[ReadingSession]:
    bus = await connect_bus(BusAddress(nats_server.url), service="imap-sync")
    try:
        async with open_session(mail, f"download-{uuid4().hex[:10]}@example.test", bus) as opened:
            yield opened
    finally:
        await bus.close()


async def attachment(session: ReadingSession, part: str, reader: Reader, uid: int = 1) -> Reader:
    wanted = str(AttachmentId(MessageId(session.boxes["INBOX"].number, uid), part))
    payload = GetAttachment(account="a", attachment=wanted).model_dump_json().encode()
    await STREAMS["attachment"](session, payload, 10.0, reader)
    return reader


async def source(session: ReadingSession, uid: int, reader: Reader) -> Reader:
    wanted = str(MessageId(session.boxes["INBOX"].number, uid))
    await STREAMS["source"](session, GetSource(account="a", message=wanted).model_dump_json().encode(), 10.0, reader)
    return reader


async def test_attachments_come_decoded_with_their_name_and_type(session: ReadingSession, mail: MailServer) -> None:
    mail.deliver(session.record.account, raw=PARTS)
    image = await attachment(session, "2", Reader())
    assert image.head == DownloadHead(content_type="image/png", filename="ü.png", disposition="inline")
    assert image.content == b"\x89PNG\r\n\x1a\n"
    table = await attachment(session, "3", Reader())
    assert table.head == DownloadHead(content_type="text/csv", filename="t.csv")
    assert table.content == b"a=1,2"
    inside = await attachment(session, "4", Reader())
    assert inside.head == DownloadHead(content_type="message/rfc822")
    assert inside.content.rstrip() == INSIDE.rstrip()


async def test_the_source_is_the_message_as_it_came(session: ReadingSession, mail: MailServer) -> None:
    mail.deliver(session.record.account, raw=PARTS)
    (stored,) = mail.messages(session.record.account)
    reader = await source(session, 1, Reader())
    assert reader.content == stored
    assert reader.head == DownloadHead(content_type="message/rfc822", filename="message.eml")


async def test_a_part_that_is_not_there_is_not_found(session: ReadingSession, mail: MailServer) -> None:
    mail.deliver(session.record.account, raw=PARTS)
    for part, uid in (("9", 1), ("2.1", 1), ("2", 77)):
        with pytest.raises(NotFound) as error:
            await attachment(session, part, Reader(), uid)
        assert error.value.code == "AttachmentNotFound"
    with pytest.raises(NotFound) as error:
        await source(session, 77, Reader())
    assert error.value.code == "MessageNotFound"
    assert session.in_use == 0


async def test_a_large_attachment_streams_in_little_memory(session: ReadingSession, mail: MailServer) -> None:
    content = os.urandom(1024 * 1024) * (LARGE // (1024 * 1024))
    head = b"From: a@x.test\r\nContent-Type: application/zip\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    raw = [head + base64.encodebytes(content).replace(b"\n", b"\r\n")]
    mail.seed(session.record.account, 1, make=raw.__getitem__)
    expected = hashlib.sha256(content).digest()
    del content
    raw.clear()
    reader = await attachment(session, "1", Reader())
    assert (reader.size, reader.digest.digest()) == (LARGE, expected)
    assert reader.peak < 24 * 1024 * 1024


async def test_a_reader_that_leaves_frees_the_connection(session: ReadingSession, mail: MailServer) -> None:
    """(trap 38)."""
    raw = b"From: a@x.test\r\nContent-Type: application/zip\r\n\r\n" + b"0123456789abcde\r\n" * 300_000
    mail.seed(session.record.account, 1, make=lambda _: raw)
    reader = await source(session, 1, Reader(leave_after=1))
    assert 0 < reader.size < len(raw)
    assert session.in_use == 0
    assert (await source(session, 1, Reader())).size >= len(raw)
