"""Searches for text that is not ASCII, on servers that take it and on one that refuses the charset."""

import pytest

from postbus.common.commands import SearchQuery
from postbus.common.errors import CommandRefused
from postbus.imap_sync.protocol.values import UidRange
from postbus.imap_sync.search import compose_search
from tests.unit.imap_sync.scripted_imap import Peer, session

pytestmark = pytest.mark.anyio

SEARCH = SearchQuery.model_validate({"subject": "Grüße", "unseen": True})


async def test_text_goes_as_a_literal_in_utf8() -> None:
    """(quirk 51) (trap 34)."""

    async def play(peer: Peer) -> None:
        tag = await peer.command(b"UID SEARCH CHARSET UTF-8 UNSEEN SUBJECT {7}")
        peer.send(b"+ go on")
        assert await peer.literal(9) == "Grüße".encode() + b"\r\n"
        peer.send(b"* SEARCH 3 4", tag + b" OK done")

    async with session(play, b"") as connection:
        assert await connection.search(compose_search(SEARCH, connection.capabilities)) == [UidRange(3, 4)]


async def test_a_server_that_refuses_the_charset_is_asked_without_its_name() -> None:
    """Some take UTF-8 all the same (trap 34)."""

    async def play(peer: Peer) -> None:
        await peer.answer(b"UID SEARCH CHARSET", status=b"NO [BADCHARSET (US-ASCII)] not supported")
        tag = await peer.command(b"UID SEARCH UNSEEN SUBJECT {7}")
        peer.send(b"+ go on")
        assert await peer.literal(9) == "Grüße".encode() + b"\r\n"
        peer.send(b"* SEARCH 3 4", tag + b" OK done")

    async with session(play, b"") as connection:
        assert await connection.search(compose_search(SEARCH, connection.capabilities)) == [UidRange(3, 4)]


async def test_a_server_that_refuses_the_charset_is_told_by_its_code_and_goes_on() -> None:
    async def play(peer: Peer) -> None:
        for command in (b"UID SEARCH CHARSET", b"UID SEARCH UNSEEN"):
            await peer.answer(command, status=b"NO [BADCHARSET (US-ASCII)] not supported")
        await peer.answer(b"NOOP")

    async with session(play, b"") as connection:
        with pytest.raises(CommandRefused) as error:
            await connection.search(compose_search(SEARCH, connection.capabilities))
        assert error.value.code == "BADCHARSET"
        await connection.noop()
