"""RFC 9051, 7.1: status responses, their codes, and the labels of data."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postbus.common.errors import BadInput, ProtocolError
from postbus.imap_sync.protocol.flags import flags_of, parse_flags, storable
from postbus.imap_sync.protocol.responses import (
    Status,
    Untagged,
    code_number,
    parse_append_uid,
    parse_capabilities,
    parse_permanent_flags,
    parse_status,
    parse_untagged,
    parse_vanished,
)
from postbus.imap_sync.protocol.searches import parse_esearch, parse_search
from postbus.imap_sync.protocol.values import Appended, UidRange, Vanished


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"OK [UIDVALIDITY 3857529045] UIDs valid", Status("OK", "UIDs valid", "UIDVALIDITY", "3857529045")),
        (b"ok [read-write] SELECT completed", Status("OK", "SELECT completed", "READ-WRITE")),
        (b"NO [OVERQUOTA] Quota exceeded", Status("NO", "Quota exceeded", "OVERQUOTA")),
        (b"BAD", Status("BAD")),
        (b"OK [PERMANENTFLAGS (\\Seen [x] \\*)] Some", Status("OK", "Some", "PERMANENTFLAGS", "(\\Seen [x] \\*)")),
        (b"OK [ALERT System going down", Status("OK", "[ALERT System going down", "ALERT", "System going down")),
        (b"NO [REFERRAL imap://x/a] moved", Status("NO", "moved", "REFERRAL", "imap://x/a")),
        (b"BYE Autologout", Status("BYE", "Autologout")),
        (b"OK [UNSEEN 12]", Status("OK", "[UNSEEN 12]", "UNSEEN", "12")),
    ],
)  # fmt: skip
def test_a_status_line_has_text_code_and_argument(raw: bytes, status: Status) -> None:
    """Codes without their end, brackets in flags (quirk 41)."""
    assert parse_status(raw) == status


@pytest.mark.parametrize("raw", [b"", b"OKAY", b"Unavailable.", b"[OK] x"])
def test_anything_else_is_no_status(raw: bytes) -> None:
    assert parse_status(raw) is None


@given(st.binary(max_size=80))
def test_any_bytes_are_a_status_or_none(raw: bytes) -> None:
    parse_status(raw)
    parse_status(b"NO [" + raw)
    parse_untagged(raw)


def test_data_has_a_label_and_maybe_a_number() -> None:
    assert parse_untagged(b"* 12 FETCH (UID 1)") == Untagged("FETCH", 12, 11)
    assert parse_untagged(b"* vanished 1:3") == Untagged("VANISHED", None, 11)
    assert parse_untagged(b"* ") is None
    assert parse_untagged(b"* 99999999999999 EXISTS") is None


def test_capabilities_are_compared_in_upper_case() -> None:
    assert parse_capabilities("IMAP4rev1 auth=plain") == {"IMAP4REV1", "AUTH=PLAIN"}
    assert "IDLE" in parse_capabilities("IMAP4rev2")
    assert "IDLE" not in parse_capabilities("IMAP4rev1 IMAP4rev2")


def test_connections_to_servers_alike_share_their_capabilities_but_no_endless_list_is_kept() -> None:
    assert parse_capabilities("".join(["IMAP4rev1", " IDLE"])) is parse_capabilities("".join(["IMAP4rev1 ", "IDLE"]))
    endless = " ".join(f"X-{number}" for number in range(10_000))
    assert parse_capabilities(endless) is not parse_capabilities(endless)


def test_vanished_has_two_meanings() -> None:
    assert parse_vanished(b"(EARLIER) 41,43:116") == Vanished((UidRange(41, 41), UidRange(43, 116)), earlier=True)
    assert parse_vanished(b"405,407") == Vanished((UidRange(405, 405), UidRange(407, 407)))
    with pytest.raises(ProtocolError):
        parse_vanished(b"(EARLIER) x")


def test_numbers_of_codes_are_positive_or_absent() -> None:
    """(quirk 37)."""
    assert code_number(Status("OK", code="HIGHESTMODSEQ", argument="9223372036854775807")) == 2**63 - 1
    assert [code_number(Status("OK", argument=text)) for text in ("0", "", "x", "1 2", "9" * 30)] == [None] * 5


def test_append_uid_is_read_or_left_out() -> None:
    """What a server does not tell is not made up (trap 32)."""
    assert parse_append_uid(Status("OK", code="APPENDUID", argument="38505 3955")) == Appended(38505, 3955)
    for status in (
        Status("OK"),
        Status("OK", code="APPENDUID", argument="1"),
        Status("OK", code="APPENDUID", argument="0 0"),
    ):
        assert parse_append_uid(status) == Appended()


def test_permanent_flags_decide_what_can_be_stored() -> None:
    some = parse_permanent_flags(Status("OK", code="PERMANENTFLAGS", argument="(\\Answered \\Seen)"))
    assert storable(["\\seen", "$Label"], some) == ("\\seen",)
    assert storable(["$Label"], some) == ()
    assert storable(["$Label"], None) == ("$Label",)
    assert storable(["$Label"], frozenset({"\\*"})) == ("$Label",)


@pytest.mark.parametrize("permanent", [None, frozenset({"\\Seen"}), frozenset({"\\Seen", "\\*"})])
def test_what_is_no_flag_is_refused_whatever_the_mailbox_keeps(permanent: frozenset[str] | None) -> None:
    with pytest.raises(BadInput, match="not a valid flag"):
        storable(["\\Seen) X"], permanent)


def test_flags_are_named_once_and_as_the_standard_writes_them() -> None:
    """No space between (quirk 40) (trap 26)."""
    assert parse_flags(b"\\seen \\SEEN $Label") == ("\\Seen", "$Label")
    assert parse_flags(b"\\Seen\\Answered") == ("\\Seen", "\\Answered")
    assert parse_flags(b"\\Seen $x") is flags_of([b"\\Seen", b"$x"])
    assert flags_of(None) == ()


def test_gone_messages_and_busy_servers_are_recognised() -> None:
    assert Status("NO", "Some of the requested messages no longer exist").messages_gone
    assert Status("BAD", "Request is throttled. Suggested Backoff Time: 2920 milliseconds").backoff_s == 2.92
    assert Status("NO", code="UNAVAILABLE").busy
    assert not Status("NO", "Authentication failed", "AUTHENTICATIONFAILED").busy


def test_search_answers_are_ranges() -> None:
    assert parse_search(b"2 3 6 (MODSEQ 917162500)") == (UidRange(2, 3), UidRange(6, 6))
    assert parse_search(b"6 2 2") == (UidRange(2, 2), UidRange(6, 6))
    assert parse_search(b"") == ()
    assert parse_esearch(b'(TAG "A285") UID MIN 7 ALL 1:3,8') == (UidRange(1, 3), UidRange(8, 8))
    assert parse_esearch(b'(TAG "A285") UID') == ()


@given(st.binary(max_size=60) | st.text(alphabet="0123456789 ()ALL:,*", max_size=40).map(str.encode))
def test_any_search_answer_is_ranges_or_a_protocol_error(text: bytes) -> None:
    for parse in (parse_search, parse_esearch, parse_vanished):
        try:
            parse(text)
        except ProtocolError:
            pass
