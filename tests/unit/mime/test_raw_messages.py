"""Messages that clients finished: what is taken out, what is added, and that nothing else changes."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postbus.common.errors import TooLarge
from postbus.common.mime.headers import parse_header_block
from postbus.common.mime.raw import Travelling, crlf_clean, parse_raw, prepare_to_travel

DATE = datetime(2026, 11, 25, 12, tzinfo=UTC)
WHOLE = (
    b"From: Anna <anna@example.test>\r\nTo: bob@example.test\r\nSubject: =?utf-8?q?caf=C3=A9?=\r\n"
    b"Message-ID: <one@example.test>\r\nDate: Tue, 24 Nov 2026 10:00:00 +0000\r\nMIME-Version: 1.0\r\n\r\nHello\r\n"
)


def travelling(raw: bytes, *, redate: bool = False) -> Travelling:
    return prepare_to_travel(parse_raw(raw), domain="example.test", date=DATE, redate=redate)


def test_a_whole_message_travels_byte_for_byte() -> None:
    found = travelling(WHOLE)
    assert (found.raw, found.message_id, found.bcc, found.controls) == (WHOLE, "<one@example.test>", None, {})


def test_what_a_message_must_have_is_added_and_from_is_not_touched() -> None:
    """A client's From is not replaced by that of the account (trap 59)."""
    found = travelling(b"From: Someone Else <else@example.test>\r\n\r\nHello")
    names = [name for name, _ in parse_header_block(found.raw)]
    assert names == ["From", "Message-ID", "Date", "MIME-Version"]
    assert found.raw.startswith(b"From: Someone Else <else@example.test>\r\n")
    assert found.raw.endswith(b"\r\n\r\nHello\r\n")
    assert found.message_id.endswith("@example.test>") and found.message_id.encode() in found.raw


@pytest.mark.parametrize("name", [b"X-EE-Send-At", b"x-ee-send-at", b"X-eE-SEND-AT", b"X-EE-Send-At "])
def test_control_headers_are_read_and_taken_out_whatever_their_case(name: bytes) -> None:
    """Control headers never leave the system (trap 62)."""
    found = travelling(b"X-EE-Other: 1\r\n" + name + b":\r\n 12345\r\n" + WHOLE)
    assert found.controls == {"x-ee-send-at": "12345", "x-ee-other": "1"}
    assert found.raw == WHOLE


def test_bcc_vanishes_from_what_travels_and_stays_for_the_copy() -> None:
    """Bcc is for the copy only (trap 52)."""
    found = travelling(b'bcc: "Doe, Jane" <jane@example.test>,\r\n kim@example.test\r\nBcc: not an address\r\n' + WHOLE)
    assert found.raw == WHOLE
    assert found.bcc == '"Doe, Jane" <jane@example.test>, kim@example.test'


def test_a_scheduled_message_is_dated_when_it_is_sent() -> None:
    """Date is the time of sending, not of writing (trap 61)."""
    dates = [value for name, value in parse_header_block(travelling(WHOLE, redate=True).raw) if name == "Date"]
    assert dates == [b"Wed, 25 Nov 2026 12:00:00 +0000"]


@pytest.mark.parametrize("line_end", [b"\n", b"\r"])
def test_other_line_ends_become_crlf(line_end: bytes) -> None:
    assert travelling(WHOLE.replace(b"\r\n", line_end)).raw == WHOLE


def test_text_without_an_empty_line_is_the_body() -> None:
    assert travelling(b"Just text\r\nmore").raw.endswith(b"\r\n\r\nJust text\r\nmore\r\n")
    assert b"\r\n\r\nHello you\r\n" in travelling(b"Subject: x\r\nHello you\r\n").raw


@pytest.mark.parametrize("bad", [b"nonsense", b"<a@x>\r\nMessage-ID: <b@x>", "<ä@x>".encode(), b""])
def test_a_message_id_that_nobody_could_find_again_is_replaced(bad: bytes) -> None:
    found = travelling(b"Message-ID: " + bad + b"\r\nFrom: a@x.test\r\n\r\nHi\r\n")
    assert found.message_id.endswith("@example.test>")
    ids = [value for name, value in parse_header_block(found.raw) if name.lower() == "message-id"]
    assert ids == [found.message_id.encode()]


def test_a_header_beyond_all_bounds_is_refused() -> None:
    """Refused for good, not tried again (trap 45)."""
    with pytest.raises(TooLarge):
        parse_raw(b"X-Long: " + b"x" * 1_100_000 + b"\r\n\r\n")
    with pytest.raises(TooLarge):
        parse_raw(b"X: y\r\n" * 10_001 + b"\r\n")


@given(st.binary(max_size=300))
def test_anything_can_be_read_and_has_clean_line_ends_then(raw: bytes) -> None:
    sent = travelling(raw).raw
    assert sent == crlf_clean(sent)
    assert b"\r\n\r\n" in sent


@given(st.lists(st.sampled_from([b"X-EE-a: b\r\n", b"x-ee-c:d\r\n", b"Bcc: e@f.test\r\n", b"To: g\r\n"]), max_size=8))
def test_reading_again_finds_nothing_that_is_ours(fields: list[bytes]) -> None:
    found = travelling(b"".join(fields) + b"\r\nbody\r\n")
    again = travelling(found.raw)
    assert (again.raw, again.controls, again.bcc) == (found.raw, {}, None)
