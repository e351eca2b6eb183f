"""The HTTP server itself: streams, clients that leave, ids in paths, and how it stops."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import httpx
import pytest
from nats.aio.msg import Msg

from postbus.api import head_limits
from postbus.api.app import create_app, create_server_app
from postbus.api.service import serve
from postbus.common import ids
from postbus.common.bus import rpc
from postbus.common.bus.download import MAX_FRAME_BYTES, send_download
from postbus.common.commands import DownloadHead
from postbus.common.config import Config
from postbus.common.errors import ConnectionLost, NotFound, PostbusError
from postbus.common.service import Parts
from tests.integration.api.conftest import ACCOUNT, ScriptedOwner

pytestmark = pytest.mark.anyio

ATTACHMENT = "/v1/account/example/attachment/" + str(ids.AttachmentId(ids.MessageId(1, 481), "2"))
SOURCE = f"/v1/account/example/message/{ids.MessageId(1, 481)}/source"
FRAMES = 960  # of 64 KiB each: far more than all buffers on the way


class Downloads:
    """The owner's side of downloads: what it sends, how much of it went, and whether it was told to stop."""

    def __init__(self) -> None:
        self.head = DownloadHead(content_type="image/png", filename="ä €.png")
        self.error: PostbusError | None = None
        self.fails_after: int | None = None
        self.frames = 1
        self.sent = 0
        self.ended = asyncio.Event()

    async def start(self, parts: Parts) -> None:
        async def answer(message: Msg, left: float) -> None:
            if self.error:
                raise self.error
            try:
                await send_download(parts.bus, message, self.head, self.body())
            finally:
                self.ended.set()

        for operation in ("attachment", "source"):
            await rpc.serve_messages(parts.bus, f"ee.rpc.*.{operation}", answer)

    async def body(self) -> AsyncIterator[bytes]:
        for frame in range(self.frames):
            if frame == self.fails_after:
                raise ConnectionLost("the mail server went away")
            self.sent += 1
            yield bytes([frame % 256]) * MAX_FRAME_BYTES


@pytest.fixture
def config(config: Config, free_port: int) -> Config:
    return config.model_copy(update={"port": free_port})


@pytest.fixture
async def server(parts: Parts) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(serve(parts))
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{parts.config.port}") as http, asyncio.timeout(10):
        while True:
            try:
                await http.get("/docs/start.js")
                break
            except httpx.ConnectError:
                await asyncio.sleep(0.01)
    yield task
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
async def http(parts: Parts, server: asyncio.Task[None]) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{parts.config.port}") as client:
        yield client


@pytest.fixture
async def downloads(parts: Parts) -> Downloads:
    scripted = Downloads()
    await scripted.start(parts)
    return scripted


async def test_an_attachment_comes_whole_under_its_name(http: httpx.AsyncClient, downloads: Downloads) -> None:
    downloads.frames = 12
    answer = await http.get(ATTACHMENT)
    assert answer.status_code == 200
    assert answer.content == b"".join(bytes([frame]) * MAX_FRAME_BYTES for frame in range(12))
    assert answer.headers["content-type"] == "image/png"
    disposition = answer.headers["content-disposition"]
    assert disposition == "attachment; filename=\"_ _.png\"; filename*=UTF-8''%C3%A4%20%E2%82%AC.png"


async def test_a_source_is_a_message_with_its_length(http: httpx.AsyncClient, downloads: Downloads) -> None:
    downloads.head = DownloadHead(content_type="message/rfc822", size=MAX_FRAME_BYTES)
    answer = await http.get(SOURCE)
    assert answer.headers["content-type"] == "message/rfc822"
    assert answer.headers["content-length"] == str(MAX_FRAME_BYTES)
    assert answer.headers["content-disposition"] == 'attachment; filename="AAAAAQAAAeE.eml"'


async def test_a_failure_before_the_first_byte_is_an_ordinary_answer(
    http: httpx.AsyncClient, downloads: Downloads
) -> None:
    downloads.error = NotFound("Attachment not found", code="AttachmentNotFound")
    answer = await http.get(ATTACHMENT)
    assert (answer.status_code, answer.json()["code"]) == (404, "AttachmentNotFound")


