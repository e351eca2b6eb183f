"""Bytes on their way from the socket to the framer: in slices, so that a server that floods us delays nobody else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

from postbus.common.errors import ProtocolError

SLICE: Final = 16 * 1024  # bytes that are dealt with at once: some milliseconds, whatever they are
LAST_SLICES: Final = 64  # that are dealt with at once when the connection is gone
REST_S: Final = 0.05  # between two slices of what nobody asked for


class Inflow:
    """Hands on what arrives, and lets the server wait: for the next turn, for a rest, for whoever holds it."""

    __slots__ = ("_closed", "_held", "_later", "_loop", "_rest_s", "_stopped", "_take", "_timer", "_whole", "transport")

    def __init__(
        self, loop: asyncio.AbstractEventLoop, take: Callable[[bytes], bytes | None], whole: Callable[[int], bool]
    ) -> None:
        """`take` deals with a slice, and returns what is to wait for the next turn, if anything.

        `whole` tells whether so many bytes are cheap, as they are all one literal.
        """
        self.transport: Any = None  # see `attach`
        self._loop = loop
        self._take = take
        self._whole = whole
        self._later: list[bytes] = []
        self._held = self._stopped = self._closed = False
        self._rest_s = 0.0
        self._timer: asyncio.Handle | None = None

    @property
    def empty(self) -> bool:
        """Whether nothing waits to be dealt with."""
        return not self._later

    def attach(self, transport: Any) -> None:
        """What brings the bytes from now on. TLS keeps no more of them than this while we let it wait."""
        self.transport = transport
        if hasattr(transport, "set_read_buffer_limits"):
            transport.set_read_buffer_limits(high=SLICE)

    def receive(self, data: bytes) -> None:
        """Take what arrived."""
        if self._later or self._stopped:
            self._later.append(data)
        else:
            self._work(data)
        self._settle()

    def hold(self) -> None:
        """No more for the moment."""
        self._held = True
        self._settle()

    def release(self) -> None:
        """Go on."""
        self._held = False
        self._settle()

    def rest(self) -> None:
        """A break after this slice."""
        self._rest_s = REST_S

    def finish(self) -> None:
        """There will be no more: deal with what is left, as far as that is soon done."""
        for _ in range(LAST_SLICES):
            if not self._later or self._closed:
                break
            self._take_slice(self._later.pop(0))

    def close(self) -> None:
        """Nothing counts any more."""
        self._closed = True
        self._later.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _work(self, data: bytes) -> None:
        if len(data) > SLICE and not self._whole(len(data)):
            self._later.insert(0, data[SLICE:])
            data = data[:SLICE]
        self._take_slice(data)

    def _take_slice(self, data: bytes) -> None:
        if (rest := self._take(data)) is not None and not self._closed:
            self._later.insert(0, rest)

    def _settle(self) -> None:
        """Decide whether the server may send, and when we go on."""
        if self._closed:
            return
        if self._timer is None and not self._held and (self._later or self._rest_s):
            self._timer = (
                self._loop.call_later(self._rest_s, self._go_on) if self._rest_s else self._loop.call_soon(self._go_on)
            )
            self._rest_s = 0.0
        stop = self._held or self._timer is not None
        if stop != self._stopped:
            self._stopped = stop
            if stop:
                self.transport.pause_reading()
            else:
                self.transport.resume_reading()

    def _go_on(self) -> None:
        self._timer = None
        if self._later and not self._held:
            self._work(self._later.pop(0))
        self._settle()


class Strays:
    """Responses that nobody asked for: an emptied mailbox brings a hundred thousand, a hostile server any number.

    So many at once, and then as many as a busy mailbox may bring (a leaky bucket, looked at once in a while).
    """

    AT_ONCE: Final = 120_000
    MANY: Final = 5_000  # above which there is no hurry
    PER_S: Final = 500.0
    EVERY: Final = 500  # responses between two looks at the clock

    __slots__ = ("_at", "_count", "_level")

    def __init__(self) -> None:
        self._count = 0
        self._level = self._at = 0.0

    def take(self, clock: Callable[[], float]) -> bool:
        """One more; whether they should come more slowly. ProtocolError when there are too many."""
        self._count += 1
        if self._count < self.EVERY:
            return False
        now = clock()
        self._level = max(self._level - (now - self._at) * self.PER_S, 0.0) + self._count
        self._at, self._count = now, 0
        if self._level > self.AT_ONCE:
            raise ProtocolError("the server says more than anybody asked for")
        return self._level > self.MANY
