"""The fast indexer: every new message once, nothing else, and next to nothing is kept (contract, 4: `imapIndexer`)."""

import asyncio
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import uuid4

import pytest

from postbus.common.accounts import Account, MailboxRecord
from postbus.common.bus import rpc
from postbus.common.commands import FlushAccount, owner_subject
from postbus.common.store import keys
from postbus.common.times import now
from tests.integration.imap_sync.syncing import System, until
from tests.integration.imap_sync.test_worker_crash import crashing_worker, steady

pytestmark = pytest.mark.anyio

FAST = {"imap_indexer": "fast"}


def append(path: str, subject: str) -> Any:
    message = f"Subject: {subject}\r\nMessage-ID: <{uuid4()}@x.test>\r\n\r\nx\r\n".encode()
    return lambda client: client.append(path, "", None, message)


def flag_and_expunge(client: Any) -> None:
    client.uid("STORE", "1", "+FLAGS", "(\\Flagged)")
    client.uid("STORE", "2", "+FLAGS", "(\\Deleted)")
    client.expunge()


def subjects(system: System, account: Account) -> list[str]:
    return [event.data.subject for event in system.of(account, "messageNew")]


async def row_of(system: System, account: Account, path: str = "INBOX") -> MailboxRecord:
    row = await system.mailbox(account, path)
    assert row is not None
    return row


async def index_exists(system: System, account: Account, path: str = "INBOX") -> bool:
    row = await row_of(system, account, path)
    return bool(await system.parts.redis.exists(keys.index(account.token, row.number)))


async def test_new_mail_is_told_once_and_nothing_else_is(any_system: System) -> None:
    system = any_system
    await system.start()
    account = await system.connected(record_of=FAST)
    await system.deliver(account, n=3)
    await system.event(account, "messageNew", 3)
    await system.imap(account, flag_and_expunge)
    await system.imap(account, lambda client: client.uid("MOVE", "3", "Archive"))
    moved = await system.event(account, "messageNew", 4)
    assert (moved.path, moved.data.uid) == ("Archive", 1)
    await system.deliver(account)
    last = await system.event(account, "messageNew", 5)
    assert (last.path, last.data.uid) == ("INBOX", 4)
    assert not system.of(account, "messageDeleted", "messageUpdated", "messageMissing", "mailboxReset")
    assert not system.repeated()


async def test_nothing_is_kept_but_where_new_mail_begins(system: System) -> None:
    await system.start()
    account = await system.connected(record_of=FAST)
    await system.deliver(account, n=300)
    await system.event(account, "messageNew", 300)
    row = await row_of(system, account)
    assert (row.uid_next, row.late, row.indexed) == (301, "", False)
    assert not await index_exists(system, account)
    assert len(row.model_dump_json(by_alias=True, exclude_defaults=True)) < 250
    assert row.messages == 300


async def test_old_mail_is_silent_and_mail_since_notify_from_is_told(any_system: System) -> None:
    system = any_system
    await system.start()
    quiet, since = [f"n{uuid4().hex[:10]}@example.test" for _ in range(2)]
    for user in (quiet, since):
        await asyncio.to_thread(system.mail.deliver, user, n=2)
    silent = await system.connected(user=quiet, notify_from=now() + timedelta(seconds=5), record_of=FAST)
    told = await system.connected(user=since, notify_from=now() - timedelta(minutes=5), record_of=FAST)
    await system.event(told, "messageNew", 2)
    assert not system.of(silent, "messageNew")
    assert (await row_of(system, silent)).uid_next == 3


async def test_mail_that_comes_while_nobody_watches_is_told_afterwards_and_once(any_system: System) -> None:
    system = any_system
    first = await system.start()
    account = await system.connected(record_of=FAST)
    await system.deliver(account, n=2)
    await system.event(account, "messageNew", 2)
    await first.stop()
    await system.imap(account, flag_and_expunge)
    await system.deliver(account, n=2)
    await system.start("w2")
    await system.event(account, "messageNew", 4)
    assert sorted(event.data.uid for event in system.of(account, "messageNew")) == [1, 2, 3, 4]
    assert not system.of(account, "messageDeleted", "messageUpdated")
    assert not system.repeated()


