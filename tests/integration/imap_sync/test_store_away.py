"""A store that goes away and comes back: no login, no event and no partition is lost, and nobody answers wrongly."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from structlog.testing import capture_logs

from postbus.common import commands
from postbus.common.accounts import Account, AccountState
from postbus.common.bus import rpc
from postbus.common.errors import DeadlineExceeded
from tests.integration.imap_sync.odd_imap import odd_server
from tests.integration.imap_sync.syncing import System, open_system, until_true
from tests.mailserver import MailServer
from tests.servers import NatsServer, ValkeyServer

pytestmark = pytest.mark.anyio


@pytest.fixture
async def frail(nats_server: NatsServer, fresh_valkey: ValkeyServer, mail: MailServer) -> AsyncIterator[System]:
    """A system on a store of its own."""
    async with open_system(nats_server.url, fresh_valkey.url, mail) as system:
        yield system


async def ask(system: System, account: Account, deadline_s: float = 10.0) -> bytes:
    subject = commands.owner_subject(account.token, "mailboxes")
    command = commands.CountMailboxes(account=account.record.account)
    return await rpc.call(system.parts.bus, subject, command, deadline_s=deadline_s)


def said(logs: list[Any], phrase: str) -> bool:
    return phrase in [line["event"] for line in logs]


async def test_mail_that_comes_meanwhile_is_told_afterwards_over_the_same_connection(
    frail: System, fresh_valkey: ValkeyServer
) -> None:
    """A store that restarts drops no account and no connection (trap 91)."""
    running = await frail.start()
    async with odd_server() as odd:
        account = await frail.connected(port=odd.port)
        claimed = dict(running.worker.placement.owned)
        with capture_logs() as logs:
            await asyncio.to_thread(fresh_valkey.kill)
            odd.arrive(1, 2, 3)
            await until_true(lambda: said(logs, "account waits"), "the account noticed")
            odd.arrive(4)
            await asyncio.to_thread(fresh_valkey.start)
            await frail.event(account, "messageNew", 4)
        odd.arrive(5)
        await frail.event(account, "messageNew", 5)
        assert not frail.repeated()
        assert odd.logins == 1
        assert running.worker.placement.owned == claimed
        assert not said(logs, "partitions lost")
        await frail.in_state(account, AccountState.CONNECTED)


async def test_no_command_is_answered_while_another_worker_may_own_the_account(
    frail: System, fresh_valkey: ValkeyServer
) -> None:
    running = await frail.start()
    account = await frail.connected()
    await ask(frail, account)
    await asyncio.to_thread(fresh_valkey.kill)
    await until_true(lambda: not running.worker.placement.sure, "the lease is over")
    with pytest.raises(DeadlineExceeded):
        await ask(frail, account, deadline_s=0.5)
    await asyncio.to_thread(fresh_valkey.start)
    await ask(frail, account)
