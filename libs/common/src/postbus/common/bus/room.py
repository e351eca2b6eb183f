"""Whether the queue of jobs has room for one more submission: asked of the server every few seconds, not every time.

The stream can not refuse by itself: schedules allow it no policy but "discard old" (nats-server 2.15), which with a
limit would drop what was accepted. So it has none, and who accepts submissions looks first; what is accepted already,
its retries and its filing, always has room.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import nats.errors
import nats.js.errors
from nats.js import JetStreamContext

from postbus.common.errors import Unavailable

MAX_QUEUED_BYTES = 8 * 1024**3
ASK_EVERY_S = 5.0


@dataclass(slots=True)
class QueueRoom:
    """Remembers what the server said last."""

    stream: str
    limit: int = MAX_QUEUED_BYTES
    _used: int = 0  # bytes
    _asked: float = field(default=float("-inf"))

    async def check(self, js: JetStreamContext) -> None:
        """Unavailable when the queue is full or the bus is away."""
        if time.monotonic() >= self._asked + ASK_EVERY_S:
            self._asked = time.monotonic()  # before the answer: nobody else has to ask meanwhile
            try:
                self._used = int((await js.stream_info(self.stream)).state.bytes)
            except (nats.errors.Error, nats.js.errors.Error, TimeoutError) as error:
                self._asked = float("-inf")
                raise Unavailable(f"bus: {error or type(error).__name__}", code="BusUnavailable") from error
        if self._used >= self.limit:
            raise Unavailable("The queue of messages to send is full, try again later", code="QueueFull")
