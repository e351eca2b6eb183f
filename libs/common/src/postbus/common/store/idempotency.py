"""Idempotency keys of submissions: the same key means the same message, accepted once, for 24 hours.

A key is claimed with the queue id that its submission will have, before anything is put on the bus. Whoever finds a
claim without an answer, because its owner died or does not know whether the bus has it, does the work again under the
same queue id, and the sender delivers a queue id once. Failures that leave nothing behind are forgotten.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final
from uuid import uuid4

import structlog
from redis.asyncio import Redis

from postbus.common.accounts import Account
from postbus.common.errors import Conflict, DeadlineExceeded, PostbusError
from postbus.common.store import keys
from postbus.common.store.client import Script, as_text
from postbus.common.times import now

log = structlog.get_logger()

MAX_KEY: Final = 1024  # characters
KEPT_S: Final = 24 * 3600
HELD_S: Final = 15.0  # so long a claim keeps others waiting; taking over earlier would be safe, only in vain
POLL_S: Final = 0.05

# KEYS: claim. ARGV: fingerprint, queue id, owner, now (ms), held (ms), kept (s)
_CLAIM = Script("""
local c = redis.call('HMGET', KEYS[1], 'print', 'queue', 'answer', 'owner', 'since')
if c[1] and c[1] ~= ARGV[1] then return {'other', '', ''} end
if c[3] then return {'answered', c[2], c[3]} end
if c[1] and c[4] ~= ARGV[3] and tonumber(c[5]) + tonumber(ARGV[5]) > tonumber(ARGV[4]) then return {'busy', '', ''} end
local queue = c[2] or ARGV[2]
redis.call('HSET', KEYS[1], 'print', ARGV[1], 'queue', queue, 'owner', ARGV[3], 'since', ARGV[4])
redis.call('EXPIRE', KEYS[1], ARGV[6])
return {'mine', queue, ''}
""")
# KEYS: claim. ARGV: owner, what to do, answer, kept (s)
_END = Script("""
local c = redis.call('HMGET', KEYS[1], 'owner', 'answer')
if c[1] ~= ARGV[1] or c[2] then return 0 end
if ARGV[2] == 'answer' then
  redis.call('HSET', KEYS[1], 'answer', ARGV[3])
  redis.call('EXPIRE', KEYS[1], ARGV[4])
elseif ARGV[2] == 'release' then
  redis.call('HSET', KEYS[1], 'since', '0')
else
  redis.call('DEL', KEYS[1])
end
return 1
""")


@dataclass(frozen=True, slots=True)
class Asked:
    """A submission with a key. `fingerprint` tells one message from another; `wait_s` for who has the same key."""

    key: str
    fingerprint: bytes
    wait_s: float


async def once(
    redis: Redis, account: Account, asked: Asked, queue_id: str, work: Callable[[str], Awaitable[str]]
) -> tuple[str, bool]:
    """The answer of `work(queue id)`, and whether it was given before, to an earlier call with the same key.

    Conflict where the key was used for another message; DeadlineExceeded where somebody else is still at it;
    Unavailable when the store is away, before anything has happened; what `work` raises.
    """
    digest = hashlib.sha256(f"{account.born_as}\0{asked.key}".encode()).hexdigest()
    name, owner = keys.idempotency(account.token, digest), uuid4().hex
    claimed, answer = await _claim(redis, name, owner, asked, queue_id)
    if answer:
        return answer, True
    try:
        answer = await work(claimed)
    except PostbusError as error:
        await _end(redis, name, owner, "release" if _may_have_happened(error) else "forget")
        raise
    except BaseException:
        await _end(redis, name, owner, "release")
        raise
    await _end(redis, name, owner, "answer", answer)
    return answer, False


async def _claim(redis: Redis, name: str, owner: str, asked: Asked, queue_id: str) -> tuple[str, str]:
    """The queue id to work under, or the answer that exists."""
    print_ = hashlib.sha256(asked.fingerprint).hexdigest()
    end = asyncio.get_running_loop().time() + asked.wait_s
    while True:
        now_ms = int(now().timestamp() * 1000)
        args: list[str | bytes | int] = [print_, queue_id, owner, now_ms, int(HELD_S * 1000), KEPT_S]
        state, queue, answer = map(as_text, await _CLAIM.run(redis, [name], args))
        if state == "other":
            raise Conflict("The idempotency key was used for another message", code="IdempotencyKeyReused")
        if state != "busy":
            return queue, answer
        if asyncio.get_running_loop().time() >= end:
            raise DeadlineExceeded("A submission with the same idempotency key is under way")
        await asyncio.sleep(POLL_S)


async def _end(redis: Redis, name: str, owner: str, how: str, answer: str = "") -> None:
    """Say how it went. Where the store is away the claim runs out, and the next one works under the same queue id."""
    try:
        await _END.run(redis, [name], [owner, how, answer, KEPT_S])
    except PostbusError as error:
        log.warning("idempotency key not settled", reason=error.message)


def _may_have_happened(error: PostbusError) -> bool:
    """Whether the bus may have the submission although we were not told so."""
    return error.retriable and error.code != "QueueFull"
