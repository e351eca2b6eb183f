"""A lane: the events of one account on their way to its receiver, one request at a time, in the order of the log.

A live lane gets its events from the shard's reader. When its head fails, or when it falls behind, it is parked: its
position goes to the bucket LANES, memory is freed, the shard reads on, and the lane delivers from the log by itself.
Once it has reached the shard's reading position it is live again.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from typing import Protocol, assert_never

import msgspec
import structlog

from postbus.webhooks.delivery import Delivered, Failed, Outcome, Skipped
from postbus.webhooks.event_log import LoggedEvent
from postbus.webhooks.records import LaneRecord
from postbus.webhooks.retries import RetrySchedule

log = structlog.get_logger()

REPLICA_LAG_S = 0.2


class LaneHost(Protocol):
    """What a lane needs of its shard. Methods that reach the bus wait while it is away."""

    schedule: RetrySchedule

    @property
    def stopping(self) -> bool:
        """Whether no request may be started any more."""

    @property
    def reading(self) -> int:
        """The last sequence that the shard's reader has passed."""

    def settle(self, event: LoggedEvent) -> None:
        """The event needs no more care of the shard."""

    def lane_moved(self, lane: Lane) -> None:
        """The position of a parked lane changed: write it soon."""

    def lane_idle(self, lane: Lane) -> None:
        """The lane has nothing to do and nothing to remember."""

    def spawn(self, lane: Lane) -> asyncio.Task[None]:
        """Run the lane's work."""

    async def attempt(self, event: LoggedEvent, attempts_made: int) -> Outcome:
        """Try to deliver."""

    async def bury(self, event: LoggedEvent, record: LaneRecord) -> None:
        """Give an event up."""

    async def put_lane(self, token: str, record: LaneRecord) -> None:
        """Write the lane's record; when this returns it is kept."""

    async def drop_lane(self, token: str) -> None:
        """Remove the lane's record; when this returns it is gone."""

    async def fetch(self, token: str, position: int) -> list[LoggedEvent]:
        """Events of the account from a position on."""

    async def continues(self, token: str, position: int, upto: int) -> bool:
        """Whether the log holds an event of the account between these two."""

    async def first_kept(self) -> int:
        """The first sequence that the log still holds."""


