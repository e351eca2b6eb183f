"""Contract, section 6: mailboxes are created, changed and deleted as clients say, the owner's side scripted."""

import json
from typing import Any

import httpx
import pytest

from postbus.common.bus import rpc
from postbus.common.bus.connection import Bus
from postbus.common.errors import CommandRefused, PostbusError
from postbus.common.service import Parts

pytestmark = pytest.mark.anyio

URL = "/v1/account/example/mailbox"


class Owner:
    """Answers the commands for mailboxes; keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.reply: bytes | PostbusError = b'{"path":"a"}'

    async def start(self, bus: Bus) -> None:
        names = ("create-mailbox", "change-mailbox", "delete-mailbox")
        await rpc.serve(bus, "ee.rpc.*", {name: self._handler(name) for name in names})

    def _handler(self, operation: str) -> rpc.Handler:
        async def answer(payload: bytes) -> bytes:
            self.asked.append((operation, json.loads(payload)))
            if isinstance(self.reply, PostbusError):
                raise self.reply
            return self.reply

        return answer


@pytest.fixture
async def mailboxes(parts: Parts) -> Owner:
    owner = Owner()
    await owner.start(parts.bus)
    return owner


@pytest.mark.parametrize("path", ["Archive/2026", ["Archive/2026"]])
async def test_a_path_is_one_text_or_its_levels(client: httpx.AsyncClient, mailboxes: Owner, path: Any) -> None:
    answer = await client.post(URL, json={"path": path})
    assert (answer.status_code, answer.json()) == (200, {"path": "a"})
    assert mailboxes.asked == [("create-mailbox", {"account": "example", "path": ["Archive/2026"]})]


async def test_changes_are_passed_on(client: httpx.AsyncClient, mailboxes: Owner) -> None:
    await client.put(URL, json={"path": "\\Archive", "newPath": ["a", "b"], "subscribed": False})
    await client.delete(URL, params={"path": "ä"})
    assert mailboxes.asked == [
        ("change-mailbox", {"account": "example", "path": "\\Archive", "newPath": ["a", "b"], "subscribed": False}),
        ("delete-mailbox", {"account": "example", "path": "ä"}),
    ]


async def test_a_refusal_has_the_servers_code(client: httpx.AsyncClient, mailboxes: Owner) -> None:
    mailboxes.reply = CommandRefused("No", server_code="OVERQUOTA")
    answer = await client.post(URL, json={"path": ["a"]})
    assert (answer.status_code, answer.json()["code"]) == (400, "OVERQUOTA")


@pytest.mark.parametrize(
    ("method", "body", "key"),
    [
        ("POST", {}, "path"),
        ("POST", {"path": []}, "path"),
        ("POST", {"path": ["a", ""]}, "path.1"),
        ("POST", {"path": ["a\r\nb"]}, "path.0"),
        ("POST", {"path": "x" * 257}, "path.0"),
        ("PUT", {"path": "a", "newPath": None}, "newPath"),
        ("PUT", {"path": "a", "colour": "red"}, "colour"),
    ],
)
async def test_bad_paths_are_refused_with_their_place(
    client: httpx.AsyncClient, method: str, body: dict[str, Any], key: str
) -> None:
    answer = await client.request(method, URL, json=body)
    assert answer.status_code == 400
    assert [field["key"] for field in answer.json()["fields"]] == [key]
    assert (await client.delete(URL)).status_code == 400
