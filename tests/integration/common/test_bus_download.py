"""Large bodies over the bus: flat memory, slow readers, readers that leave, writers that die."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from nats.aio.msg import Msg

from postbus.common.bus import download, rpc
from postbus.common.bus.connection import Bus
from postbus.common.bus.download import MAX_FRAME_BYTES, WINDOW_FRAMES, open_download, send_download
from postbus.common.commands import Command, DownloadHead
from postbus.common.errors import ConnectionLost, NotFound, Unavailable

pytestmark = pytest.mark.anyio

REQUEST = Command(account="a")
HEAD = DownloadHead(content_type="application/pdf", filename="grün.pdf", size=3)


@pytest.fixture
def bus(core_bus: Bus) -> Bus:
    return core_bus


class Body:
    """Bytes to send, and how they were taken."""

    def __init__(self, pieces: int, size: int = MAX_FRAME_BYTES, fail: Exception | None = None) -> None:
        self.pieces, self.size, self.fail = pieces, size, fail
        self.taken = 0
        self.closed = asyncio.Event()

    async def chunks(self) -> AsyncIterator[bytes]:
        try:
            for number in range(self.pieces):
                self.taken += 1
                yield bytes([number % 256]) * self.size
            if self.fail:
                raise self.fail
        finally:
            self.closed.set()


async def offer(bus: Bus, body: Body) -> None:
    async def answer(message: Msg, _: float) -> None:
        await send_download(bus, message, HEAD, body.chunks())

    await rpc.serve_messages(bus, "ee.rpc.1.attachment", answer)


async def read(bus: Bus) -> tuple[bytes, int]:
    """Head and length of what came."""
    length = 0
    async with open_download(bus, "ee.rpc.1.attachment", REQUEST, deadline_s=5) as opened:
        async for chunk in opened.chunks():
            length += len(chunk)
    return opened.head, length


async def test_a_body_arrives_whole_with_its_head(bus: Bus) -> None:
    await offer(bus, Body(3, size=1000))
    head, length = await read(bus)
    assert DownloadHead.model_validate_json(head) == HEAD
    assert length == 3000


async def test_a_piece_larger_than_a_frame_is_cut_and_an_empty_body_is_one_too(bus: Bus) -> None:
    await offer(bus, Body(1, size=3 * MAX_FRAME_BYTES + 1))
    assert (await read(bus))[1] == 3 * MAX_FRAME_BYTES + 1


async def test_an_empty_body_ends_at_once(bus: Bus) -> None:
    await offer(bus, Body(0))
    assert (await read(bus))[1] == 0


async def test_fifty_megabytes_never_wait_in_memory(bus: Bus) -> None:
    body = Body(100)
    await offer(bus, body)
    received = 0
    async with open_download(bus, "ee.rpc.1.attachment", REQUEST, deadline_s=5) as opened:
        async for chunk in opened.chunks():
            received += 1
            assert len(chunk) == MAX_FRAME_BYTES
            assert body.taken - received <= WINDOW_FRAMES + 2
    assert received == 100


async def test_a_slow_reader_slows_the_writer(bus: Bus) -> None:
    body = Body(40, size=1000)
    await offer(bus, body)
    async with open_download(bus, "ee.rpc.1.attachment", REQUEST, deadline_s=5) as opened:
        chunks = opened.chunks()
        await anext(chunks)
        await asyncio.sleep(0.3)
        assert body.taken <= WINDOW_FRAMES + 2
        rest = [chunk async for chunk in chunks]
    assert len(rest) == 39


async def test_a_reader_that_takes_very_long_is_not_given_up(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "IDLE_S", 0.5)
    monkeypatch.setattr(download, "KEEPALIVE_S", 0.1)
    body = Body(20, size=1000)
    await offer(bus, body)
    async with open_download(bus, "ee.rpc.1.attachment", REQUEST, deadline_s=5) as opened:
        count = 0
        async for _ in opened.chunks():
            count += 1
            if count == 10:
                await asyncio.sleep(1.2)
    assert count == 20


async def test_a_reader_that_leaves_stops_the_writer_at_once(bus: Bus) -> None:
    body = Body(1000, size=1000)
    await offer(bus, body)
    async with open_download(bus, "ee.rpc.1.attachment", REQUEST, deadline_s=5) as opened:
        async for _ in opened.chunks():
            break
    async with asyncio.timeout(3):
        await body.closed.wait()
    assert body.taken < 30


async def test_a_reader_that_vanishes_ends_the_writer_in_time(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "IDLE_S", 0.3)
    body = Body(1000, size=1000)
    await offer(bus, body)
    await bus.nc.publish("ee.rpc.1.attachment", REQUEST.model_dump_json().encode(), reply=bus.nc.new_inbox())
    async with asyncio.timeout(3):
        await body.closed.wait()
    assert body.taken == WINDOW_FRAMES + 1


async def test_an_error_in_the_middle_reaches_the_reader(bus: Bus) -> None:
    await offer(bus, Body(3, size=10, fail=NotFound("gone", code="MessageNotFound")))
    with pytest.raises(NotFound, match="gone"):
        await read(bus)


async def test_an_error_before_the_head_reaches_the_reader(bus: Bus) -> None:
    async def answer(_: Msg, __: float) -> None:
        raise NotFound("no such attachment")

    await rpc.serve_messages(bus, "ee.rpc.1.attachment", answer)
    with pytest.raises(NotFound):
        await read(bus)


async def test_a_writer_that_dies_is_a_lost_connection(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "IDLE_S", 0.3)
    opening = {download.FRAME_HEADER: "head", download.CREDIT_HEADER: bus.nc.new_inbox()}

    async def answer(message: Msg, _: float) -> None:
        await rpc.bus_respond(message, HEAD.model_dump_json().encode(), opening)
        await rpc.bus_respond(message, b"x", {download.FRAME_HEADER: "data", download.SEQUENCE_HEADER: "1"})

    await rpc.serve_messages(bus, "ee.rpc.1.attachment", answer)
    with pytest.raises(ConnectionLost):
        async with open_download(bus, "ee.rpc.1.attachment", REQUEST, deadline_s=0.4) as opened:
            async for _ in opened.chunks():
                pass


async def test_nobody_who_has_it_is_unavailable_after_the_patience(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rpc, "TAKEOVER_S", 0.3)
    with pytest.raises(Unavailable):
        await read(bus)
