"""Listings, messages, texts and counters against a real IMAP server (contract, sections 6, 7, 9)."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from postbus.common.bus.connection import BusAddress, connect_bus
from postbus.common.commands import CountMailboxes, GetMessage, GetReference, GetText, ListMessages
from postbus.common.errors import NotFound, Unavailable
from postbus.common.ids import MessageId
from postbus.imap_sync.message_info import compose_info, info_items
from postbus.imap_sync.operations import OPERATIONS
from postbus.imap_sync.protocol.values import Fetched
from postbus.imap_sync.texts import fetch_texts
from tests.integration.imap_sync.reading_session import ReadingSession, list_records, open_session
from tests.mailserver import MailServer
from tests.servers import NatsServer

pytestmark = pytest.mark.anyio

ALTERNATIVE = (
    b"From: =?utf-8?q?J=C3=BCrgen?= <j@example.test>\r\nTo: a@example.test, undisclosed-recipients:;\r\n"
    b"Reply-To: replies@example.test\r\nSubject: =?utf-8?b?SMOkbGxv?=\r\nDate: Wed, 25 Nov 2026 06:08:00 +0100\r\n"
    b"Message-ID: <alt@example.test>\r\nReferences: <one@example.test>\r\n <two@example.test>\r\n"
    b"In-Reply-To: <two@example.test>\r\nX-Odd: =?iso-8859-1?q?=E4?=\r\nX-Odd: two\r\n"
    b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
    b"--b\r\nContent-Type: multipart/alternative; boundary=c\r\n\r\n"
    b"--c\r\nContent-Type: text/plain; charset=utf-8; format=flowed\r\n"
    b"Content-Transfer-Encoding: quoted-printable\r\n\r\n"
    b"Gr=C3=BC=C3=9Fe =20\r\nflie=C3=9Fend\r\n"
    b"--c\r\nContent-Type: text/html; charset=iso-8859-1\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    b"PHA+R3L83GU8L3A+\r\n"
    b"--c--\r\n"
    b"--b\r\nContent-Type: application/pdf; name=old.pdf\r\nContent-Transfer-Encoding: base64\r\n"
    b"Content-Disposition: attachment; filename*=utf-8''%C3%BCber.pdf\r\n\r\nJVBERg==\r\n--b--\r\n"
)


@pytest.fixture
async def session(mail: MailServer, nats_server: NatsServer) -> AsyncIterator[ReadingSession]:
    bus = await connect_bus(BusAddress(nats_server.url), service="imap-sync")
    try:
        async with open_session(mail, f"reading-{uuid4().hex[:10]}@example.test", bus) as opened:
            yield opened
    finally:
        await bus.close()


def user(session: ReadingSession) -> str:
    return session.record.account


async def ask(session: ReadingSession, operation: str, command: Any) -> Any:
    return json.loads(await OPERATIONS[operation](session, command.model_dump_json(by_alias=True).encode(), 10.0))


async def listing(session: ReadingSession, path: str = "INBOX", page: int = 0, size: int = 20) -> Any:
    return await ask(session, "messages", ListMessages(account="a", path=path, page=page, page_size=size))


async def message(session: ReadingSession, uid: int = 1, **more: Any) -> Any:
    wanted = str(MessageId(session.boxes["INBOX"].number, uid))
    return await ask(session, "message", GetMessage(account="a", message=wanted, **more))


async def test_a_listing_shows_the_newest_message_first(session: ReadingSession, mail: MailServer) -> None:
    mail.deliver(user(session), n=2)
    mail.deliver(user(session), raw=ALTERNATIVE)
    page = await listing(session)
    assert (page["total"], page["page"], page["pages"]) == (3, 0, 1)
    assert (page["nextPageCursor"], page["prevPageCursor"]) == (None, None)
    assert [entry["uid"] for entry in page["messages"]] == [3, 2, 1]
    entry = page["messages"][0]
    assert entry["from"] == {"name": "Jürgen", "address": "j@example.test"}
    assert entry["to"] == [{"name": "", "address": "a@example.test"}]
    assert (entry["subject"], entry["date"]) == ("Hällo", "2026-11-25T05:08:00.000Z")
    assert (entry["messageId"], entry["inReplyTo"]) == ("<alt@example.test>", "<two@example.test>")
    assert entry["unseen"] is True and entry["flags"] == []
    assert entry["text"]["encodedSize"].keys() == {"plain", "html"}
    (attachment,) = entry["attachments"]
    assert (attachment["filename"], attachment["contentType"]) == ("über.pdf", "application/pdf")


async def test_pages_go_back_in_time_and_end(session: ReadingSession, mail: MailServer) -> None:
    mail.seed(user(session), 45)
    first, last, beyond = [await listing(session, page=page) for page in (0, 2, 7)]
    assert [entry["uid"] for entry in first["messages"]] == list(range(45, 25, -1))
    assert [entry["uid"] for entry in last["messages"]] == [5, 4, 3, 2, 1]
    assert (first["total"], first["pages"], last["pages"]) == (45, 3, 3)
    assert first["nextPageCursor"] and not first["prevPageCursor"]
    assert last["prevPageCursor"] == first["nextPageCursor"] and not last["nextPageCursor"]
    assert (beyond["messages"], beyond["page"], beyond["total"]) == ([], 7, 45)


async def test_a_page_that_was_listed_before_still_shows_what_changed(
    session: ReadingSession, mail: MailServer
) -> None:
    mail.deliver(user(session), n=3)
    first = await listing(session)
    assert await listing(session) == first
    client = mail.imap_client(user(session))
    client.select("INBOX")
    client.store("2", "+FLAGS", "(\\Seen \\Flagged)")
    client.store("1", "+FLAGS", "(\\Deleted)")
    client.expunge()
    client.logout()
    mail.deliver(user(session), raw=ALTERNATIVE)
    newest, third, second = (await listing(session))["messages"]
    assert newest["subject"] == "Hällo" and newest["uid"] == 4
    assert third == first["messages"][0]
    assert sorted(second["flags"]) == ["\\Flagged", "\\Seen"]
    assert second["flagged"] is True and "unseen" not in second
    assert second["subject"] == first["messages"][1]["subject"]


async def test_messages_the_server_can_not_read_do_not_hide_the_others(
    session: ReadingSession, mail: MailServer
) -> None:
    mail.seed(user(session), 9)
    local, _, domain = user(session).partition("@")
    files = sorted((Path(mail.info["mail"]) / domain / local / "Maildir" / "cur").iterdir())
    files[2].chmod(0)
    for _ in range(2):
        page = await listing(session)
        assert [entry["uid"] for entry in page["messages"]] == list(range(9, 0, -1))
        bad = [entry for entry in page["messages"] if "status" in entry]
        assert [(entry["uid"], entry["status"], bool(entry["error"])) for entry in bad] == [(3, "failed", True)]
        assert all(entry["subject"] for entry in page["messages"] if entry not in bad)


async def test_an_empty_mailbox_has_one_empty_page(session: ReadingSession) -> None:
    page = await listing(session)
    assert (page["total"], page["pages"], page["messages"]) == (0, 1, [])


async def test_an_unknown_mailbox_is_not_found_by_its_path(session: ReadingSession) -> None:
    with pytest.raises(NotFound) as error:
        await listing(session, path="No such")
    assert (error.value.code, error.value.details) == ("FolderNotFound", {"path": "No such"})


async def test_a_mailbox_that_was_deleted_meanwhile_is_not_found(session: ReadingSession, mail: MailServer) -> None:
    client = mail.imap_client(user(session))
    client.create("Gone")
    session.boxes = await list_records(session.connection)
    client.delete("Gone")
    client.logout()
    with pytest.raises(NotFound) as error:
        await listing(session, path="Gone")
    assert error.value.code == "FolderNotFound"
    assert session.poked == ["Gone"]


async def test_a_mailbox_that_was_replaced_is_not_shown_under_the_old_ids(session: ReadingSession) -> None:
    session.boxes["INBOX"] = session.boxes["INBOX"].model_copy(update={"uid_validity": 1})
    with pytest.raises(Unavailable) as error:
        await listing(session)
    assert error.value.code == "MailboxReset"


async def test_a_message_shows_headers_and_no_text_unless_asked(session: ReadingSession, mail: MailServer) -> None:
    mail.deliver(user(session), raw=ALTERNATIVE)
    shown = await message(session)
    assert shown["headers"]["x-odd"] == ["ä", "two"]
    assert shown["headers"]["subject"] == ["Hällo"]
    assert shown["headers"]["references"] == ["<one@example.test> <two@example.test>"]
    assert shown["sender"]["address"] == "j@example.test"
    assert shown["replyTo"] == [{"name": "", "address": "replies@example.test"}]
    assert (shown["specialUse"], shown["messageSpecialUse"], shown["path"]) == ("\\Inbox", "\\Inbox", "INBOX")
    assert shown["text"].keys() == {"id", "encodedSize"}


async def test_the_text_of_a_message_by_type_and_limit(session: ReadingSession, mail: MailServer) -> None:
    mail.deliver(user(session), raw=ALTERNATIVE)
    both = (await message(session, text_type="*"))["text"]
    assert both["plain"].startswith("Grüße  fließend") and both["html"] == "<p>GrüÜe</p>" and both["hasMore"] is False
    html = (await message(session, text_type="html"))["text"]
    assert html["html"] == "<p>GrüÜe</p>" and "plain" not in html
    cut = (await message(session, text_type="plain", max_bytes=4))["text"]
    assert (cut["plain"], cut["hasMore"]) == ("Grüß", True)


async def test_text_by_its_id_is_the_text_of_the_message(session: ReadingSession, mail: MailServer) -> None:
    mail.deliver(user(session), raw=ALTERNATIVE)
    shown = (await message(session, text_type="*"))["text"]
    fetched = await ask(session, "text", GetText(account="a", text=shown["id"]))
    assert fetched == {"plain": shown["plain"], "html": shown["html"], "hasMore": False}
    cut = await ask(session, "text", GetText(account="a", text=shown["id"], text_type="html", max_bytes=5))
    assert cut == {"html": "<p>Gr", "hasMore": True}


async def test_a_large_text_is_fetched_no_further_than_its_limit(session: ReadingSession, mail: MailServer) -> None:
    line = "zwölf Boxkämpfer jagen Viktor\r\n"
    head = "From: a@x.test\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
    mail.deliver(user(session), raw=(head + line * 50_000).encode())
    text = (await message(session, text_type="plain", max_bytes=1000))["text"]
    assert text["plain"] == (line.replace("\r", "") * 50)[:1000] and text["hasMore"] is True
    whole = await ask(session, "text", GetText(account="a", text=text["id"]))
    assert whole == {"plain": line.replace("\r", "") * 50_000, "hasMore": False}


async def test_a_message_can_be_marked_as_seen_while_it_is_read(session: ReadingSession, mail: MailServer) -> None:
    mail.deliver(user(session))
    assert (await message(session))["unseen"] is True
    marked = await message(session, mark_as_seen=True)
    assert marked["flags"] == ["\\Seen"] and "unseen" not in marked
    assert session.poked == ["INBOX"]
    assert "unseen" not in await message(session)


@pytest.mark.parametrize("wanted", [str(MessageId(1, 4_000_000_000)), str(MessageId(999, 1)), "AAAA", "no id!"])
async def test_a_message_that_is_not_there_is_not_found(session: ReadingSession, wanted: str) -> None:
    with pytest.raises(NotFound) as error:
        await ask(session, "message", GetMessage(account="a", message=wanted))
    assert error.value.code == "MessageNotFound"
    with pytest.raises(NotFound) as error:
        await ask(session, "reference", GetReference(account="a", message=wanted))
    assert error.value.code == "ReferenceNotFound"


async def test_a_reference_tells_what_a_reply_needs(session: ReadingSession, mail: MailServer) -> None:
    mail.deliver(user(session), raw=ALTERNATIVE)
    wanted = str(MessageId(session.boxes["INBOX"].number, 1))
    reference = await ask(session, "reference", GetReference(account="a", message=wanted))
    assert reference["message_id"] == "<alt@example.test>"
    assert reference["in_reply_to"] == "<two@example.test>"
    assert reference["references"] == "<one@example.test> <two@example.test>"
    assert reference["subject"] == "Hällo"
    assert reference["reply_to"] == [{"name": "", "address": "replies@example.test"}]
    assert reference["to"] == [{"name": "", "address": "a@example.test"}]


async def test_counters_are_live(session: ReadingSession, mail: MailServer) -> None:
    mail.deliver(user(session), n=3)
    counters = await ask(session, "mailboxes", CountMailboxes(account="a"))
    assert counters["INBOX"] == {"messages": 3, "unseen": 3}
    assert counters["Sent"] == {"messages": 0, "unseen": 0}


async def test_texts_of_a_burst_take_one_fetch_for_messages_alike(
    session: ReadingSession, mail: MailServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    mail.deliver(user(session), n=30)
    for _ in range(3):
        mail.deliver(user(session), raw=ALTERNATIVE)
    connection, inbox = session.connection, session.boxes["INBOX"]
    await connection.select("INBOX", read_only=True)
    items = info_items(gmail=False)
    rows = [row async for row in connection.fetch(None, items, by_seq="1:33") if isinstance(row, Fetched)]
    asked: list[Any] = []
    fetch = connection.fetch

    def counted(*what: Any, **how: Any) -> Any:
        asked.append(what)
        return fetch(*what, **how)

    monkeypatch.setattr(connection, "fetch", counted)
    texts = await fetch_texts(connection, rows, inbox, max_chars=10)
    assert len(asked) == 2
    assert set(texts) == {row.uid for row in rows}
    assert all(texts[uid].plain and len(texts[uid].plain or "") <= 10 for uid in texts)
    infos = {row.uid: compose_info(row, inbox) for row in rows}
    assert all(texts[uid].id == info.text.id for uid, info in infos.items() if uid and info.text)


async def test_texts_of_nothing_ask_nothing(session: ReadingSession) -> None:
    assert await fetch_texts(session.connection, [], session.boxes["INBOX"], max_chars=10) == {}
