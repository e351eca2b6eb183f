"""Mail is known again when its uid has changed: after UIDVALIDITY changed, after the index was lost, after a move."""

import asyncio
import imaplib
import time
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from email.utils import format_datetime
from typing import Any
from uuid import uuid4

import pytest

from postbus.common.accounts import Account
from postbus.common.store import keys
from postbus.common.times import now
from tests.integration.imap_sync.syncing import System, until_true
from tests.integration.imap_sync.test_worker_crash import crashing_worker, steady

pytestmark = pytest.mark.anyio

Mail = tuple[bytes, float]  # and INTERNALDATE, seconds


def mail(subject: str, sent: datetime | None = None, arrived: datetime | None = None) -> Mail:
    at = arrived or now()
    date = format_datetime(sent or at)
    text = f"From: a@example.test\r\nDate: {date}\r\nMessage-ID: <{uuid4()}@test>\r\nSubject: {subject}\r\n\r\nhi\r\n"
    return text.encode(), at.timestamp()


def put(mails: Sequence[Mail], mailbox: str = "Work") -> Callable[[Any], None]:
    def act(client: Any) -> None:
        for content, arrived in mails:
            client.append(mailbox, "", imaplib.Time2Internaldate(arrived), content)

    return act


def replaced(mails: Sequence[Mail]) -> Callable[[Any], None]:
    """The mailbox as it comes back after its server was restored: other uids, and these messages."""

    def act(client: Any) -> None:
        client.delete("Work")
        client.create("Work")
        put(mails)(client)

    return act


def subjects(system: System, account: Account) -> list[str]:
    return [event.data.subject for event in system.of(account, "messageNew")]


async def working(system: System, mails: Sequence[Mail], **options: Any) -> Account:
    """An account with a mailbox `Work` whose messages were announced."""
    account = await system.connected(**options)
    await system.imap(account, lambda client: client.create("Work"))
    await until_true(lambda: any(event.path == "Work" for event in system.of(account, "mailboxNew")), "Work")
    await system.imap(account, put(mails))
    await system.event(account, "messageNew", len(mails))
    return account


async def test_after_a_reset_mail_that_came_meanwhile_is_told_and_what_was_told_is_not(any_system: System) -> None:
    system = any_system
    first = await system.start()
    told = [mail(f"told {number}") for number in range(3)]
    account = await working(system, told)
    await first.stop()
    old = mail("old", arrived=now() - timedelta(days=300))
    await system.imap(account, replaced([old, *told, mail("new")]))
    await system.start("w2")
    await until_true(lambda: subjects(system, account)[3:] == ["new"], "what came meanwhile")
    await system.imap(account, put([mail("newer")]))
    await until_true(lambda: subjects(system, account)[3:] == ["new", "newer"], "what came then")
    assert [event.data.reason for event in system.of(account, "mailboxReset")] == ["uidValidityChange"]
    row = await system.mailbox(account, "Work")
    assert row is not None
    assert (row.messages, row.late) == (6, "")
    assert not system.repeated()
    assert system.of(account, "messageNew")[3].data.seems_like_new


async def test_a_restored_mailbox_that_lost_its_dates_announces_no_old_mail(system: System) -> None:
    first = await system.start()
    told = [mail("told")]
    account = await working(system, told)
    await first.stop()
    restored = [(content, time.time()) for content, _ in (mail("old", sent=now() - timedelta(days=9)), *told)]
    await system.imap(account, replaced([*restored, mail("new")]))
    await system.start("w2")
    await until_true(lambda: "new" in subjects(system, account), "what came meanwhile")
    await system.event(account, "mailboxReset")
    assert subjects(system, account) == ["told", "new"]


async def test_a_reset_of_a_mailbox_that_is_open_is_told_too(system: System) -> None:
    await system.start()
    account = await working(system, told := [mail("told")])
    await system.imap(account, replaced([*told, mail("new")]))
    await until_true(lambda: subjects(system, account) == ["told", "new"], "what came meanwhile")
    await system.event(account, "mailboxReset")


