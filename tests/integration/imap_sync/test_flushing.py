"""`flush`: the index is forgotten and built again, in silence; nothing is lost, nothing is told twice."""

import asyncio
from collections.abc import AsyncIterator, Container, Iterator
from contextlib import suppress
from datetime import timedelta
from itertools import count, islice
from typing import Any
from uuid import uuid4

import pytest

from postbus.common import commands, ids
from postbus.common.accounts import Account, AccountState
from postbus.common.bus import rpc
from postbus.common.commands import FlushAccount
from postbus.common.errors import Busy, NotFound, PostbusError
from postbus.common.store import keys
from postbus.common.times import now
from postbus.imap_sync.state.flush import flush_account
from tests.integration.imap_sync.syncing import System, until, until_true
from tests.integration.imap_sync.test_worker_crash import crashing_worker, server_view, steady

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
async def nobody_flushes(system: System) -> AsyncIterator[None]:
    """The lock is one for the whole store, which these tests share with others."""
    await system.parts.redis.delete(keys.FLUSH)
    yield
    await system.parts.redis.delete(keys.FLUSH)


async def flush(
    system: System, account: Account, flush_id: str = "f1", deadline_s: float = 15.0, **options: Any
) -> None:
    command = FlushAccount(account=account.record.account, flush_id=flush_id, **options)
    subject = commands.owner_subject(ids.account_token(command.account), "flush")
    assert await rpc.call(system.parts.bus, subject, command, deadline_s=deadline_s) == b"{}"


async def current(system: System, account: Account) -> Account:
    return await system.parts.accounts.get(account.record.account)


async def fence(system: System, account: Account) -> int:
    """The epoch of the last owner."""
    return int(await system.parts.redis.hget(keys.account(account.token), "fence") or 0)


def announced(system: System, account: Account) -> list[int]:
    return [event.data.uid for event in system.of(account, "messageNew")]


async def indexed(system: System, account: Account, messages: int) -> None:
    async def whole() -> bool:
        row = await system.mailbox(account, "INBOX")
        return row is not None and row.synced and row.messages == messages

    await until(whole, f"{messages} messages are indexed")


async def test_the_index_is_built_again_in_silence(any_system: System) -> None:
    await any_system.parts.redis.delete(keys.FLUSH)
    await any_system.start()
    account = await any_system.connected()
    await any_system.deliver(account, n=3)
    await any_system.event(account, "messageNew", 3)
    before = await any_system.mailbox(account, "INBOX")
    await flush(any_system, account)
    await any_system.event(account, "accountInitialized", 2)
    after = await any_system.mailbox(account, "INBOX")
    assert before is not None
    assert after is not None
    assert (after.number, after.messages, after.synced, after.dealt_with) == (before.number, 3, True, 0)
    again = await current(any_system, account)
    assert again.generation != account.generation
    assert again.born_as == account.born_as
    assert again.record.notify_from is not None
    assert now() - again.record.notify_from < timedelta(minutes=1)
    resets = any_system.of(account, "mailboxReset")
    assert {(event.path, event.data.reason) for event in resets} >= {("INBOX", "syncStateLost")}
    await any_system.deliver(account)
    await any_system.event(account, "messageNew", 4)
    assert announced(any_system, account) == [1, 2, 3, 4]
    assert not any_system.repeated()


async def test_mail_that_comes_while_an_account_is_flushed_is_announced_once(system: System) -> None:
    await system.start()
    account = await system.connected()

    async def deliver() -> None:
        for _ in range(25):
            await system.deliver(account)

    delivering = asyncio.create_task(deliver())
    for name in ("f1", "f2", "f3"):
        await until_true(lambda: len(announced(system, account)) >= 2, "some mail")
        await flush(system, account, name)
        await system.event(account, "accountInitialized", int(name[1]) + 1)
    await delivering
    await system.event(account, "messageNew", 25)
    assert sorted(announced(system, account)) == list(range(1, 26))


async def test_mail_since_a_date_is_announced_again(system: System) -> None:
    await system.start()
    account = await system.connected()
    await system.deliver(account, n=2)
    await system.event(account, "messageNew", 2)
    await flush(system, account, from_now=False, notify_from=now() - timedelta(minutes=5))
    await system.event(account, "messageNew", 4)
    assert announced(system, account) == [1, 2, 1, 2]
    assert not system.repeated()


async def test_mail_that_was_not_told_yet_is_told_after_a_flush(system: System) -> None:
    first = await system.start()
    account = await system.connected()
    await system.deliver(account)
    await system.event(account, "messageNew")
    await first.stop()
    await system.deliver(account, n=2)
    command = FlushAccount(account=account.record.account, flush_id="f1")
    await flush_account(system.parts.redis, system.parts.accounts, command, await fence(system, account))
    await system.start("w2")
    await system.event(account, "messageNew", 3)
    assert announced(system, account) == [1, 2, 3]


