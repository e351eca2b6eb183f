"""Contract, sections 6, 7 and 9: mailboxes, listings, messages and texts, with the owner's side of the bus scripted."""

import asyncio
import base64
import json
from typing import Any

import httpx
import pytest
from nats.aio.msg import Msg

from postbus.common import errors, ids
from postbus.common.accounts import MailboxRecord
from postbus.common.service import Parts
from postbus.common.store import keys
from tests.integration.api.conftest import ScriptedOwner

pytestmark = pytest.mark.anyio

MESSAGE = str(ids.MessageId(1, 481))
TEXT = str(ids.TextId(ids.MessageId(1, 481), ("1",), ("2",)))
BASE = "/v1/account/example"


async def put_mailboxes(parts: Parts, *records: MailboxRecord) -> None:
    rows = {record.path: record.model_dump_json(by_alias=True) for record in records}
    await parts.redis.hset(keys.mailboxes("example"), mapping=rows)  # type: ignore[arg-type]


async def test_mailboxes_come_from_the_store_inbox_first(parts: Parts, client: httpx.AsyncClient, account: str) -> None:
    await put_mailboxes(
        parts,
        MailboxRecord(number=2, path="Archive/2026", delimiter="/", messages=3, uid_next=4, mailbox_id="F1"),
        MailboxRecord(
            number=1, path="INBOX", special_use="\\Inbox", special_use_source="extension", flags=("\\NoInferiors",)
        ),
        MailboxRecord(number=3, path="Root", flags=("\\Noselect",)),
    )
    inbox, archive = (await client.get(f"{BASE}/mailboxes")).json()["mailboxes"]
    assert archive == {
        "path": "Archive/2026",
        "delimiter": "/",
        "parentPath": "Archive",
        "name": "2026",
        "listed": True,
        "subscribed": True,
        "id": "F1",
        "messages": 3,
        "uidNext": 4,
    }
    assert (inbox["path"], inbox["specialUse"], inbox["noInferiors"], inbox["uidNext"]) == (
        "INBOX",
        "\\Inbox",
        True,
        False,
    )


async def test_counters_are_asked_of_the_owner(
    parts: Parts, client: httpx.AsyncClient, owner: ScriptedOwner, account: str
) -> None:
    await put_mailboxes(parts, MailboxRecord(number=1, path="INBOX"), MailboxRecord(number=2, path="Gone"))
    owner.answers["mailboxes"] = json.dumps({"INBOX": {"messages": 5, "unseen": 2}}).encode()
    inbox, gone = (await client.get(f"{BASE}/mailboxes?counters=Y")).json()["mailboxes"]
    assert inbox["status"] == {"messages": 5, "unseen": 2}
    assert "error" in gone["status"]


async def test_a_listing_is_the_owners_answer_byte_for_byte(client: httpx.AsyncClient, owner: ScriptedOwner) -> None:
    owner.answers["messages"] = b'{"total": 0,  "odd":"\\ud83d"}'
    answer = await client.get(f"{BASE}/messages", params={"path": "INBOX", "page": 3, "pageSize": 7})
    assert (answer.status_code, answer.content) == (200, b'{"total": 0,  "odd":"\\ud83d"}')
    assert answer.headers["content-type"] == "application/json"
    assert owner.asked == [("messages", {"account": "example", "path": "INBOX", "page": 3, "pageSize": 7})]


async def test_a_cursor_stands_for_its_page(client: httpx.AsyncClient, owner: ScriptedOwner) -> None:
    cursor = "imap_" + base64.urlsafe_b64encode(b'{"page":4}').decode().rstrip("=")
    await client.get(f"{BASE}/messages", params={"path": "INBOX", "cursor": cursor})
    assert owner.asked[0][1]["page"] == 4


@pytest.mark.parametrize(
    ("cursor", "code"),
    [("gmail_x", "InvalidCursorType"), ("imap_x", "InvalidCursorValue"), ("imap_", "InvalidCursorValue")],
)
async def test_a_broken_cursor_is_refused(client: httpx.AsyncClient, cursor: str, code: str) -> None:
    answer = await client.get(f"{BASE}/messages", params={"path": "INBOX", "cursor": cursor})
    assert (answer.status_code, answer.json()["code"]) == (400, code)


async def test_a_message_and_its_text_are_asked_for_as_the_client_says(
    client: httpx.AsyncClient, owner: ScriptedOwner
) -> None:
    await client.get(f"{BASE}/message/{MESSAGE}", params={"textType": "HTML", "maxBytes": 10, "markAsSeen": "1"})
    await client.get(f"{BASE}/text/{TEXT}")
    html = {"webSafeHtml": False, "preProcessHtml": False, "embedAttachedImages": None}
    message = {"account": "example", "message": MESSAGE, "textType": "html", "maxBytes": 10, "markAsSeen": True}
    text = {"account": "example", "text": TEXT, "textType": "*", "maxBytes": None, "webSafeHtml": False}
    assert owner.asked == [("message", {**message, **html}), ("text", text)]


