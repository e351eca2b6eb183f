"""The short way and FastAPI's give the same request the same answer, and ask the owner of the account the same."""

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from postbus.api.app import create_server_app, frequent_routes
from postbus.api.asgi import Front
from postbus.api.direct import Direct, shortcut_to
from postbus.common.errors import NotFound
from postbus.common.service import Parts
from tests.integration.api.conftest import ScriptedOwner

pytestmark = pytest.mark.anyio

LIST, SEARCH = "/v1/account/example/messages", "/v1/account/example/search"
JSON = {"content-type": "application/json"}

Call = tuple[str, str, dict[str, str], bytes]  # method, path, headers, body

READS: list[Call] = [
    ("GET", path, {}, b"")
    for path in (
        f"{LIST}?path=INBOX",
        f"{LIST}?path=INBOX&page=3&pageSize=7",
        f"{LIST}?path=INBOX&page=03&pageSize=%207",
        f"{LIST}?path=INBOX&path=Sent",
        f"{LIST}?path=INBOX&page=",
        f"{LIST}?path=INBOX&page=-1",
        f"{LIST}?path=INBOX&page=1.0",
        f"{LIST}?path=INBOX&page_size=1",
        f"{LIST}?path=INBOX&unknown",
        f"{LIST}?path=",
        f"{LIST}?path=a%0Ab",
        f"{LIST}?path=%C3%A4%20b+c;d",
        f"{LIST}?path=%FF",
        f"{LIST}?path=INBOX&cursor=imap_eyJwYWdlIjo1fQ",
        f"{LIST}?path=INBOX&cursor=imap_nonsense",
        LIST,
        "/v1/account/a%2Fb/messages?path=INBOX",
        "/v1/account/%20a%20/messages?path=INBOX",
        "/v1/account/%FF/messages?path=INBOX",
        "/v1/account/%20/messages?path=INBOX",
        f"/v1/account/{'a' * 257}/messages?path=INBOX",
        f"{LIST}/?path=INBOX",
        "/v1/account/example/message/AAAAAQAAAeE?textType=HTML&maxBytes=100&markAsSeen=true",
        "/v1/account/example/message/AAAAAQAAAeE?markAsSeen=on",
        "/v1/account/example/message/AAAAAQAAAeE?markAsSeen=maybe",
        "/v1/account/example/message/nonsense",
        "/v1/account/example/message/AAAAAQAAAeE?textType=rtf",
        "/v1/account/example/text/AAAAAQAAAeGTkaExkaEykA",
        "/v1/account/example/text/AAAAAQAAAeGTkaExkaEykA?textType=plain&maxBytes=-1",
        "/v1/account/example/text/%00",
    )
]
OTHERS: list[Call] = [
    ("GET", f"{LIST}?path=INBOX", {"x-ee-timeout": "5000"}, b""),
    ("GET", f"{LIST}?path=INBOX", {"x-ee-timeout": "never"}, b""),
    ("HEAD", f"{LIST}?path=INBOX", {}, b""),
    ("DELETE", f"{LIST}?path=INBOX", {}, b""),
    *(
        ("POST", f"{SEARCH}?path=INBOX", headers, body)
        for headers, body in (
            (JSON, b'{"search": {"from": "ann", "unseen": true, "header": {"X-A": true}}}'),
            (JSON, b'{"search": {"since": "2026-01-01", "emailIds": "one"}}'),
            (JSON, b'{"search": {"sinc": "2026-01-01"}}'),
            (JSON, b'{"search": {"from": "\\u0000"}}'),
            (JSON, b'{"search": {"from": NaN}}'),
            (JSON, b'{"search": '),
            (JSON, b'{"search": {}, "search": {"from": "x"}}'),
            (JSON, b"[" * 2000),
            (JSON, b"[]"),
            (JSON, b""),
            ({}, b'{"search": {"from": "ann"}}'),
            ({"content-type": "text/plain"}, b'{"search": {"from": "ann"}}'),
            ({"content-type": "application/json; charset=utf-8"}, b'{"search": {"from": "ann"}}'),
            (JSON, b'{"search": {"from": "' + b"a" * 1024**2 + b'"}}'),
        )
    ),
    ("POST", SEARCH, JSON, b'{"search": {"from": "ann"}}'),
    ("POST", f"{SEARCH}?path=INBOX&page=x", JSON, b'{"search": {"from": "ann"}}'),
]


@pytest.fixture
async def both_ways(parts: Parts, routes: FastAPI) -> AsyncIterator[tuple[httpx.AsyncClient, httpx.AsyncClient]]:
    """Clients of the short way, and of FastAPI alone."""
    front = create_server_app(parts, routes)
    short = httpx.ASGITransport(app=front)
    long = httpx.ASGITransport(app=Front(routes, parts))
    async with (
        httpx.AsyncClient(transport=short, base_url="http://api.test") as first,
        httpx.AsyncClient(transport=long, base_url="http://api.test") as second,
    ):
        yield first, second


@pytest.mark.parametrize("call", [*READS, *OTHERS], ids=lambda call: f"{call[0]} {call[1][-40:]} {call[3][:20]!r}")
async def test_both_ways_answer_alike(
    both_ways: tuple[httpx.AsyncClient, httpx.AsyncClient], owner: ScriptedOwner, call: Call
) -> None:
    method, path, headers, body = call
    seen: list[Any] = []
    for client in both_ways:
        owner.asked.clear()
        answer = await client.request(method, path, headers=headers, content=body)
        seen.append((answer.status_code, answer.headers, answer.content, list(owner.asked)))
    assert seen[0] == seen[1]


async def test_the_owner_s_refusal_is_the_same_both_ways(
    both_ways: tuple[httpx.AsyncClient, httpx.AsyncClient], owner: ScriptedOwner
) -> None:
    owner.answers["messages"] = NotFound("Unknown mailbox", code="FolderNotFound", path="Odd")
    answers = [await client.get(f"{LIST}?path=Odd") for client in both_ways]
    assert answers[0].status_code == answers[1].status_code == 404
    assert answers[0].json() == answers[1].json() and answers[0].json()["path"] == "Odd"


async def test_plain_requests_take_the_short_way(parts: Parts, routes: FastAPI, owner: ScriptedOwner) -> None:
    async def nobody(*_: object) -> None:
        raise AssertionError("FastAPI was asked")

    create_server_app(parts, routes)
    direct = Direct(routes, parts, frequent_routes())
    direct._app = nobody  # type: ignore[assignment]
    transport = httpx.ASGITransport(app=Front(direct, parts))
    async with httpx.AsyncClient(transport=transport, base_url="http://api.test") as client:
        assert (await client.get(f"{LIST}?path=INBOX&page=1")).status_code == 200
        assert (await client.get("/v1/account/a%2Fb/message/AAAAAQAAAeE")).status_code == 200
        assert (await client.get("/v1/account/example/text/AAAAAQAAAeGTkaExkaEykA?textType=html")).status_code == 200
    assert [command["account"] for _, command in owner.asked] == ["example", "a/b", "example"]


def test_a_short_way_leads_where_the_routes_lead() -> None:
    shortcuts = [shortcut_to(route) for route in frequent_routes()]
    assert {json.dumps([one.method, one.route.path]) for one in shortcuts} >= {
        json.dumps(["GET", "/v1/account/{account}/messages"]),
        json.dumps(["POST", "/v1/account/{account}/search"]),
    }
