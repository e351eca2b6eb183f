"""Contract, section 10: uploading messages, with the owner's side of the bus scripted."""

import base64
import json
from email import message_from_bytes
from typing import Any

import httpx
import pytest

from postbus.common import errors, ids
from postbus.common.bus.streams import RAW
from postbus.common.service import Parts
from tests.integration.api.conftest import ScriptedOwner

pytestmark = pytest.mark.anyio

URL = "/v1/account/example/message"
READY_MADE = b"Subject: Hello\nMessage-ID: <own@x.test>\n\nHello\r\nworld\n"


def encoded(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def raw_of(command: dict[str, Any]) -> bytes:
    return base64.urlsafe_b64decode(command["raw"])


def asked_with(owner: ScriptedOwner) -> dict[str, Any]:
    ((operation, command),) = owner.asked
    assert operation == "upload-message"
    return command


async def test_a_ready_made_message_is_taken_as_it_is_with_crlf(
    client: httpx.AsyncClient, owner: ScriptedOwner, account: str
) -> None:
    owner.answers["upload-message"] = b'{"path":"Drafts","id":"AAAAAgAAAAE","uid":1,"uidValidity":"7"}'
    body = {"path": "\\Drafts", "flags": "\\Draft", "raw": encoded(READY_MADE), "internalDate": "2026-02-07T21:52:25Z"}
    answer = await client.post(URL, json=body)
    told = {"path": "Drafts", "id": "AAAAAgAAAAE", "uid": 1, "uidValidity": "7", "messageId": "<own@x.test>"}
    assert (answer.status_code, answer.json()) == (200, told)
    command = asked_with(owner)
    assert raw_of(command) == READY_MADE.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    assert (command["path"], command["flags"], command["internalDate"]) == (
        "\\Drafts",
        ["\\Draft"],
        "2026-02-07T21:52:25Z",
    )


async def test_a_message_is_composed_with_its_bcc_and_the_date_of_its_arrival(
    client: httpx.AsyncClient, owner: ScriptedOwner, account: str
) -> None:
    owner.answers["upload-message"] = b'{"path":"Drafts"}'
    body = {
        "path": "Drafts",
        "to": {"address": "ann@x.test"},
        "bcc": {"address": "bob@x.test"},
        "subject": "Hello",
        "text": "Hi",
        "internalDate": "2026-02-07T21:52:25Z",
    }
    answer = await client.post(URL, json=body)
    message = message_from_bytes(raw_of(asked_with(owner)))
    assert answer.json() == {"path": "Drafts", "messageId": message["message-id"]}
    assert (message["bcc"], message["to"], message["from"]) == (
        "bob@x.test",
        "ann@x.test",
        "Kaarel Karu <kaarel@example.com>",
    )
    assert message["date"].startswith("Sat, 07 Feb 2026 21:52:25")


async def test_a_draft_needs_neither_recipients_nor_smtp(
    client: httpx.AsyncClient, owner: ScriptedOwner, account_body: Any
) -> None:
    assert (await client.post("/v1/account", json=account_body(account="reader", smtp=...))).status_code == 200
    owner.answers["upload-message"] = b'{"path":"Drafts"}'
    answer = await client.post("/v1/account/reader/message", json={"path": "Drafts", "text": "to be continued"})
    assert answer.status_code == 200, answer.text


async def test_a_reply_takes_threading_from_the_original(
    client: httpx.AsyncClient, owner: ScriptedOwner, account: str
) -> None:
    original = {
        "message_id": "<a@x.test>",
        "in_reply_to": None,
        "references": None,
        "subject": "Plan",
        "thread_id": "T1",
    }
    people = {"from_": [{"name": "", "address": "ann@x.test"}], "reply_to": [], "to": [], "cc": []}
    owner.answers |= {"reference": json.dumps(original | people).encode(), "upload-message": b'{"path":"Drafts"}'}
    reference = str(ids.MessageId(1, 481))
    answer = await client.post(URL, json={"path": "Drafts", "reference": {"message": reference}, "text": "Yes"})
    assert answer.json()["reference"] == {"message": reference, "success": True, "threadId": "T1"}
    message = message_from_bytes(raw_of(owner.asked[-1][1]))
    assert (message["subject"], message["in-reply-to"], message["to"]) == ("Re: Plan", "<a@x.test>", "ann@x.test")


async def test_a_large_message_lies_on_the_bus_only_as_long_as_it_is_needed(
    client: httpx.AsyncClient, owner: ScriptedOwner, account: str, parts: Parts
) -> None:
    owner.answers["upload-message"] = b'{"path":"Drafts"}'
    answer = await client.post(URL, json={"path": "Drafts", "raw": encoded(READY_MADE + b"x" * 1_000_000)})
    assert answer.status_code == 200
    command = asked_with(owner)
    assert (command["raw"], command["rawChunks"]) == ("", 2)
    assert (await parts.bus.js.stream_info(RAW)).state.messages == 0


async def test_what_the_server_does_not_take_is_502_with_its_code(
    client: httpx.AsyncClient, owner: ScriptedOwner, account: str
) -> None:
    owner.answers["upload-message"] = errors.CommandRefused("Full", server_code="OVERQUOTA")
    answer = await client.post(URL, json={"path": "Drafts", "text": "x"})
    body = answer.json()
    assert (answer.status_code, body["code"], body["message"]) == (502, "UploadFail", "Full")
    assert body["details"] == {"serverResponseCode": "OVERQUOTA"}


@pytest.mark.parametrize(
    ("body", "key"),
    [
        ({"text": "x"}, "path"),
        ({"path": "x", "raw": ""}, "raw"),
        ({"path": "x", "raw": "%%%"}, "raw"),
        ({"path": "x", "raw": "aGk=", "subject": "y"}, "body"),
        ({"path": "x", "flags": ["a" * 129]}, "flags.0"),
    ],
)
async def test_a_wrong_upload_is_refused_with_its_place(
    client: httpx.AsyncClient, owner: ScriptedOwner, account: str, body: Any, key: str
) -> None:
    answer = await client.post(URL, json=body)
    assert (answer.status_code, [field["key"] for field in answer.json()["fields"]]) == (400, [key])
    assert owner.asked == []


async def test_an_upload_to_an_unknown_account_is_404(client: httpx.AsyncClient, owner: ScriptedOwner) -> None:
    answer = await client.post("/v1/account/nobody/message", json={"path": "x", "text": "y"})
    assert (answer.status_code, answer.json()["code"]) == (404, "AccountNotFound")
