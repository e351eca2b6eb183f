"""Whatever happens in a mailbox is told once, on servers with QRESYNC, with CONDSTORE, and with neither."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from postbus.common import ids
from postbus.common.accounts import Account
from postbus.common.times import now
from tests.integration.imap_sync.syncing import System, until_true

pytestmark = pytest.mark.anyio


def flag(client: Any, uid: int, flags: str = "(\\Flagged)") -> None:
    client.uid("STORE", str(uid), "+FLAGS", flags)


async def seen_uids(system: System, account: Account, kind: str) -> list[int]:
    return [event.data.uid for event in system.of(account, kind)]


async def test_new_changed_moved_and_deleted_messages_are_told(any_system: System) -> None:
    system = any_system
    await system.start()
    account = await system.connected()

    await system.deliver(account, n=3)
    await system.event(account, "messageNew", 3)
    assert await seen_uids(system, account, "messageNew") == [1, 2, 3]
    assert system.of(account, "messageNew")[0].data.text.plain

    await system.imap(account, lambda client: flag(client, 2))
    updated = await system.event(account, "messageUpdated")
    assert (updated.data.uid, updated.data.changes.flags.added) == (2, ["\\Flagged"])

    await system.imap(account, lambda client: client.uid("MOVE", "3", "Archive"))
    gone = await system.event(account, "messageDeleted")
    moved = await system.event(account, "messageNew", 4)
    assert (gone.path, gone.data.uid, moved.path, moved.data.uid) == ("INBOX", 3, "Archive", 1)

    def expunge(client: Any) -> None:
        flag(client, 1, "(\\Deleted)")
        client.expunge()

    await system.imap(account, expunge)
    await system.event(account, "messageDeleted", 2)
    inbox = await system.mailbox(account, "INBOX")
    assert inbox is not None
    assert (inbox.messages, inbox.unseen, inbox.late) == (1, 1, "")
    assert not system.repeated()


async def test_changes_while_nobody_watched_are_told_afterwards(any_system: System) -> None:
    system = any_system
    first = await system.start()
    account = await system.connected()
    await system.deliver(account, n=4)
    await system.event(account, "messageNew", 4)
    await first.stop()

    def change(client: Any) -> None:
        flag(client, 1, "(\\Seen)")
        flag(client, 2, "(\\Deleted)")
        client.expunge()

    await system.imap(account, change)
    await system.deliver(account)
    await system.start("w2")
    await system.event(account, "messageNew", 5)
    assert (await system.event(account, "messageUpdated")).data.changes.flags.value == ["\\Seen"]
    assert (await system.event(account, "messageDeleted")).data.uid == 2
    assert not system.repeated()


async def test_old_mail_is_indexed_in_silence_and_mail_since_notify_from_is_told(any_system: System) -> None:
    system = any_system
    await system.start()
    quiet, since = [f"n{ids.new_queue_id()}@example.test" for _ in range(2)]
    for user in (quiet, since):
        await asyncio.to_thread(system.mail.deliver, user, n=2)
    silent = await system.connected(user=quiet, notify_from=now() + timedelta(seconds=5))
    told = await system.connected(user=since, notify_from=now() - timedelta(minutes=5))
    await system.event(told, "messageNew", 2)
    inbox = await system.mailbox(silent, "INBOX")
    assert inbox is not None
    assert (inbox.messages, inbox.number) == (2, 1)
    assert not system.of(silent, "messageNew")


async def test_mailboxes_come_and_go(any_system: System) -> None:
    system = any_system
    await system.start()
    account = await system.connected()
    await until_true(lambda: {e.path for e in system.of(account, "mailboxNew")} >= {"INBOX", "Sent"}, "the first ones")

    await system.imap(account, lambda client: client.create("Work"))
    await until_true(lambda: any(event.path == "Work" for event in system.of(account, "mailboxNew")), "Work")
    await system.imap(account, lambda client: client.delete("Work"))
    gone = await system.event(account, "mailboxDeleted")
    assert (gone.path, gone.data.name) == ("Work", "Work")
    assert await system.mailbox(account, "Work") is None


async def test_another_uid_validity_resets_the_mailbox_once_and_in_silence(any_system: System) -> None:
    system = any_system
    first = await system.start()
    account = await system.connected()
    await system.imap(account, lambda client: client.create("Work"))
    await until_true(lambda: any(event.path == "Work" for event in system.of(account, "mailboxNew")), "Work")
    before = await system.mailbox(account, "Work")
    assert before is not None
    await first.stop()

    def replace(client: Any) -> None:
        client.delete("Work")
        client.create("Work")
        client.append("Work", "", '"01-Nov-2020 00:00:00 +0000"', b"Subject: old\r\n\r\nold\r\n")

    await system.imap(account, replace)
    await system.start("w2")
    reset = await system.event(account, "mailboxReset")
    after = await system.mailbox(account, "Work")
    assert after is not None
    assert (reset.path, reset.data.reason) == ("Work", "uidValidityChange")
    assert (reset.data.prev_uid_validity, reset.data.uid_validity) == (
        str(before.uid_validity),
        str(after.uid_validity),
    )
    assert after.number != before.number
    assert after.messages == 1
    assert not system.of(account, "messageNew", "mailboxDeleted")
