"""One owned shard of the event log: read in order, hand to lanes, keep the position (`keeper`)."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass

import structlog

from postbus.common.bus.connection import Bus
from postbus.webhooks import dead_letters, event_log
from postbus.webhooks.delivery import Delivery, Outcome
from postbus.webhooks.event_log import LoggedEvent, ShardReader
from postbus.webhooks.keeper import Keeper, patiently
from postbus.webhooks.kept import Fenced
from postbus.webhooks.lane import Lane
from postbus.webhooks.records import LaneRecord
from postbus.webhooks.retries import RetrySchedule

log = structlog.get_logger()

MAX_LANE_EVENTS = 64  # queued in one lane; more wait in the log
MAX_WINDOW = 512  # sequences between the floor and the reader
MAX_HELD_BYTES = 2 * 1024 * 1024  # bodies queued in all lanes of a shard
FENCED_PAUSE_S = 6.0  # two lease times: if the shard is still ours then, it is ours to take back
RELEASE_S = 1.5  # requests in flight may end; less than a lease, as placement waits for it
RESTART_SPREAD_S = 0.5
END_RETRY_S = 0.25


@dataclass(frozen=True, slots=True)
class ShardParts:
    """What all shards of a worker share."""

    bus: Bus
    worker: str
    delivery: Delivery
    schedule: RetrySchedule


class Shard:
    """Runs one shard from claim to release. It is the LaneHost of its lanes."""

    def __init__(self, number: int, epoch: int, parts: ShardParts) -> None:
        self.number = number
        self.schedule = parts.schedule
        self.lanes: dict[str, Lane] = {}
        self._parts = parts
        self._keeper = Keeper(parts.bus, number, parts.worker, epoch)
        self._held_bytes = 0
        self._reader: ShardReader | None = None
        self._group: asyncio.TaskGroup | None = None
        self._working: set[asyncio.Task[None]] = set()
        self._stopped = asyncio.Event()
        self._finished = asyncio.Event()

    @property
    def stopping(self) -> bool:
        """Whether no request may be started any more."""
        return self._stopped.is_set()

    @property
    def reading(self) -> int:
        """The last sequence that was read and handed on."""
        return self._keeper.progress.reading

    async def run(self) -> None:
        """Work until `stop`; begin anew where somebody else's write showed up and the shard is still ours."""
        try:
            while not self.stopping:
                try:
                    await self._own()
                except* Fenced as fenced:
                    log.warning("shard has another owner", shard=self.number)
                    self._keeper.epoch = max(self._keeper.epoch, *(error.epoch for error in _leaves(fenced)))
                    await self._wait_stopped(FENCED_PAUSE_S)
        finally:
            self._finished.set()

    async def stop(self) -> None:
        """Start nothing more, let requests in flight end within a limit, keep the position; wait for all of that."""
        self._stopped.set()
        await self._finished.wait()

    async def drain(self, limit_s: float) -> None:
        """Start nothing more and wait for requests in flight."""
        self._stopped.set()
        if self._working:
            await asyncio.wait(self._working, timeout=limit_s)

    def on_reconnect(self) -> None:
        """The bus was away: its server has forgotten our consumer, perhaps."""
        if self._reader is not None:
            self._reader.reset()

    def wake_lane(self, token: str) -> None:
        """The account changed: if its lane waits for its next try, that is now."""
        if lane := self.lanes.get(token):
            lane.wake()

    def wake_lanes(self, spread_s: float) -> None:
        """The settings changed: all lanes that wait for their next try do it soon."""
        loop = asyncio.get_running_loop()
        for lane in self.lanes.values():
            if lane.parked:
                loop.call_later(random.uniform(0, spread_s), lane.wake)  # noqa: S311

    # What lanes ask for

    def settle(self, event: LoggedEvent) -> None:
        """The event needs no more care of the shard."""
        self._keeper.settle(event.seq)
        self._held_bytes -= len(event.body)

    def lane_moved(self, lane: Lane) -> None:
        """The position of a parked lane changed: write it soon."""
        self._keeper.lane_moved(lane)

    def lane_idle(self, lane: Lane) -> None:
        """The lane has nothing to do and nothing to remember."""
        self.lanes.pop(lane.token, None)

    def spawn(self, lane: Lane) -> asyncio.Task[None]:
        """Run the lane's work."""
        assert self._group is not None
        task = self._group.create_task(lane.work())
        self._working.add(task)
        task.add_done_callback(self._working.discard)
        return task

    async def attempt(self, event: LoggedEvent, attempts_made: int) -> Outcome:
        """Try to deliver."""
        return await self._parts.delivery.attempt(event, attempts_made)

    async def bury(self, event: LoggedEvent, record: LaneRecord) -> None:
        """Give an event up."""
        log.warning("webhook given up", account=event.token, event_id=event.event_id, attempts=record.attempt)
        await patiently(lambda: dead_letters.bury(self._parts.bus, event, record, time.time()))

    async def put_lane(self, token: str, record: LaneRecord) -> None:
        """Write the lane's record, if the shard is still ours."""
        await self._keeper.put_lane(token, record)

    async def drop_lane(self, token: str) -> None:
        """Remove the lane's record, if the shard is still ours."""
        await self._keeper.drop_lane(token)

    async def fetch(self, token: str, position: int) -> list[LoggedEvent]:
        """Events of the account from a position on."""
        return await patiently(lambda: event_log.fetch_lane(self._parts.bus, self.number, token, position))

    async def continues(self, token: str, position: int, upto: int) -> bool:
        """Whether the log holds an event of the account between these two."""
        return await patiently(lambda: event_log.lane_continues(self._parts.bus, self.number, token, position, upto))

    async def first_kept(self) -> int:
        """The first sequence that the log still holds."""
        return (await patiently(lambda: event_log.log_bounds(self._parts.bus)))[0]

    # The shard's own work

    async def _own(self) -> None:
        """One ownership: take over what is kept, read and deliver, and leave in order."""
        if not await self._take_over():
            return
        try:
            async with asyncio.TaskGroup() as self._group:
                await self._work(self._group)
        finally:
            for lane in self.lanes.values():
                lane.stop()
        await self._save_last()

    async def _work(self, group: asyncio.TaskGroup) -> None:
        reading, saving = group.create_task(self._read()), group.create_task(self._keeper.save_changes())
        try:
            for lane in list(self.lanes.values()):
                lane.start(RESTART_SPREAD_S)
            await self._stopped.wait()
            await _end(reading)
            await self.drain(RELEASE_S)
        finally:
            await _end(reading, saving, *self._working)

    async def _take_over(self) -> bool:
        """Read what is kept and sign it; False when we are to stop meanwhile."""
        taking = asyncio.ensure_future(patiently(self._load))
        stopping = asyncio.ensure_future(self._stopped.wait())
        await asyncio.wait([taking, stopping], return_when=asyncio.FIRST_COMPLETED)
        for task in (taking, stopping):
            task.cancel()
        if self.stopping:
            return False
        taking.result()
        log.debug("shard taken over", shard=self.number, floor=self._keeper.progress.floor, lanes=len(self.lanes))
        return True

    async def _load(self) -> None:
        records = await self._keeper.load()
        floor = self._keeper.progress.floor
        self._held_bytes = 0
        self.lanes = {token: Lane(self, token, kept, floor) for token, kept in records.items()}

    async def _read(self) -> None:
        self._reader = reader = ShardReader(self._parts.bus, self.number, self._keeper.progress.floor)
        try:
            while True:
                await self._hand_on(await reader.read())
        finally:
            await reader.close()

    async def _hand_on(self, event: LoggedEvent) -> None:
        """Give an event to its lane; lanes that fall behind are parked before the next one is read."""
        if not self._keeper.read(event.seq, event.token):
            return
        lane = self.lanes.get(event.token)
        if lane is None:
            lane = self.lanes[event.token] = Lane(self, event.token)
        self._held_bytes += len(event.body)
        lane.offer(event)
        if len(lane.queue) > MAX_LANE_EVENTS:
            await lane.detach()
        while self._overfull and (oldest := self._keeper.progress.oldest) is not None:
            await self._detach_holder(oldest)

    @property
    def _overfull(self) -> bool:
        return len(self._keeper.progress) > MAX_WINDOW or self._held_bytes > MAX_HELD_BYTES

    async def _detach_holder(self, oldest: tuple[int, str]) -> None:
        """Park the lane that holds the floor; where its head was settled meanwhile there is nothing to do."""
        if (lane := self.lanes.get(oldest[1])) is not None:
            await lane.detach()
        await asyncio.sleep(0)

    async def _save_last(self) -> None:
        """Keep what is known at the end; whoever comes next repeats what could not be kept."""
        try:
            async with asyncio.timeout(1.0):
                await self._keeper.save()
        except (Fenced, TimeoutError) as error:
            log.warning("last position not kept", shard=self.number, error=str(error))

    async def _wait_stopped(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stopped.wait()
        except TimeoutError:
            return


async def _end(*tasks: asyncio.Task[None]) -> None:
    """Cancel until it works: Python 3.11's `wait_for`, which the bus client uses, may swallow a cancellation."""
    pending = {task for task in tasks if not task.done()}
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=END_RETRY_S)


def _leaves(group: BaseExceptionGroup[Fenced]) -> list[Fenced]:
    """The errors in a group of groups."""
    found: list[Fenced] = []
    for error in group.exceptions:
        found += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found
