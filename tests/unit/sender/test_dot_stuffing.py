"""RFC 5321, 4.5.2: the body on the wire, in whatever pieces it comes, and no hidden end of data in it."""

import re
import time
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from postbus.sender.stuffing import END_OF_DATA, DotStuffer

OCTETS = st.text(st.sampled_from("\r\n.a"), max_size=40).map(str.encode)


def stuff(*pieces: bytes) -> bytes:
    stuffer = DotStuffer()
    return b"".join([stuffer.feed(piece) for piece in pieces] + [stuffer.finish()])


def test_lines_that_begin_with_a_dot_get_another() -> None:
    assert stuff(b".a\r\n..\r\nb.\r\n") == b"..a\r\n...\r\nb.\r\n"


def test_the_last_line_is_ended() -> None:
    assert stuff(b"a") == b"a\r\n"
    assert stuff(b"") == b""
    assert stuff(b"a\r") == b"a\r\n"


def test_bare_line_ends_can_not_smuggle_an_end_of_data() -> None:
    for smuggled in (b"a\n.\nMAIL", b"a\r.\rMAIL", b"a\n.\r\nMAIL", b"a\r\n.\nMAIL", b"a\r\n.\rMAIL"):
        assert stuff(smuggled) == b"a\r\n..\r\nMAIL\r\n"


@given(OCTETS, st.lists(st.integers(0, 40), max_size=5))
def test_pieces_never_change_the_result(body: bytes, cuts: list[int]) -> None:
    marks = [0, *sorted(min(cut, len(body)) for cut in cuts), len(body)]
    pieces = [body[start:end] for start, end in pairwise(marks)]
    assert stuff(*pieces) == stuff(body)


@given(OCTETS)
def test_the_receiver_gets_the_same_lines_and_the_end_is_the_end(body: bytes) -> None:
    wire = stuff(body) + END_OF_DATA
    assert (b"\r\n" + wire).find(b"\r\n.\r\n") == len(wire) - len(END_OF_DATA)
    unstuffed = (b"\r\n" + wire[: -len(END_OF_DATA)]).replace(b"\r\n..", b"\r\n.")[2:]
    expected = re.sub(rb"\r\n|\r|\n", b"\r\n", body)
    assert unstuffed == expected + (b"" if not expected or expected.endswith(b"\r\n") else b"\r\n")


def test_25_mb_cost_a_fraction_of_a_second() -> None:
    piece = (b".line of a message\r\n" * 30_000)[: 512 * 1024]
    started = time.monotonic()
    stuffer = DotStuffer()
    for _ in range(50):
        stuffer.feed(piece)
    assert time.monotonic() - started < 2
