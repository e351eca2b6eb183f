"""Waiting for news of the selected mailbox: IDLE where the server has it (RFC 2177), else a look now and then."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from postbus.common.errors import CommandRefused
from postbus.imap_sync.mailbox_state import MailboxState
from postbus.imap_sync.protocol.responses import refusal
from postbus.imap_sync.wire import Wire

LONGEST_IDLE_S: Final = 28 * 60.0  # servers log out who says nothing for 30 minutes (RFC 9051, 5.4)


class Idler:
    """One connection's way to wait. `look` is the command that keeps it open and hears what is new."""

    def __init__(self, wire: Wire, state: MailboxState, look: Callable[[], Awaitable[None]]) -> None:
        self._wire = wire
        self._state = state
        self._look = look
        self._refused = False
        self._wake: asyncio.Event | None = None  # while polling: most connections never do
        state.on_push = self.interrupt

    async def wait(self, max_s: float) -> None:
        """Return when something is new, after `max_s` (28 minutes at most), when interrupted.

        Returns at once when there was a push since the last call or SELECT.
        """
        if self._state.take_news():
            return
        limit = min(max_s, LONGEST_IDLE_S)
        if "IDLE" in self._state.capabilities and not self._refused:
            try:
                await self._wire.idle(max_s=limit)
            except CommandRefused as error:
                self._refused = not refusal(error).busy
                if not self._refused:
                    await self._poll(limit)
        else:
            await self._poll(limit)
        self._state.take_news()

    def interrupt(self) -> None:
        """End the waiting; an IDLE only once it is in flight."""
        if self._wake is not None:
            self._wake.set()
        self._wire.interrupt()

    async def _poll(self, max_s: float) -> None:
        """As often as the provider bears (`Profile.poll_s`)."""
        loop = asyncio.get_running_loop()
        end = loop.time() + max_s
        self._wake = wake = asyncio.Event()
        while not wake.is_set() and (left := end - loop.time()) > 0:
            gap = self._state.profile.poll_s
            try:
                async with asyncio.timeout(min(left, gap)):
                    await wake.wait()
            except TimeoutError:
                if left > gap:  # at the end the caller looks by himself
                    await self._look()
