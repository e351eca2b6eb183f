"""RFC 9051, 4: atoms, strings, literals, lists and NIL."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postbus.common.errors import ProtocolError
from postbus.imap_sync.protocol import tokens
from postbus.imap_sync.protocol.tokens import Token, number_of, parse_tokens, text_of


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b'NIL "NIL" nil', [None, b"NIL", None]),
        (b'(a (b c) () "d e")', [[b"a", [b"b", b"c"], [], b"d e"]]),
        (rb'"a \"quoted\" \\ word"', [rb'a "quoted" \ word']),
        (b'"smile :("', [b"smile :("]),
        (b"BODY[HEADER.FIELDS (REFERENCES)]<0> x", [b"BODY[HEADER.FIELDS (REFERENCES)]<0>", b"x"]),
        (b'BODY[HEADER.FIELDS ("REFERENCES")] NIL', [b'BODY[HEADER.FIELDS ("REFERENCES")]', None]),
        (b"2024:Q1 <a foo]bar", [b"2024:Q1", b"<a", b"foo]bar"]),
        (b"[Gmail]/Trash", [b"[Gmail]/Trash"]),
        (rb"(\Seen [x] $Label)", [[rb"\Seen", b"[x]", b"$Label"]]),
        (b'"a""b"c', [b"a", b"b", b"c"]),
        ("\xfc".encode() + b" \xff", [b"\xc3\xbc", b"\xff"]),
        (b"", []),
    ],
)
def test_words_are_told_apart(text: bytes, expected: list[Token]) -> None:
    """(quirk 40) (trap 26)."""
    assert parse_tokens([text]) == expected


def test_literals_stand_where_they_came() -> None:
    assert parse_tokens([b"(a ", b"l)it(", b" b ", b"", b")"]) == [[b"a", b"l)it(", b"b", b""]]


@pytest.mark.parametrize("text", [b"(a", b"a)", b'"open', b'"open\\"', b"(" * 1001 + b")" * 1001])
def test_what_is_unbalanced_is_a_protocol_error(text: bytes) -> None:
    with pytest.raises(ProtocolError):
        parse_tokens([text])


def test_the_number_of_words_has_a_limit() -> None:
    """(quirk 55)."""
    with pytest.raises(ProtocolError):
        parse_tokens([b"a " * (tokens.MAX_TOKENS + 1)])


def test_numbers_are_bounded_runs_of_digits() -> None:
    assert number_of(b"18446744073709551615") == 2**64 - 1
    no_numbers: list[Token] = [b"9" * 21, b"-1", b"1a", b"", None, [b"1"], "\u0663".encode()]
    assert [number_of(token) for token in no_numbers] == [None] * 7


def test_text_without_a_charset_keeps_every_byte() -> None:
    assert text_of("Größe".encode()) == "Größe"
    assert text_of("Größe".encode("latin-1")) == "Größe"


SPICE = st.sampled_from([b"(", b")", b'"', b"\\", b"[", b"]", b"NIL", b" ", b"<1>", b"BODY[", b"\x00", b"\xff", b"{3}"])


@given(st.lists(SPICE | st.binary(max_size=8), max_size=60).map(b"".join))
def test_any_text_is_words_or_a_protocol_error(text: bytes) -> None:
    try:
        parse_tokens([text])
    except ProtocolError:
        pass


@pytest.mark.parametrize("unit", [b"[", b'"', b'"\\', b"[ ", b"a[b ", b'\\"', b"(a[", b"a[]", b'" '])
def test_hostile_repetition_costs_linear_time(unit: bytes) -> None:
    text = unit * (100_000 // len(unit))
    started = time.process_time()
    try:
        parse_tokens([text])
    except ProtocolError:
        pass
    assert time.process_time() - started < 1.0
