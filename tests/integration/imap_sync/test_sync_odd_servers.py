"""One message or one answer that is broken never stops a mailbox, and never wipes what is known."""

import asyncio

import pytest

from postbus.common.accounts import Account, AccountState
from tests.integration.imap_sync.odd_imap import odd_server
from tests.integration.imap_sync.syncing import System, until, until_true

pytestmark = pytest.mark.anyio


def announced(system: System, _: Account) -> list[int]:
    return sorted(event.data.uid for event in system.events if event.event == "messageNew")


async def test_messages_that_are_never_given_are_told_as_missing_and_delay_nobody(system: System) -> None:
    """What is announced and can't be fetched is tried again, three times (trap 24)."""
    await system.start()
    async with odd_server(withheld={2}, refused={5}) as odd:
        account = await system.connected(port=odd.port)
        odd.arrive(*range(1, 8))
        await until_true(lambda: announced(system, account) == [1, 3, 4, 6, 7], "the others at once")
        assert not system.of(account, "messageMissing")
        await system.event(account, "messageMissing", 2)
        missing = system.of(account, "messageMissing")
        assert [(event.data.uid, event.data.missing_retries, event.data.missing_delay) for event in missing] == [
            (2, 3, 5600),
            (5, 3, 5600),
        ]
        odd.arrive(8)
        await until_true(lambda: 8 in announced(system, account), "the mailbox goes on")
        inbox = await system.mailbox(account, "INBOX")
        assert inbox is not None
        assert (inbox.messages, inbox.late) == (8, "")


async def test_a_message_that_comes_late_is_announced(system: System) -> None:
    """Servers that replicate announce a message before all of them have it (trap 24)."""
    await system.start()
    async with odd_server(withheld={2}) as odd:
        account = await system.connected(port=odd.port)
        odd.arrive(1, 2)
        await until_true(lambda: announced(system, account) == [1], "one at once")
        odd.withheld.clear()
        await until_true(lambda: announced(system, account) == [1, 2], "the other later")
        assert not system.of(account, "messageMissing")


async def test_a_message_that_is_expunged_before_it_could_be_fetched_is_not_told_of(system: System) -> None:
    await system.start()
    async with odd_server(withheld={2}) as odd:
        account = await system.connected(port=odd.port)
        odd.arrive(1, 2, 3)
        await until_true(lambda: announced(system, account) == [1, 3], "the others at once")
        odd.held_back.add(2)

        async def forgotten() -> bool:
            inbox = await system.mailbox(account, "INBOX")
            return inbox is not None and (inbox.messages, inbox.late) == (2, "")

        await until(forgotten, "it is forgotten")
        assert not system.of(account, "messageMissing", "messageDeleted")


async def test_a_message_that_breaks_the_connection_is_found_and_given_up(system: System) -> None:
    await system.start()
    async with odd_server(deadly={5}) as odd:
        account = await system.connected(port=odd.port)
        odd.arrive(*range(1, 9))
        await until_true(lambda: announced(system, account) == [1, 2, 3, 4, 6, 7, 8], "all others")
        assert (await system.event(account, "messageMissing")).data.uid == 5
        odd.arrive(9)
        await until_true(lambda: 9 in announced(system, account), "the mailbox goes on")
        assert not system.repeated()


async def test_an_empty_list_of_mailboxes_wipes_nothing(system: System) -> None:
    """Neither what is known of mailboxes nor their index (trap 11)."""
    await system.start()
    async with odd_server(mailboxes=["INBOX", "Work"]) as odd:
        account = await system.connected(port=odd.port)
        odd.mailboxes.clear()
        await system.event(account, "connectError")
        assert {row.path for row in await system.parts.accounts.mailboxes(account.token)} == {"INBOX", "Work"}
        assert not system.of(account, "mailboxDeleted")
        odd.mailboxes += ["INBOX", "Work"]
        await system.in_state(account, AccountState.CONNECTED)


async def test_a_mailbox_whose_row_can_not_be_read_is_not_told_as_deleted(system: System) -> None:
    await system.start()
    async with odd_server(mailboxes=["INBOX", "Work"]) as odd:
        account = await system.connected(port=odd.port)
        odd.mailboxes[1:] = ["", "Other"]  # a row without a name
        await until_true(lambda: "Other" in [event.path for event in system.of(account, "mailboxNew")], "listed again")
        assert not system.of(account, "mailboxDeleted")
        assert await system.mailbox(account, "Work") is not None
        odd.mailboxes.remove("")
        assert (await system.event(account, "mailboxDeleted")).path == "Work"


async def test_a_server_that_lets_in_and_drops_at_once_is_not_stormed(system: System) -> None:
    """Nor one that drops during the login (trap 40)."""
    await system.start()
    async with odd_server(drops_after_login=True) as odd:
        account = await system.add(port=odd.port)
        await system.event(account, "connectError")
        await asyncio.sleep(1.0)
        assert odd.logins < 12  # with a first delay of 0.1 s; the product begins with 2 s
