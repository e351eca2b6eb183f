"""What uvicorn's protocol lacks: limits on the heads of requests, and answers in one piece.

Without limits on their size and on how long they take, one client that sends a header without end, and no request,
fills the memory, login or not. An answer of two writes costs two system calls, and its client two wake-ups.
"""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.responses import Response
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from postbus.api.errors import error_response

MAX_HEAD_BYTES = 64 * 1024  # request line and headers; also of trailers, and of what stands around chunks
MAX_JOINED_BYTES = 256 * 1024  # of a body that is copied behind its head
HEAD_TIMEOUT_S = 60.0  # from the connection, or the first byte of a request, to the end of its head


class HeadLimits(HttpToolsProtocol):
    """uvicorn's protocol with both limits."""

    _loose = 0  # bytes since the parser last had something to tell
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client is there: it has to say something."""
        super().connection_made(transport)
        self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """It has left."""
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse, and see whether that led anywhere."""
        self._loose += len(data)
        super().data_received(data)
        if self._loose > MAX_HEAD_BYTES and not self.transport.is_closing():
            self._refuse()

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        if self._timer is None:
            self._start_timer()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """The end of a head."""
        self._loose = 0
        self._stop_timer()
        before = self.cycle
        super().on_headers_complete()
        if self.cycle is not before and self.scope["method"] != "HEAD":  # whose head no body follows
            self.cycle.transport = InOnePiece(self.transport, self.cycle)  # type: ignore[assignment]

    def on_body(self, body: bytes) -> None:
        """A piece of a body: it has limits of its own."""
        self._loose = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The end of a request."""
        self._loose = 0
        super().on_message_complete()

    def _refuse(self) -> None:
        """Say why, where no answer is under way, and hang up."""
        if self.cycle is None or self.cycle.response_complete:
            self.transport.write(_wire(error_response(431, "The head of the request is too large")))
        self.transport.close()

    def _start_timer(self) -> None:
        self._timer = self.loop.call_later(HEAD_TIMEOUT_S, self.transport.close)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class InOnePiece:
    """The transport of one answer: its head waits for the body (ASGI allows that), where that has a known length."""

    __slots__ = ("_begun", "_cycle", "_head", "_transport")

    def __init__(self, transport: asyncio.Transport, cycle: RequestResponseCycle) -> None:
        self._transport = transport
        self._cycle = cycle
        self._begun = False
        self._head = b""

    def write(self, data: bytes) -> None:
        """Write, with the head before it; the first thing of the answer itself is the head."""
        if self._head:
            self._transport.write(self._head + data if len(data) < MAX_JOINED_BYTES else self._head)
            self._head = b""
            if len(data) < MAX_JOINED_BYTES:
                return
        elif self._cycle.response_started and not self._begun:
            self._begun = True
            if not self._cycle.chunked_encoding:
                self._head = data
                return
        self._transport.write(data)

    def close(self) -> None:
        """Hang up."""
        self._transport.close()

    def is_closing(self) -> bool:
        """Whether it was closed, by whoever."""
        return bool(self._transport.is_closing())


def _wire(answer: Response) -> bytes:
    """A whole answer, the last one of its connection."""
    headers: list[Any] = [*answer.raw_headers, (b"connection", b"close")]
    lines = b"".join(name + b": " + value + b"\r\n" for name, value in headers)
    return b"HTTP/1.1 431 Request Header Fields Too Large\r\n" + lines + b"\r\n" + bytes(answer.body)
