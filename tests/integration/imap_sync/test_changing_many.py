"""Contract, section 10: flags, moves and deletions of all messages that a search finds."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from postbus.common.commands import Change, DeleteMessages, MoveMessages, SearchQuery, UpdateMessages
from postbus.common.errors import CommandRefused, NotFound, NotSupported
from tests.integration.imap_sync.changing import name, opened, run, uids
from tests.integration.imap_sync.reading_session import ReadingSession
from tests.mailserver import MailServer
from tests.servers import NatsServer

pytestmark = pytest.mark.anyio

INBOX: dict[str, Any] = {"account": "a", "path": "INBOX"}


@pytest.fixture
async def session(mail: MailServer, nats_server: NatsServer) -> AsyncIterator[ReadingSession]:
    """An account with five messages, of which 2 and 4 are flagged."""
    async for one in opened(mail, nats_server):
        mail.deliver(one.record.account, n=5)
        search = SearchQuery(uid="2,4")
        await run(one, "update-messages", UpdateMessages(**INBOX, search=search, flags=Change(add=["\\Flagged"])))
        one.poked.clear()
        yield one


async def test_flags_of_all_that_is_found_are_changed(session: ReadingSession) -> None:
    command = UpdateMessages(
        **INBOX, search=SearchQuery(flagged=True), flags=Change(add=["\\Seen"], delete=["\\Flagged"])
    )
    assert await run(session, "update-messages", command) == {"flags": {"add": True, "delete": True}}
    assert (await uids(session, "INBOX", "SEEN"), await uids(session, "INBOX", "FLAGGED")) == ([2, 4], [])
    assert session.poked == ["INBOX"]


async def test_all_that_is_found_moves_and_the_map_tells_which_is_which(session: ReadingSession) -> None:
    command = MoveMessages(**INBOX, search=SearchQuery(flagged=True), target="\\Archive")
    with pytest.raises(NotFound):
        await run(session, "move-messages", command)
    answer = await run(session, "move-messages", command.model_copy(update={"target": "Archive"}))
    pairs = [[name(session, 2), name(session, 1, "Archive")], [name(session, 4), name(session, 2, "Archive")]]
    assert answer == {"path": "Archive", "idMap": pairs}
    assert (await uids(session, "INBOX"), await uids(session, "Archive")) == ([1, 3, 5], [1, 2])


async def test_all_that_is_found_goes_to_trash_and_from_there_for_good(session: ReadingSession) -> None:
    answer = await run(session, "delete-messages", DeleteMessages(**INBOX, search=SearchQuery(flagged=True)))
    pairs = [[name(session, 2), name(session, 1, "Trash")], [name(session, 4), name(session, 2, "Trash")]]
    assert answer == {"deleted": False, "moved": {"destination": "Trash", "idMap": pairs}}
    command = DeleteMessages(account="a", path="Trash", search=SearchQuery(uid="1"))
    assert await run(session, "delete-messages", command) == {"deleted": True}
    assert await uids(session, "Trash") == [2]
    forced = DeleteMessages(**INBOX, search=SearchQuery(), force=True)
    assert await run(session, "delete-messages", forced) == {"deleted": True}
    assert (await uids(session, "INBOX"), await uids(session, "Trash")) == ([], [2])


async def test_a_search_that_finds_nothing_changes_nothing(session: ReadingSession) -> None:
    nothing = SearchQuery(uid="900")
    assert await run(session, "move-messages", MoveMessages(**INBOX, search=nothing, target="Archive")) == {
        "path": "Archive"
    }
    for force in (False, True):
        answer = await run(session, "delete-messages", DeleteMessages(**INBOX, search=nothing, force=force))
        assert answer["deleted"] is False
    command = DeleteMessages(account="a", path="Drafts", search=SearchQuery(seq="1:5"))
    assert (await run(session, "delete-messages", command))["deleted"] is False
    assert await uids(session, "INBOX") == [1, 2, 3, 4, 5]


async def test_a_search_that_the_server_can_not_make_changes_nothing(session: ReadingSession) -> None:
    with pytest.raises(NotSupported):
        await run(session, "delete-messages", DeleteMessages(**INBOX, search=SearchQuery(gmail_raw="x"), force=True))
    with pytest.raises(CommandRefused) as caught:
        await run(session, "move-messages", MoveMessages(**INBOX, search=SearchQuery(), target="No such"))
    assert caught.value.code in ("TRYCREATE", "NONEXISTENT")
    assert await uids(session, "INBOX") == [1, 2, 3, 4, 5]


async def test_thousands_are_changed_with_few_commands(session: ReadingSession, mail: MailServer) -> None:
    mail.seed(session.record.account, 3000)
    search = SearchQuery()
    answer = await run(session, "move-messages", MoveMessages(**INBOX, search=search, target="Archive"))
    assert len(answer["idMap"]) == 3005
    assert await uids(session, "INBOX") == []