async def test_a_flush_is_done_once_however_often_it_is_asked_for(system: System) -> None:
    await system.start()
    account = await system.connected()
    await flush(system, account)
    generation = (await current(system, account)).generation
    await flush(system, account)
    assert (await current(system, account)).generation == generation


async def test_one_account_is_flushed_at_a_time(system: System) -> None:
    await system.start()
    account, other = await system.connected(), await system.connected()
    await system.parts.redis.set(keys.FLUSH, "somebody", px=20_000)
    with pytest.raises(Busy) as refused:
        await flush(system, account)
    assert refused.value.code == "LockFail"
    assert 0 < refused.value.details["ttl"] <= 20
    assert (await current(system, account)).generation == account.generation
    await system.parts.redis.pexpire(keys.FLUSH, 1)  # who held it died

    async def done() -> bool:
        return not await system.parts.redis.exists(keys.FLUSH)

    await until(done, "the lease is over")
    await flush(system, account)
    await until(done, "the flush is over")
    await flush(system, other, "f2")


def names_in(partitions: Container[int]) -> Iterator[str]:
    """New names of accounts that belong to these partitions."""
    names = (f"u{uuid4().hex[:10]}" for _ in count())
    return (name for name in names if ids.partition_of(ids.account_token(name)) in partitions)


async def test_the_owner_flushes_whichever_worker_that_is(system: System) -> None:
    first, second = await system.start("w1"), await system.start("w2")
    await until_true(lambda: len(first.worker.placement.owned) == len(second.worker.placement.owned) == 128, "shared")
    names = [name for running in (first, second) for name in islice(names_in(running.worker.placement.owned), 3)]
    accounts = [await system.connected(user=f"{name}@example.test") for name in names]
    assert first.worker.runners
    assert second.worker.runners
    for number, account in enumerate(accounts):
        await system.deliver(account)
        await system.event(account, "messageNew")
        await system.parts.redis.delete(keys.FLUSH)
        await flush(system, account, f"f{number}")
        await system.deliver(account)
    for account in accounts:
        await system.event(account, "messageNew", 2)
        await system.event(account, "accountInitialized", 2)
        assert announced(system, account) == [1, 2]
    assert not system.repeated()


async def test_an_unknown_account_can_not_be_flushed(system: System) -> None:
    await system.start()
    account = await system.connected()
    ghost = Account("nobody", account.record.model_copy(update={"account": "nobody"}), account.generation, 1)
    with pytest.raises(NotFound):
        await flush(system, ghost)


async def test_an_account_without_a_connection_is_flushed_too(system: System) -> None:
    await system.start()
    account = await system.add(password="wrong")
    await system.in_state(account, AccountState.AUTHENTICATION_ERROR)
    await flush(system, account)
    assert (await current(system, account)).generation != account.generation


async def test_events_that_wait_survive_a_flush(system: System) -> None:
    """What was committed before is told under its old id, whenever that may be."""
    first = await system.start()
    account = await system.connected()
    await first.stop()
    waiting = await system.parts.redis.llen(keys.outbox(account.token))
    await system.parts.redis.rpush(keys.outbox(account.token), b"not an event")
    command = FlushAccount(account=account.record.account, flush_id="f1")
    await flush_account(system.parts.redis, system.parts.accounts, command, await fence(system, account))
    assert await system.parts.redis.llen(keys.outbox(account.token)) == waiting + 1
    assert await system.parts.redis.keys(f"ee:{{{account.token}}}:ix:*") == []
    assert await system.parts.redis.hlen(keys.numbers(account.token)) > 0


async def test_a_worker_that_is_killed_anywhere_around_a_flush_loses_nothing_and_tells_nothing_twice(
    system: System,
) -> None:
    account = await system.add(notify_from=now() - timedelta(minutes=10))

    async def keep_flushing() -> None:
        for turn in range(100):
            await system.deliver(account)
            with suppress(PostbusError):
                await flush(system, account, f"flush {turn}", deadline_s=3.0)
            await system.parts.redis.delete(keys.FLUSH)  # the holder may have died, and the test does not wait for it

    async def flushed() -> bool:
        """A command that a worker takes to its grave is never answered."""
        with suppress(PostbusError):
            await flush(system, account, "the last", deadline_s=3.0)
            return True
        return False

    async with crashing_worker(system, crashes=8, seed=5) as process:
        flushing = asyncio.create_task(keep_flushing())
        await steady(process)
        flushing.cancel()
        await asyncio.wait([flushing])
        await system.parts.redis.delete(keys.FLUSH)
        before = len(system.of(account, "accountInitialized"))
        await until(flushed, "one more flush")
        await system.event(account, "accountInitialized", before + 1)
        await system.deliver(account)
        expected = len(await asyncio.to_thread(server_view, system, account))
        await system.event(account, "messageNew", expected)
        await indexed(system, account, expected)
    assert sorted(announced(system, account)) == list(range(1, expected + 1))
