"""The way of an account's events into the log: read the outbox, publish, wait for the acknowledgements, trim.

Events are committed with the state they tell of; here they only move. A crash between publishing and trimming makes
the next owner publish again, under the same ids, and the log keeps each once. One batch is in flight per account.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

import structlog

from postbus.common import metrics, telemetry
from postbus.common.bus.batch import MAX_BATCH_MESSAGES, batches, publish_events
from postbus.common.bus.connection import Bus
from postbus.common.errors import Unavailable
from postbus.common.events import Envelope
from postbus.common.store.stats import Stats
from postbus.imap_sync.state.store import Fenced, SyncStore

log = structlog.get_logger()

MAX_WAITING = 1_000  # events; above it the account's sync pauses
MAX_WAITING_SIZE = 4 * 1024 * 1024  # bytes
FIRST_RETRY_S = 0.25
LONGEST_RETRY_S = 2.0

Spawn = Callable[[asyncio.Task[None]], None]


class Outbox:
    """The outbox of one account. A task runs only while there is something to publish; `spawned` is told of it."""

    def __init__(self, store: SyncStore, bus: Bus, stats: Stats, token: str, epoch: int, spawned: Spawn) -> None:
        self._store = store
        self._bus = bus
        self._stats = stats
        self._token = token
        self._epoch = epoch
        self._spawned = spawned
        self._waiting = 0
        self._size = 0
        self._changed = asyncio.Event()
        self._trace: Mapping[str, str] = {}
        self._task: asyncio.Task[None] | None = None

    def note(self, waiting: int) -> None:
        """So many events wait, of an unknown size; publish them."""
        self._set(waiting, self._size if waiting else 0)
        self._run()

    def wake(self, waiting: int, added_size: int) -> None:
        """Events were committed; publish them."""
        self._trace = telemetry.inject()
        self._set(waiting, self._size + added_size)
        self._run()

    async def room(self) -> None:
        """Wait until more events may be committed: while the bus is away, they would pile up."""
        while self._waiting >= MAX_WAITING or self._size >= MAX_WAITING_SIZE:
            self._changed.clear()
            await self._changed.wait()

    async def drained(self) -> None:
        """Wait until nothing is left to publish, or the bus is away and nothing can be."""
        while self._waiting and self._bus.connected:
            self._changed.clear()
            await self._changed.wait()

    def close(self) -> None:
        """Another worker goes on with it: publish no more."""
        if self._task is not None:
            self._task.cancel()
        metrics.OUTBOX_DEPTH.dec(self._waiting)
        self._waiting = self._size = 0

    def _run(self) -> None:
        if self._waiting and (self._task is None or self._task.done()):
            self._task = asyncio.create_task(self._drain())
            self._spawned(self._task)

    async def _drain(self) -> None:
        retry_s = FIRST_RETRY_S
        while self._waiting:
            try:
                await self._move()
                retry_s = FIRST_RETRY_S
                continue
            except Unavailable as error:
                log.warning("events can't be published", account=self._token, reason=error.message)
            except Fenced:
                raise
            except Exception:  # whatever it was: events that are committed are published, sooner or later
                log.exception("outbox failed", account=self._token)
            self._changed.set()
            await asyncio.sleep(retry_s)
            retry_s = min(retry_s * 2, LONGEST_RETRY_S)

    async def _move(self) -> None:
        """Publish the oldest events and remove them."""
        if not self._bus.connected:
            raise Unavailable("the bus is away", code="BusUnavailable")
        entries = await self._store.read_outbox(self._token, MAX_BATCH_MESSAGES)
        if entries is None:
            self._set(0, 0)
            return
        trace = self._trace
        with telemetry.span("publish events", parent=trace or None, events=len(entries.events)):
            for batch in batches(entries.events):
                await publish_events(self._bus, batch, telemetry.inject() or trace)
        self._count(entries.events)
        left = await self._store.trim_outbox(self._token, self._epoch, entries)
        self._set(left, max(self._size - entries.size, 0) if left else 0)

    def _count(self, events: Sequence[Envelope]) -> None:
        for event in events:
            metrics.EVENTS.labels(event.event).inc()
            self._stats.add(f"events:{event.event}")

    def _set(self, waiting: int, size: int) -> None:
        metrics.OUTBOX_DEPTH.inc(waiting - self._waiting)
        self._waiting, self._size = waiting, size
        self._changed.set()
