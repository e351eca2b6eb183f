"""A worker: the shards that placement gives it, and the hints that concern them."""

from __future__ import annotations

import asyncio

import structlog
from nats.aio.msg import Msg

from postbus.common import commands, ids
from postbus.common.placement import Placement
from postbus.common.service import Parts
from postbus.webhooks.delivery import Delivery
from postbus.webhooks.retries import RetrySchedule
from postbus.webhooks.shard import Shard, ShardParts
from postbus.webhooks.targets import Targets

log = structlog.get_logger()

PLACEMENT = "webhooks"
WATCH_S = 0.5
DRAIN_S = 10.0
SETTINGS_SPREAD_S = 2.0


class Worker:
    """Runs until `stop`, then leaves in order."""

    def __init__(self, parts: Parts, delivery: Delivery, targets: Targets, schedule: RetrySchedule) -> None:
        self.shards: dict[int, Shard] = {}
        self._parts = parts
        self._targets = targets
        self._shard_parts = ShardParts(parts.bus, parts.worker, delivery, schedule)
        self._stopping = asyncio.Event()
        self._group: asyncio.TaskGroup | None = None
        self._placement = Placement(
            redis=parts.redis,
            name=PLACEMENT,
            worker=parts.worker,
            partitions=ids.SHARDS,
            on_claim=self._on_claim,
            on_release=self._on_release,
            announce=self._announce,
        )

    async def run(self) -> None:
        """Take shards and work on them until `stop`."""
        async with asyncio.TaskGroup() as self._group:
            await self._parts.bus.nc.subscribe(commands.PLACEMENT_CHANGED, cb=self._on_placement)
            await self._parts.bus.nc.subscribe(commands.ACCOUNTS_CHANGED, cb=self._on_account)
            watching = self._group.create_task(self._watch())
            self._group.create_task(self._placement.run())
            await self._stopping.wait()
            await asyncio.gather(*(shard.drain(DRAIN_S) for shard in self.shards.values()))
            await self._placement.stop()
            watching.cancel()

    def stop(self) -> None:
        """Leave: finish what is in flight, keep all positions, give the shards up."""
        self._stopping.set()

    async def _on_claim(self, partition: int, epoch: int) -> None:
        assert self._group is not None
        if self._stopping.is_set():
            return  # a claim that was under way: the next owner sees that we signed off
        shard = self.shards[partition] = Shard(partition, epoch, self._shard_parts)
        self._group.create_task(shard.run())

    async def _on_release(self, partition: int) -> None:
        if shard := self.shards.pop(partition, None):
            await shard.stop()

    async def _announce(self) -> None:
        await self._parts.bus.say(commands.PLACEMENT_CHANGED)

    async def _on_placement(self, _: Msg) -> None:
        self._placement.changed.set()

    async def _on_account(self, message: Msg) -> None:
        token = message.data.decode(errors="replace")
        self._targets.forget(token)
        if shard := self.shards.get(ids.shard_of(token)):
            shard.wake_lane(token)

    async def _watch(self) -> None:
        """Notice reconnections of the bus and settings that parked lanes have waited for."""
        reconnects, settings = self._reconnects, self._wanted
        while True:
            await asyncio.sleep(WATCH_S)
            if reconnects != self._reconnects:
                reconnects = self._reconnects
                for shard in self.shards.values():
                    shard.on_reconnect()
            if settings != self._wanted:
                settings = self._wanted
                for shard in self.shards.values():
                    shard.wake_lanes(SETTINGS_SPREAD_S)

    @property
    def _reconnects(self) -> int:
        return int(self._parts.bus.nc.stats["reconnects"])

    @property
    def _wanted(self) -> tuple[object, ...]:
        current = self._parts.settings.current
        events = tuple(current.webhook_events or ())
        return (current.effective_webhooks, events, current.webhooks_custom_headers, current.service_secret)
