"""The sending half of a connection: whose turn it is, how a command is written, and what a cancelled one leaves."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

from aioimaplib.aioimaplib import Response as TaggedResponse

from postbus.common.errors import ConnectionLost, DeadlineExceeded
from postbus.imap_sync.protocol import responses
from postbus.imap_sync.protocol.arguments import Argument
from postbus.imap_sync.protocol.framer import MAX_ORDINARY_RESPONSE, MAX_RESPONSE, Response
from postbus.imap_sync.wire.command import ORDINARY, InFlight
from postbus.imap_sync.wire.deflating import Deflated, Inflater
from postbus.imap_sync.wire.receiving import Receiver

QUEUE_S: Final = 120.0  # until it is our turn
DRAIN_S: Final = 15.0  # for the answer of a command whose caller has left
ROOM_S: Final = 60.0  # for the server to read some of what we send
SLICE: Final = 64 * 1024  # bytes of a literal written at once
SHORT_LITERAL: Final = 4096  # LITERAL- (RFC 7888)


class WireProtocol(Receiver):
    """One command in flight, the others queue."""

    def pause_writing(self) -> None:
        """The send buffer is full."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """The send buffer has room."""
        self._writable.set()

    async def execute(
        self, command: InFlight, scrub: str | None = None, *, arguments: Sequence[Argument]
    ) -> TaggedResponse:
        """Write a command and wait for its tagged response. Nothing of it is logged, so `scrub` has no use."""
        async with self.in_flight(command):
            await self.write(command, arguments)
            await command.wait()
        return command.response

    @asynccontextmanager
    async def in_flight(self, command: InFlight) -> AsyncIterator[None]:
        """Our turn: nobody else's command is in flight. Left early, the answer is read and dropped."""
        await self._take_turn()
        try:
            await self._drained()
            self.check_alive()
            self.running = command
            self.framer.max_response = MAX_RESPONSE if command.limit.size > ORDINARY.size else MAX_ORDINARY_RESPONSE
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

    def _leave(self, command: InFlight) -> None:
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

    def _give_up(self, command: InFlight) -> None:
        if self._abandoned is command:
            self.fail(DeadlineExceeded("the server did not finish a command that was given up"))

    async def write(self, command: InFlight, arguments: Sequence[Argument]) -> None:
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

    async def prompt(self, command: InFlight) -> bytes | None:
        """What the server's next continuation says; None when the command ended instead."""
        while not command.prompts and not command.done:
            command.wake.clear()
            await command.wake.wait()
        return command.prompts.popleft() if command.prompts else None

    def _literal_may_follow(self, size: int) -> bool:
        """Whether the literal needs no permission (RFC 7888)."""
        capabilities = self.capabilities
        return "LITERAL+" in capabilities or ("LITERAL-" in capabilities and size <= SHORT_LITERAL)

    async def _write_slices(self, command: InFlight, literal: bytes) -> None:
        view = memoryview(literal)
        for start in range(0, len(view), SLICE):
            await self._room()
            self.check_alive()
            self.transport.write(bytes(view[start : start + SLICE]))
            if not command.done:
                command.touch()

    async def _room(self) -> None:
        """Wait until the send buffer has room. A server that has answered and reads no more must not hold us."""
        if self._writable.is_set():
            return
        try:
            async with asyncio.timeout(ROOM_S):
                await self._writable.wait()
        except TimeoutError as error:
            self.fail(DeadlineExceeded("the server stopped reading"))
            raise DeadlineExceeded("the server stopped reading") from error

    async def end_idle(self, command: InFlight) -> None:
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

    async def start_tls(self, context: ssl.SSLContext, hostname: str) -> None:
        """Go on under TLS; what the server said in the clear about itself no longer counts."""
        self.transport = await self.loop.start_tls(self.transport, self, context, server_hostname=hostname)
        self._inflow.attach(self.transport)
        self._sealing = ""
        self.capabilities = frozenset()

    def compress(self) -> None:
        """Go on with packed bytes, in both directions."""
        self.transport = Deflated(self.transport)
        self._inflater = Inflater()
        self._sealing = ""


def _is_answer(pieces: Response) -> bool:
    """Whether a response belongs to a command that was given up, and is no news about the mailbox."""
    untagged = responses.parse_untagged(pieces[0])
    return untagged is None or untagged.label not in ("EXISTS", "EXPUNGE", "VANISHED", "BYE", "CAPABILITY")
