"""A worker that is killed anywhere loses nothing and tells nothing twice: the log has each event once."""

import asyncio
import random
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from postbus.common.accounts import Account
from tests.integration.imap_sync.syncing import System, until, until_true

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def crashing_worker(system: System, crashes: int, seed: int) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.integration.imap_sync.crashing_worker",
        system.config.nats_or_default,
        system.config.redis_or_default,
        str(crashes),
        str(seed),
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        process.terminate()
        await process.wait()


async def steady(process: asyncio.subprocess.Process) -> None:
    """Return when all crashes are over."""
    assert process.stdout is not None
    async with asyncio.timeout(240):
        while line := await process.stdout.readline():
            if line == b"steady\n":
                return
    raise AssertionError("the worker ended")


async def disturb(system: System, account: Account, draw: random.Random) -> None:
    """One thing that happens in the INBOX."""
    if draw.random() < 0.5:
        await system.deliver(account, n=draw.randint(1, 3))
        return

    def act(client: Any) -> None:
        uids = client.uid("SEARCH", None, "ALL")[1][0].split()
        for uid in draw.sample(uids, min(2, len(uids))):
            client.uid("STORE", uid, draw.choice(["FLAGS", "+FLAGS"]), draw.choice(["(\\Flagged)", "(\\Seen)", "(x)"]))
        if uids and draw.random() < 0.3:
            client.uid("STORE", draw.choice(uids), "+FLAGS", "(\\Deleted)")
            client.expunge()

    await system.imap(account, act)


def server_view(system: System, account: Account) -> dict[int, frozenset[str]]:
    client = system.mail.imap_client(f"{account.record.account}@example.test", port=system.mail.info["imap_direct"])
    client.select("INBOX", readonly=True)
    found = client.uid("FETCH", "1:*", "(FLAGS)")[1]
    client.logout()
    rows = [row.decode() for row in found if row]
    return {int(row.split("UID ")[1].split()[0].rstrip(")")): flags_in(row) for row in rows}


def flags_in(row: str) -> frozenset[str]:
    return frozenset(row.split("FLAGS (")[1].split(")")[0].split()) - {"\\Recent"}


def told_view(system: System, account: Account) -> dict[int, frozenset[str]]:
    """What somebody who only reads the events believes; fails where they contradict each other."""
    view: dict[int, frozenset[str]] = {}
    for event in system.of(account, "messageNew", "messageUpdated", "messageDeleted"):
        if event.path != "INBOX":
            continue
        uid = event.data.uid
        match event.event:
            case "messageNew":
                assert uid not in view, f"{uid} was announced twice"
                view[uid] = frozenset(event.data.flags)
            case "messageUpdated":
                changes = event.data.changes.flags
                assert view[uid] | set(changes.added or ()) == view[uid] ^ set(changes.added or ())
                view[uid] = frozenset(changes.value)
            case "messageDeleted":
                del view[uid]
    return view


@pytest.mark.parametrize(
    ("crashes", "seed"), [(12, 1), pytest.param(150, 2, marks=pytest.mark.slow)], ids=["reduced", "whole"]
)
async def test_killed_anywhere_it_tells_everything_once(system: System, crashes: int, seed: int) -> None:
    draw = random.Random(seed)
    account = await system.add()
    async with crashing_worker(system, crashes, seed) as process:
        over = asyncio.create_task(steady(process))
        while not over.done():
            await disturb(system, account, draw)
        await over
        for _ in range(3):
            await disturb(system, account, draw)

        async def caught_up() -> bool:
            return told_view(system, account) == await asyncio.to_thread(server_view, system, account)

        await until(caught_up, "the events tell what the server has")
    inbox = await system.mailbox(account, "INBOX")
    assert inbox is not None
    assert inbox.messages == len(told_view(system, account))
    assert not system.repeated()
    assert [event.event for event in system.of(account)].count("accountInitialized") == 1


async def test_the_next_worker_takes_over_when_one_dies(system: System) -> None:
    """Who owns an account is stored, and looked at again and again (trap 92)."""
    first = await system.start("w1")
    accounts = [await system.connected() for _ in range(3)]
    second = await system.start("w2")
    await until_true(lambda: bool(second.worker.placement.owned), "shared")
    await until_true(lambda: len(first.worker.runners) + len(second.worker.runners) == 3, "moved")
    assert not first.worker.placement.owned.keys() & second.worker.placement.owned.keys()

    await first.stop()
    await until_true(lambda: len(second.worker.placement.owned) == 256, "taken over")
    for account in accounts:
        await system.deliver(account)
        await system.event(account, "messageNew")
    assert not system.repeated()
    assert all(len(system.of(account, "accountInitialized")) == 1 for account in accounts)
