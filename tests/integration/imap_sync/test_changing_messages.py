"""Contract, section 10: flags, moves and deletions of single messages on servers of all abilities, and their events."""

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from postbus.common import commands
from postbus.common.accounts import Account
from postbus.common.bus import rpc
from postbus.common.commands import Change, DeleteMessage, MoveMessage, UpdateMessage
from postbus.common.errors import BadInput, CommandRefused, NotFound
from postbus.common.ids import MessageId
from tests.integration.imap_sync.changing import name, opened, run, uids
from tests.integration.imap_sync.reading_session import ReadingSession
from tests.integration.imap_sync.syncing import System
from tests.mailserver import MailServer
from tests.servers import NatsServer

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def old_mail() -> Iterator[MailServer]:
    """A server that can neither MOVE nor expunge single messages."""
    with MailServer(drop_caps=["MOVE", "UIDPLUS", "QRESYNC"], strict=True, mta="none") as server:
        yield server


@pytest.fixture
async def session(mail: MailServer, nats_server: NatsServer) -> AsyncIterator[ReadingSession]:
    """An account on the best server."""
    async for one in opened(mail, nats_server):
        yield one


@pytest.fixture
async def old_session(old_mail: MailServer, nats_server: NatsServer) -> AsyncIterator[ReadingSession]:
    """An account on the old one."""
    async for one in opened(old_mail, nats_server):
        yield one


async def update(session: ReadingSession, uid: int, **change: Any) -> Any:
    return await run(session, "update-message", UpdateMessage(account="a", message=name(session, uid), **change))


async def test_flags_are_added_and_taken_away_and_set_wins(session: ReadingSession, mail: MailServer) -> None:
    mail.deliver(session.record.account)
    added = await update(session, 1, flags=Change(add=["\\Seen", "$Label"], delete=["\\Flagged"]))
    assert added == {"flags": {"add": True, "delete": True, "result": ["\\Seen", "$Label"]}}
    taken = await update(session, 1, flags=Change(delete=["\\Seen"]))
    assert taken == {"flags": {"delete": True, "result": ["$Label"]}}
    replaced = await update(session, 1, flags=Change(add=["$Label"], set=["\\Flagged"]))
    assert replaced == {"flags": {"set": True, "result": ["\\Flagged"]}}
    assert session.poked == ["INBOX"] * 3


async def test_a_set_of_nothing_that_can_be_set_changes_nothing_and_an_empty_one_clears(
    session: ReadingSession, mail: MailServer
) -> None:
    mail.deliver(session.record.account)
    await update(session, 1, flags=Change(add=["\\Seen"]))
    assert await update(session, 1, flags=Change(set=["\\Recent"])) == {"flags": {"set": False, "result": ["\\Seen"]}}
    assert await update(session, 1, flags=Change(set=[])) == {"flags": {"set": True, "result": []}}


async def test_labels_are_left_out_where_the_server_has_none(session: ReadingSession, mail: MailServer) -> None:
    mail.deliver(session.record.account)
    assert await update(session, 1, labels=Change(add=["x"])) == {}


async def test_what_is_no_flag_is_refused(session: ReadingSession, mail: MailServer) -> None:
    mail.deliver(session.record.account)
    for flag in ("two words", "a\r\nA1 LOGOUT", "(", ""):
        with pytest.raises(BadInput):
            await update(session, 1, flags=Change(add=[flag]))
    with pytest.raises(CommandRefused):
        await update(session, 1, flags=Change(add=["\\NoSuchSystemFlag"]))


async def test_a_message_moves_and_its_new_id_is_told(session: ReadingSession, mail: MailServer) -> None:
    mail.deliver(session.record.account, n=2)
    command = MoveMessage(account="a", message=name(session, 2), path="Archive")
    assert await run(session, "move-message", command) == {
        "path": "Archive",
        "id": name(session, 1, "Archive"),
        "uid": 1,
    }
    assert (await uids(session, "INBOX"), await uids(session, "Archive")) == ([1], [1])
    assert session.poked == ["INBOX", "Archive"]


async def test_a_mailbox_that_is_not_there_is_the_servers_answer_and_nothing_moves(
    session: ReadingSession, old_session: ReadingSession, mail: MailServer, old_mail: MailServer
) -> None:
    for one, server in ((session, mail), (old_session, old_mail)):
        server.deliver(one.record.account)
        with pytest.raises(CommandRefused) as caught:
            await run(one, "move-message", MoveMessage(account="a", message=name(one, 1), path="No such"))
        assert caught.value.code in ("TRYCREATE", "NONEXISTENT")
        with pytest.raises(NotFound):
            await run(one, "move-message", MoveMessage(account="a", message=name(one, 1), path="\\Important"))
        assert await uids(one, "INBOX", "UNDELETED") == [1]


