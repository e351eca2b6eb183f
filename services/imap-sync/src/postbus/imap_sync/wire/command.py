"""A command in flight: its answer so far, its deadlines, and who waits for it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, cast

from aioimaplib.aioimaplib import Command

from postbus.common.errors import AuthenticationFailed, CommandRefused, PostbusError, ProtocolError
from postbus.imap_sync.protocol.framer import Response
from postbus.imap_sync.protocol.responses import Status

Handler = Callable[[Response], bool]  # takes an untagged response; whether it was meant for it


@dataclass(frozen=True, slots=True)
class Limit:
    """How much an answer may be: no honest server comes near it, and an endless one ends there."""

    responses: int
    size: int  # bytes


PLENTY: Final = 60_000  # responses, more than we ask for at once
ORDINARY: Final = Limit(200_000, 48 * 1024 * 1024)  # a list of 50,000 mailboxes, the uids of 2 million messages
SELECTING: Final = Limit(120_000, 16 * 1024 * 1024)  # what is new in the mailbox that is left comes along
FLAGS: Final = Limit(600_000, 49 * 1024 * 1024)  # of messages, 50,000 of which are asked for at once
ROWS: Final = Limit(600_000, 128 * 1024 * 1024)  # with content


class InFlight(Command):  # type: ignore[misc]
    """A command in flight. `on_response` sees untagged responses first; `wake` is set at every sign of life."""

    def __init__(
        self,
        tag: str,
        name: str,
        on_response: Handler | None,
        on_timeout: Callable[[], None],
        timeout_s: float,
        total_s: float,
        limit: Limit = ORDINARY,
    ) -> None:
        self._on_timeout = on_timeout
        self._total_s = total_s
        super().__init__(name, tag, timeout=timeout_s)
        self.on_response = on_response
        self.raw_tag = tag.encode()
        self.limit = limit
        self.taken = self.received = 0  # responses and bytes
        self.status: Status | None = None
        self.prompts: deque[bytes] = deque()
        self.wake = asyncio.Event()
        self.begun = self.written = False
        self.interrupted = False  # of IDLE: it is to end
        self.owes_done = False  # of IDLE: DONE is still to be sent
        self.told: Callable[[Status | None, BaseException | None], None] | None = None  # hears how it ended
        self._total: asyncio.TimerHandle | None = None
        self.suspend()

    @property
    def done(self) -> bool:
        """Whether it has its tagged response, or will never get one."""
        return bool(self._event.is_set())

    def take(self) -> bool:
        """One more response is for it; whether they should come more slowly. ProtocolError when there is no end."""
        self.taken += 1
        if self.taken < PLENTY:
            return False
        if self.taken > self.limit.responses:
            raise ProtocolError("the server's answer has no end")
        return self.taken % 1000 == 0

    def receive(self, size: int) -> None:
        """So many bytes came while it is in flight. ProtocolError when there is no end of them."""
        self.received += size
        if self.received > self.limit.size:
            raise ProtocolError("the server's answer has no end")

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
        """The tagged response of a command that is done; CommandRefused for NO and BAD.

        AuthenticationFailed where the server let somebody in who has no mailbox there.
        """
        if self._exception is not None:
            raise self._exception
        status = cast("Status", self.status)
        if "User is authenticated but not connected" in status.text:  # quirk_not_connected (Exchange, M365)
            raise AuthenticationFailed(status.text, code=status.code or status.status)
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
        told, self.told = self.told, None
        if told is not None:
            told(self.status, self._exception)
        self.wake.set()

    def _timeout_callback(self) -> None:
        self._on_timeout()
