"""One flush at a time in the whole installation: a lock in the store that ends by itself when its holder dies."""

from __future__ import annotations

import math

from redis.asyncio import Redis

from postbus.common.errors import Busy
from postbus.common.store import keys
from postbus.common.store.client import Script

LEASE_S = 30.0  # at most so long one flush keeps others from starting

# KEYS: lock. ARGV: name of the flush, lease (ms). Returns 0 when it is held, else how long somebody else may have it.
_TAKE = Script("""
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return math.max(redis.call('PTTL', KEYS[1]), 1) end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 0
""")
_GIVE = Script("""
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
""")


async def take_flush_lock(redis: Redis, flush_id: str, lease_s: float = LEASE_S) -> None:
    """Take it, or keep it if this flush has it already; Busy `LockFail` with the seconds to wait in `ttl`."""
    left_ms = int(await _TAKE.run(redis, [keys.FLUSH], [flush_id, int(lease_s * 1000)]))
    if left_ms:
        raise Busy("Another account is being flushed, try again", code="LockFail", ttl=math.ceil(left_ms / 1000))


async def give_flush_lock(redis: Redis, flush_id: str) -> None:
    """Let others flush, if this flush still has it."""
    await _GIVE.run(redis, [keys.FLUSH], [flush_id])
