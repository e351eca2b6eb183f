"""Contract, section 8: searches as clients ask for them, with the owner's side of the bus scripted."""

import base64
from typing import Any

import httpx
import pytest

from postbus.common.commands import SearchQuery
from postbus.common.errors import CommandRefused, NotSupported
from tests.integration.api.conftest import ScriptedOwner

pytestmark = pytest.mark.anyio

URL = "/v1/account/example/search"
INBOX = {"path": "INBOX"}
EVERYTHING: dict[str, Any] = {
    "seq": "1:10,*",
    "uid": "5:*",
    "answered": True,
    "deleted": False,
    "draft": False,
    "flagged": True,
    "seen": True,
    "unseen": False,
    "from": "ann",
    "to": "bob",
    "cc": "c",
    "bcc": "d",
    "body": "Grüße",
    "subject": "",
    "larger": 0,
    "smaller": 1_073_741_824,
    "modseq": 5,
    "before": "2026-11-25T12:00:00.000Z",
    "since": "2026-11-24T12:00:00.000Z",
    "sentBefore": "2026-11-25",
    "sentSince": "2026-11-24T23:00:00-02:00",
    "emailId": "M1",
    "threadId": "T1",
    "emailIds": "M1",
    "header": {"Message-ID": "<a@b>", "X-There": True, "X-Empty": ""},
    "gmailRaw": "has:attachment",
    "labels": {"has": "a", "not": ["b", "c"]},
}


async def test_a_search_reaches_the_owner_as_it_was_asked_for(client: httpx.AsyncClient, owner: ScriptedOwner) -> None:
    owner.answers["search"] = b'{"total": 0}'
    answer = await client.post(URL, params={**INBOX, "page": 2, "pageSize": 7}, json={"search": EVERYTHING})
    assert (answer.status_code, answer.content) == (200, b'{"total": 0}')
    ((operation, asked),) = owner.asked
    assert operation == "search"
    assert (asked["account"], asked["path"], asked["page"], asked["pageSize"]) == ("example", "INBOX", 2, 7)
    expected = {
        **EVERYTHING,
        "sentBefore": "2026-11-25T00:00:00Z",
        "emailIds": ["M1"],
        "labels": {"has": ["a"], "not": ["b", "c"]},
    }
    assert SearchQuery.model_validate(asked["search"]) == SearchQuery.model_validate(expected)


async def test_a_cursor_stands_for_its_page_of_a_search(client: httpx.AsyncClient, owner: ScriptedOwner) -> None:
    cursor = "imap_" + base64.urlsafe_b64encode(b'{"page":4}').decode().rstrip("=")
    await client.post(URL, params={**INBOX, "cursor": cursor}, json={"search": {}})
    assert owner.asked[0][1]["page"] == 4


@pytest.mark.parametrize(
    ("search", "key"),
    [
        ({"from": "a\0"}, "search.from"),
        ({"from": "x" * 257}, "search.from"),
        ({"uid": "1 ALL"}, "search.uid"),
        ({"seq": "1,"}, "search.seq"),
        ({"larger": -1}, "search.larger"),
        ({"since": "yesterday"}, "search.since"),
        ({"header": {"X Y": "a"}}, "search.header.X Y"),
        ({"emailIds": ["x"] * 1001}, "search.emailIds"),
        ({"colour": "red"}, "search.colour"),
        ({"labels": {"has": ["x" * 129]}}, "search.labels.has.0"),
    ],
)
async def test_a_search_that_can_not_be_is_refused_with_its_place(
    client: httpx.AsyncClient, search: dict[str, Any], key: str
) -> None:
    answer = await client.post(URL, params=INBOX, json={"search": search})
    assert answer.status_code == 400, answer.text
    assert [field["key"] for field in answer.json()["fields"]] == [key]


@pytest.mark.parametrize(("params", "body", "key"), [({}, {"search": {}}, "path"), (INBOX, {}, "search")])
async def test_a_search_needs_a_mailbox_and_something_to_look_for(
    client: httpx.AsyncClient, params: dict[str, str], body: dict[str, Any], key: str
) -> None:
    answer = await client.post(URL, params=params, json=body)
    assert (answer.status_code, answer.json()["fields"][0]["key"]) == (400, key)


async def test_what_the_mail_server_can_not_search_for_is_told_apart(
    client: httpx.AsyncClient, owner: ScriptedOwner
) -> None:
    owner.answers["search"] = NotSupported("no labels")
    answer = await client.post(URL, params=INBOX, json={"search": {"labels": {"has": ["x"]}}})
    assert (answer.status_code, answer.json()["code"]) == (422, "MissingServerExtension")
    owner.answers["search"] = CommandRefused("us-ascii only", server_code="BADCHARSET")
    answer = await client.post(URL, params=INBOX, json={"search": {"from": "ü"}})
    assert (answer.status_code, answer.json()["code"]) == (400, "BADCHARSET")
