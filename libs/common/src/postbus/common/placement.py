"""Who owns which partition: leases with epochs in the store, one script a step (design, section 6).

A plan that every worker computes alike from the live members says who *should* own a partition; the lease says who
*does*. Every write of state is fenced by the epoch of the lease, so safety rests on the store's order, not on clocks.
A worker that can't reach the store keeps what it has and gives up only what somebody else has claimed since; when the
store is back, the others get a lease time to say that they live before anybody takes what was theirs.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from math import inf

import structlog
from redis.asyncio import Redis

from postbus.common.errors import Unavailable
from postbus.common.store import keys
from postbus.common.store.client import Script, Value, as_text, store_errors

log = structlog.get_logger()

LEASE_MS = 3_000
BEAT_S = 0.6
SHORTEST_BEAT_S = 0.05
CLAIM_RETRY_S = 0.25

# KEYS: members, own. ARGV: worker, lease ms. Returns the live members, each followed by how many ms it is sure to live.
_BEAT = Script("""
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
redis.call('ZADD', KEYS[1], now + tonumber(ARGV[2]), ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - 60000)
local found = redis.call('ZRANGEBYSCORE', KEYS[1], now, '+inf', 'WITHSCORES')
for i = 2, #found, 2 do found[i] = string.format('%.0f', tonumber(found[i]) - now) end
return found
""")
# ARGV: worker, 0 to spare also what dead workers hold, partition ... Returns the epoch of each, -1 where it is held.
_CLAIM = Script("""
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local result = {}
for i = 3, #ARGV do
  local held = redis.call('HGET', KEYS[2], ARGV[i]) or '|0'
  local owner, epoch = string.match(held, '^(.-)|(%d+)$')
  local expiry = tonumber(redis.call('ZSCORE', KEYS[1], owner) or '0')
  if owner == ARGV[1] then result[#result + 1] = tonumber(epoch)
  elseif owner ~= '' and (expiry >= now or ARGV[2] == '0') then result[#result + 1] = -1
  else
    local fresh = math.max(tonumber(epoch) + 1, now)
    redis.call('HSET', KEYS[2], ARGV[i], ARGV[1] .. '|' .. string.format('%.0f', fresh))
    result[#result + 1] = fresh
  end
end
return result
""")
# ARGV: worker, (partition, epoch) ... The owner is blanked, the epoch stays.
_RELEASE = Script("""
for i = 2, #ARGV, 2 do
  if redis.call('HGET', KEYS[2], ARGV[i]) == ARGV[1] .. '|' .. ARGV[i + 1] then
    redis.call('HSET', KEYS[2], ARGV[i], '|' .. ARGV[i + 1])
  end
end
return 1
""")

OnClaim = Callable[[int, int], Awaitable[None]]
OnRelease = Callable[[int], Awaitable[None]]


def plan_owners(members: Sequence[str], partitions: int) -> dict[int, str]:
    """Partition → worker: rendezvous hashing with a cap, so that loads differ by one at most and moves are few."""
    if not members:
        return {}
    capacity = -(-partitions // len(members))
    load = dict.fromkeys(members, 0)
    plan = {}
    for partition in range(partitions):
        ranked = sorted(members, key=lambda worker: _score(worker, partition), reverse=True)
        plan[partition] = owner = next(worker for worker in ranked if load[worker] < capacity)
        load[owner] += 1
    return plan


@dataclass(slots=True)
class Placement:
    """One worker's part in the protocol: `run` keeps it, `on_claim(partition, epoch)` and `on_release(partition)` act.

    `changed` is set from outside when another worker says that it released something.
    """

    redis: Redis
    name: str
    worker: str
    partitions: int
    on_claim: OnClaim
    on_release: OnRelease
    announce: Callable[[], Awaitable[None]]
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    owned: dict[int, int] = field(default_factory=dict)
    _stopping: bool = field(default=False)
    _busy: asyncio.Lock = field(default_factory=asyncio.Lock)  # one step at a time, and the last one is `stop`
    _plan_of: tuple[str, ...] = field(default=())
    _plan: dict[int, str] = field(default_factory=dict)
    _beat_at: float | None = field(default=None)  # when the last beat that counted was sent
    _patient_until: float = field(default=0.0)
    _first_end: float = field(default=0.0)  # when the first of the others may be dead, unless it beats again

    @property
    def sure(self) -> bool:
        """Whether nobody else can have claimed what we own: the last beat is younger than the lease."""
        return self._beat_at is not None and time.monotonic() - self._beat_at < LEASE_MS / 1000

    async def run(self) -> None:
        """Take and give partitions until `stop`; a store that is away changes nothing."""
        while not self._stopping:
            started = time.monotonic()
            until = started + BEAT_S
            try:
                async with self._busy:
                    if not self._stopping and await self._step():
                        until = started + CLAIM_RETRY_S
                    until = min(until, max(self._first_end, started + SHORTEST_BEAT_S))
            except Unavailable as error:
                log.warning("placement can't reach the store", error=error.message)
            await self._sleep(max(0.0, until - time.monotonic()))

    async def stop(self) -> None:
        """Give everything up in order: close, release, say so. The next owner waits for no laggard."""
        self._stopping = True
        self.changed.set()
        async with self._busy:
            closing = asyncio.ensure_future(self._give_up(list(self.owned)))
            await asyncio.wait([closing], timeout=BEAT_S)
            await self._sign_off()
            await self.announce()
            await closing

    async def _sign_off(self) -> None:
        self._beat_at = None
        members, _ = keys.placement(self.name)
        try:
            async with store_errors():
                await self.redis.zrem(members, self.worker)
        except Unavailable as error:
            log.warning("placement could not sign off", error=error.message)

    async def _step(self) -> bool:
        """One beat; True when there is something we should own and do not yet."""
        if self._stopping:
            return False
        members = await self._beat()
        if members != self._plan_of:
            self._plan_of, self._plan = members, plan_owners(members, self.partitions)
        await self._drop_lost()
        patient = time.monotonic() < self._patient_until
        mine = {partition for partition, worker in self._plan.items() if worker == self.worker}
        if not patient and (surplus := [partition for partition in self.owned if partition not in mine]):
            await self._give_up(surplus)
            await self.announce()
        wanted = sorted(mine - self.owned.keys())
        if wanted and not self._stopping:
            args: list[Value] = [self.worker, int(not patient), *wanted]
            epochs = await _CLAIM.run(self.redis, keys.placement(self.name), args)
            for partition, epoch in zip(wanted, epochs, strict=True):
                if epoch >= 0:
                    await self._take(partition, int(epoch))
        return bool(mine - self.owned.keys())

    async def _beat(self) -> tuple[str, ...]:
        """Say that we live, and hear who else does.

        Where we could not say so for a whole lease, others could not either: they get as long to come back.
        """
        at = time.monotonic()
        beat = await _BEAT.run(self.redis, keys.placement(self.name), [self.worker, LEASE_MS])
        if self._beat_at is not None and not self.sure:
            self._patient_until = time.monotonic() + LEASE_MS / 1000
        self._beat_at = at
        left = {as_text(raw): (int(ms) + 1) / 1000 for raw, ms in zip(beat[::2], beat[1::2], strict=True)}
        self._first_end = time.monotonic() + min(
            (s for worker, s in left.items() if worker != self.worker), default=inf
        )
        return tuple(sorted(left))

    async def _take(self, partition: int, epoch: int) -> None:
        """Start with a partition; one that could not be started is not owned, and is tried again in the next step."""
        self.owned[partition] = epoch
        try:
            await self.on_claim(partition, epoch)
        except Unavailable:
            del self.owned[partition]
            raise

    async def _drop_lost(self) -> None:
        """Close what somebody else has claimed while we were away."""
        if not self.owned:
            return
        partitions = sorted(self.owned)
        async with store_errors():
            held = await self.redis.hmget(keys.placement(self.name)[1], [str(partition) for partition in partitions])
        lost = [
            partition
            for partition, raw in zip(partitions, held, strict=True)
            if raw is None or as_text(raw) != f"{self.worker}|{self.owned[partition]}"
        ]
        if lost:
            log.warning("partitions lost", count=len(lost))
            await self._give_up(lost)

    async def _give_up(self, partitions: Sequence[int]) -> None:
        """Close these, and release each once it is closed: a slow one costs neither the others nor our lease."""
        epochs = {partition: self.owned.pop(partition) for partition in partitions}
        tasks = {asyncio.ensure_future(self.on_release(partition)): partition for partition in partitions}
        closing = set(tasks)
        try:
            while closing:
                done, closing = await asyncio.wait(closing, timeout=BEAT_S, return_when=asyncio.FIRST_COMPLETED)
                await self._release({tasks[task]: epochs[tasks[task]] for task in done})
                await self._keep_beating()
        finally:
            for task in closing:
                task.cancel()
        for task in tasks:
            task.result()

    async def _release(self, epochs: dict[int, int]) -> None:
        if not epochs:
            return
        held = [str(part) for pair in epochs.items() for part in pair]
        try:
            await _RELEASE.run(self.redis, keys.placement(self.name), [self.worker, *held])
        except Unavailable as error:
            log.warning("partitions could not be released", error=error.message)

    async def _keep_beating(self) -> None:
        if self._stopping or (self._beat_at is not None and time.monotonic() - self._beat_at < BEAT_S):
            return
        try:
            await self._beat()
        except Unavailable as error:
            log.warning("placement can't reach the store", error=error.message)

    async def _sleep(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self.changed.wait()
        except TimeoutError:
            return
        if not self._stopping:
            self.changed.clear()


def _score(worker: str, partition: int) -> int:
    return int.from_bytes(hashlib.blake2b(f"{worker}/{partition}".encode(), digest_size=8).digest())