async def test_a_failure_in_the_middle_breaks_the_connection_off(http: httpx.AsyncClient, downloads: Downloads) -> None:
    downloads.frames, downloads.fails_after = 4, 2
    with pytest.raises(httpx.RemoteProtocolError):
        await http.get(ATTACHMENT)


async def test_a_client_that_leaves_stops_the_owner(http: httpx.AsyncClient, downloads: Downloads) -> None:
    """(trap 38)."""
    downloads.frames = FRAMES
    async with http.stream("GET", ATTACHMENT) as answer:
        assert answer.status_code == 200
        async for _ in answer.aiter_bytes():
            break
    async with asyncio.timeout(10):
        await downloads.ended.wait()
    assert downloads.sent < FRAMES


async def test_a_client_that_reads_slowly_slows_the_owner(http: httpx.AsyncClient, downloads: Downloads) -> None:
    downloads.frames = FRAMES
    async with http.stream("GET", ATTACHMENT) as answer:
        chunks = answer.aiter_bytes(1024)
        await anext(chunks)
        waiting = 0
        while downloads.sent != waiting:  # until nothing moves any more
            waiting = downloads.sent
            await asyncio.sleep(0.3)
        assert waiting < FRAMES // 2


async def test_any_id_reaches_its_account_through_the_server(http: httpx.AsyncClient) -> None:
    await http.post("/v1/account", json={**ACCOUNT, "account": "a/b %2F*"})
    answer = await http.get("/v1/account/a%2Fb%20%252F%2A")
    assert (answer.status_code, answer.json()["account"]) == (200, "a/b %2F*")
    assert (await http.get("/v1/account/%ff%fe")).status_code == 400


async def test_stopping_finishes_what_is_running_and_takes_nothing_new(
    parts: Parts, http: httpx.AsyncClient, server: asyncio.Task[None]
) -> None:
    release, asked = asyncio.Event(), asyncio.Event()

    async def slow(message: Msg) -> None:
        asked.set()
        await release.wait()
        await message.respond(b'{"late": true}')

    await parts.bus.nc.subscribe("ee.rpc.*.messages", cb=slow)
    running = asyncio.create_task(http.get("/v1/account/example/messages?path=INBOX"))
    await asyncio.wait_for(asked.wait(), 10)
    server.cancel()
    async with asyncio.timeout(10), httpx.AsyncClient() as other:
        while True:
            try:
                await other.get(f"http://127.0.0.1:{parts.config.port}/docs/start.js", headers={"connection": "close"})
            except httpx.TransportError:
                break
            await asyncio.sleep(0.01)
    release.set()
    assert (await asyncio.wait_for(running, 10)).json() == {"late": True}
    with pytest.raises(asyncio.CancelledError):
        await server


async def test_many_clients_at_once_are_all_answered(http: httpx.AsyncClient, owner: ScriptedOwner) -> None:
    owner.answers["messages"] = b'{"messages":[]}'
    calls: list[Any] = [http.get("/v1/account/example/messages?path=INBOX") for _ in range(200)]
    assert {answer.content for answer in await asyncio.gather(*calls)} == {b'{"messages":[]}'}


async def test_bodies_and_downloads_give_back_what_they_took(parts: Parts, downloads: Downloads) -> None:
    app = create_app()
    front = create_server_app(parts, app)
    limits = app.state.limits
    transport = httpx.ASGITransport(app=front)
    async with httpx.AsyncClient(transport=transport, base_url="http://api.test") as client:
        assert (await client.post("/v1/account", json=ACCOUNT)).status_code == 200
        assert (await client.post("/v1/account", content=b"x" * (1024**2 + 1))).status_code == 413
        assert (await client.get(ATTACHMENT)).status_code == 200
        assert (limits.bodies.used, limits.downloads.used) == (0, 0)
        limits.bodies.limit = limits.downloads.limit = 0
        assert (await client.post("/v1/account", json=ACCOUNT)).json()["code"] == "Overloaded"
        assert (await client.get(ATTACHMENT)).status_code == 503


