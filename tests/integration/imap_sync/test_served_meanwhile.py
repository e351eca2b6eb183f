"""Who asks is answered while the account connects, syncs, downloads or waits for its server: nobody is in the way."""

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest

from postbus.common import commands
from postbus.common.accounts import Account, AccountState
from postbus.common.bus import rpc
from postbus.common.errors import AccountNotUsable
from postbus.imap_sync.mailbox_sync import MailboxSync
from tests.integration.imap_sync.syncing import QUICK, System, until_true

pytestmark = pytest.mark.anyio

MB = 1024 * 1024


async def ask_page(system: System, account: Account, deadline_s: float = 10.0) -> Any:
    command = commands.ListMessages(account=account.record.account, path="INBOX")
    subject = commands.owner_subject(account.token, "messages")
    return json.loads(await rpc.call(system.parts.bus, subject, command, deadline_s=deadline_s))


async def state_of(system: System, account: Account) -> AccountState:
    [state] = await system.parts.accounts.states([account.record.account])
    assert state is not None
    return state


async def test_an_account_that_was_just_registered_answers_as_soon_as_its_mailboxes_are_known(system: System) -> None:
    await system.start()
    account = await system.add()
    assert (await ask_page(system, account))["total"] == 0


async def test_a_new_account_is_read_while_it_is_indexed(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    go_on, run = asyncio.Event(), MailboxSync.run

    async def slow(self: MailboxSync, *args: Any, **options: Any) -> bool:
        await go_on.wait()
        return await run(self, *args, **options)

    monkeypatch.setattr(MailboxSync, "run", slow)
    await system.start()
    user = "meanwhile@example.test"
    await asyncio.to_thread(system.mail.deliver, user, n=3)
    account = await system.add(user=user)
    assert (await ask_page(system, account))["total"] == 3
    assert await state_of(system, account) is AccountState.SYNCING
    go_on.set()
    await system.in_state(account, AccountState.CONNECTED)


async def test_commands_have_their_own_connection_while_the_watching_one_is_gone(system: System) -> None:
    running = await system.start(tuning=replace(QUICK, first_backoff_s=60.0, longest_backoff_s=60.0))
    account = await system.connected()
    await asyncio.to_thread(system.mail.kick, f"{account.record.account}@example.test")
    await system.in_state(account, AccountState.DISCONNECTED)
    assert running.worker.runners[account.token].session._watcher is None
    assert (await ask_page(system, account))["total"] == 0


async def test_a_new_account_whose_server_is_silent_is_not_waited_for_longer_than_the_caller_does(
    system: System,
) -> None:
    await system.start()
    system.mail.proxy_set("imap", mode="blackhole")
    try:
        account = await system.add(port=system.mail.proxy["imap"])
        with pytest.raises(AccountNotUsable) as refused:
            await ask_page(system, account, deadline_s=3.0)
        assert refused.value.code == "NotYetConnected"
    finally:
        system.mail.proxy_clear("imap")


async def test_a_new_account_with_a_wrong_password_says_so_at_once(system: System) -> None:
    await system.start()
    account = await system.add(password="wrong")
    with pytest.raises(AccountNotUsable) as refused:
        await ask_page(system, account)
    assert refused.value.code == "AuthenticationFails"


async def test_idle_goes_on_while_somebody_downloads(system: System) -> None:
    running = await system.start(tuning=replace(QUICK, poll_s=60.0, longest_poll_s=60.0))
    account = await system.connected()
    await system.deliver(account, raw=b"Subject: large\r\n\r\n" + b"0123456789abcde\n" * (MB // 4))
    large = await system.event(account, "messageNew")
    session = running.worker.runners[account.token].session
    watcher = session._watcher
    assert watcher is not None
    async with session.transfer("INBOX", deadline_s=5) as connection:
        pieces = connection.stream_section(large.data.uid, "", chunk_size=64 * 1024)
        size = len(await anext(pieces))
        await until_true(lambda: watcher._idling, "idle")
        await system.deliver(account)
        await system.event(account, "messageNew", 2)
        async with session.command("INBOX", deadline_s=5) as other:
            assert other is not connection
        size += sum([len(piece) async for piece in pieces])
    assert size > 4 * MB
    assert session._watcher is watcher


async def test_warm_connections_of_other_accounts_make_room_at_a_host_that_allows_few(system: System) -> None:
    running = await system.start()
    accounts = [await system.connected() for _ in range(3)]
    [host] = running.worker._connector.slots.values()
    host.limit = 2
    for account in accounts * 2:
        assert (await ask_page(system, account))["total"] == 0
        assert host.used <= 2
