"""RFC 9051, 2.2.2 and 4.3: where one server response ends and the next begins."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postbus.common.errors import ProtocolError
from postbus.imap_sync.protocol import framer as limits
from postbus.imap_sync.protocol.framer import ResponseFramer

WIRE = (
    b"* 1 FETCH (UID 7 BODY[HEADER] {24}\r\nSubject: A1 OK {3}\r\n\r\n\r\n BODY[TEXT] {0}\r\n FLAGS ())\r\n"
    b"A1 OK done {5}\r\n"
    b"* LIST () {1}\r\n/ ~{3}\r\nabc\r\n"
    b"+ \r\n"
)
RESPONSES = [
    [b"* 1 FETCH (UID 7 BODY[HEADER] ", b"Subject: A1 OK {3}\r\n\r\n\r\n", b" BODY[TEXT] ", b"", b" FLAGS ())"],
    [b"A1 OK done {5}"],
    [b"* LIST () ", b"/", b" ", b"abc", b""],
    [b"+ "],
]


@given(st.lists(st.integers(0, len(WIRE)), max_size=6))
def test_network_chunking_never_changes_the_result(cuts: list[int]) -> None:
    framer = ResponseFramer()
    edges = [0, *sorted(cuts), len(WIRE)]
    pieces = [WIRE[start:end] for start, end in itertools.pairwise(edges)]
    assert [response for piece in pieces for response in framer.feed(piece)] == RESPONSES
    assert framer.idle


def test_bytes_may_come_one_by_one() -> None:
    framer = ResponseFramer()
    assert [response for byte in WIRE for response in framer.feed(bytes([byte]))] == RESPONSES


def test_two_hundred_thousand_lines_in_one_burst_are_no_recursion() -> None:
    framer = ResponseFramer()
    assert len(framer.feed(b"* 1 FETCH (UID 1 FLAGS ())\r\n" * 200_000)) == 200_000


def test_a_status_text_may_end_like_a_literal() -> None:
    assert ResponseFramer().feed(b"* OK see {12}\r\n* BYE {1}\r\n") == [[b"* OK see {12}"], [b"* BYE {1}"]]


def test_a_quoted_string_may_hold_what_looks_like_a_literal() -> None:
    assert ResponseFramer().feed(b'* LIST () "/" "a {3}"\r\n') == [[b'* LIST () "/" "a {3}"']]


def test_half_a_response_is_not_idle() -> None:
    for half in (b"* O", b"* LIST {3}\r\n", b"* LIST {3}\r\nab", b"* LIST {0}\r\n"):
        framer = ResponseFramer()
        assert framer.feed(half) == []
        assert not framer.idle


def test_a_line_without_end_is_refused() -> None:
    """(quirk 55)."""
    framer = ResponseFramer()
    with pytest.raises(ProtocolError):
        for _ in range(limits.MAX_LINE // 65536 + 1):
            framer.feed(b"x" * 65536)


def test_the_uids_of_a_huge_mailbox_may_be_one_longer_line() -> None:
    framer = ResponseFramer()
    line = b"* SEARCH" + b" 1234567" * (limits.MAX_LINE // 8 + 1000)
    wire = line + b"\r\n"
    got = [response for at in range(0, len(wire), 65536) for response in framer.feed(wire[at : at + 65536])]
    assert got == [[line]]


@pytest.mark.parametrize("size", [limits.MAX_RESPONSE + 1, 10**19, 10**20 - 1])
def test_an_absurd_literal_is_refused_before_it_comes(size: int) -> None:
    """(quirk 55)."""
    with pytest.raises(ProtocolError):
        ResponseFramer().feed(b"* 1 FETCH (BODY[] {%d}\r\n" % size)


def test_the_number_of_literals_has_a_limit() -> None:
    """(quirk 55)."""
    with pytest.raises(ProtocolError):
        ResponseFramer().feed(b"* X " + b"{1}\r\na " * (limits.MAX_LITERALS + 2))


@given(st.lists(st.binary(max_size=60) | st.sampled_from([b"\r\n", b"{3}\r\n", b"* ", b"{0}\r\n"]), max_size=30))
def test_any_bytes_end_in_responses_or_a_protocol_error(chunks: list[bytes]) -> None:
    framer = ResponseFramer()
    try:
        responses = [response for chunk in chunks for response in framer.feed(chunk)]
    except ProtocolError:
        return
    assert all(len(response) % 2 == 1 for response in responses)
