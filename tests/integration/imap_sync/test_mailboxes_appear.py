"""A mailbox that appears: what came into it is told, and it is never taken for an earlier one of its name."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from postbus.common.accounts import Account
from postbus.imap_sync import watch
from tests.integration.imap_sync.syncing import QUICK, System, until, until_true

pytestmark = pytest.mark.anyio

MESSAGE = b"Subject: filed\r\nMessage-ID: <filed@x.test>\r\n\r\nx\r\n"


def file_into(path: str) -> Any:
    def act(client: Any) -> None:
        client.create(path)
        client.append(path, "", None, MESSAGE)

    return act


async def told(system: System, account: Account, kind: str, path: str, count: int = 1) -> None:
    def there() -> bool:
        return len([event for event in system.of(account, kind) if event.path == path]) == count

    await until_true(there, f"{count} {kind} of {path}")


async def gone(system: System, account: Account, path: str) -> None:
    async def missing() -> bool:
        return await system.mailbox(account, path) is None

    await until(missing, f"{path} is gone")


async def test_mail_filed_into_a_new_mailbox_is_told_in_whatever_second_it_came(any_system: System) -> None:
    await any_system.start()
    account = await any_system.connected()
    for number in range(4):
        await any_system.imap(account, file_into(f"New{number}"))
        await told(any_system, account, "messageNew", f"New{number}")


async def test_mail_of_a_new_mailbox_is_told_though_other_mail_was_seen_before_the_worker_ended(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "OVERLAP", timedelta(0))
    first = await system.start(tuning=replace(QUICK, poll_s=60.0, longest_poll_s=60.0))
    account = await system.connected()
    await system.imap(account, file_into("Work"))
    for count in range(1, 5):  # at least a second goes by
        await system.deliver(account)
        await system.event(account, "messageNew", count)
    assert await system.mailbox(account, "Work") is None
    await first.stop()
    await system.start("w2")
    await told(system, account, "messageNew", "Work")


async def test_a_mailbox_that_comes_back_after_it_was_deleted_is_a_new_one(system: System) -> None:
    first = await system.start()
    account = await system.connected()
    await system.imap(account, file_into("Work"))
    await told(system, account, "messageNew", "Work")
    await system.imap(account, lambda client: client.delete("Work"))
    await told(system, account, "mailboxDeleted", "Work")
    await first.stop()

    await system.imap(account, file_into("Work"))
    await system.start("w2")
    await told(system, account, "mailboxNew", "Work", 2)
    await told(system, account, "messageNew", "Work", 2)
    assert not system.of(account, "mailboxReset")


async def test_a_mailbox_that_is_renamed_back_and_forth_is_told_each_time(system: System) -> None:
    await system.start()
    account = await system.connected()
    await system.imap(account, file_into("Here"))
    await told(system, account, "messageNew", "Here")
    for count in (1, 2):
        await system.imap(account, lambda client: client.rename("Here", "There"))
        await told(system, account, "messageNew", "There", count)
        await gone(system, account, "Here")
        await system.imap(account, lambda client: client.rename("There", "Here"))
        await told(system, account, "messageNew", "Here", count + 1)
        await gone(system, account, "There")
    assert not system.repeated()
