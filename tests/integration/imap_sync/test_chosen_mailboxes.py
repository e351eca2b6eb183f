"""Accounts that sync some mailboxes only: of the others nothing is told, and old mail is never new (contract, 4)."""

import asyncio
from typing import Any
from uuid import uuid4

import pytest

from postbus.common.accounts import Account, MailboxRecord
from postbus.common.store import keys
from postbus.common.times import now
from tests.integration.imap_sync.syncing import System, until, until_true

pytestmark = pytest.mark.anyio


def append(path: str, subject: str = "filed") -> Any:
    message = f"Subject: {subject}\r\nMessage-ID: <{uuid4()}@x.test>\r\n\r\nx\r\n".encode()
    return lambda client: client.append(path, "", None, message)


def told_of(system: System, account: Account) -> set[str | None]:
    kinds = ("messageNew", "messageDeleted", "messageUpdated", "mailboxNew", "mailboxReset", "mailboxDeleted")
    return {event.path for event in system.of(account, *kinds)}


async def counted(system: System, account: Account, path: str, messages: int) -> MailboxRecord:
    async def there() -> bool:
        row = await system.mailbox(account, path)
        return row is not None and row.messages == messages

    await until(there, f"{messages} in {path}")
    row = await system.mailbox(account, path)
    assert row is not None
    return row


async def test_only_the_named_mailboxes_are_indexed_and_told_of(any_system: System) -> None:
    system = any_system
    await system.start()
    account = await system.connected(record_of={"path": ("\\sENT", "inbox")})
    await system.imap(account, append("Archive"))
    await system.imap(account, append("Sent"))
    await system.deliver(account)
    await system.event(account, "messageNew", 2)
    archive = await counted(system, account, "Archive", 1)
    assert (archive.synced, archive.watched) == (False, False)
    assert told_of(system, account) == {"INBOX", "Sent"}


async def test_what_becomes_of_other_mailboxes_is_not_told(system: System) -> None:
    await system.start()
    account = await system.connected(record_of={"path": ("INBOX",)})
    await system.imap(account, lambda client: client.create("Work"))
    await counted(system, account, "Work", 0)
    await system.imap(account, lambda client: client.delete("Work"))

    async def gone() -> bool:
        return await system.mailbox(account, "Work") is None

    await until(gone, "Work is gone")
    await system.deliver(account)
    await system.event(account, "messageNew")
    assert told_of(system, account) == {"INBOX"}


async def test_the_first_of_the_named_mailboxes_is_the_one_that_pushes(system: System) -> None:
    running = await system.start()
    account = await system.connected(record_of={"path": ("\\Sent", "INBOX")})
    watcher = running.worker.runners[account.token].session._watcher
    assert watcher is not None
    assert watcher.main == "Sent"


async def test_a_change_made_by_ourselves_in_a_mailbox_that_is_not_synced_only_counts(system: System) -> None:
    running = await system.start()
    account = await system.connected(record_of={"path": ("INBOX",)})
    await system.imap(account, append("Sent"))
    running.worker.runners[account.token].session.poke("Sent")
    row = await counted(system, account, "Sent", 1)
    assert not row.synced
    assert told_of(system, account) == {"INBOX"}


async def test_a_path_that_names_nothing_connects_and_tells_nothing(system: System) -> None:
    await system.start()
    account = await system.connected(record_of={"path": ("No such mailbox",)})
    await system.deliver(account)
    await counted(system, account, "INBOX", 1)
    assert told_of(system, account) == set()


async def test_a_mailbox_that_is_named_later_starts_without_its_old_mail(any_system: System) -> None:
    system = any_system
    await system.start()
    account = await system.connected(record_of={"path": ("INBOX",)})
    await system.imap(account, append("Archive", "old"))
    await counted(system, account, "Archive", 1)
    await asyncio.sleep(1.1)  # mail of the very second of the change counts as new
    await system.change(account, path=("INBOX", "Archive"), path_since=now())
    await until_true(lambda: any(event.path == "Archive" for event in system.of(account, "mailboxNew")), "started")
    await system.imap(account, append("Archive", "new"))
    new = await system.event(account, "messageNew")
    assert (new.path, new.data.subject) == ("Archive", "new")


async def test_mail_between_the_change_and_the_first_look_is_told(system: System) -> None:
    first = await system.start()
    account = await system.connected(record_of={"path": ("INBOX",)})
    await system.imap(account, append("Archive", "old"))
    await counted(system, account, "Archive", 1)
    await first.stop()
    await asyncio.sleep(1.1)
    await system.change(account, path=("*",), path_since=now())
    await system.imap(account, append("Archive", "new"))
    await system.start("w2")
    new = await system.event(account, "messageNew")
    assert (new.path, new.data.subject) == ("Archive", "new")


async def test_a_mailbox_left_out_and_named_again_tells_nothing_of_what_came_between(any_system: System) -> None:
    system = any_system
    await system.start()
    account = await system.connected(record_of={"path": ("INBOX", "Archive")})
    await system.imap(account, append("Archive", "first"))
    await system.event(account, "messageNew")
    await system.change(account, path=("INBOX",), path_since=now())

    async def stopped() -> bool:
        row = await system.mailbox(account, "Archive")
        return row is not None and not row.synced

    await until(stopped, "Archive is left alone")
    assert not await system.parts.redis.exists(await index_key(system, account, "Archive"))
    await system.imap(account, append("Archive", "between"))
    await counted(system, account, "Archive", 2)
    await asyncio.sleep(1.1)
    await system.change(account, path=("INBOX", "Archive"), path_since=now())

    async def again() -> bool:
        row = await system.mailbox(account, "Archive")
        return row is not None and row.synced and row.messages == 2

    await until(again, "Archive is synced again")
    await system.imap(account, append("Archive", "last"))
    await system.event(account, "messageNew", 2)
    assert [event.data.subject for event in system.of(account, "messageNew")] == ["first", "last"]
    assert [event.path for event in system.of(account, "mailboxNew")].count("Archive") == 1
    assert not system.of(account, "messageDeleted", "mailboxDeleted", "mailboxReset")


async def index_key(system: System, account: Account, path: str) -> str:
    row = await system.mailbox(account, path)
    assert row is not None
    return keys.index(account.token, row.number)
