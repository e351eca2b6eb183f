"""Large bodies over the bus: chunks with a credit window. A slow reader slows the writer, a gone one ends it.

The reader sends its request with a window; the writer answers on the reader's inbox with a head, data frames, an end.
Each data frame costs one credit; the reader gives one back as it consumes a frame, says "wait" while it is busy, and
"stop" when it leaves. A writer that hears nothing for IDLE_S gives up.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import nats.errors
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from pydantic import BaseModel

from postbus.common import telemetry
from postbus.common.bus import rpc
from postbus.common.bus.connection import Bus
from postbus.common.errors import ConnectionLost, DeadlineExceeded, ProtocolError

FRAME_HEADER = "Ee-Frame"  # head, data, end
SEQUENCE_HEADER = "Ee-Sequence"
CREDIT_HEADER = "Ee-Credit"  # the subject credits go to
WINDOW_FRAMES = 8
MAX_FRAME_BYTES = 64 * 1024
IDLE_S = 15.0
KEEPALIVE_S = 5.0
MAX_STALL_S = 120.0

_GIVE, _WAIT, _STOP = b"+", b"=", b"-"


@dataclass(slots=True)
class Download:
    """The reading side of one body. `head` says what it is; `chunks()` yields the bytes once."""

    head: bytes
    _bus: Bus
    _frames: asyncio.Queue[Msg]
    _credit: str
    _idle_s: float
    _finished: bool = field(default=False)

    async def chunks(self) -> AsyncIterator[bytes]:
        """The bytes in order. ConnectionLost when the writer goes quiet; what the writer raised, if it did."""
        expected = 1
        while True:
            try:
                frame = await _next_frame(self._frames, self._idle_s)
            except DeadlineExceeded as error:
                raise ConnectionLost("the writer of a download went quiet") from error
            rpc.raise_error_reply(frame)
            headers = frame.headers or {}
            if int(headers.get(SEQUENCE_HEADER, "0")) != expected:
                raise ProtocolError("a part of the download was lost")
            expected += 1
            if headers.get(FRAME_HEADER) == "end":
                self._finished = True
                return
            async with _keepalive(self._bus, self._credit):
                yield frame.data
            await self._bus.nc.publish(self._credit, _GIVE)

    async def stop(self) -> None:
        """Tell the writer that nobody reads any more."""
        if not self._finished and self._bus.nc.is_connected:
            await self._bus.nc.publish(self._credit, _STOP)


@asynccontextmanager
async def open_download(
    bus: Bus, subject: str, request: BaseModel, *, deadline_s: float, when_unowned: rpc.WhenUnowned | None = None
) -> AsyncIterator[Download]:
    """Ask for a body and read it; leaving the block early stops the writer. Errors and the rest as `rpc.call`."""
    inbox = bus.nc.new_inbox()
    frames: asyncio.Queue[Msg] = asyncio.Queue(WINDOW_FRAMES + 2)
    subscription = await bus.nc.subscribe(inbox, cb=frames.put)
    try:
        head = await _ask(bus, subject, request, inbox, frames, deadline_s, when_unowned)
        credit = (head.headers or {}).get(CREDIT_HEADER, "")
        download = Download(head.data, bus, frames, credit, max(IDLE_S, deadline_s))
        try:
            yield download
        finally:
            await download.stop()
    finally:
        await _unsubscribe(subscription)


async def send_download(bus: Bus, request: Msg, head: BaseModel, body: AsyncIterator[bytes]) -> None:
    """The writing side: the head, then the body in frames as the reader's credits allow.

    Ends early, without an error, when the reader says stop; ConnectionLost when it goes quiet.
    """
    window = _Credits()
    credit_subject = bus.nc.new_inbox()
    subscription = await bus.nc.subscribe(credit_subject, cb=window.on_message)
    try:
        opening = {FRAME_HEADER: "head", CREDIT_HEADER: credit_subject}
        await rpc.bus_respond(request, head.model_dump_json().encode(), opening)
        sequence = 0
        async with _closing(body):
            async for piece in body:
                for start in range(0, len(piece), MAX_FRAME_BYTES):
                    if not await window.take():
                        return
                    sequence += 1
                    frame = {FRAME_HEADER: "data", SEQUENCE_HEADER: str(sequence)}
                    await rpc.bus_respond(request, piece[start : start + MAX_FRAME_BYTES], frame)
        await rpc.bus_respond(request, b"", {FRAME_HEADER: "end", SEQUENCE_HEADER: str(sequence + 1)})
    finally:
        await _unsubscribe(subscription)


class _Credits:
    """How many frames may still be sent, and whether somebody reads."""

    def __init__(self) -> None:
        self._left = WINDOW_FRAMES
        self._stopped = False
        self._changed = asyncio.Event()

    async def on_message(self, message: Msg) -> None:
        self._left += message.data == _GIVE
        self._stopped |= message.data == _STOP
        self._changed.set()

    async def take(self) -> bool:
        """Wait for a credit and use it; False when the reader left."""
        while not self._stopped and self._left <= 0:
            self._changed.clear()
            try:
                async with asyncio.timeout(IDLE_S):
                    await self._changed.wait()
            except TimeoutError as error:
                raise ConnectionLost("the reader of a download went quiet") from error
        self._left -= 1
        return not self._stopped


async def _ask(
    bus: Bus,
    subject: str,
    request: BaseModel,
    inbox: str,
    frames: asyncio.Queue[Msg],
    deadline_s: float,
    when_unowned: rpc.WhenUnowned | None,
) -> Msg:
    """Send the request until somebody takes it; the first frame is the head or an error."""
    payload = request.model_dump_json(by_alias=True).encode()
    loop = asyncio.get_running_loop()
    until = loop.time() + deadline_s
    patience = loop.time() + rpc.TAKEOVER_S
    headers = {rpc.DEADLINE_HEADER: f"{deadline_s:.3f}", **telemetry.inject()}
    for attempt in range(1_000_000):
        await bus.nc.publish(subject, payload, reply=inbox, headers=dict(headers))
        frame = await _next_frame(frames, until - loop.time())
        try:
            if (frame.headers or {}).get("Status") == "503":
                raise rpc.NotOwner("nobody listens")
            rpc.raise_error_reply(frame)
        except rpc.NotOwner as error:
            if when_unowned is not None and attempt == 0:
                await when_unowned()
            if loop.time() > min(until, patience):
                raise rpc.no_worker() from error
            await asyncio.sleep(rpc.RETRY_STEPS_S[min(attempt, len(rpc.RETRY_STEPS_S) - 1)])
            continue
        return frame
    raise AssertionError("unreachable")


async def _next_frame(frames: asyncio.Queue[Msg], left: float) -> Msg:
    try:
        async with asyncio.timeout(max(left, 0)):
            return await frames.get()
    except TimeoutError as error:
        raise DeadlineExceeded("Timeout") from error


@asynccontextmanager
async def _keepalive(bus: Bus, credit: str) -> AsyncIterator[None]:
    """While the caller is busy with a frame, tell the writer so; not for ever."""

    async def tell() -> None:
        for _ in range(int(MAX_STALL_S / KEEPALIVE_S)):
            await asyncio.sleep(KEEPALIVE_S)
            await bus.nc.publish(credit, _WAIT)

    task = asyncio.create_task(tell())
    try:
        yield
    finally:
        task.cancel()


@asynccontextmanager
async def _closing(body: AsyncIterator[bytes]) -> AsyncIterator[None]:
    """Let go of what a body holds (a connection, a file) as soon as nobody reads it, whatever ended that."""
    try:
        yield
    finally:
        if isinstance(body, AsyncGenerator):
            await body.aclose()


async def _unsubscribe(subscription: Subscription) -> None:
    try:
        await subscription.unsubscribe()
    except nats.errors.Error:
        return  # the connection is closed, and the subscription with it
