"""What went wrong with servers over the years, each once more: nothing is missed, repeated, or stopped by it."""

import pytest

from postbus.common.accounts import Account, AccountState
from postbus.common.metrics import REGISTRY
from postbus.imap_sync import build, mailbox_sync
from tests.integration.imap_sync.gmail_imap import ALL, gmail_server
from tests.integration.imap_sync.odd_imap import odd_server
from tests.integration.imap_sync.syncing import System, until, until_true

pytestmark = pytest.mark.anyio


def told(system: System, account: Account, path: str = "INBOX") -> list[int]:
    """Uids that were announced, in order."""
    return [event.data.uid for event in system.of(account, "messageNew") if event.path == path]


async def messages(system: System, account: Account, path: str = "INBOX") -> int:
    row = await system.mailbox(account, path)
    return row.messages if row is not None else 0


async def test_rows_that_come_out_of_order_are_told_in_order(system: System) -> None:
    """Yahoo answers FETCH in any order (trap 1)."""
    await system.start()
    async with odd_server(shuffled=True) as odd:
        account = await system.connected(port=odd.port)
        odd.arrive(*range(1, 20))
        await until_true(lambda: len(told(system, account)) == 19, "all")
        assert told(system, account) == list(range(1, 20))


async def test_a_mailbox_that_can_not_be_selected_is_parked_and_the_others_go_on(system: System) -> None:
    """Roots of namespaces are listed by Dovecot and can't be opened (trap 8)."""
    await system.start()
    async with odd_server(uids=[1], mailboxes=["INBOX", "Shared", "Work"], closed={"Shared"}) as odd:
        account = await system.connected(port=odd.port)
        odd.arrive(2)
        await until_true(lambda: 2 in told(system, account, "Work"), "the others")
        shared = await system.mailbox(account, "Shared")
        assert shared is not None
        assert not shared.synced
        assert odd.opened.count("Shared") < 5
        assert not system.of(account, "mailboxDeleted", "connectError")


async def test_a_mailbox_that_ends_the_connection_is_left_alone_and_the_account_connects(system: System) -> None:
    """A SELECT that fails may kill the session (trap 9)."""
    await system.start()
    async with odd_server(mailboxes=["INBOX", "Shared", "Work"], lethal={"Shared"}) as odd:
        account = await system.connected(port=odd.port)
        odd.arrive(1)
        await until_true(lambda: bool(told(system, account) and told(system, account, "Work")), "the others")
        assert odd.opened.count("Shared") == 2
        assert odd.logins == 3


async def test_a_mailbox_that_is_removed_between_list_and_select_is_only_that(system: System) -> None:
    """The listing is looked at again, and the account stays connected (trap 12)."""
    await system.start()
    async with odd_server() as odd:
        account = await system.connected(port=odd.port)
        odd.closed.add("Brief")
        odd.mailboxes.append("Brief")
        await until_true(lambda: "Brief" in odd.opened, "selected in vain")
        odd.mailboxes.remove("Brief")
        assert (await system.event(account, "mailboxDeleted")).path == "Brief"
        odd.arrive(1)
        await until_true(lambda: told(system, account) == [1], "the account goes on")
        assert odd.logins == 1


async def test_rows_without_flags_are_asked_for_again_and_stop_nothing(system: System) -> None:
    """FETCH rows without FLAGS are no messages without flags (trap 17)."""
    await system.start()
    async with odd_server(bare={2}) as odd:
        account = await system.connected(port=odd.port)
        odd.arrive(1, 2, 3)
        await until_true(lambda: sorted(told(system, account)) == [1, 2, 3], "all")
        assert not system.of(account, "messageUpdated")


