"""Two workers, and one of them is killed: the other has its accounts within about the lease, and the log is whole."""

import asyncio
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from postbus.common import ids
from postbus.common.accounts import Account, AccountState
from postbus.common.placement import LEASE_MS
from postbus.common.store import keys
from postbus.common.store.client import as_text
from tests.integration.imap_sync.syncing import System, until, until_true

pytestmark = pytest.mark.anyio

ACCOUNTS = 4
SLACK_S = 3.0  # of a busy machine


@asynccontextmanager
async def worker_process(system: System, name: str) -> AsyncIterator[asyncio.subprocess.Process]:
    arguments = ("-m", "tests.integration.imap_sync.one_worker")
    config = system.config
    process = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, config.nats_or_default, config.redis_or_default, name
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def owners(system: System) -> dict[int, str]:
    """Partition → worker, as the leases say."""
    held = await system.parts.redis.hgetall(keys.placement("imap-sync")[1])
    return {int(partition): as_text(lease).partition("|")[0] for partition, lease in held.items()}


async def test_the_accounts_of_a_killed_worker_move_within_its_lease_and_nothing_is_lost_or_repeated(
    system: System,
) -> None:
    """Whoever is started later than the others, or again, finds its share: nobody's accounts get lost (trap 92)."""

    async def shares(*expected: int) -> bool:
        return sorted(Counter((await owners(system)).values()).values()) == sorted(expected)

    async with worker_process(system, "a") as killed, worker_process(system, "b"):
        await until(lambda: shares(128, 128), "both have half of the partitions")
        before, accounts = await owners(system), list[Account]()
        while len(accounts) < ACCOUNTS or len({before[ids.partition_of(account.token)] for account in accounts}) < 2:
            accounts.append(await system.add())
        for account in accounts:
            await system.event(account, "accountInitialized")

        async def deliver(count: int) -> None:
            for account in accounts:
                await system.deliver(account, n=count)

        delivering = asyncio.create_task(deliver(3))
        await until_true(lambda: any(event.event == "messageNew" for event in system.events), "the first mail")
        killed.kill()
        started = time.monotonic()
        await until(lambda: shares(256), "the other one has all partitions")
        assert time.monotonic() - started < LEASE_MS / 1000 + SLACK_S
        await delivering
        await deliver(1)
        for account in accounts:
            await system.event(account, "messageNew", 4)
            await system.in_state(account, AccountState.CONNECTED)
    for account in accounts:
        assert [event.data.uid for event in system.of(account, "messageNew")] == [1, 2, 3, 4]
        assert len(system.of(account, "accountInitialized")) == 1
        assert not system.of(account, "connectError", "authenticationError", "mailboxReset")
    assert not system.repeated()
