"""Searches against a real IMAP server (contract, section 8): what is found, and what such a server can't say."""

import json
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest

from postbus.common.bus.connection import BusAddress, connect_bus
from postbus.common.commands import SearchMessages, SearchQuery
from postbus.common.errors import NotFound, NotSupported
from postbus.imap_sync.operations import OPERATIONS
from tests.integration.imap_sync.reading_session import ReadingSession, open_session
from tests.mailserver import MailServer
from tests.servers import NatsServer

pytestmark = pytest.mark.anyio

RAW = (
    "From: Ann <ann@x.test>\r\nTo: bob@x.test\r\nCc: cc@x.test\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n"
    "Date: Wed, 25 Nov 2020 06:08:00 +0100\r\nMessage-ID: <s@x.test>\r\nX-Odd: yes\r\n"
    "Content-Type: text/plain; charset=utf-8\r\n\r\nZwölf Boxkämpfer\r\n"
).encode()


@pytest.fixture
async def session(mail: MailServer, nats_server: NatsServer) -> AsyncIterator[ReadingSession]:
    bus = await connect_bus(BusAddress(nats_server.url), service="imap-sync")
    user = f"search-{uuid4().hex[:10]}@example.test"
    try:
        async with open_session(mail, user, bus) as opened:
            mail.deliver(user, n=3)
            mail.deliver(user, raw=RAW)
            yield opened
    finally:
        await bus.close()


async def search(session: ReadingSession, path: str = "INBOX", page: int = 0, size: int = 20, **query: Any) -> Any:
    wanted = SearchQuery.model_validate(query)
    command = SearchMessages(account="a", path=path, page=page, page_size=size, search=wanted)
    return json.loads(await OPERATIONS["search"](session, command.model_dump_json(by_alias=True).encode(), 10.0))


async def found(session: ReadingSession, **query: Any) -> list[int]:
    return [entry["uid"] for entry in (await search(session, **query))["messages"]]


@pytest.mark.parametrize(
    "query",
    [
        {"seq": "4"},
        {"uid": "4:*"},
        {"from": "Ann"},
        {"cc": "cc@x.test"},
        {"subject": "grüße"},
        {"body": "Boxkämpfer"},
        {"subject": "Grüße", "body": "zwölf", "unseen": True},
        {"header": {"X-Odd": True}},
        {"header": {"x-odd": "", "Message-ID": "<s@x.test>"}},
        {"sentBefore": "2021-01-01T00:00:00Z"},
        {"sentSince": "2020-11-01T00:00:00Z", "sentBefore": "2020-12-01T00:00:00Z"},
        {"seen": False, "answered": False, "deleted": False, "draft": False, "flagged": False, "to": "bob@x.test"},
    ],
)
async def test_the_one_message_that_matches_is_found(session: ReadingSession, query: dict[str, Any]) -> None:
    assert await found(session, **query) == [4]


async def test_arrival_dates_sizes_and_versions_of_messages(session: ReadingSession) -> None:
    everything = [4, 3, 2, 1]
    assert await found(session) == everything
    assert await found(session, since="2001-01-01T00:00:00Z", larger=0, modseq=1) == everything
    assert await found(session, before="2001-01-01T00:00:00Z") == []
    assert await found(session, before="2100-01-01T00:00:00Z", smaller=1_000_000) == everything
    assert await found(session, smaller=0) == []
    assert await found(session, seen=True) == []


async def test_what_is_found_comes_in_pages_newest_first(session: ReadingSession) -> None:
    first = await search(session, size=3, uid="1:*")
    assert [entry["uid"] for entry in first["messages"]] == [4, 3, 2]
    assert (first["total"], first["pages"], first["prevPageCursor"]) == (4, 2, None)
    second = await search(session, size=3, page=1, uid="1:*")
    assert [entry["uid"] for entry in second["messages"]] == [1]
    assert second["nextPageCursor"] is None
    assert (await search(session, page=9, uid="1:*"))["messages"] == []
    assert first["messages"][0]["subject"] == "Grüße"


@pytest.mark.parametrize("query", [{"labels": {"has": ["x"]}}, {"gmailRaw": "x"}, {"emailId": "M1"}])
async def test_what_this_server_can_not_search_for_is_refused(session: ReadingSession, query: dict[str, Any]) -> None:
    with pytest.raises(NotSupported):
        await search(session, **query)


async def test_an_unknown_mailbox_is_not_found(session: ReadingSession) -> None:
    with pytest.raises(NotFound):
        await search(session, path="nowhere")