async def test_another_uid_validity_resets_the_mailbox_once_and_in_silence(any_system: System) -> None:
    system = any_system
    first = await system.start()
    account = await system.connected(record_of=FAST)
    await system.imap(account, lambda client: client.create("Work"))
    await until(lambda: is_synced(system, account, "Work"), "Work")
    before = await row_of(system, account, "Work")
    await first.stop()

    def replace(client: Any) -> None:
        client.delete("Work")
        client.create("Work")
        for number in range(2):
            client.append("Work", "", '"01-Jan-2020 00:00:00 +0000"', b"Subject: old %d\r\n\r\nold\r\n" % number)

    await system.imap(account, replace)
    await system.start("w2")
    reset = await system.event(account, "mailboxReset")
    assert (reset.path, reset.data.reason) == ("Work", "uidValidityChange")
    after = await row_of(system, account, "Work")
    assert (after.number == before.number, after.uid_next, after.messages) == (False, 3, 2)
    await system.imap(account, append("Work", "new"))
    await system.event(account, "messageNew")
    assert subjects(system, account) == ["new"]
    assert len(system.of(account, "mailboxReset")) == 1


async def is_synced(system: System, account: Account, path: str) -> bool:
    row = await system.mailbox(account, path)
    return row is not None and row.synced


async def test_switching_there_and_back_loses_and_repeats_nothing(any_system: System) -> None:
    system = any_system
    await system.start()
    account = await system.connected()
    await system.imap(account, append("Archive", "full"))
    await system.event(account, "messageNew")
    assert await index_exists(system, account, "Archive")

    await system.change(account, imap_indexer="fast")
    await until(lambda: is_indexed(system, account, indexed=False), "fast")
    assert not await index_exists(system, account, "Archive")
    await system.imap(account, append("Archive", "fast"))
    await system.event(account, "messageNew", 2)
    await system.imap(account, lambda client: client.uid("STORE", "1", "+FLAGS", "(\\Seen)"), "Archive")

    await system.change(account, imap_indexer="full")
    await until(lambda: is_indexed(system, account, indexed=True), "full")
    assert await index_exists(system, account, "Archive")
    await system.imap(account, lambda client: client.uid("STORE", "2", "+FLAGS", "(\\Seen)"), "Archive")
    await system.event(account, "messageUpdated")
    await system.imap(account, append("Archive", "full again"))
    await system.event(account, "messageNew", 3)
    assert subjects(system, account) == ["full", "fast", "full again"]
    assert [event.data.uid for event in system.of(account, "messageUpdated")] == [2]
    assert not system.of(account, "mailboxReset", "messageDeleted")
    assert not system.repeated()


async def is_indexed(system: System, account: Account, *, indexed: bool) -> bool:
    return all(row.synced and row.indexed is indexed for row in await system.parts.accounts.mailboxes(account.token))


async def test_mail_that_comes_during_a_switch_is_told(system: System) -> None:
    first = await system.start()
    account = await system.connected(record_of=FAST)
    await system.deliver(account)
    await system.event(account, "messageNew")
    await first.stop()
    await system.change(account, imap_indexer="full")
    await system.deliver(account)
    second = await system.start("w2")
    await system.event(account, "messageNew", 2)
    await second.stop()
    await system.change(account, imap_indexer="fast")
    await system.deliver(account)
    await system.start("w3")
    await system.event(account, "messageNew", 3)
    assert [event.data.uid for event in system.of(account, "messageNew")] == [1, 2, 3]
    assert not system.repeated()


async def test_a_flush_switches_the_indexer_in_silence(system: System) -> None:
    await system.start()
    account = await system.connected()
    await system.deliver(account, n=2)
    await system.event(account, "messageNew", 2)
    for flush_id, indexer in (("there", "fast"), ("back", "full")):
        await system.parts.redis.delete(keys.FLUSH)
        command = FlushAccount(account=account.record.account, flush_id=flush_id, imap_indexer=indexer)
        await rpc.call(system.parts.bus, owner_subject(account.token, "flush"), command, deadline_s=15.0)
        await until(partial(is_indexed, system, account, indexed=indexer == "full"), indexer)
        assert await index_exists(system, account) is (indexer == "full")
        await system.deliver(account)
    await system.event(account, "messageNew", 4)
    assert [event.data.uid for event in system.of(account, "messageNew")] == [1, 2, 3, 4]
    assert (await system.parts.accounts.get(account.record.account)).record.imap_indexer == "full"


async def test_a_worker_that_is_killed_anywhere_tells_all_mail_once(system: System) -> None:
    account = await system.add(record_of=FAST)
    sent = 0
    async with crashing_worker(system, 4, seed=5) as process:
        over = asyncio.create_task(steady(process))
        while not over.done():
            await system.deliver(account, n=2)
            sent += 2
        await over
        await system.deliver(account)
        await system.event(account, "messageNew", sent + 1)
    assert [event.data.uid for event in system.of(account, "messageNew")] == list(range(1, sent + 2))
    assert not system.repeated()
    assert not await index_exists(system, account)
