"""Logins to one host are limited, and those for commands go ahead of those for watching."""

import asyncio
from dataclasses import replace

import pytest

from postbus.common.accounts import Account
from postbus.imap_sync.connecting import LEFT_FOR_COMMANDS, Connector
from postbus.imap_sync.profiles import YAHOO
from tests.integration.imap_sync.syncing import QUICK, System, until

pytestmark = pytest.mark.anyio


async def test_a_command_logs_in_while_a_crowd_of_watching_connections_waits(system: System) -> None:
    connector = Connector(system.parts, replace(QUICK, logins_per_host=LEFT_FOR_COMMANDS + 2))
    slow = await system.add(port=system.mail.proxy["imap"])
    quick = await system.add()
    system.mail.proxy_set("imap", mode="blackhole")
    credentials = await connector.credentials(slow)
    crowd = [asyncio.create_task(connector.connect(slow, credentials, on_event=print)) for _ in range(9)]

    async def trying() -> bool:
        info = await asyncio.to_thread(system.mail.proxy_info)
        return bool(info["imap"]["open"] == 2)

    try:
        await until(trying, "as many as are allowed try")
        async with asyncio.timeout(5):
            connection = await connector.connect(quick, await connector.credentials(quick))
        await connection.logout()
        assert await trying()
    finally:
        for task in crowd:
            task.cancel()
        await asyncio.wait(crowd)
        system.mail.proxy_clear("imap")


async def at_once(connector: Connector, account: Account, *, watching: bool) -> int:
    """How many of a crowd are let in at the same time."""
    inside = most = 0

    async def enter() -> None:
        nonlocal inside, most
        async with connector._turn(account, watching=watching):
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0)
            inside -= 1

    await asyncio.gather(*(enter() for _ in range(20)))
    return most


def at_host(account: Account, host: str) -> Account:
    assert account.record.imap is not None
    imap = account.record.imap.model_copy(update={"host": host})
    return replace(account, record=account.record.model_copy(update={"imap": imap}))


async def test_all_accounts_of_a_host_share_as_many_logins_as_their_provider_bears(system: System) -> None:
    connector = Connector(system.parts, QUICK)
    account = await system.add()
    assert await at_once(connector, at_host(account, "imap.example.test"), watching=False) == QUICK.logins_per_host
    yahoo = at_host(account, "imap.mail.yahoo.com")
    assert await at_once(connector, yahoo, watching=False) == YAHOO.logins < QUICK.logins_per_host
    assert await at_once(connector, yahoo, watching=True) == YAHOO.logins // 2


async def test_the_budget_of_an_account_is_its_providers_and_the_one_of_the_host_is_shared(system: System) -> None:
    """(trap 41)"""
    connector = Connector(system.parts, QUICK)
    account = at_host(await system.add(), "IMAP.Mail.Yahoo.com")
    one, other = connector.budget(account), connector.budget(at_host(account, "imap.mail.yahoo.com"))
    assert one.account is not other.account
    assert one.account.limit == YAHOO.connections - 1
    [shared] = connector.slots.values()
    assert shared.limit == YAHOO.host_connections