async def test_an_old_server_moves_and_deletes_without_touching_what_others_flagged(
    old_session: ReadingSession, old_mail: MailServer
) -> None:
    old_mail.deliver(old_session.record.account, n=4)
    moved = await run(
        old_session, "move-message", MoveMessage(account="a", message=name(old_session, 1), path="Archive")
    )
    assert moved["path"] == "Archive"
    assert (await uids(old_session, "INBOX"), await uids(old_session, "Archive")) == ([2, 3, 4], [1])
    await update(old_session, 2, flags=Change(add=["\\Deleted"]))
    kept = await run(
        old_session, "delete-message", DeleteMessage(account="a", message=name(old_session, 3), force=True)
    )
    assert kept == {"deleted": False}
    assert await uids(old_session, "INBOX", "DELETED") == [2, 3]
    await update(old_session, 2, flags=Change(delete=["\\Deleted"]))
    gone = await run(
        old_session, "delete-message", DeleteMessage(account="a", message=name(old_session, 3), force=True)
    )
    assert gone == {"deleted": True}
    assert await uids(old_session, "INBOX") == [2, 4]


async def test_what_is_deleted_goes_to_trash_and_from_there_for_good(session: ReadingSession, mail: MailServer) -> None:
    mail.deliver(session.record.account)
    in_trash = name(session, 1, "Trash")
    first = await run(session, "delete-message", DeleteMessage(account="a", message=name(session, 1)))
    assert first == {"deleted": False, "moved": {"destination": "Trash", "message": in_trash}}
    second = await run(session, "delete-message", DeleteMessage(account="a", message=in_trash))
    assert second == {"deleted": True}
    assert (await uids(session, "INBOX"), await uids(session, "Trash")) == ([], [])


async def test_force_and_an_account_without_trash_delete_for_good(session: ReadingSession, mail: MailServer) -> None:
    mail.deliver(session.record.account, n=3)
    forced = DeleteMessage(account="a", message=name(session, 1), force=True)
    assert await run(session, "delete-message", forced) == {"deleted": True}
    del session.boxes["Trash"]
    assert await run(session, "delete-message", DeleteMessage(account="a", message=name(session, 2))) == {
        "deleted": True
    }
    assert await uids(session, "INBOX") == [3]


async def test_gmail_deletes_by_force_through_its_trash(session: ReadingSession, mail: MailServer) -> None:
    """What is expunged elsewhere is only archived there."""
    session.gmail = True
    mail.deliver(session.record.account, n=2)
    forced = DeleteMessage(account="a", message=name(session, 1), force=True)
    assert await run(session, "delete-message", forced) == {"deleted": True}
    assert (await uids(session, "INBOX"), await uids(session, "Trash")) == ([2], [])
    assert session.poked == ["INBOX", "Trash", "Trash"]


async def test_a_message_that_is_gone_is_not_found_whatever_is_asked(session: ReadingSession) -> None:
    gone = name(session, 7)
    for operation, command in (
        ("update-message", UpdateMessage(account="a", message=gone, flags=Change(add=["\\Seen"]))),
        ("move-message", MoveMessage(account="a", message=gone, path="Archive")),
        ("delete-message", DeleteMessage(account="a", message=gone)),
        ("delete-message", DeleteMessage(account="a", message=str(MessageId(999, 1)))),
    ):
        with pytest.raises(NotFound) as caught:
            await run(session, operation, command)
        assert caught.value.code == "MessageNotFound"


async def ask(system: System, account: Account, operation: str, command: commands.Command) -> Any:
    subject = commands.owner_subject(account.token, operation)
    return json.loads(await rpc.call(system.parts.bus, subject, command, deadline_s=10.0))


async def test_own_changes_are_events_at_once_like_those_of_others(any_system: System) -> None:
    await any_system.start()
    account = await any_system.connected()
    await any_system.deliver(account)
    new = await any_system.event(account, "messageNew")
    command = UpdateMessage(account=account.record.account, message=new.data.id, flags=Change(add=["\\Flagged"]))
    await ask(any_system, account, "update-message", command)
    updated = await any_system.event(account, "messageUpdated")
    assert (updated.data.id, updated.data.changes.flags.added) == (new.data.id, ["\\Flagged"])
    move = MoveMessage(account=account.record.account, message=new.data.id, path="Archive")
    moved = await ask(any_system, account, "move-message", move)
    deleted = await any_system.event(account, "messageDeleted")
    again = await any_system.event(account, "messageNew", 2)
    assert (deleted.data.id, again.path, again.data.id) == (new.data.id, "Archive", moved["id"])
    gone = await ask(
        any_system,
        account,
        "delete-message",
        DeleteMessage(account=account.record.account, message=again.data.id, force=True),
    )
    assert gone == {"deleted": True}
    assert (await any_system.event(account, "messageDeleted", 2)).data.id == again.data.id
    assert not any_system.repeated()