async def test_a_server_that_tells_no_uidnext_is_synced(system: System) -> None:
    """UIDNEXT may be missing in SELECT; what is stored is never nothing (trap 19)."""
    await system.start()
    async with odd_server(uids=[1, 2], next_told=False) as odd:
        account = await system.connected(port=odd.port)
        odd.arrive(5)
        await until_true(lambda: 5 in told(system, account), "what came")
        row = await system.mailbox(account, "INBOX")
        assert row is not None
        assert (row.uid_next, row.messages) == (6, 3)
        assert not system.repeated()


async def test_uidvalidity_that_select_does_not_tell_is_asked_of_status(system: System) -> None:
    """Missing in SELECT, and one of more than 31 bits (trap 19) (trap 20)."""
    await system.start()
    async with odd_server(validity=(None, 4_294_967_295)) as odd:
        account = await system.connected(port=odd.port)
        odd.arrive(1)
        await until_true(lambda: told(system, account) == [1], "what came")
        row = await system.mailbox(account, "INBOX")
        assert row is not None
        assert row.uid_validity == 4_294_967_295
        assert not system.of(account, "mailboxReset")


@pytest.mark.parametrize("validity", [None, 0])
async def test_without_any_uidvalidity_no_id_is_ever_made(system: System, validity: int | None) -> None:
    """Missing or 0: nothing may be built from it (trap 19)."""
    await system.start()
    async with odd_server(uids=[1], validity=(validity, validity)) as odd:
        account = await system.add(port=odd.port)
        error = await system.event(account, "connectError")
        assert error.data.server_response_code == "NoUidValidity"
        row = await system.mailbox(account, "INBOX")
        assert row is not None
        assert (row.number, row.uid_validity, row.synced) == (0, None, False)
        assert not system.of(account, "messageNew", "mailboxNew")


async def test_mail_that_arrives_while_others_are_read_is_found_next_time(system: System) -> None:
    """What is stored is what was read before the FETCH (trap 22)."""
    await system.start()
    async with odd_server(arriving=[4, 5]) as odd:
        account = await system.connected(port=odd.port)
        odd.arrive(1, 2, 3)
        await until_true(lambda: told(system, account) == [1, 2, 3, 4, 5], "all")
        assert await messages(system, account) == 5
        assert not system.repeated()


async def test_mail_that_goes_between_two_batches_shifts_nothing(system: System) -> None:
    """Batches are ranges of uids, not of sequence numbers (trap 23)."""
    await system.start()
    async with odd_server(leaving=list(range(1, 100))) as odd:
        account = await system.connected(port=odd.port)
        odd.arrive(*range(1, 601))
        await until_true(lambda: len(told(system, account)) == 501, "all that stay")
        assert told(system, account) == list(range(100, 601))

        async def settled() -> bool:
            return await messages(system, account) == 501

        await until(settled, "the index is what the server has")


async def test_a_message_nobody_can_read_is_told_with_what_is_sure(system: System) -> None:
    await system.start()
    async with odd_server(broken={2}) as odd:
        account = await system.connected(port=odd.port)
        odd.arrive(1, 2, 3)
        await until_true(lambda: told(system, account) == [1, 2, 3], "all")
        data = system.of(account, "messageNew")[1].data
        assert (data.uid, data.subject, data.unseen) == (2, None, True)
        assert not system.of(account, "messageUpdated", "messageMissing")


