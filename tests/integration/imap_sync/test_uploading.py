"""Contract, section 10: messages that are put into a mailbox."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from postbus.common.bus.queue import chunk_count, put_raw
from postbus.common.bus.streams import migrate_streams
from postbus.common.commands import UploadMessage
from postbus.common.errors import BadInput, CommandRefused, NotFound
from tests.integration.imap_sync.changing import name, opened, run
from tests.integration.imap_sync.reading_session import ReadingSession
from tests.mailserver import MailServer
from tests.servers import NatsServer

pytestmark = pytest.mark.anyio

MESSAGE = b"From: a@x.test\r\nSubject: Draft\r\n\r\nBody\r\n"


@pytest.fixture
async def session(mail: MailServer, nats_server: NatsServer) -> AsyncIterator[ReadingSession]:
    """An account on the best server."""
    async for one in opened(mail, nats_server):
        yield one


async def upload(session: ReadingSession, raw: bytes = MESSAGE, **more: Any) -> Any:
    values = {"account": "a", "path": "Drafts", "raw": raw} | more
    return await run(session, "upload-message", UploadMessage(**values))


async def test_a_message_is_kept_with_flags_and_date_and_its_place_is_told(
    session: ReadingSession, mail: MailServer
) -> None:
    moment = datetime(2026, 2, 7, 21, 52, 25, tzinfo=UTC)
    answer = await upload(session, path="Drafts", flags=["\\Draft", "\\Recent"], internal_date=moment)
    validity = session.boxes["Drafts"].uid_validity
    assert answer == {"path": "Drafts", "id": name(session, 1, "Drafts"), "uid": 1, "uidValidity": str(validity)}
    assert mail.messages(session.record.account, "Drafts") == [MESSAGE]
    async with session.command("Drafts", deadline_s=5) as connection:
        assert await connection.search(("DRAFT", "ON", "7-Feb-2026"))
    assert session.poked == ["Drafts"]


async def test_a_large_message_comes_in_pieces(session: ReadingSession, mail: MailServer) -> None:
    await migrate_streams(session.bus)
    raw = MESSAGE + b"0123456789abcd\r\n" * 80_000
    raw_id = uuid4().hex
    await put_raw(session.bus, raw_id, raw)
    await upload(session, raw=b"", raw_id=raw_id, raw_chunks=chunk_count(len(raw)))
    assert mail.messages(session.record.account, "Drafts") == [raw]


async def test_the_servers_refusal_comes_back_with_its_code(session: ReadingSession) -> None:
    with pytest.raises(CommandRefused) as caught:
        await upload(session, path="No such")
    assert caught.value.server_code == "TRYCREATE"
    with pytest.raises(NotFound):
        await upload(session, path="\\Important")
    with pytest.raises(BadInput):
        await upload(session, flags=["two words"])