class Lane:
    """One account's lane. `record` is None while it is live; `seen` is the last event that passed by while parked."""

    def __init__(self, host: LaneHost, token: str, record: LaneRecord | None = None, seen: int = 0) -> None:
        self.token = token
        self.record = record
        self.seen = seen
        self.queue: deque[LoggedEvent] = deque()
        self._host = host
        self._changing = asyncio.Lock()  # held while `record` goes from None to something or back
        self._stopped = False
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    @property
    def parked(self) -> bool:
        """Whether the lane delivers from the log."""
        return self.record is not None

    def offer(self, event: LoggedEvent) -> None:
        """Take an event that the reader came by; a parked lane will find it in the log."""
        if self.record is not None:
            self.seen = event.seq
            self._host.settle(event)
            return
        self.queue.append(event)
        self.wake()

    def wake(self) -> None:
        """Go to work now, if there is nobody at work."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._task is None and not self._stopped and not self._host.stopping:
            self._task = self._host.spawn(self)

    def start(self, spread_s: float = 0.0) -> None:
        """Go to work when the record says so; `spread_s` keeps lanes of a restart apart."""
        wait = (self.record.next_try if self.record else 0.0) - time.time()
        self._timer = asyncio.get_running_loop().call_later(max(wait, random.uniform(0, spread_s)), self.wake)  # noqa: S311

    def stop(self) -> None:
        """Start nothing more, for good."""
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()

    async def detach(self) -> None:
        """Park a lane that fell behind; it goes on from the log at once."""
        if self.queue:
            await self._become_parked(LaneRecord(position=self.queue[0].seq))

    async def work(self) -> None:
        """Deliver until there is nothing left, or until the lane has to wait for its next try."""
        try:
            while not self._host.stopping and await self._step():
                pass
        finally:
            self._task = None
        if self.record is not None and not self._host.stopping:
            self.start()

    async def _step(self) -> bool:
        """Do the next thing; False when there is none for now."""
        if self.record is not None:
            return await self._catch_up(self.record)
        if self.queue:
            return await self._deliver(self.queue[0])
        self._host.lane_idle(self)
        return False

    async def _deliver(self, event: LoggedEvent) -> bool:
        """Try one event; False when the lane has to wait."""
        attempts_made = self.record.attempt if self.record and self.record.position == event.seq else 0
        outcome = await self._host.attempt(event, attempts_made)
        match outcome:
            case Delivered() | Skipped():
                self._advance(event)
                return True
            case Failed(reason):
                return await self._on_failure(event, attempts_made + 1, reason)
            case _:
                assert_never(outcome)

    def _advance(self, event: LoggedEvent) -> None:
        """The event is settled; so is the failing of the lane, if there was any."""
        if self.record is None:
            self.queue.popleft()
            self._host.settle(event)
            return
        self.record = LaneRecord(position=event.seq + 1)
        self._host.lane_moved(self)

    async def _on_failure(self, event: LoggedEvent, attempt: int, reason: str) -> bool:
        """Remember the failure; True when the event's time is over: it is given up, and the lane goes on at once.

        Each event is tried at least once, however long others have kept it waiting: it may be the head alone that the
        receiver can't take. The failures of the lane go on counting, so a receiver that is away is left in peace.
        """
        now = time.time()
        before = self.record or LaneRecord(position=event.seq)
        failures = before.failures + 1
        record = LaneRecord(
            position=event.seq,
            attempt=attempt,
            failures=failures,
            next_try=self._host.schedule.next_try(event.at, failures, now, random.random()),  # noqa: S311
            first_failure=before.first_failure or now,
            reason=reason,
        )
        given_up = now >= self._host.schedule.deadline(event.at)
        if given_up:
            await self._host.bury(event, record)
            record = msgspec.structs.replace(record, position=event.seq + 1, attempt=0)
        if not await self._become_parked(record):
            self.record = record
            await self._host.put_lane(self.token, record)
        return given_up

    async def _become_parked(self, record: LaneRecord) -> bool:
        """From live to parked; False when it is parked already.

        What is queued is settled for the shard only once the record is kept.
        """
        async with self._changing:
            if self.record is not None:
                return False
            await self._host.put_lane(self.token, record)
            if not record.failures:  # it only fell behind, and may have delivered its head meanwhile
                position = self.queue[0].seq if self.queue else self._host.reading + 1
                record = msgspec.structs.replace(record, position=position)
            self.record = record
            self.seen = self.queue[-1].seq if self.queue else 0
            while self.queue:
                self._host.settle(self.queue.popleft())
            self._host.lane_moved(self)
            return True

    async def _catch_up(self, record: LaneRecord) -> bool:
        """Deliver a batch from the log, or become live at its end; False when the lane has to wait."""
        if record.attempt:
            await self._tell_what_is_gone(record)
        upto = self._host.reading
        batch = [event for event in await self._host.fetch(self.token, record.position) if event.seq <= upto]
        for event in batch:
            if self._host.stopping or not await self._deliver(event):
                return False
        if not batch:
            await self._reach(upto)
        return True

    async def _reach(self, upto: int) -> None:
        """Nothing was found up to here: the lane is live again, unless the log's leader knows better."""
        assert self.record is not None
        if await self._host.continues(self.token, self.record.position, upto):
            await asyncio.sleep(REPLICA_LAG_S)
            return
        async with self._changing:
            self.record = msgspec.structs.replace(self.record, position=max(self.record.position, upto + 1))
            if self.seen >= self.record.position:
                return
            self.record = None
            await self._host.drop_lane(self.token)

    async def _tell_what_is_gone(self, record: LaneRecord) -> None:
        first = await self._host.first_kept()
        if first > record.position:
            fields = {"account": self.token, "position": record.position, "first_kept": first}
            log.error("the log discarded events of a parked lane", **fields)