async def test_an_answer_leaves_in_one_piece(parts: Parts, server: asyncio.Task[None], owner: ScriptedOwner) -> None:
    owner.answers["messages"] = b'{"messages":[]}'
    reader, writer = await asyncio.open_connection("127.0.0.1", parts.config.port)
    for _ in range(2):
        writer.write(b"GET /v1/account/example/messages?path=INBOX HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = await asyncio.wait_for(reader.read(65536), 10)
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n") and answer.endswith(b'\r\n\r\n{"messages":[]}')
    writer.close()


async def test_who_asks_for_a_head_alone_gets_it(parts: Parts, server: asyncio.Task[None]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", parts.config.port)
    for path in (b"/v1/accounts", b"/health", b"/nowhere"):
        writer.write(b"HEAD " + path + b" HTTP/1.1\r\nHost: x\r\n\r\n")
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
        assert head.startswith(b"HTTP/1.1 ")
    writer.close()


async def test_who_expects_to_be_told_to_go_on_is_told(parts: Parts, server: asyncio.Task[None]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", parts.config.port)
    writer.write(b"POST /v1/account HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
    assert await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10) == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(b"{}")
    assert (await asyncio.wait_for(reader.readuntil(b"\r\n"), 10)).startswith(b"HTTP/1.1 400 ")
    writer.close()


async def test_a_client_that_leaves_in_the_middle_of_its_request_is_forgotten(
    parts: Parts, server: asyncio.Task[None], http: httpx.AsyncClient
) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", parts.config.port)
    head = b"POST /v1/account HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 50\r\n\r\n{"
    writer.write(head)
    await writer.drain()
    writer.close()
    assert (await http.get("/v1/accounts")).json()["total"] == 0


@pytest.mark.parametrize("start", [b"GET / HTTP/1.1\r\nx: ", b"GET /", b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 4])
async def test_a_head_without_end_is_refused(
    parts: Parts, http: httpx.AsyncClient, server: asyncio.Task[None], start: bytes
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", parts.config.port)
    more = b"y: z\r\n" * 1000 if start.endswith(b"\n") else b"y" * 6000
    with suppress(ConnectionError):
        writer.write(start)
        for _ in range(200):
            writer.write(more)
            await writer.drain()
    with suppress(ConnectionError):
        answer = await asyncio.wait_for(reader.read(), 10)
        assert answer == b"" or answer.startswith((b"HTTP/1.1 431 ", b"HTTP/1.1 400 "))
    assert reader.at_eof() or reader.exception() is not None
    writer.close()
    assert (await http.get("/docs/start.js")).status_code == 200


async def test_a_large_head_that_ends_is_told_why_it_is_refused(parts: Parts, server: asyncio.Task[None]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", parts.config.port)
    writer.write(b"GET / HTTP/1.1\r\nx: " + b"y" * 70_000)
    head, _, body = (await asyncio.wait_for(reader.read(), 10)).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 431 ") and json.loads(body)["statusCode"] == 431
    writer.close()


async def test_a_client_that_says_nothing_is_hung_up_on_and_one_that_works_is_not(
    parts: Parts, server: asyncio.Task[None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(head_limits, "HEAD_TIMEOUT_S", 0.2)
    reader, writer = await asyncio.open_connection("127.0.0.1", parts.config.port)
    slow, slow_writer = await asyncio.open_connection("127.0.0.1", parts.config.port)
    slow_writer.write(b"GET /docs/start.js HTTP/1.1\r\nx: ")
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{parts.config.port}") as client:
        assert (await client.get("/docs/start.js")).status_code == 200
        assert await asyncio.wait_for(reader.read(), 10) == b""
        assert await asyncio.wait_for(slow.read(), 10) == b""
        assert (await client.get("/docs/start.js")).status_code == 200
    writer.close()
    slow_writer.close()


async def test_a_large_body_in_chunks_is_no_head(http: httpx.AsyncClient) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b'{"name": "'
        for _ in range(100):
            yield b"x" * 2000
        yield b'"}'

    answer = await http.post("/v1/account", content=body(), headers={"content-type": "application/json"})
    assert answer.status_code == 400 and answer.json()["fields"]