@pytest.mark.parametrize("lost", ["index", "listing"])
async def test_what_came_while_the_store_forgot_is_told(system: System, lost: str) -> None:
    first = await system.start()
    account = await working(system, [mail("told")])
    await first.stop()
    row = await system.mailbox(account, "Work")
    assert row is not None
    key = keys.index(account.token, row.number) if lost == "index" else keys.mailboxes(account.token)
    await system.parts.redis.delete(key)
    await system.imap(account, put([mail("new")]))
    await system.start("w2")
    await until_true(lambda: subjects(system, account) == ["told", "new"], "what came meanwhile")
    assert {event.data.reason for event in system.of(account, "mailboxReset")} == {"syncStateLost"}
    assert not system.repeated()


async def test_where_identities_are_lost_too_nothing_is_told_again(system: System) -> None:
    first = await system.start()
    told = [mail("told")]
    account = await working(system, told)
    await first.stop()
    await system.parts.redis.delete(keys.seen(account.token))
    await system.imap(account, replaced(told))
    await system.start("w2")
    await system.event(account, "mailboxReset")
    await system.imap(account, put([mail("new")]))
    await until_true(lambda: subjects(system, account) == ["told", "new"], "what came then")


async def test_moved_mail_does_not_seem_new_and_mail_that_is_delivered_twice_does(any_system: System) -> None:
    system = any_system
    await system.start()
    account = await working(system, [mail("moved"), mail("stays")])
    await system.imap(account, lambda client: client.uid("MOVE", "1", "Archive"), "Work")
    moved = await system.event(account, "messageNew", 3)
    assert (await system.event(account, "messageDeleted")).path == "Work"
    assert (moved.path, moved.data.subject, moved.data.seems_like_new) == ("Archive", "moved", False)
    await system.imap(account, put([mail("moved")]))
    again = await system.event(account, "messageNew", 4)
    assert [event.data.seems_like_new for event in system.of(account, "messageNew")] == [True, True, False, True]
    assert again.path == "Work"
    assert not system.repeated()


async def test_a_move_is_known_by_the_next_worker(system: System) -> None:
    first = await system.start()
    account = await working(system, [mail("moved")])
    await first.stop()
    await system.imap(account, lambda client: client.uid("MOVE", "1", "Archive"), "Work")
    await system.start("w2")
    assert (await system.event(account, "messageNew", 2)).data.seems_like_new is False


async def test_a_worker_that_is_killed_anywhere_around_a_reset_tells_all_of_what_came_and_none_of_it_twice(
    system: System,
) -> None:
    """Where it saw that the mailbox was away for a moment, the mail of the new one is told, and does not seem new."""
    account = await system.add()
    mails: list[Mail] = []
    async with crashing_worker(system, crashes=4, seed=3) as process:
        over = asyncio.create_task(steady(process))
        await system.imap(account, lambda client: client.create("Work"))
        while not over.done():
            mails.append(mail(f"mail {len(mails)}"))
            await system.imap(account, replaced(mails))
            await asyncio.sleep(0.3)
        await over
        mails.append(mail(f"mail {len(mails)}"))
        await system.imap(account, put(mails[-1:]))
        expected = {f"mail {number}" for number in range(len(mails))}
        await until_true(lambda: set(subjects(system, account)) == expected, "all that came")
    new = Counter(event.data.subject for event in system.of(account, "messageNew") if event.data.seems_like_new)
    assert new == dict.fromkeys(expected, 1)  # also of what came before the first look was over
    assert not system.repeated()


async def test_identities_cost_one_command_a_batch(system: System) -> None:
    await system.start()
    account = await system.connected()
    before = (await system.parts.redis.info("commandstats"))["cmdstat_hmget"]["calls"]
    await asyncio.to_thread(system.mail.deliver, f"{account.record.account}@example.test", n=200)
    await system.event(account, "messageNew", 200)
    after = (await system.parts.redis.info("commandstats"))["cmdstat_hmget"]["calls"]
    assert after - before < 100
