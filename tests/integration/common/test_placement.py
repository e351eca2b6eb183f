"""Who owns which partition: shared evenly, taken over after a crash, handed over at a stop, and always fenced."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable

import pytest
from redis.asyncio import Redis

from postbus.common import placement
from postbus.common.errors import Unavailable
from postbus.common.placement import Placement
from postbus.common.store import keys

pytestmark = pytest.mark.anyio

PARTITIONS = 32
LEASE_MS = 900


@pytest.fixture(autouse=True)
def short_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(placement, "LEASE_MS", LEASE_MS)
    monkeypatch.setattr(placement, "BEAT_S", 0.15)
    monkeypatch.setattr(placement, "CLAIM_RETRY_S", 0.05)


class Worker:
    """One worker of the cluster: what it runs now, and all that it ever claimed."""

    def __init__(self, cluster: "Cluster", name: str) -> None:
        self.running: dict[int, int] = {}
        self.claims: list[tuple[int, int]] = []
        self.fail_next_claim = False
        self.slow: set[int] = set()
        self.freed = asyncio.Event()
        self.placement = Placement(
            cluster.redis, "test", name, PARTITIONS, self.on_claim, self.on_release, cluster.announce
        )
        self.task = asyncio.create_task(self.placement.run())

    async def on_claim(self, partition: int, epoch: int) -> None:
        if self.fail_next_claim:
            self.fail_next_claim = False
            raise Unavailable("the store was away for a moment")
        assert partition not in self.running
        self.running[partition] = epoch
        self.claims.append((partition, epoch))

    async def on_release(self, partition: int) -> None:
        if partition in self.slow:
            await self.freed.wait()
        del self.running[partition]

    async def kill(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        self.running.clear()

    async def stop(self) -> None:
        await self.placement.stop()
        await self.task


class Cluster:
    """Several workers on one store; what one announces, all others hear."""

    def __init__(self, redis: Redis) -> None:
        self.redis = redis
        self.workers: dict[str, Worker] = {}

    def add(self, name: str) -> Worker:
        self.workers[name] = Worker(self, name)
        return self.workers[name]

    async def announce(self) -> None:
        for worker in self.workers.values():
            worker.placement.changed.set()

    def owners(self) -> Counter[int]:
        return Counter(partition for worker in self.workers.values() for partition in worker.running)

    async def until(self, condition: Callable[[], bool]) -> float:
        """Wait for the condition; how long it took. Nobody ever shares a partition meanwhile."""
        started = time.monotonic()
        async with asyncio.timeout(10):
            while not condition():
                await asyncio.sleep(0.01)
        return time.monotonic() - started

    async def settle(self) -> float:
        """Wait until everything is owned, evenly."""
        share = PARTITIONS // max(1, len([worker for worker in self.workers.values() if not worker.task.done()]))
        return await self.until(
            lambda: (
                len(self.owners()) == PARTITIONS
                and all(len(worker.running) >= share for worker in self.workers.values() if not worker.task.done())
            )
        )


@pytest.fixture
async def cluster(redis: Redis) -> AsyncIterator[Cluster]:
    made = Cluster(redis)
    yield made
    for worker in made.workers.values():
        if not worker.task.done():
            await worker.kill()


async def test_one_worker_owns_everything_at_once(cluster: Cluster) -> None:
    worker = cluster.add("a")
    assert await cluster.settle() < 2
    assert worker.running == worker.placement.owned


async def test_three_workers_share_and_nobody_has_what_another_has(cluster: Cluster) -> None:
    for name in "abc":
        cluster.add(name)
    await cluster.settle()
    assert max(cluster.owners().values()) == 1
    assert sorted(len(worker.running) for worker in cluster.workers.values()) == [10, 11, 11]


async def test_what_a_killed_worker_had_is_taken_over_after_its_lease(cluster: Cluster) -> None:
    for name in "abc":
        cluster.add(name)
    await cluster.settle()
    lost = dict(cluster.workers["a"].running)
    await cluster.workers["a"].kill()
    took = await cluster.settle()
    assert LEASE_MS / 1000 * 0.5 < took < LEASE_MS / 1000 + 2
    now = cluster.workers["b"].running | cluster.workers["c"].running
    assert all(now[partition] > epoch for partition, epoch in lost.items())


async def test_what_a_worker_had_that_stops_is_taken_over_at_once(cluster: Cluster) -> None:
    for name in "abc":
        cluster.add(name)
    await cluster.settle()
    started = time.monotonic()
    await cluster.workers["a"].stop()
    assert cluster.workers["a"].running == {}
    await cluster.settle()
    assert time.monotonic() - started < LEASE_MS / 1000 * 0.8


async def test_a_worker_that_comes_later_gets_its_share(cluster: Cluster) -> None:
    cluster.add("a")
    await cluster.settle()
    cluster.add("b")
    await cluster.settle()
    assert max(cluster.owners().values()) == 1
    assert {len(worker.running) for worker in cluster.workers.values()} == {16}


async def test_a_worker_that_slept_gives_up_what_others_have_claimed_since(cluster: Cluster, redis: Redis) -> None:
    worker = cluster.add("a")
    await cluster.settle()
    epoch = worker.running[5]
    await redis.hset(keys.placement("test")[1], "5", f"somebody|{epoch + 1}")
    await cluster.until(lambda: worker.running.get(5) != epoch)
    await cluster.until(lambda: 5 in worker.running)
    assert worker.running[5] > epoch + 1


async def test_a_partition_that_could_not_be_started_is_tried_again(cluster: Cluster) -> None:
    worker = cluster.add("a")
    worker.fail_next_claim = True
    await cluster.settle()
    assert worker.running == worker.placement.owned


async def test_stopping_in_the_middle_of_a_step_leaves_nothing_owned(cluster: Cluster, redis: Redis) -> None:
    for delay in (0.0, 0.001, 0.003, 0.01):
        worker = Worker(cluster, f"w{delay}")
        await asyncio.sleep(delay)
        await worker.stop()
        assert worker.running == {} == worker.placement.owned
        assert await redis.zrange(keys.placement("test")[0], 0, -1) == []


async def test_epochs_only_grow_even_when_the_store_has_lost_them(cluster: Cluster, redis: Redis) -> None:
    worker = cluster.add("a")
    await cluster.settle()
    before = dict(worker.running)
    await redis.delete(keys.placement("test")[1])
    await cluster.until(lambda: all(worker.running.get(p, 0) > epoch for p, epoch in before.items()))


async def test_a_store_that_was_away_moves_nothing(redis: Redis, cluster: Cluster) -> None:
    for name in "abc":
        cluster.add(name)
    await cluster.settle()
    before = {name: list(worker.claims) for name, worker in cluster.workers.items()}
    await redis.client_pause(LEASE_MS * 2)
    await cluster.until(lambda: not any(worker.placement.sure for worker in cluster.workers.values()))
    await cluster.until(lambda: all(worker.placement.sure for worker in cluster.workers.values()))
    await asyncio.sleep(LEASE_MS / 1000 * 1.2)  # as long as one that came back first is patient
    await cluster.settle()
    assert {name: worker.claims for name, worker in cluster.workers.items()} == before


async def test_one_that_does_not_come_back_with_the_store_is_taken_over_all_the_same(
    redis: Redis, cluster: Cluster
) -> None:
    for name in "ab":
        cluster.add(name)
    await cluster.settle()
    await redis.client_pause(LEASE_MS * 2)
    await cluster.workers["a"].kill()
    await cluster.settle()
    assert len(cluster.workers["b"].running) == PARTITIONS


async def test_a_partition_that_is_slow_to_close_costs_neither_the_lease_nor_the_others(cluster: Cluster) -> None:
    slow = cluster.add("a")
    await cluster.settle()
    slow.slow = set(range(PARTITIONS))
    next_owner = cluster.add("b")
    await cluster.until(lambda: len(slow.placement.owned) < PARTITIONS)
    slow.slow = {min(set(range(PARTITIONS)) - slow.placement.owned.keys())}
    leaving = set(range(PARTITIONS)) - slow.placement.owned.keys()
    await asyncio.sleep(LEASE_MS / 1000 * 1.5)  # beyond the lease
    assert slow.placement.sure
    assert not next_owner.running
    slow.freed.set()
    await cluster.settle()
    assert set(next_owner.running) == leaving
    assert not slow.claims[PARTITIONS:]


async def test_who_stops_holds_up_nobody_with_what_closes_slowly(cluster: Cluster) -> None:
    slow = cluster.add("a")
    await cluster.settle()
    slow.slow = {0}
    next_owner = cluster.add("b")
    stopping = asyncio.create_task(slow.stop())
    assert await cluster.until(lambda: len(next_owner.running) == PARTITIONS) < LEASE_MS / 1000
    assert set(slow.running) == {0}
    assert not slow.placement.sure
    slow.freed.set()
    await stopping
    assert not slow.running
