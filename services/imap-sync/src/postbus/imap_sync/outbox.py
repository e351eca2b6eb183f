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
from postbus.imap_sync.state.store import Entries, Fenced, SyncStore, pack_entries

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
        self._known: list[Envelope] = []  # what waits, where that is all there is
        self._woken = False  # whether there was a commit since this was reset
        self._changed = asyncio.Event()
        self._trace: Mapping[str, str] = {}
        self._task: asyncio.Task[None] | None = None

    def note(self, waiting: int) -> None:
        """So many events wait, of an unknown size; publish them."""
        self._known = []
        self._set(waiting, self._size if waiting else 0)
        self._run()

    def wake(self, waiting: int, events: list[Envelope]) -> None:
        """These events were committed, and so many wait now; publish them."""
        self._trace = telemetry.inject()
        self._woken = True
        self._known = events if waiting == len(events) <= MAX_BATCH_MESSAGES else []
        self._set(waiting, self._size + sum(len(event.body) for event in events))
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
        self._known = []

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
        entries = await self._entries()
        if entries is None:
            self._set(0, 0)
            return
        trace = self._trace
        with telemetry.span("publish events", parent=trace or None, events=len(entries.events)):
            for batch in batches(entries.events):
                await publish_events(self._bus, batch, telemetry.inject() or trace)
        self._count(entries.events)
        self._woken = False
        left = await self._store.trim_outbox(self._token, self._epoch, entries)
        if self._woken:  # the two answers may have overtaken each other; if there is nothing, the next look shows it
            left = max(left, self._waiting)
        self._set(left, max(self._size - entries.size, 0) if left else 0)

    async def _entries(self) -> Entries | None:
        """The oldest events. Read from the store, unless the last commit put in all that is there."""
        events, self._known = self._known, []
        if events and len(events) == self._waiting:
            return pack_entries(events)
        return await self._store.read_outbox(self._token, MAX_BATCH_MESSAGES)

    def _count(self, events: Sequence[Envelope]) -> None:
        for event in events:
            metrics.EVENTS.labels(event.event).inc()
            self._stats.add(f"events:{event.event}")

    def _set(self, waiting: int, size: int) -> None:
        metrics.OUTBOX_DEPTH.inc(waiting - self._waiting)
        self._waiting, self._size = waiting, size
        self._changed.set()
