"""Commands and downloads have connections of their own: warm for a while, few, and current."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from postbus.common.accounts import Account
from postbus.common.errors import CommandRefused, DeadlineExceeded, NotFound
from postbus.imap_sync.session import AccountSession
from tests.integration.imap_sync.syncing import QUICK, System, until_true

pytestmark = pytest.mark.anyio


async def ready(system: System, **tuning: Any) -> tuple[AccountSession, Account]:
    running = await system.start(tuning=replace(QUICK, **tuning))
    account = await system.connected()
    return running.worker.runners[account.token].session, account


async def test_a_connection_is_used_again_with_its_mailbox_still_selected(system: System) -> None:
    session, _ = await ready(system)
    async with session.command("INBOX", deadline_s=5) as first:
        selected = first.selected
    async with session.command("INBOX", deadline_s=5) as second:
        assert second is first
        assert second.selected is selected
    async with session.command("Sent", read_only=False, deadline_s=5) as third:
        assert third is first
        assert third.selected
        assert (third.selected.path, third.selected.read_only) == ("Sent", False)


async def test_what_a_warm_connection_knows_is_current(system: System) -> None:
    session, account = await ready(system)
    async with session.command("INBOX", deadline_s=5) as connection:
        assert connection.exists == 0
    await system.deliver(account)
    await system.event(account, "messageNew")
    async with session.command("INBOX", deadline_s=5) as again:
        assert again is connection
        assert again.exists == 1


async def test_one_that_waits_too_long_for_a_connection_is_told(system: System) -> None:
    session, _ = await ready(system, commands=1)
    async with session.command("INBOX", deadline_s=5):
        with pytest.raises(DeadlineExceeded):
            async with session.command("INBOX", deadline_s=0.1):
                pass
        async with session.transfer("INBOX", deadline_s=5) as transfer:  # downloads do not wait for commands
            assert transfer.selected
    async with session.command("INBOX", deadline_s=5):
        pass


async def test_a_dead_warm_connection_is_replaced_without_anybody_noticing(system: System) -> None:
    session, account = await ready(system)
    async with session.command("INBOX", deadline_s=5) as first:
        pass
    await asyncio.to_thread(system.mail.kick, f"{account.record.account}@example.test")
    async with session.command("INBOX", deadline_s=5) as second:
        await second.noop()
        assert second is not first


async def test_who_is_cancelled_in_the_middle_leaves_nothing_behind(system: System) -> None:
    session, _ = await ready(system, commands=1)

    async def hold() -> None:
        async with session.command("INBOX", deadline_s=5):
            await asyncio.sleep(60)

    task = asyncio.create_task(hold())
    await asyncio.sleep(0.2)
    task.cancel()
    async with session.command("INBOX", deadline_s=5) as connection:
        await connection.noop()


async def test_an_error_of_the_caller_does_not_cost_the_connection(system: System) -> None:
    session, _ = await ready(system)
    with pytest.raises(NotFound):
        async with session.command("INBOX", deadline_s=5) as first:
            raise NotFound("nothing there")
    async with session.command("INBOX", deadline_s=5) as second:
        assert second is first
    with pytest.raises(CommandRefused):
        async with session.command("No such mailbox", deadline_s=5):
            pass


async def test_unused_connections_are_closed_after_a_while(system: System) -> None:
    session, _ = await ready(system, warm_s=0.2)
    async with session.command("INBOX", deadline_s=5) as connection:
        pass
    await until_true(lambda: connection.closed, "closed")


async def test_mailboxes_are_found_by_path_alias_and_number(system: System) -> None:
    session, _ = await ready(system)
    inbox = session.mailbox("inbox")
    assert inbox is not None
    assert inbox.number == 1
    assert session.mailbox_by_number(1) == inbox == session.mailbox("\\Inbox")
    sent = session.special("\\Sent")
    assert sent is not None
    assert sent.path == "Sent"
    assert session.mailbox("nowhere") is None
    assert session.mailbox_by_number(99) is None
    assert session.mailbox_by_number(0) is None


async def test_a_poke_makes_the_sync_look_at_once(system: System) -> None:
    session, account = await ready(system, poll_s=60.0, longest_poll_s=60.0)
    await system.imap(account, lambda client: client.append("Sent", "", None, b"Subject: copy\r\n\r\nbody\r\n"))
    session.poke("Sent")
    new = await system.event(account, "messageNew")
    assert new.path == "Sent"


async def test_a_warm_connection_makes_room_where_the_account_may_have_no_more(system: System) -> None:
    """(trap 41)"""
    session, _ = await ready(system, poll_s=60.0, longest_poll_s=60.0)  # a listing would set the limit anew
    session._budget.account.limit = 2
    async with session.command("INBOX", deadline_s=5) as first, session.command("Sent", deadline_s=5) as second:
        pass
    async with session.transfer("INBOX", deadline_s=5):
        assert [connection.closed for connection in (first, second)].count(True) == 1
        async with session.command("INBOX", deadline_s=5) as third:  # one place is kept for commands
            assert third in (first, second)
            with pytest.raises(DeadlineExceeded):
                async with session.transfer("INBOX", deadline_s=0.1):
                    pass
