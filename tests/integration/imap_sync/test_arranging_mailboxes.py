"""Creating, renaming and deleting mailboxes through a worker, with the events and the listing that follow."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from postbus.common.accounts import Account
from postbus.common.commands import ChangeMailbox, Command, CreateMailbox, DeleteMailbox
from postbus.common.errors import BadInput, CommandRefused, NotFound
from postbus.imap_sync.operations import OPERATIONS, Session
from tests.integration.imap_sync.syncing import QUICK, System, open_system, until_true
from tests.mailserver import MailServer

pytestmark = pytest.mark.anyio


async def ready(system: System) -> tuple[Session, Account]:
    running = await system.start(tuning=QUICK)
    account = await system.connected()
    return running.worker.runners[account.token].session, account


async def ask(session: Session, operation: str, command: Command) -> Any:
    return json.loads(await OPERATIONS[operation](session, command.model_dump_json(by_alias=True).encode(), 10.0))


async def announced(system: System, account: Account, kind: str, path: str) -> None:
    await until_true(lambda: path in [event.path for event in system.of(account, kind)], f"{kind} of {path}")


async def test_a_mailbox_is_created_once_and_known_at_once(system: System) -> None:
    session, account = await ready(system)
    created = await ask(session, "create-mailbox", CreateMailbox(account="a", path=["Büro", "2026 & more"]))
    assert created == {"path": "Büro/2026 & more", "created": True}
    record = await system.mailbox(account, "Büro/2026 & more")
    assert record and record.subscribed
    assert session.mailbox("Büro/2026 & more") is not None
    again = await ask(session, "create-mailbox", CreateMailbox(account="a", path=["Büro/2026 & more"]))
    assert again == {"path": "Büro/2026 & more", "created": False}
    await announced(system, account, "mailboxNew", "Büro/2026 & more")
    below = await ask(session, "create-mailbox", CreateMailbox(account="a", path=["\\Sent", "2026"]))
    assert below == {"path": "Sent/2026", "created": True}


async def test_a_mailbox_that_the_sync_does_not_know_yet_is_not_created_again(system: System) -> None:
    session, account = await ready(system)
    await system.imap(account, lambda client: client.create("Unknown"))
    created = await ask(session, "create-mailbox", CreateMailbox(account="a", path=["Unknown"]))
    assert created == {"path": "Unknown", "created": False}


async def test_a_renamed_mailbox_has_the_new_path_only(system: System) -> None:
    session, account = await ready(system)
    await ask(session, "create-mailbox", CreateMailbox(account="a", path=["Old"]))
    async with session.command("Old", deadline_s=5):
        pass  # a warm connection that has it selected
    renamed = await ask(session, "change-mailbox", ChangeMailbox(account="a", path="Old", new_path=["New", "Ä"]))
    assert renamed == {"path": "Old", "newPath": "New/Ä", "renamed": True, "subscribed": True}
    record = await system.mailbox(account, "New/Ä")
    assert record and record.subscribed
    assert await system.mailbox(account, "Old") is None
    await announced(system, account, "mailboxDeleted", "Old")
    await announced(system, account, "mailboxNew", "New/Ä")
    same = await ask(session, "change-mailbox", ChangeMailbox(account="a", path="New/Ä", new_path=["New/Ä"]))
    assert same == {"path": "New/Ä", "newPath": "New/Ä", "renamed": False}


async def test_a_mailbox_is_subscribed_and_no_longer(system: System) -> None:
    session, account = await ready(system)
    await ask(session, "create-mailbox", CreateMailbox(account="a", path=["News"]))  # Dovecot's own always are
    for subscribed in (False, True):
        answer = await ask(session, "change-mailbox", ChangeMailbox(account="a", path="News", subscribed=subscribed))
        assert answer == {"path": "News", "subscribed": subscribed}
        record = await system.mailbox(account, "News")
        assert record and record.subscribed is subscribed


async def test_a_deleted_mailbox_is_gone_at_once(system: System) -> None:
    session, account = await ready(system)
    await ask(session, "create-mailbox", CreateMailbox(account="a", path=["Gone"]))
    async with session.command("Gone", deadline_s=5):
        pass
    assert await ask(session, "delete-mailbox", DeleteMailbox(account="a", path="Gone")) == {
        "path": "Gone",
        "deleted": True,
    }
    assert await system.mailbox(account, "Gone") is None
    await announced(system, account, "mailboxDeleted", "Gone")
    again = await ask(session, "delete-mailbox", DeleteMailbox(account="a", path="Gone"))
    assert again == {"path": "Gone", "deleted": False}
    assert await ask(session, "delete-mailbox", DeleteMailbox(account="a", path="inbox")) == {
        "path": "INBOX",
        "deleted": False,
    }


async def test_an_unknown_mailbox_that_keeps_its_name_is_not_found(system: System) -> None:
    session, _ = await ready(system)
    with pytest.raises(NotFound) as error:
        await ask(session, "change-mailbox", ChangeMailbox(account="a", path="trail", new_path=["trail"]))
    assert error.value.code == "FolderNotFound"


async def test_what_the_server_refuses_has_its_code_or_ours(system: System) -> None:
    session, _ = await ready(system)
    with pytest.raises(CommandRefused) as error:
        await ask(session, "change-mailbox", ChangeMailbox(account="a", path="No such", new_path=["x"]))
    assert error.value.code in ("NONEXISTENT", "RenameFailed")
    with pytest.raises(BadInput):
        await ask(session, "change-mailbox", ChangeMailbox(account="a", path="INBOX"))
    with pytest.raises(BadInput):
        await ask(session, "create-mailbox", CreateMailbox(account="a", path=["a\x01b"]))


@pytest.fixture(scope="module")
def courier() -> Iterator[MailServer]:
    """A server that keeps everything below INBOX."""
    with MailServer(prefix="INBOX.", separator=".", mta="none") as server:
        yield server


async def test_the_prefix_of_the_namespace_is_added(nats_url: str, redis_url: str, courier: MailServer) -> None:
    async with open_system(nats_url, redis_url, courier) as system:
        session, account = await ready(system)
        created = await ask(session, "create-mailbox", CreateMailbox(account="a", path=["Archive", "2026"]))
        assert created == {"path": "INBOX.Archive.2026", "created": True}
        assert await system.mailbox(account, "INBOX.Archive.2026")
        full = await ask(session, "create-mailbox", CreateMailbox(account="a", path=["INBOX.Archive.2027"]))
        assert full["path"] == "INBOX.Archive.2027"
