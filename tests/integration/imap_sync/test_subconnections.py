"""Mailboxes with a connection of their own are looked at at once; one that fails costs nobody anything."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from postbus.common.accounts import Account, DisabledSubconnection
from postbus.imap_sync.session import AccountSession
from tests.integration.imap_sync.syncing import QUICK, Running, System, open_system, until, until_true
from tests.mailserver import MailServer
from tests.servers import NatsServer

pytestmark = pytest.mark.anyio

RARE = replace(QUICK, poll_s=60.0, longest_poll_s=60.0)  # what comes sooner was pushed
CAPPED = 3  # connections that a user may have there


@pytest.fixture(scope="module")
def capped_mail() -> Iterator[MailServer]:
    with MailServer(max_userip=CAPPED, mta="none") as server:
        yield server


def append(path: str) -> Any:
    return lambda client: client.append(path, "", None, b"Subject: filed\r\n\r\nx\r\n")


def session_of(running: Running, account: Account) -> AccountSession:
    return running.worker.runners[account.token].session


def paths_of(running: Running, account: Account) -> tuple[str, ...]:
    return session_of(running, account)._subconnections.paths


async def connections(system: System, account: Account) -> int:
    """How many the server counts."""
    who = await asyncio.to_thread(system.mail.http_call, "/who")
    return str(who).count(f"{account.record.account}@")


async def disabled(system: System, account: Account) -> tuple[DisabledSubconnection, ...]:
    return (await system.parts.accounts.get(account.record.account)).disabled_subconnections


async def told(system: System, account: Account, path: str, count: int = 1) -> None:
    def there() -> bool:
        return len([event for event in system.of(account, "messageNew") if event.path == path]) == count

    await until_true(there, f"{count} messages of {path}")


async def watching(system: System, account: Account, count: int) -> None:
    async def there() -> bool:
        return await connections(system, account) == count

    await until(there, f"{count} connections")


async def test_mail_in_such_a_mailbox_is_told_at_once(any_system: System) -> None:
    system = any_system
    running = await system.start(tuning=RARE)
    account = await system.connected(record_of={"subconnections": ("\\Sent", "Archive")})
    await until_true(lambda: paths_of(running, account) == ("Sent", "Archive"), "both are there")
    await watching(system, account, 3)
    await system.imap(account, append("Sent"))
    await told(system, account, "Sent")
    await system.imap(account, append("Archive"))
    await told(system, account, "Archive")
    await system.deliver(account)
    await told(system, account, "INBOX")
    assert not system.repeated()


async def test_one_that_is_lost_is_made_again_and_nothing_is_missed(system: System) -> None:
    running = await system.start(tuning=RARE)
    account = await system.connected(record_of={"subconnections": ("Sent",)})
    await watching(system, account, 2)
    held = session_of(running, account)._subconnections
    [before] = held._tasks.values()
    await asyncio.to_thread(system.mail.kick, f"{account.record.account}@example.test")
    await system.imap(account, append("Sent"))
    await told(system, account, "Sent")
    await watching(system, account, 2)
    assert held._tasks
    assert before.done(), "the watching connection was kicked too, and took it along"


async def test_one_that_is_refused_delays_nobody(
    nats_server: NatsServer, redis_url: str, capped_mail: MailServer
) -> None:
    """(trap 41) The server allows three connections; five are asked for."""
    async with open_system(nats_server.url, redis_url, capped_mail, RARE) as system:
        running = await system.start()
        wanted = ("Sent", "Archive", "Drafts", "Junk")
        account = await system.connected(record_of={"subconnections": wanted})
        assert paths_of(running, account) == wanted
        for count in range(1, 4):
            await system.deliver(account)
            await told(system, account, "INBOX", count)


async def test_what_gets_no_connection_is_noted_with_the_reason_until_it_is_right(system: System) -> None:
    await system.start()
    account = await system.connected(record_of={"subconnections": ("INBOX", "Work")})
    notes = {note.path: note.reason for note in await disabled(system, account)}
    assert notes == {"INBOX": "the main connection watches it already", "Work": "there is no such mailbox"}
    await system.imap(account, lambda client: client.create("Work"))

    async def noted() -> bool:
        return [note.path for note in await disabled(system, account)] == ["INBOX"]

    await until(noted, "Work is watched")
    await watching(system, account, 2)
    await system.change(account, subconnections=())

    async def forgotten() -> bool:
        return await disabled(system, account) == ()

    await until(forgotten, "nothing is wrong any more")
    await watching(system, account, 1)


async def test_a_mailbox_that_goes_takes_its_connection_along(system: System) -> None:
    running = await system.start()
    account = await system.connected(record_of={"subconnections": ("Work",)})
    await system.imap(account, lambda client: client.create("Work"))
    await watching(system, account, 2)
    await system.imap(account, lambda client: client.delete("Work"))
    await until_true(lambda: paths_of(running, account) == (), "it is gone")
    await system.deliver(account)
    await told(system, account, "INBOX")


async def test_nothing_is_left_behind_when_the_account_moves_to_another_worker(system: System) -> None:
    first = await system.start(tuning=RARE)
    account = await system.connected(record_of={"subconnections": ("Sent", "Archive")})
    await watching(system, account, 3)
    await first.stop()
    await watching(system, account, 0)
    await system.start("w2", RARE)
    await watching(system, account, 3)
    await system.imap(account, append("Sent"))
    await told(system, account, "Sent")
    assert not system.repeated()


async def test_commands_and_downloads_work_beside_them_within_the_budget(system: System) -> None:
    running = await system.start()
    account = await system.connected(record_of={"subconnections": ("Sent", "Archive")})
    await watching(system, account, 3)
    session = session_of(running, account)
    assert session._budget.account.limit == 8 - 1 - 2
    async with session.command("INBOX", deadline_s=5), session.transfer("Sent", deadline_s=5):
        await watching(system, account, 5)


async def test_they_count_at_their_host_and_give_their_place_back(system: System) -> None:
    """(trap 41)"""
    running = await system.start(tuning=RARE)
    account = await system.connected(record_of={"subconnections": ("Sent", "Archive")})
    await watching(system, account, 3)
    [host] = running.worker._connector.slots.values()
    assert host.used == 2
    await system.change(account, subconnections=("Sent",))
    await watching(system, account, 2)
    await until_true(lambda: host.used == 1, "one is given back")
