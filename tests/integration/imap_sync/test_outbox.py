"""From the outbox into the log: read from the store only where the last commit is not all there is, and never stuck."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from uuid import UUID

import pytest

from postbus.common.accounts import AccountRecord
from postbus.common.bus.connection import Bus, BusAddress, connect_bus
from postbus.common.bus.streams import EVENTS, migrate_streams
from postbus.common.events import AccountAdded, AccountInfo, Envelope, seal_event
from postbus.common.store import keys
from postbus.common.store.accounts import AccountStore, new_generation
from postbus.common.store.client import connect_store
from postbus.common.store.stats import Stats
from postbus.imap_sync.outbox import Outbox
from postbus.imap_sync.state.commit import Commit
from postbus.imap_sync.state.store import Entries, SyncStore

pytestmark = pytest.mark.anyio

TOKEN = "acct"
EPOCH = 1_795_000_000_000


def event(number: int) -> Envelope:
    happened = AccountAdded(account=TOKEN, data=AccountInfo(account=TOKEN))
    return seal_event(happened, UUID(int=1), number)


class WatchedStore(SyncStore):
    """Counts what is read; `overtaken` are events whose commit is answered before the trim that ran first."""

    reads = 0
    overtaken: list[Envelope] = []  # noqa: RUF012

    async def read_outbox(self, token: str, count: int) -> Entries | None:
        self.reads += 1
        return await super().read_outbox(token, count)

    async def trim_outbox(self, token: str, epoch: int, entries: Entries) -> int:
        left = await super().trim_outbox(token, epoch, entries)
        events, self.overtaken = self.overtaken, []
        if events:
            await self.desk.put(events)
        return left

    desk: "Desk"


@dataclass
class Desk:
    """An account of this worker, whose commits wake its outbox."""

    store: WatchedStore
    bus: Bus
    generation: UUID
    outbox: Outbox
    commits: list[str] = field(default_factory=lambda: [""])

    async def put(self, events: list[Envelope]) -> None:
        before, name = self.commits[-1], f"commit {len(self.commits)}"
        waiting = await self.store.commit(TOKEN, EPOCH, self.generation, before, name, Commit(events=events))
        self.commits.append(name)
        self.outbox.wake(waiting, events)

    async def published(self) -> list[str]:
        async with asyncio.timeout(10):
            await self.outbox.drained()
        count = (await self.bus.js.stream_info(EVENTS)).state.messages
        found = [await self.bus.js.get_msg(EVENTS, seq=number, direct=True) for number in range(1, count + 1)]
        return [(message.headers or {})["Ee-Event-Id"] for message in found]


@pytest.fixture
async def desk(nats_url: str, redis_url: str) -> AsyncIterator[Desk]:
    redis, bus = connect_store(redis_url), await connect_bus(BusAddress(nats_url), service="test")
    await migrate_streams(bus)
    generation = new_generation()
    await AccountStore(redis).create(AccountRecord(account=TOKEN), {}, event(0), generation)
    await redis.delete(keys.outbox(TOKEN))
    store = WatchedStore(redis)
    await store.take(TOKEN, EPOCH)
    outbox = Outbox(store, bus, Stats(redis), TOKEN, EPOCH, lambda _: None)
    store.desk = Desk(store, bus, generation, outbox)
    yield store.desk
    outbox.close()
    await bus.close()
    await redis.aclose()


def ids(*numbers: int) -> list[str]:
    return [str(event(number).event_id) for number in numbers]


async def test_what_a_commit_puts_into_an_empty_outbox_is_not_read_back(desk: Desk) -> None:
    await desk.put([event(1), event(2)])
    assert await desk.published() == ids(1, 2)
    await desk.put([event(3)])
    assert await desk.published() == ids(1, 2, 3)
    assert desk.store.reads == 0


async def test_what_was_left_before_is_published_first(desk: Desk) -> None:
    await desk.store.commit(TOKEN, EPOCH, desk.generation, "", "earlier", Commit(events=[event(1)]))
    desk.commits.append("earlier")
    await desk.put([event(2)])
    assert await desk.published() == ids(1, 2)


async def test_a_commit_that_is_answered_before_an_earlier_trim_is_not_forgotten(desk: Desk) -> None:
    desk.store.overtaken = [event(2), event(3)]
    await desk.put([event(1)])
    assert await desk.published() == ids(1, 2, 3)


async def test_events_committed_while_others_are_on_their_way_follow_them(desk: Desk) -> None:
    for number in range(1, 9):
        await desk.put([event(number)])
    assert await desk.published() == ids(*range(1, 9))
