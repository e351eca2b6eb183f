"""A server that asks us to slow down: wait and ask again, for a while (M365: `BAD Request is throttled.`)."""

from __future__ import annotations

import asyncio
from typing import Final

import structlog

from postbus.common.errors import CommandRefused
from postbus.imap_sync.protocol.responses import refusal

log = structlog.get_logger()

FIRST_S: Final = 1.0
TRIES: Final = 6  # 1, 2, 4, 8, 16 and 30 seconds


class Patience:
    """The waits of one command: longer each time, as long as the server says, and `longest_s` at most; 0: none."""

    def __init__(self, longest_s: float) -> None:
        self._longest_s = longest_s
        self._step_s = FIRST_S
        self._left = TRIES if longest_s else 0

    async def wait(self, error: CommandRefused) -> None:
        """Wait until the command may be sent again. Raises `error` when it means no, or was waited for long enough."""
        status = refusal(error)
        if not status.throttled or not self._left:
            raise error
        self._left -= 1
        seconds = min(max(self._step_s, status.backoff_s or 0.0), self._longest_s)
        self._step_s = min(self._step_s * 2, self._longest_s)
        log.info("server asks to slow down", seconds=seconds)
        await asyncio.sleep(seconds)
