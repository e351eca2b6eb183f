"""The API in this process, on a real NATS and Valkey; the owner of accounts is another service and is scripted."""

import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from pydantic import SecretStr

from postbus.api.app import create_app, create_server_app
from postbus.common.bus import rpc
from postbus.common.bus.connection import Bus
from postbus.common.bus.streams import migrate_streams
from postbus.common.config import Config
from postbus.common.errors import PostbusError
from postbus.common.service import Parts, open_parts
from tests.servers import NatsServer

KEY_RING = json.dumps({"active": "k1", "k1": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="})
IMAP = {"host": "imap.example.com", "port": 993, "secure": True, "auth": {"user": "kaarel", "pass": "imap secret"}}
SMTP = {"host": "smtp.example.com", "port": 465, "secure": True, "auth": {"user": "kaarel", "pass": "smtp secret"}}
ACCOUNT = {"account": "example", "name": "Kaarel Karu", "email": "kaarel@example.com", "imap": IMAP, "smtp": SMTP}


@dataclass(slots=True)
class ScriptedOwner:
    """Answers the commands of all accounts: what to say by operation, and what was asked."""

    answers: dict[str, bytes | PostbusError] = field(default_factory=dict)
    asked: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    async def start(self, bus: Bus) -> None:
        """Listen as the owner of every partition."""
        changes = tuple(f"{verb}-message{many}" for verb in ("update", "move", "delete") for many in ("", "s"))
        changes += ("upload-message",)
        operations = (
            "mailboxes",
            "messages",
            "search",
            "message",
            "text",
            "reference",
            "reconnect",
            "sync",
            "flush",
            "connections",
            "quota",
        )
        await rpc.serve(bus, "ee.rpc.*", {name: self._handler(name) for name in (*operations, *changes)})

    def _handler(self, operation: str) -> rpc.Handler:
        async def answer(payload: bytes) -> bytes:
            self.asked.append((operation, json.loads(payload)))
            reply = self.answers.get(operation, b"{}")
            if isinstance(reply, PostbusError):
                raise reply
            return reply

        return answer


@pytest.fixture(scope="module")
def api_nats() -> Iterator[NatsServer]:
    """A NATS for the tests of one module: its streams are the API's."""
    with NatsServer() as server:
        yield server


@pytest.fixture
def config(api_nats: NatsServer, redis_url: str) -> Config:
    """What the API starts with; tests that need another one override this."""
    return Config(nats=api_nats.url, redis=redis_url, secret=SecretStr(KEY_RING), port=0)


@pytest.fixture
async def parts(config: Config) -> AsyncIterator[Parts]:
    """Connections of the API; the streams are there and empty."""
    async with AsyncExitStack() as stack:
        opened = await open_parts(stack, "api", config)
        if not (await opened.bus.js.account_info()).streams:
            await migrate_streams(opened.bus)
        for stream in await opened.bus.js.streams_info():
            if stream.state.messages:
                await opened.bus.js.purge_stream(stream.config.name or "")
        yield opened


@pytest.fixture(scope="session")
def routes() -> FastAPI:
    """The routes of the API; building them takes a while, so once for all tests."""
    return create_app()


@pytest.fixture
async def client(parts: Parts, routes: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the API."""
    transport = httpx.ASGITransport(app=create_server_app(parts, routes))
    async with httpx.AsyncClient(transport=transport, base_url="http://api.test") as http:
        yield http


@pytest.fixture
async def owner(parts: Parts) -> ScriptedOwner:
    """Somebody who owns all accounts."""
    scripted = ScriptedOwner()
    await scripted.start(parts.bus)
    return scripted


@pytest.fixture
def account_body() -> Callable[..., dict[str, Any]]:
    """The body that registers an account, with changes."""

    def body(**changes: Any) -> dict[str, Any]:
        merged = {**ACCOUNT, **changes}
        return {name: value for name, value in merged.items() if value is not ...}

    return body


@pytest.fixture
async def account(client: httpx.AsyncClient) -> str:
    """The id of an account that is registered."""
    answer = await client.post("/v1/account", json=ACCOUNT)
    assert answer.status_code == 200, answer.text
    return ACCOUNT["account"]  # type: ignore[return-value]
