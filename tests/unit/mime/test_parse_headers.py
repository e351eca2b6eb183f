"""RFC 5322, 2.2 and 3.6: blocks of header fields, message ids, dates."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postbus.common.mime.headers import (
    MAX_FIELDS,
    MAX_IDS,
    decoded_headers,
    parse_date,
    parse_header_block,
    parse_message_ids,
)


def test_fields_come_in_order_unfolded_and_with_their_names_as_written() -> None:
    block = b"From: John Doe <jdoe@machine.example>\r\nSubject: This\r\n is a test\r\nX-a :  1  \r\n\r\nbody: no\r\n"
    assert parse_header_block(block) == [
        ("From", b"John Doe <jdoe@machine.example>"),
        ("Subject", b"This is a test"),
        ("X-a", b"1"),
    ]


@pytest.mark.parametrize(
    ("block", "fields"),
    [
        (b"", []),
        (b"\r\nA: b\r\n", []),
        (b"A: b", [("A", b"b")]),
        (b"A:b\nB:c\n", [("A", b"b"), ("B", b"c")]),
        (b"A:\r\n\r\n", [("A", b"")]),
        (b"no field\r\n with continuation\r\nA: b\r\n", [("A", b"b")]),
        (b"From nobody Mon Sep 17 00:00:00 2001\nA: b\n", [("A", b"b")]),
        (b" starts with a fold\r\nA: b\r\n", [("A", b"b")]),
        (b"A: b\rC: d\r\n", [("A", b"b C: d")]),
        (b"\xfcber: x\r\nA: b\r\n", [("A", b"b")]),
        (b"A: b\r\n\t\tc\r\n", [("A", b"b c")]),
        (b": x\r\nA: b\r\n", [("A", b"b")]),
    ],
)
def test_odd_blocks_give_what_is_in_them(block: bytes, fields: list[tuple[str, bytes]]) -> None:
    assert [(name, b" ".join(value.split())) for name, value in parse_header_block(block)] == fields


def test_decoded_headers_are_lists_by_lower_case_name() -> None:
    block = b"Received: a\r\nSubject: =?utf-8?q?gr=C3=BCn?=\r\nRECEIVED: b\r\n\r\n"
    assert decoded_headers(block) == {"received": ["a", "b"], "subject": ["grün"]}


def test_a_block_without_end_is_limited() -> None:
    """(trap 45)"""
    assert len(parse_header_block(b"A: b\r\n" * (MAX_FIELDS + 10))) == MAX_FIELDS


@given(st.binary())
def test_any_block_is_read(block: bytes) -> None:
    for name, value in parse_header_block(block):
        assert name.isascii() and ":" not in name
        assert not {b"\r", b"\n"} & {value[i : i + 1] for i in range(len(value))}


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("<1234@local.machine.example>", ["<1234@local.machine.example>"]),
        ("<1@a> <2@b>\r\n\t<1@a>", ["<1@a>", "<2@b>"]),
        ("<folded@\r\n example.com>", ["<folded@example.com>"]),
        ("1@a, 2@b", ["<1@a>", "<2@b>"]),
        ("your message of Monday <1@a> (see there)", ["<1@a>"]),
        ("<no-at-sign>", ["<no-at-sign>"]),
        ("", []),
        (None, []),
        ("nothing at all", []),
        ("<>", []),
        ("@", []),
        ("a@ @b", []),
        (f"<{'x' * 999}@a>", []),
        ("<a\0b@c>", []),
    ],
)
def test_message_ids_are_found(value: str | None, found: list[str]) -> None:
    assert parse_message_ids(value) == found


def test_a_thread_without_end_is_limited() -> None:
    assert len(parse_message_ids(" ".join(f"<{number}@a>" for number in range(MAX_IDS + 50)))) == MAX_IDS


@given(st.binary() | st.text())
def test_any_value_gives_ids_that_are_safe_in_headers(value: bytes | str) -> None:
    for message_id in parse_message_ids(value):
        assert message_id.startswith("<") and message_id.endswith(">")
        assert message_id.isprintable()
        assert " " not in message_id


@pytest.mark.parametrize(
    ("value", "instant"),
    [  # the first four are of RFC 5322, appendix A
        ("Fri, 21 Nov 1997 09:55:06 -0600", datetime(1997, 11, 21, 15, 55, 6, tzinfo=UTC)),
        ("Tue, 1 Jul 2003 10:52:37 +0200", datetime(2003, 7, 1, 8, 52, 37, tzinfo=UTC)),
        (
            "Thu,\r\n 13\r\n Feb\r\n 1969\r\n 23:32\r\n -0330 (Newfoundland Time)",
            datetime(1969, 2, 14, 3, 2, tzinfo=UTC),
        ),
        ("21 Nov 97 09:55:06 GMT", datetime(1997, 11, 21, 9, 55, 6, tzinfo=UTC)),
        ("Fri, 21-Nov-1997 09:55:06 GMT-0500", datetime(1997, 11, 21, 9, 55, 6, tzinfo=UTC)),
        ("Fri, 21 Nov 1997 09:55:06 EST", datetime(1997, 11, 21, 14, 55, 6, tzinfo=UTC)),
        ("Fri, 21 Nov 1997 09:55:06", datetime(1997, 11, 21, 9, 55, 6, tzinfo=UTC)),
        ("", None),
        (None, None),
        ("yesterday", None),
        ("Mon, 01 Jan 0000 00:00:00 +0000", None),
        ("01-Jan-0099 00:00:00 +0000", None),
        ("Mon, 01 Jan 1899 00:00:00 +0000", None),
        ("Mon, 32 Jan 2026 00:00:00 +0000", None),
        ("Mon, 01 Jan 9999 00:00:00 -9999", None),
    ],
)
def test_dates_are_read_in_utc(value: str | None, instant: datetime | None) -> None:
    """(trap 51)"""
    assert parse_date(value) == instant


@given(st.text() | st.binary())
def test_any_date_is_read_or_none(value: str | bytes) -> None:
    parsed = parse_date(value)
    assert parsed is None or (parsed.tzinfo is UTC and parsed.year >= 1900)
