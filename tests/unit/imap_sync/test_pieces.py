"""How large the pieces of a download are: what a provider does with a range decides."""

from typing import Any

import pytest

from postbus.imap_sync.connection import DEAR_PIECE, PIECE
from postbus.imap_sync.profiles import GENERIC, OUTLOOK, TENCENT, Profile
from tests.unit.imap_sync.scripted_imap import Peer, session

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(("profile", "size"), [(GENERIC, PIECE), (OUTLOOK, DEAR_PIECE), (TENCENT, DEAR_PIECE)])
async def test_few_large_pieces_are_asked_of_a_server_that_makes_the_whole_message_for_each(
    profile: Profile, size: int
) -> None:
    """(quirk 21) Exchange renders it anew, Exmail sends all of it whatever was asked for."""

    async def play(peer: Peer) -> None:
        tag = await peer.command(b"UID FETCH 7 (UID BODY.PEEK[1]<0.%d>)" % size)
        peer.send(b"* 1 FETCH (UID 7 BODY[1]<0> {2}", b"hi)", tag + b" OK done")

    async with session(play) as connection:
        state: Any = connection._state
        state.profile = profile
        assert b"".join([piece async for piece in connection.stream_section(7, "1")]) == b"hi"
