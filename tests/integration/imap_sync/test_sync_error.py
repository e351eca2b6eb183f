"""A mailbox that can't be synced is told with the account, in the server's own words, until it can be."""

import pytest

from postbus.common.accounts import Account, AccountState, SyncError
from tests.integration.imap_sync.odd_imap import odd_server
from tests.integration.imap_sync.syncing import System, until

pytestmark = pytest.mark.anyio


async def error_of(system: System, account: Account) -> SyncError | None:
    return (await system.parts.accounts.get(account.record.account)).sync_error


async def test_a_path_that_names_no_mailbox_is_told_until_there_is_one(system: System) -> None:
    await system.start()
    account = await system.connected(record_of={"path": ("INBOX", "Nope")})
    await system.deliver(account)
    await system.event(account, "messageNew")  # what is there is synced, and ends nothing
    error = await error_of(system, account)
    assert error is not None
    assert (error.path, error.error) == ("Nope", "there is no such mailbox")
    await system.imap(account, lambda client: client.create("Nope"))

    async def over() -> bool:
        return await error_of(system, account) is None

    await until(over, "it is there")


async def test_a_path_that_names_no_mailbox_is_forgotten_with_that_path(system: System) -> None:
    await system.start()
    account = await system.connected(record_of={"path": ("\\Flagged",)})
    error = await error_of(system, account)
    assert error is not None
    assert error.path == "\\Flagged"
    await system.change(account, path=("*",))

    async def over() -> bool:
        return await error_of(system, account) is None

    await until(over, "nobody asks for it any more")


async def test_a_mailbox_that_can_not_be_synced_is_told_with_its_account(system: System) -> None:
    await system.start()
    async with odd_server(mailboxes=["INBOX", "Work"], closed={"Work"}) as odd:
        account = await system.add(port=odd.port)

        async def told() -> bool:
            return await error_of(system, account) is not None

        await until(told, "the error is told")
        await system.in_state(account, AccountState.CONNECTED)
        error = await error_of(system, account)
        assert error is not None
        assert error.path == "Work"
        assert error.error
        odd.closed.clear()

        async def over() -> bool:
            return await error_of(system, account) is None

        await until(over, "the error is over")
        row = await system.mailbox(account, "Work")
        assert row is not None
        assert row.synced
