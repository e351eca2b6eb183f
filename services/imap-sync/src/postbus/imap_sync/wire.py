"""The wire: one IMAP connection as commands and responses. The only module that knows aioimaplib.

Of aioimaplib we keep commands, tags, timers and states. Framing, dispatch, waiting and the end of a connection are
ours: no recursion, no answer mixed with another, and everybody hears at once when the connection is gone. One command
is in flight; the others queue. Who is cancelled in the middle leaves a command behind whose answer is read and dropped
before the next one, or, where bytes of ours are missing, a closed connection.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, cast

from aioimaplib.aioimaplib import AUTH, IMAP4, LOGOUT, NONAUTH, Command, IMAP4ClientProtocol, Response

from postbus.common.errors import CommandRefused, ConnectionLost, DeadlineExceeded, PostbusError, ProtocolError
from postbus.imap_sync.protocol import responses
from postbus.imap_sync.protocol.arguments import Argument
from postbus.imap_sync.protocol.framer import Response as Pieces
from postbus.imap_sync.protocol.framer import ResponseFramer
from postbus.imap_sync.protocol.responses import Status

Handler = Callable[[Pieces], bool]  # takes an untagged response; whether it was meant for it

COMMAND_S: Final = 60.0  # from the command to its tagged response, or between two signs of life
TOTAL_S: Final = 300.0  # for a whole command, however lively the server is
LONG_S: Final = 3600.0  # the same for those that move much data
QUEUE_S: Final = 120.0  # until it is our turn
DRAIN_S: Final = 15.0  # for the answer of a command whose caller has left
IDLE_REPLY_S: Final = 20.0  # for the continuation after IDLE and the answer after DONE
HIGH_WATER: Final = 1024 * 1024  # bytes of unread rows above which we stop reading
LOW_WATER: Final = 256 * 1024
SLICE: Final = 64 * 1024  # bytes of a literal written at once
SHORT_LITERAL: Final = 4096  # LITERAL- (RFC 7888)
_MAX_PROMPTS: Final = 8  # continuations nobody has read


class _Command(Command):  # type: ignore[misc]
    """A command in flight. `on_response` sees untagged responses first; `wake` is set at every sign of life."""

    def __init__(
        self,
        tag: str,
        name: str,
        on_response: Handler | None,
        on_timeout: Callable[[], None],
        timeout_s: float,
        total_s: float,
    ) -> None:
        self._on_timeout = on_timeout
        self._total_s = total_s
        super().__init__(name, tag, timeout=timeout_s)
        self.on_response = on_response
        self.raw_tag = tag.encode()
        self.status: Status | None = None
        self.prompts: deque[bytes] = deque()
        self.wake = asyncio.Event()
        self.begun = self.written = False
        self.interrupted = False  # of IDLE: it is to end
        self.owes_done = False  # of IDLE: DONE is still to be sent
        self._total: asyncio.TimerHandle | None = None
        self.suspend()

    @property
    def done(self) -> bool:
        """Whether it has its tagged response, or will never get one."""
        return bool(self._event.is_set())

    def start(self) -> None:
        """It is its turn: the clock runs."""
        self._total = self._loop.call_later(self._total_s, self._timeout_callback)
        self._reset_timer()

    def touch(self) -> None:
        """A sign of life: the deadline moves on, up to the limit for the whole command."""
        if not self.done:
            self._reset_timer()

    def suspend(self) -> None:
        """No deadline while it is us who let the server wait."""
        self._timer.cancel()

    def finish(self, status: Status, line: bytes) -> None:
        """Its tagged response is here."""
        self.status = status
        self.close(line, status.status)
        self._end()

    def fail(self, error: PostbusError) -> None:
        """There will be no tagged response."""
        if not self.done:
            self._exception = error
            self.close(b"", "KO")
        self._end()

    def result(self) -> Status:
        """The tagged response of a command that is done; CommandRefused for NO and BAD."""
        if self._exception is not None:
            raise self._exception
        status = cast("Status", self.status)
        if not status.ok:
            raise CommandRefused(status.text, status=status.status, server_code=status.code)
        return status

    def stop(self) -> None:
        """No timer outlives the command."""
        self._timer.cancel()
        if self._total is not None:
            self._total.cancel()

    def _end(self) -> None:
        self.stop()
        self.wake.set()

    def _timeout_callback(self) -> None:
        self._on_timeout()


class _Protocol(IMAP4ClientProtocol):  # type: ignore[misc]
    """Receives and sends for one connection."""

    transport: Any

    def __init__(self, loop: asyncio.AbstractEventLoop, on_untagged: Callable[[Pieces], None]) -> None:
        super().__init__(loop)
        self.on_untagged = on_untagged
        self.framer = ResponseFramer()
        self.greeting: asyncio.Future[Status] = loop.create_future()
        self.lost: PostbusError | None = None
        self.running: _Command | None = None
        self.capabilities: frozenset[str] = frozenset()
        self.queued = 0  # commands that wait for their turn
        self._lock = asyncio.Lock()
        self._abandoned: _Command | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._reading = True
        self._sealing = False  # between the OK to STARTTLS and TLS: no byte may come

    # what the transport calls

    def data_received(self, d: bytes) -> None:
        """Cut into responses and hand out. A server that breaks the protocol loses the connection."""
        if self.lost is not None:
            return
        try:
            if self._sealing:
                raise ProtocolError("the server sent something between STARTTLS and TLS")
            if self.running is not None and self._moves(self.running):
                self.running.touch()
            for pieces in self.framer.feed(d):
                if self.lost is not None:
                    return
                if self._sealing:
                    raise ProtocolError("the server sent something behind its answer to STARTTLS")
                self._dispatch(pieces)
            if self._sealing and not self.framer.idle:
                raise ProtocolError("the server sent something behind its answer to STARTTLS")
        except PostbusError as error:
            self.fail(error)

    def connection_lost(self, exc: Exception | None) -> None:
        """Everybody who waits hears it now."""
        super().connection_lost(exc)
        self.fail(ConnectionLost(f"the connection was lost: {exc}" if exc else "the server closed the connection"))

    def pause_writing(self) -> None:
        """The send buffer is full."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """The send buffer has room."""
        self._writable.set()

    # receiving

    def _moves(self, command: _Command) -> bool:
        return command.name != "IDLE" and self._reading

    def _dispatch(self, pieces: Pieces) -> None:
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

    def _on_untagged(self, pieces: Pieces) -> None:
        command = self.running or self._abandoned
        if not self.greeting.done():
            self._on_greeting(pieces[0])
        elif command is None or command.on_response is None or not command.on_response(pieces):
            if pieces[0][:5].upper() == b"* BYE":
                self._on_bye(pieces[0][2:])
            else:
                self.on_untagged(pieces)

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

    def _finish(self, command: _Command, status: Status, line: bytes) -> None:
        command.finish(status, line)
        if command is self._abandoned:
            self._abandoned = None
        elif command.name == "STARTTLS" and status.ok:
            self._sealing = True

    # sending

    async def execute(self, command: _Command, scrub: str | None = None, *, arguments: Sequence[Argument]) -> Response:
        """Write a command and wait for its tagged response. Nothing of it is logged, so `scrub` has no use."""
        async with self.in_flight(command):
            await self.write(command, arguments)
            await command.wait()
        return command.response

    @asynccontextmanager
    async def in_flight(self, command: _Command) -> AsyncIterator[None]:
        """Our turn: nobody else's command is in flight. Left early, the answer is read and dropped."""
        await self._take_turn()
        try:
            await self._drained()
            self.check_alive()
            self.running = command
            command.start()
            try:
                yield
            finally:
                self.running = None
                self._leave(command)
        finally:
            command.stop()
            self._lock.release()

    async def _take_turn(self) -> None:
        self.interrupt_idle()
        self.queued += 1
        try:
            async with asyncio.timeout(QUEUE_S):
                await self._lock.acquire()
        except TimeoutError as error:
            raise DeadlineExceeded("the connection was busy for too long") from error
        finally:
            self.queued -= 1

    async def _drained(self) -> None:
        """Wait for the answer to a command whose caller has left; its own timer bounds this."""
        while self._abandoned is not None and self.lost is None:
            self._abandoned.wake.clear()
            await self._abandoned.wake.wait()

    def _leave(self, command: _Command) -> None:
        self.resume_reading()
        if command.done or not command.begun or self.lost is not None:
            return
        if not command.written:  # the server waits for the rest of a literal or an exchange
            self.fail(ConnectionLost("the connection was given up in the middle of a command"))
            return
        self._abandoned = command
        command.on_response = _is_answer
        self.loop.call_later(DRAIN_S, self._give_up, command)
        if command.owes_done and command.prompts:
            self._write_done(command)

    def _give_up(self, command: _Command) -> None:
        if self._abandoned is command:
            self.fail(DeadlineExceeded("the server did not finish a command that was given up"))

    async def write(self, command: _Command, arguments: Sequence[Argument]) -> None:
        """Write the whole command. Returns early when the server refuses it before a literal."""
        line = bytearray(command.raw_tag)
        command.begun = True
        for argument in arguments:
            if line[-1:] != b"(" and argument != ")":
                line += b" "
            if isinstance(argument, str):
                line += argument.encode("ascii")
                continue
            waits = not self._literal_may_follow(len(argument))
            line += b"{%d}\r\n" % len(argument) if waits else b"{%d+}\r\n" % len(argument)
            self.transport.write(bytes(line))
            line.clear()
            if waits and await self.prompt(command) is None:
                command.written = True
                return
            await self._write_slices(command, argument)
        self.transport.write(bytes(line + b"\r\n"))
        command.written = command.name != "AUTHENTICATE"

    async def prompt(self, command: _Command) -> bytes | None:
        """What the server's next continuation says; None when the command ended instead."""
        while not command.prompts and not command.done:
            command.wake.clear()
            await command.wake.wait()
        return command.prompts.popleft() if command.prompts else None

    def _literal_may_follow(self, size: int) -> bool:
        """Whether the literal needs no permission (RFC 7888)."""
        capabilities = self.capabilities
        return "LITERAL+" in capabilities or ("LITERAL-" in capabilities and size <= SHORT_LITERAL)

    async def _write_slices(self, command: _Command, literal: bytes) -> None:
        view = memoryview(literal)
        for start in range(0, len(view), SLICE):
            await self._writable.wait()
            self.check_alive()
            self.transport.write(bytes(view[start : start + SLICE]))
            if not command.done:
                command.touch()

    def _write_done(self, command: _Command) -> None:
        command.owes_done = False
        self.transport.write(b"DONE\r\n")

    async def end_idle(self, command: _Command) -> None:
        """DONE, and wait for the answer."""
        if not command.done:
            self._write_done(command)
            command.touch()
        await command.wait()

    def interrupt_idle(self) -> None:
        """End an IDLE that is in flight."""
        if self.running is not None and self.running.name == "IDLE":
            self.running.interrupted = True
            self.running.wake.set()

    # reading less, and the end

    def pause_reading(self) -> None:
        """Let the server wait: whoever reads the answers is slower than it is."""
        if self._reading and self.lost is None:
            self._reading = False
            self.transport.pause_reading()
            if self.running is not None:
                self.running.suspend()

    def resume_reading(self) -> None:
        """Read on."""
        if not self._reading:
            self._reading = True
            if self.lost is None:
                self.transport.resume_reading()
                if self.running is not None:
                    self.running.touch()

    def check_alive(self) -> None:
        """ConnectionLost when nothing can be asked any more."""
        if self.lost is not None:
            raise ConnectionLost(self.lost.message) from self.lost

    def fail(self, error: PostbusError) -> None:
        """Close the connection; everybody who waits gets the error."""
        if self.lost is not None:
            return
        self.lost = error
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

    async def start_tls(self, context: ssl.SSLContext, hostname: str) -> None:
        """Go on under TLS; what the server said in the clear about itself no longer counts."""
        self.transport = await self.loop.start_tls(self.transport, self, context, server_hostname=hostname)
        self._sealing = False
        self.capabilities = frozenset()


