"""The same key means the same message, accepted once; whatever dies meanwhile (trap 64)."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from postbus.common.accounts import Account, AccountRecord
from postbus.common.errors import BadInput, Conflict, DeadlineExceeded, Unavailable
from postbus.common.store import idempotency
from postbus.common.store.accounts import new_generation
from postbus.common.store.client import connect_store
from postbus.common.store.idempotency import Asked, once

pytestmark = pytest.mark.anyio


def account(born_as: str = "first") -> Account:
    return Account("anna", AccountRecord(account="anna"), new_generation(), 0, born_as=born_as)


def asked(key: str = "key", message: bytes = b"message", wait_s: float = 5.0) -> Asked:
    return Asked(key, message, wait_s)


class Work:
    """Remembers under which queue ids it was done; waits, or fails, where a test says so."""

    def __init__(self, *failures: BaseException) -> None:
        self.queue_ids: list[str] = []
        self.failures = list(failures)
        self.begun = asyncio.Event()
        self.may_end = asyncio.Event()
        self.may_end.set()

    async def __call__(self, queue_id: str) -> str:
        self.queue_ids.append(queue_id)
        self.begun.set()
        await self.may_end.wait()
        if self.failures:
            raise self.failures.pop(0)
        return f"queued as {queue_id}"


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    store = connect_store(redis_url)
    yield store
    await store.aclose()


async def test_the_second_call_gets_the_first_answer(redis: Redis) -> None:
    work = Work()
    assert await once(redis, account(), asked(), "q1", work) == ("queued as q1", False)
    assert await once(redis, account(), asked(), "q2", work) == ("queued as q1", True)
    assert work.queue_ids == ["q1"]


async def test_another_message_another_key_and_another_account_are_told_apart(redis: Redis) -> None:
    work = Work()
    await once(redis, account(), asked(), "q1", work)
    with pytest.raises(Conflict):
        await once(redis, account(), asked(message=b"other"), "q2", work)
    assert await once(redis, account(), asked("other key"), "q3", work) == ("queued as q3", False)
    assert await once(redis, account("a later one of that id"), asked(), "q4", work) == ("queued as q4", False)


async def test_calls_at_the_same_time_wait_for_the_first(redis: Redis) -> None:
    work = Work()
    work.may_end.clear()
    calls = [asyncio.create_task(once(redis, account(), asked(), f"q{n}", work)) for n in range(5)]
    await work.begun.wait()
    await asyncio.sleep(0.2)
    assert len(work.queue_ids) == 1
    work.may_end.set()
    answers = await asyncio.gather(*calls)
    assert len({answer for answer, _ in answers}) == 1
    assert sorted(again for _, again in answers) == [False, True, True, True, True]


async def test_who_waits_in_vain_is_told_so(redis: Redis) -> None:
    work = Work()
    work.may_end.clear()
    first = asyncio.create_task(once(redis, account(), asked(), "q1", work))
    await work.begun.wait()
    with pytest.raises(DeadlineExceeded):
        await once(redis, account(), asked(wait_s=0.1), "q2", work)
    work.may_end.set()
    await first


async def test_a_failure_that_left_nothing_behind_is_forgotten(redis: Redis) -> None:
    work = Work(BadInput("no"), Unavailable("full", code="QueueFull"))
    for queue_id, failure in (("q1", BadInput), ("q2", Unavailable)):
        with pytest.raises(failure):
            await once(redis, account(), asked(), queue_id, work)
    assert await once(redis, account(), asked(message=b"other"), "q3", work) == ("queued as q3", False)


@pytest.mark.parametrize("failure", [Unavailable("bus away", code="BusUnavailable"), asyncio.CancelledError()])
async def test_what_may_have_happened_is_done_again_under_the_same_queue_id(
    redis: Redis, failure: BaseException
) -> None:
    work = Work(failure)
    with pytest.raises(type(failure)):
        await once(redis, account(), asked(), "q1", work)
    assert await once(redis, account(), asked(), "q2", work) == ("queued as q1", False)


async def test_the_claim_of_a_dead_process_is_taken_over_under_the_same_queue_id(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(idempotency, "HELD_S", 0.3)
    dead = Work()
    dead.may_end.clear()
    dying = asyncio.create_task(once(redis, account(), asked(), "q1", dead))
    await dead.begun.wait()
    work = Work()
    assert await once(redis, account(), asked(), "q2", work) == ("queued as q1", False)
    dead.may_end.set()  # it was not dead: both did the same
    assert (await dying)[0] == "queued as q1"
    assert await once(redis, account(), asked(), "q3", work) == ("queued as q1", True)


async def test_keys_are_kept_for_a_day(redis: Redis) -> None:
    await once(redis, account(), asked(), "q1", Work())
    (name,) = [name async for name in redis.scan_iter("ee:{anna}:idem:*")]
    assert 86_000 < await redis.ttl(name) <= 86_400
