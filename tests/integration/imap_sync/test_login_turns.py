"""Logins to one host are limited, and those for commands go ahead of those for watching."""

import asyncio
from dataclasses import replace

import pytest

from postbus.imap_sync.connecting import LEFT_FOR_COMMANDS, Connector
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