def _is_answer(pieces: Pieces) -> bool:
    """Whether a response belongs to a command that was given up, and is no news about the mailbox."""
    untagged = responses.parse_untagged(pieces[0])
    return untagged is None or untagged.label not in ("EXISTS", "EXPUNGE", "VANISHED", "BYE", "CAPABILITY")


class _Client(IMAP4):  # type: ignore[misc]
    """Connects; everything else is the protocol's."""

    def __init__(self, host: str, port: int, on_untagged: Callable[[Pieces], None], options: dict[str, Any]) -> None:
        self._on_untagged = on_untagged
        self._options = options
        super().__init__(host, port)

    def create_client(
        self,
        host: str,
        port: int,
        loop: asyncio.AbstractEventLoop | None,
        conn_lost_cb: Callable[[Exception | None], None] | None = None,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        """Begin to connect."""
        running = loop or asyncio.get_running_loop()
        self.protocol = protocol = _Protocol(running, self._on_untagged)
        self._client_task = running.create_task(
            running.create_connection(lambda: protocol, host, port, **self._options)
        )

    async def wait_hello_from_server(self) -> None:
        """Wait for the greeting. OSError when there is no connection, ConnectionLost when it ends."""
        try:
            await self._client_task
            await self.protocol.greeting
        except BaseException:
            self.protocol.fail(ConnectionLost("the connection was given up"))
            raise


class Wire:
    """One connection. Commands queue; a lost connection is ConnectionLost for all, at once."""

    def __init__(self, protocol: _Protocol, greeting: Status) -> None:
        self._protocol = protocol
        self.greeting = greeting

    @property
    def closed(self) -> bool:
        """Whether it is of no use any more."""
        return self._protocol.lost is not None

    @property
    def socket(self) -> Any:
        """The socket, for its options."""
        return self._protocol.transport.get_extra_info("socket")

    def know(self, capabilities: frozenset[str]) -> None:
        """What the server is able to do: decides how literals are sent."""
        self._protocol.capabilities = capabilities

    async def run(
        self,
        *arguments: Argument,
        on_response: Handler | None = None,
        timeout_s: float = COMMAND_S,
        total_s: float = TOTAL_S,
    ) -> Status:
        """Run a command; the first argument is its name. CommandRefused for NO and BAD, DeadlineExceeded."""
        command = self._command(arguments, on_response, timeout_s, total_s)
        await self._protocol.execute(command, arguments=arguments)
        return command.result()

    async def stream(
        self, *arguments: Argument, accept: Handler, timeout_s: float = COMMAND_S
    ) -> AsyncGenerator[Pieces, None]:
        """Run a command and yield the untagged responses it accepts; reads no more than the consumer can take."""
        rows: deque[Pieces] = deque()
        waiting = 0

        def on_response(pieces: Pieces) -> bool:
            nonlocal waiting
            if not accept(pieces):
                return False
            rows.append(pieces)
            waiting += _size(pieces)
            if waiting > HIGH_WATER:
                protocol.pause_reading()
            command.wake.set()
            return True

        protocol = self._protocol
        command = self._command(arguments, on_response, timeout_s, LONG_S)
        async with protocol.in_flight(command):
            await protocol.write(command, arguments)
            while rows or not command.done:
                if not rows:
                    command.wake.clear()
                    await command.wake.wait()
                    continue
                pieces = rows.popleft()
                waiting -= _size(pieces)
                if waiting < LOW_WATER:
                    protocol.resume_reading()
                yield pieces
        command.result()

    async def converse(
        self, *arguments: Argument, respond: Callable[[bytes], bytes], timeout_s: float = COMMAND_S
    ) -> Status:
        """Run AUTHENTICATE: every continuation is answered with a line that `respond` makes of it."""
        protocol = self._protocol
        command = self._command(arguments, None, timeout_s, TOTAL_S)
        async with protocol.in_flight(command):
            await protocol.write(command, arguments)
            while (prompt := await protocol.prompt(command)) is not None:
                protocol.transport.write(respond(prompt) + b"\r\n")
        return command.result()

    async def idle(self, *, max_s: float) -> None:
        """IDLE until `interrupt`, until another command wants its turn, until the server ends it, or `max_s`."""
        protocol = self._protocol
        command = self._command(("IDLE",), None, IDLE_REPLY_S, max_s + 3 * IDLE_REPLY_S)
        async with protocol.in_flight(command):
            command.owes_done = True
            await protocol.write(command, ("IDLE",))
            if await protocol.prompt(command) is not None:
                command.prompts.append(b"")  # who leaves early sees that DONE can be sent
                command.suspend()
                await _wait_until(
                    lambda: command.interrupted or command.done or protocol.queued > 0, command.wake, max_s
                )
                await protocol.end_idle(command)
        command.result()

    def interrupt(self) -> None:
        """End an IDLE that is in flight."""
        self._protocol.interrupt_idle()

    async def start_tls(self, context: ssl.SSLContext, hostname: str) -> None:
        """STARTTLS. OSError when TLS fails, ProtocolError when somebody injected data."""
        await self.run("STARTTLS")
        self._protocol.check_alive()
        await self._protocol.start_tls(context, hostname)

    def abort(self, reason: str = "the connection was closed") -> None:
        """Close at once."""
        self._protocol.fail(ConnectionLost(reason))

    def _command(
        self, arguments: Sequence[Argument], on_response: Handler | None, timeout_s: float, total_s: float
    ) -> _Command:
        name = cast("str", arguments[0]).split(" ", 1)[0]
        protocol = self._protocol

        def on_timeout() -> None:
            protocol.fail(DeadlineExceeded(f"the server did not answer {name} in time"))

        return _Command(protocol.new_tag(), name, on_response, on_timeout, timeout_s, total_s)


async def connect(
    host: str, port: int, *, on_untagged: Callable[[Pieces], None], options: dict[str, Any] | None = None
) -> Wire:
    """Connect and wait for the greeting; `options` are those of `loop.create_connection`.

    OSError when there is no connection or no TLS; ConnectionLost or ProtocolError when the greeting fails.
    """
    client = _Client(host, port, on_untagged, options or {})
    await client.wait_hello_from_server()
    return Wire(client.protocol, client.protocol.greeting.result())


async def _wait_until(condition: Callable[[], bool], wake: asyncio.Event, max_s: float) -> None:
    try:
        async with asyncio.timeout(max_s):
            while not condition():
                wake.clear()
                await wake.wait()
    except TimeoutError:
        pass


def _size(pieces: Pieces) -> int:
    return sum(map(len, pieces)) + 256
