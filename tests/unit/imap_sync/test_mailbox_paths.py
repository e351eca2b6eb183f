"""Contract, section 6: the paths that new mailboxes get, and how mailboxes with odd names are changed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postbus.common.errors import BadInput, CommandRefused
from postbus.imap_sync.arranging import compose_path
from tests.unit.imap_sync.scripted_imap import Peer, session


@pytest.mark.parametrize(
    ("segments", "delimiter", "prefix", "path"),
    [
        (["Archive", "2026"], "/", "", "Archive/2026"),
        (["Archive/2026"], "/", "", "Archive/2026"),
        (["a", "b/c"], "/", "", "a/b/c"),
        (["Archive", "2026"], ".", "INBOX.", "INBOX.Archive.2026"),
        (["INBOX", "x"], ".", "INBOX.", "INBOX.x"),
        (["inbox", "x"], ".", "INBOX.", "INBOX.x"),
        (["inbox"], ".", "INBOX.", "INBOX"),
        (["a/b"], None, "", "a/b"),
    ],
)
def test_levels_become_a_path_below_the_namespace(
    segments: list[str], delimiter: str | None, prefix: str, path: str
) -> None:
    assert compose_path(segments, delimiter=delimiter, prefix=prefix) == path


@pytest.mark.parametrize(
    ("segments", "delimiter"), [(["a", "b"], None), (["a//b"], "/"), (["/a"], "/"), (["a/"], "/"), ([""], "/")]
)
def test_levels_that_are_empty_or_impossible_are_refused(segments: list[str], delimiter: str | None) -> None:
    with pytest.raises(BadInput):
        compose_path(segments, delimiter=delimiter)


@given(st.lists(st.text("abc Ü", min_size=1), min_size=1, max_size=5))
def test_a_path_that_was_composed_composes_to_itself(segments: list[str]) -> None:
    path = compose_path(segments, delimiter=".", prefix="INBOX.")
    assert compose_path([path], delimiter=".", prefix="INBOX.") == path


@pytest.mark.anyio
async def test_the_id_of_a_new_mailbox_is_told() -> None:
    async def play(peer: Peer) -> None:
        await peer.answer(b'CREATE "new"', status=b"OK [MAILBOXID (F2212ea87-6097)] Completed")
        await peer.answer(b'CREATE "plain"')

    async with session(play, b"OBJECTID") as connection:
        assert await connection.create_mailbox("new") == "F2212ea87-6097"
        assert await connection.create_mailbox("plain") is None


@pytest.mark.anyio
async def test_a_server_that_writes_names_as_utf8_is_asked_once_more() -> None:
    async def play(peer: Peer) -> None:
        await peer.answer(b'DELETE "B&APw-ro"', status=b"NO no such mailbox")
        tag = await peer.command(b"DELETE {5}")
        peer.send(b"+ go on")
        assert await peer.literal(7) == "Büro".encode() + b"\r\n"
        peer.send(tag + b" OK done")

    async with session(play, b"") as connection:
        await connection.delete_mailbox("Büro")


@pytest.mark.anyio
async def test_a_refusal_is_the_first_one() -> None:
    async def play(peer: Peer) -> None:
        await peer.answer(b'RENAME "a" "b"', status=b"NO [CANNOT] never")

    async with session(play, b"") as connection:
        with pytest.raises(CommandRefused) as error:
            await connection.rename_mailbox("a", "b")
        assert error.value.server_code == "CANNOT"


@pytest.mark.anyio
async def test_a_mailbox_is_left_before_it_is_deleted() -> None:
    async def play(peer: Peer) -> None:
        await peer.answer(b"EXAMINE", b"* 0 EXISTS", b"* OK [UIDVALIDITY 1] x")
        await peer.answer(b"UNSELECT")
        await peer.answer(b'DELETE "x"')

    async with session(play, b"UNSELECT") as connection:
        await connection.select("x/y", read_only=True)
        await connection.delete_mailbox("x")
        assert connection.selected is None
