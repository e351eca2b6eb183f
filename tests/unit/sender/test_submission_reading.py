"""What a client sends after DATA (RFC 5321, 4.5.2): read in pieces, ended by one thing only, in bounds (trap 65)."""

import asyncio
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postbus.common.errors import ConnectionLost, TooLarge, Unavailable
from postbus.common.mime.raw import crlf_clean
from postbus.sender.stuffing import DotStuffer
from postbus.sender.submission.receiving import Held, Incoming, Unstuffer, read_message

pytestmark = pytest.mark.anyio

LIMIT = 100_000
ODD = st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b".", b"..", b"a", b"\r\n.", b"\n.\n"]), max_size=40).map(
    b"".join
)


def unstuffed(data: bytes, cuts: list[int]) -> bytes:
    unstuffer = Unstuffer()
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    pieces = [data[start:end] for start, end in pairwise(edges)]
    return b"".join([*map(unstuffer.feed, pieces), unstuffer.finish()])


@given(ODD, st.lists(st.integers(0, 1000), max_size=5))
def test_where_the_pieces_are_cut_makes_no_difference(data: bytes, cuts: list[int]) -> None:
    assert unstuffed(data, cuts) == unstuffed(data, [])


@given(ODD)
def test_what_was_stuffed_for_the_wire_comes_out_as_it_was(message: bytes) -> None:
    stuffer = DotStuffer()
    wire = stuffer.feed(message) + stuffer.finish()
    clean = crlf_clean(message)
    assert unstuffed(wire, []) == (clean if clean.endswith(b"\r\n") or not clean else clean + b"\r\n")


async def received(wire: bytes, *, limit: int = LIMIT, held: Held | None = None, step: int = 7) -> tuple[bytes, bytes]:
    """The message, and what the client had sent after it."""
    reader = asyncio.StreamReader(limit=64)
    for start in range(0, len(wire), step):
        reader.feed_data(wire[start : start + step])
    reader.feed_eof()
    incoming = Incoming(held or Held(limit * 2), limit)
    try:
        return await read_message(reader, incoming, lambda: None), await reader.read()
    finally:
        incoming.close()


@pytest.mark.parametrize(
    ("wire", "message"),
    [
        (b".\r\n", b""),
        (b"\r\n.\r\n", b"\r\n"),
        (b"a\r\n.\r\n", b"a\r\n"),
        (b"..\r\n.\r\n", b".\r\n"),
        (b"..a\r\n.b\r\n.\r\n", b".a\r\nb\r\n"),
        (b"a\n.\r\nb\r\n.\r\n", b"a\r\n.\r\nb\r\n"),
        (b"a\r\n.\nb\r\n.\r\n", b"a\r\n\r\nb\r\n"),
        (b"x" * 5000 + b"\r\n.\r\n", b"x" * 5000 + b"\r\n"),
    ],
)
async def test_only_a_dot_between_two_whole_line_ends_ends_a_message(wire: bytes, message: bytes) -> None:
    assert await received(wire + b"QUIT\r\n") == (message, b"QUIT\r\n")


async def test_a_message_over_the_limit_is_read_to_its_end_and_refused() -> None:
    with pytest.raises(TooLarge):
        await received(b"x" * 200 + b"\r\n.\r\n", limit=100)


async def test_a_client_that_sends_without_end_is_left() -> None:
    with pytest.raises(ConnectionLost):
        await received(b"x" * 1000, limit=100)


async def test_a_client_that_leaves_in_the_middle_leaves_no_message_and_takes_no_memory() -> None:
    held = Held(LIMIT)
    with pytest.raises(ConnectionLost):
        await received(b"Subject: half\r\n", held=held)
    assert held.used == 0


async def test_messages_that_come_in_at_once_share_a_limit() -> None:
    held = Held(100, used=60)
    with pytest.raises(Unavailable):
        await received(b"x" * 50 + b"\r\n.\r\n", held=held)
    assert held.used == 60
    assert (await received(b"x" * 30 + b"\r\n.\r\n", held=held))[0] == b"x" * 30 + b"\r\n"