async def test_a_large_mailbox_is_indexed_and_compared_in_slices(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A million messages: never all of them in memory, never a command for each (trap 89)."""
    monkeypatch.setattr(build, "SLICE", 1_000)
    monkeypatch.setattr(mailbox_sync, "SLICE", 1_000)
    await system.start()
    async with odd_server(uids=list(range(1, 10_001))) as odd:
        before = (await system.parts.redis.info("stats"))["total_commands_processed"]
        account = await system.connected(port=odd.port, resync_delay=1)
        await until_true(lambda: any(event.event == "mailboxNew" for event in system.of(account)), "indexed")
        commands = (await system.parts.redis.info("stats"))["total_commands_processed"] - before
        assert await messages(system, account) == 10_000
        assert odd.fetches.count("(UID FLAGS)") >= 10
        assert commands < 1_000
        assert not told(system, account)


async def test_modseq_that_goes_back_hides_no_change(system: System) -> None:
    """A server that was restored tells a lower HIGHESTMODSEQ: everything is compared."""
    first = await system.start()
    async with gmail_server() as gmail:
        account = await system.connected(port=gmail.port)
        mail = await gmail.put(ALL, 1)
        await system.event(account, "messageNew")
        await first.stop()
        gmail.modseq = 10
        await gmail.relabel(mail, flags="\\Flagged")
        await system.start("w2")
        assert (await system.event(account, "messageUpdated")).data.changes.flags.added == ["\\Flagged"]
        await gmail.relabel(mail, flags="\\Seen")
        assert (await system.event(account, "messageUpdated", 2)).data.changes.flags.value == ["\\Seen"]
        assert not system.repeated()


async def test_a_modseq_of_63_bits_is_kept_to_the_last_bit(system: System) -> None:
    """MODSEQ needs 64 bits, all the way through the store (trap 20)."""
    await system.start()
    async with gmail_server() as gmail:
        gmail.modseq = 2**63 - 10
        account = await system.connected(port=gmail.port)
        mail = await gmail.put(ALL, 1)
        await system.event(account, "messageNew")
        await gmail.relabel(mail, flags="\\Flagged")
        await system.event(account, "messageUpdated")

        async def kept() -> bool:
            row = await system.mailbox(account, ALL)
            return row is not None and row.highest_modseq == gmail.modseq

        await until(kept, "the very number")


@pytest.mark.parametrize("refused", ["ENABLE", "CONDSTORE", "CHANGEDSINCE", "HIGHESTMODSEQ"])
async def test_a_server_that_does_not_do_what_it_offers_is_synced_all_the_same(system: System, refused: str) -> None:
    """ENABLE rejected, SELECT or FETCH with what CONDSTORE allows rejected, NOMODSEQ."""
    await system.start()
    async with gmail_server() as gmail:
        gmail.refused = refused
        account = await system.connected(port=gmail.port)
        mail = await gmail.put(ALL, 1)
        gone = await gmail.put(ALL, 2)
        await system.event(account, "messageNew", 2)
        await gmail.relabel(mail, flags="\\Flagged")
        await system.event(account, "messageUpdated")
        await gmail.remove(ALL, gone)
        assert (await system.event(account, "messageDeleted")).data.uid == 2
        assert not system.of(account, "connectError")
        assert not system.repeated()
        await system.in_state(account, AccountState.CONNECTED)


async def test_a_count_that_stays_equal_hides_neither_what_went_nor_what_came(system: System) -> None:
    """EXPUNGE and an arrival in one window (trap 21)."""
    first = await system.start()
    async with odd_server() as odd:
        account = await system.connected(port=odd.port)
        odd.arrive(1, 2)
        await until_true(lambda: told(system, account) == [1, 2], "both")
        await first.stop()
        odd.uids.remove(1)
        odd.arrive(3)
        await system.start("w2")
        await until_true(lambda: told(system, account) == [1, 2, 3], "what came")
        assert (await system.event(account, "messageDeleted")).data.uid == 1


async def test_a_message_that_appears_among_old_ones_is_a_hole_that_is_told_and_counted(system: System) -> None:
    await system.start()
    before = REGISTRY.get_sample_value("sync_holes_total") or 0.0
    async with odd_server() as odd:
        account = await system.connected(port=odd.port)
        odd.arrive(1, 3)
        await until_true(lambda: told(system, account) == [1, 3], "both")
        odd.uids.insert(1, 2)
        odd.arrive(4)
        await until_true(lambda: sorted(told(system, account)) == [1, 2, 3, 4], "the one between")
        assert REGISTRY.get_sample_value("sync_holes_total") == before + 1
        assert await messages(system, account) == 4
