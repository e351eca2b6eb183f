"""The receiving half of a connection: framing, dispatch, back-pressure, and its end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

from aioimaplib.aioimaplib import AUTH, LOGOUT, NONAUTH, IMAP4ClientProtocol

from postbus.common.errors import ConnectionLost, PostbusError, ProtocolError
from postbus.imap_sync.protocol import responses
from postbus.imap_sync.protocol.framer import Response, ResponseFramer
from postbus.imap_sync.protocol.responses import Status
from postbus.imap_sync.wire.command import InFlight
from postbus.imap_sync.wire.deflating import Inflater
from postbus.imap_sync.wire.inflow import Inflow, Strays

_MAX_PROMPTS: Final = 8  # continuations nobody has read


class Receiver(IMAP4ClientProtocol):  # type: ignore[misc]
    """Cuts what arrives into responses and hands them out; ends the connection for everybody at once."""

    transport: Any

    def __init__(self, loop: asyncio.AbstractEventLoop, on_untagged: Callable[[Response], None]) -> None:
        super().__init__(loop)
        self.idle_queue = self._idle_event = self.state_condition = None  # 4 KB a connection, of no use to us
        self.on_untagged = on_untagged
        self.framer = ResponseFramer()
        self._strays = Strays()
        self._inflow = Inflow(loop, self._take, self.framer.swallows)
        self.greeting: asyncio.Future[Status] = loop.create_future()
        self.lost: PostbusError | None = None
        self.on_lost: Callable[[PostbusError], None] | None = None
        self.running: InFlight | None = None
        self.capabilities: frozenset[str] = frozenset()
        self.nonsense = 0  # bytes
        self.queued = 0  # commands that wait for their turn
        self._lock = asyncio.Lock()
        self._abandoned: InFlight | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._reading = True
        self._sealing = ""  # STARTTLS or COMPRESS between its OK and the other form of bytes: none may come
        self._inflater: Inflater | None = None

    def data_received(self, d: bytes) -> None:
        """Cut into responses and hand out. A server that breaks the protocol loses the connection."""
        if self.lost is not None:
            return
        if self.running is not None and self._moves(self.running):
            self.running.touch()
        self._inflow.receive(d)

    def _take(self, data: bytes) -> bytes | None:
        """The next slice of what arrived; returns what of it is still packed."""
        if self._inflater is None or self.lost is not None:
            self._take_plain(data)
            return None
        try:
            piece, rest = self._inflater.unpack(data)
        except PostbusError as error:
            self.fail(error)
            return None
        self._take_plain(piece)
        return rest

    def _take_plain(self, data: bytes) -> None:
        """The same unpacked."""
        if self.lost is not None:
            return
        try:
            self._check_unsealed()
            if self.running is not None:
                self.running.receive(len(data))
            for pieces in self.framer.feed(data):
                if self.lost is not None:
                    return
                self._check_unsealed()
                self._dispatch(pieces)
            if not (self.framer.idle and self._inflow.empty):
                self._check_unsealed()
        except PostbusError as error:
            self.fail(error)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is there."""
        super().connection_made(transport)
        self._inflow.attach(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Everybody who waits hears it now."""
        super().connection_lost(exc)
        self._inflow.finish()
        self.fail(ConnectionLost(f"the connection was lost: {exc}" if exc else "the server closed the connection"))

    def _check_unsealed(self) -> None:
        if self._sealing:
            raise ProtocolError(f"the server sent something behind its answer to {self._sealing}")

    def _moves(self, command: InFlight) -> bool:
        return command.name != "IDLE" and self._reading

    def _dispatch(self, pieces: Response) -> None:
        text = pieces[0]
        if text[:2] == b"* ":
            self._on_untagged(pieces)
        elif text[:1] == b"+":
            self._on_continuation(text)
        elif text[:1] == b"\0":  # quirk_leading_nul
            pieces[0] = text.lstrip(b"\0")
            self._dispatch(pieces)
        elif text:
            self._on_tagged(text)

    def _on_untagged(self, pieces: Response) -> None:
        command = self.running or self._abandoned
        if not self.greeting.done():
            self._on_greeting(pieces[0])
        elif command is not None and command.on_response is not None and command.on_response(pieces):
            if command.take():
                self._inflow.rest()
        else:
            self._take_stray()
            if pieces[0][:5].upper() == b"* BYE":
                self._on_bye(pieces[0][2:])
            else:
                self.on_untagged(pieces)

    def _take_stray(self) -> None:
        if self._strays.take(self.loop.time):
            self._inflow.rest()

    def _on_greeting(self, text: bytes) -> None:
        status = responses.parse_status(text[2:])
        if status is None:
            raise ProtocolError("the server did not greet us")
        self.state = AUTH if status.status == "PREAUTH" else NONAUTH
        self.greeting.set_result(status)

    def _on_bye(self, text: bytes) -> None:
        """The connection ends now; who logs out expects it."""
        if self.running is None or self.running.name != "LOGOUT":
            status = responses.parse_status(text)
            said = status.text if status else ""
            code = status.code if status else None
            self.fail(ConnectionLost(said or "the server closed the connection", code=code))

    def _on_continuation(self, text: bytes) -> None:
        command = self.running or self._abandoned
        if command is None:
            self._take_stray()
            return
        if command.owes_done and command is self._abandoned:
            self._write_done(command)
            return
        if len(command.prompts) >= _MAX_PROMPTS:
            raise ProtocolError("the server sent continuations that nobody asked for")
        command.prompts.append(text[1:].strip(b" \0"))
        command.wake.set()

    def _on_tagged(self, text: bytes) -> None:
        """The answer to a command. One with a tag that nobody waits for is ignored."""
        if not self.greeting.done():
            raise ProtocolError("the server did not greet us")
        tag, _, rest = text.partition(b" ")
        command = self.running or self._abandoned
        if command is not None and tag == command.raw_tag:
            status = responses.parse_status(rest)
            if status is None:
                raise ProtocolError("the server's answer is neither OK, NO nor BAD")
            if status.status == "BYE":
                self._on_bye(rest)
            self._finish(command, status, rest)
        elif text.startswith(b"Server Unavailable"):  # quirk_bare_unavailable (Exchange)
            raise ConnectionLost(text.decode("ascii", "replace"))
        elif command is not None and (status := responses.parse_status(text)) and status.status in ("NO", "BAD"):
            self._finish(command, status, text)  # quirk_no_tag
        else:
            self._take_stray()

    def _finish(self, command: InFlight, status: Status, line: bytes) -> None:
        command.finish(status, line)
        if command is self._abandoned:
            self._abandoned = None
        elif command.name in ("STARTTLS", "COMPRESS") and status.ok:
            self._sealing = command.name

    def _write_done(self, command: InFlight) -> None:
        command.owes_done = False
        self.transport.write(b"DONE\r\n")

    def pause_reading(self) -> None:
        """Let the server wait: whoever reads the answers is slower than it is."""
        if self._reading and self.lost is None:
            self._reading = False
            self._inflow.hold()
            if self.running is not None:
                self.running.suspend()

    def resume_reading(self) -> None:
        """Read on."""
        if not self._reading:
            self._reading = True
            if self.lost is None:
                if self.running is not None:
                    self.running.touch()
                self._inflow.release()

    def check_alive(self) -> None:
        """ConnectionLost when nothing can be asked any more."""
        if self.lost is not None:
            code = self.lost.code if isinstance(self.lost, ConnectionLost) else None
            raise ConnectionLost(self.lost.message, code=code) from self.lost

    def fail(self, error: PostbusError) -> None:
        """Close the connection; everybody who waits gets the error."""
        if self.lost is not None:
            return
        self.lost = error
        if self.on_lost is not None:
            self.on_lost(error)
        self._inflow.close()
        self.state = LOGOUT
        if self.transport is not None:
            self.transport.abort()
        if not self.greeting.done():
            self.greeting.set_exception(error)
            self.greeting.exception()  # nobody may be waiting yet
        for command in (self.running, self._abandoned):
            if command is not None:
                command.fail(error)
        self._abandoned = None
        self._writable.set()
