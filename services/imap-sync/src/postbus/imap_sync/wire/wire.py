"""What the rest of the service sees of a connection: commands in, untagged responses and a status out."""

from __future__ import annotations

import asyncio
import ipaddress
import ssl
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, cast

from postbus.common.errors import CommandRefused, ConnectionLost, DeadlineExceeded, ProtocolError
from postbus.imap_sync.patience import Patience
from postbus.imap_sync.protocol.arguments import Argument
from postbus.imap_sync.protocol.framer import Response
from postbus.imap_sync.protocol.responses import Status
from postbus.imap_sync.wire.command import ORDINARY, ROWS, Handler, InFlight, Limit
from postbus.imap_sync.wire.sending import WireProtocol

if TYPE_CHECKING:
    from postbus.imap_sync.trace import ConnectionTrace

COMMAND_S: Final = 60.0  # from the command to its tagged response, or between two signs of life
TOTAL_S: Final = 300.0  # for a whole command, however lively the server is
LONG_S: Final = 3600.0  # the same for those that move much data
IDLE_REPLY_S: Final = 20.0  # for the continuation after IDLE and the answer after DONE
HIGH_WATER: Final = 1024 * 1024  # bytes of unread rows above which we stop reading
LOW_WATER: Final = 256 * 1024
TOLERATED: Final = 32 * 1024  # bytes of a row that may be malformed, as those of some servers are
MOST_NONSENSE: Final = 4 * 1024 * 1024  # bytes beyond that, of one connection: seconds of parsing
BREATH: Final = 50  # rows that are handed out before the event loop may do something else; 5 ms of parsing


class Wire:
    """One connection. Commands queue; a lost connection is ConnectionLost for all, at once."""

    def __init__(self, protocol: WireProtocol, greeting: Status) -> None:
        self._protocol = protocol
        self.greeting = greeting
        self._trace: ConnectionTrace | None = None
        self.longest_wait_s = 0.0  # in one go, when the server asks us to slow down; 0: its refusal is final

    def follow(self, trace: ConnectionTrace) -> None:
        """Tell what happens from here on."""
        self._trace = trace
        self._protocol.on_lost = trace.closed

    @property
    def closed(self) -> bool:
        """Whether it is of no use any more."""
        return self._protocol.lost is not None

    @property
    def socket(self) -> Any:
        """The socket, for its options."""
        return self._protocol.transport.get_extra_info("socket")

    @property
    def is_near(self) -> bool:
        """Whether the server is on this machine or in a private network (RFC 1918)."""
        peer = self._protocol.transport.get_extra_info("peername")
        try:
            return ipaddress.ip_address(peer[0].partition("%")[0]).is_private
        except (TypeError, ValueError, IndexError, AttributeError):
            return True

    def know(self, capabilities: frozenset[str]) -> None:
        """What the server is able to do: decides how literals are sent."""
        self._protocol.capabilities = capabilities

    async def run(
        self,
        *arguments: Argument,
        on_response: Handler | None = None,
        timeout_s: float = COMMAND_S,
        total_s: float = TOTAL_S,
        limit: Limit = ORDINARY,
    ) -> Status:
        """Run a command; the first argument is its name. CommandRefused for NO and BAD, DeadlineExceeded.

        What was refused because it came too soon is sent again.
        """
        patience = Patience(self.longest_wait_s)
        while True:
            command = self._command(arguments, on_response, timeout_s, total_s, limit)
            await self._protocol.execute(command, arguments=arguments)
            try:
                return command.result()
            except CommandRefused as error:
                await patience.wait(error)

    async def stream(
        self, *arguments: Argument, accept: Handler, timeout_s: float = COMMAND_S, limit: Limit = ROWS
    ) -> AsyncGenerator[Response, None]:
        """Run a command and yield the untagged responses it accepts; reads no more than the consumer can take."""
        rows: deque[Response] = deque()
        waiting = taken = 0

        def on_response(pieces: Response) -> bool:
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
        command = self._command(arguments, on_response, timeout_s, LONG_S, limit)
        async with protocol.in_flight(command):
            await protocol.write(command, arguments)
            while rows or not command.done:
                if not rows:
                    command.wake.clear()
                    await command.wake.wait()
                    continue
                pieces = rows.popleft()
                waiting -= _size(pieces)
                taken += 1
                if taken % BREATH == 0:
                    await asyncio.sleep(0)
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

    def tolerate(self, size: int) -> None:
        """Something of that size made no sense. ProtocolError, and the end, for who sends much of it."""
        self._protocol.nonsense += max(size - TOLERATED, 0)
        if self._protocol.nonsense > MOST_NONSENSE:
            error = ProtocolError("the server sends too much that makes no sense")
            self._protocol.fail(error)
            raise error

    def interrupt(self) -> None:
        """End an IDLE that is in flight."""
        self._protocol.interrupt_idle()

    async def start_tls(self, context: ssl.SSLContext, hostname: str) -> None:
        """STARTTLS. OSError when TLS fails, ProtocolError when somebody injected data."""
        await self.run("STARTTLS")
        self._protocol.check_alive()
        await self._protocol.start_tls(context, hostname)

    async def compress(self) -> None:
        """COMPRESS DEFLATE (RFC 4978). CommandRefused."""
        await self.run("COMPRESS DEFLATE")
        self._protocol.check_alive()
        self._protocol.compress()

    def abort(self, reason: str = "the connection was closed") -> None:
        """Close at once."""
        self._protocol.fail(ConnectionLost(reason))

    def _command(
        self,
        arguments: Sequence[Argument],
        on_response: Handler | None,
        timeout_s: float,
        total_s: float,
        limit: Limit = ORDINARY,
    ) -> InFlight:
        name = cast("str", arguments[0]).split(" ", 1)[0]
        protocol = self._protocol

        def on_timeout() -> None:
            protocol.fail(DeadlineExceeded(f"the server did not answer {name} in time"))

        command = InFlight(protocol.new_tag(), name, on_response, on_timeout, timeout_s, total_s, limit)
        if self._trace is not None and self._trace.on:
            command.told = self._trace.command(arguments)
        return command


async def _wait_until(condition: Callable[[], bool], wake: asyncio.Event, max_s: float) -> None:
    try:
        async with asyncio.timeout(max_s):
            while not condition():
                wake.clear()
                await wake.wait()
    except TimeoutError:
        pass


def _size(pieces: Response) -> int:
    return sum(map(len, pieces)) + 256