async def test_html_is_asked_for_as_the_client_says(client: httpx.AsyncClient, owner: ScriptedOwner) -> None:
    await client.get(f"{BASE}/message/{MESSAGE}", params={"webSafeHtml": "true", "embedAttachedImages": "false"})
    await client.get(f"{BASE}/message/{MESSAGE}", params={"preProcessHtml": "1", "embedAttachedImages": "1"})
    await client.get(f"{BASE}/text/{TEXT}", params={"webSafeHtml": "true"})
    names = ("webSafeHtml", "preProcessHtml", "embedAttachedImages")
    assert [tuple(asked.get(name) for name in names) for _, asked in owner.asked] == [
        (True, False, False),
        (False, True, True),
        (True, None, None),
    ]


@pytest.mark.parametrize("path", ["message/nonsense!", "message/AAAA", "text/AAAAAQAAAeE", "attachment/AAAAAQAAAeE"])
async def test_ids_that_can_not_be_are_not_found(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.get(f"{BASE}/{path}")
    assert (answer.status_code, answer.json()["error"]) == (404, "Not Found")


@pytest.mark.parametrize(
    ("query", "keys_of_failures"),
    [
        ({}, {"path"}),
        ({"path": "a\r\nb", "page": "x", "pageSize": 1001, "foo": "1"}, {"path", "page", "pageSize", "foo"}),
    ],
)
async def test_all_that_is_wrong_with_a_query_is_listed(
    client: httpx.AsyncClient, query: dict[str, Any], keys_of_failures: set[str]
) -> None:
    answer = await client.get(f"{BASE}/messages", params=query, headers={"x-ee-timeout": "1"})
    assert answer.status_code == 400
    assert {one["key"] for one in answer.json()["fields"]} == keys_of_failures


async def test_a_wrong_timeout_is_refused_with_the_rest(client: httpx.AsyncClient) -> None:
    answer = await client.get(f"{BASE}/messages", headers={"x-ee-timeout": "7200001"})
    assert {one["key"] for one in answer.json()["fields"]} == {"path", "x-ee-timeout"}


@pytest.mark.parametrize(
    ("error", "status", "more"),
    [
        (errors.NotFound("Unknown", code="FolderNotFound", path="X"), 404, {"code": "FolderNotFound", "path": "X"}),
        (
            errors.AccountNotUsable("Not yet", state="connecting"),
            503,
            {"code": "NotYetConnected", "state": "connecting"},
        ),
        (errors.CommandRefused("NO quota", server_code="OVERQUOTA"), 400, {"code": "OVERQUOTA"}),
        (errors.ConnectionLost("gone"), 503, {"code": "ConnectionLost"}),
        (errors.DeadlineExceeded("Timeout"), 504, {"code": "Timeout"}),
        (errors.PostbusError("oops"), 500, {"code": "InternalError"}),
    ],
)
async def test_an_error_of_the_owner_becomes_an_answer(
    client: httpx.AsyncClient,
    owner: ScriptedOwner,
    account: str,
    error: errors.PostbusError,
    status: int,
    more: dict[str, str],
) -> None:
    owner.answers["messages"] = error
    answer = await client.get(f"{BASE}/messages?path=X")
    body = answer.json()
    assert (answer.status_code, body["statusCode"], body["message"]) == (status, status, error.message)
    assert body | more == body


@pytest.mark.parametrize("path", ["messages?path=INBOX", f"message/{ids.MessageId(1, 481)}/source", "mailboxes"])
async def test_an_unknown_account_is_404_at_once_even_while_nobody_owns_it(
    client: httpx.AsyncClient, path: str
) -> None:
    answer = await client.get(f"/v1/account/nobody/{path}")
    assert (answer.status_code, answer.json()["code"]) == (404, "AccountNotFound")
    assert answer.elapsed.total_seconds() < 2  # a takeover may last for six


async def test_an_account_without_imap_says_so_at_once_while_nobody_owns_it(
    client: httpx.AsyncClient, account: str
) -> None:
    await client.put(BASE, json={"imap": False})
    answer = await client.get(f"{BASE}/messages?path=INBOX")
    assert (answer.status_code, answer.json()["code"]) == (503, "IMAPUnavailable")
    assert answer.elapsed.total_seconds() < 2


async def test_an_account_that_can_not_be_connected_says_so(
    client: httpx.AsyncClient, owner: ScriptedOwner, account: str
) -> None:
    await client.put(BASE, json={"imap": False})
    owner.answers["messages"] = errors.AccountNotUsable("no")
    body = (await client.get(f"{BASE}/messages?path=INBOX")).json()
    assert (body["statusCode"], body["code"], body["state"]) == (503, "IMAPUnavailable", "unset")


async def test_the_timeout_of_a_request_is_its_deadline(client: httpx.AsyncClient, parts: Parts, account: str) -> None:
    taken: asyncio.Queue[Msg] = asyncio.Queue()
    await parts.bus.nc.subscribe("ee.rpc.*.messages", cb=taken.put)  # takes commands and never answers
    answer = await client.get(f"{BASE}/messages?path=INBOX", headers={"x-ee-timeout": "100"})
    assert (answer.status_code, answer.json()["code"]) == (504, "Timeout")
    assert answer.elapsed.total_seconds() < 2


async def test_reconnecting_asks_the_owner(client: httpx.AsyncClient, owner: ScriptedOwner, account: str) -> None:
    assert (await client.put(f"{BASE}/reconnect", json={"reconnect": True})).json() == {"reconnect": True}
    assert owner.asked == [("reconnect", {"account": "example"})]
    assert (await client.put(f"{BASE}/reconnect")).json() == {"reconnect": False}
