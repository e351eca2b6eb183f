"""What servers write otherwise than the standard says: each habit that is a matter of parsing, by its number."""

import pytest

from postbus.imap_sync.protocol.body_structure import parse_body
from postbus.imap_sync.protocol.dates import parse_internal_date
from postbus.imap_sync.protocol.fetches import broken_row, origin_of, parse_row
from postbus.imap_sync.protocol.flags import compose_flags
from postbus.imap_sync.protocol.framer import ResponseFramer
from postbus.imap_sync.protocol.mailboxes import parse_list, parse_status_data
from postbus.imap_sync.protocol.responses import Status, code_number, parse_append_uid, parse_status
from postbus.imap_sync.protocol.searches import parse_esearch
from postbus.imap_sync.protocol.server_id import parse_id
from postbus.imap_sync.protocol.tokens import parse_tokens
from postbus.imap_sync.protocol.values import Appended, EnvelopeAddress, Fetched, ListedMailbox, MailboxStatus


def row(wire: bytes) -> Fetched:
    (pieces,) = ResponseFramer().feed(wire + b"\r\n")
    return parse_row(pieces)


@pytest.mark.parametrize("value", [b'"hi"', b"{2}\r\nhi", b"~{2}\r\nhi", b"hi"], ids=["quoted", "literal", "8", "atom"])
def test_a_small_section_may_be_a_quoted_string(value: bytes) -> None:
    """Yahoo (quirk 14)."""
    assert row(b"* 1 FETCH (UID 7 BODY[1]<0> " + value + b")").sections == {"1": b"hi"}


@pytest.mark.parametrize(
    "structure",
    [
        b'(("TEXT" "PLAIN") "MIXED"',
        b'("TEXT" "PLAIN" ("CHARSET" "utf-8) NIL NIL "7BIT" 1 1)',
        b'(("TEXT" "PLAIN") "MIXED"))))',
    ],
)
def test_a_row_with_an_invalid_structure_still_says_whose_it_is(structure: bytes) -> None:
    """BlueMind (quirk 16) (trap 25)."""
    pieces = [b"* 3 FETCH (UID 77 BODYSTRUCTURE " + structure + b")"]
    assert broken_row(pieces) == Fetched(3, uid=77, broken=True)


@pytest.mark.parametrize(
    "structure",
    [b'("TEXT" ("x") 5 NIL NIL NIL NIL)', b'(NIL NIL "MIXED")', b'("MESSAGE" "RFC822" NIL NIL NIL "7BIT" 1 NIL NIL 1)'],
)
def test_fields_of_the_wrong_type_take_their_default(structure: bytes) -> None:
    """BlueMind (quirk 16)."""
    assert parse_body(parse_tokens([structure])[0]) is not None


def test_a_structure_with_eleven_fields_keeps_its_disposition() -> None:
    """One field left out (quirk 43)."""
    text = b'("APPLICATION" "PDF" ("NAME" "a.pdf") NIL NIL "BASE64" 10 ("ATTACHMENT" ("FILENAME" "a.pdf")) NIL NIL)'
    part = parse_body(parse_tokens([text])[0])
    assert part is not None and part.disposition_parameters == {"filename": "a.pdf"}


def test_flag_colours_of_apple_mail_are_keywords_like_others() -> None:
    """$MailFlagBit0 to 2 (quirk 24)."""
    assert row(b"* 1 FETCH (UID 1 FLAGS (\\Flagged $MailFlagBit0 $MailFlagBit2))").flags == (
        "\\Flagged",
        "$MailFlagBit0",
        "$MailFlagBit2",
    )
    assert compose_flags(["$MailFlagBit1"]) == "($MailFlagBit1)"


def test_a_mailbox_that_does_not_exist_needs_no_noselect() -> None:
    """(quirk 33)."""
    assert not parse_list([b'(\\NonExistent \\HasChildren) "/" "Old"'], 0)[0].selectable


def test_a_delimiter_in_front_is_no_part_of_the_path() -> None:
    """(quirk 34)."""
    listed, raw = parse_list([b'() "/" "/Work/2024"'], 0)
    assert (listed.path, raw) == ("Work/2024", b"/Work/2024")
    assert parse_list([b'() "/" "/"'], 0)[0].path == "/"
    assert parse_list([b'() "/" "/inbox"'], 0)[0].path == "INBOX"


@pytest.mark.parametrize(
    ("text", "status"),
    [
        (b"x (MAILBOXID F1)", MailboxStatus(mailbox_id="F1")),
        (b"x (MAILBOXID (F1))", MailboxStatus(mailbox_id="F1")),
        (b"x (MAILBOXID NIL HIGHESTMODSEQ 9007199254740993)", MailboxStatus(highest_modseq=2**53 + 1)),
        (b"x (UIDVALIDITY 123456789012345678901234567890)", MailboxStatus()),
    ],
)
def test_ids_bare_or_in_parentheses_and_numbers_of_any_length(text: bytes, status: MailboxStatus) -> None:
    """(quirk 37)."""
    assert parse_status_data([text], 0)[1] == status


def test_a_uid_validity_above_31_bits_is_kept() -> None:
    """(quirk 37)."""
    assert code_number(Status("OK", code="UIDVALIDITY", argument="4294967295")) == 2**32 - 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b'("name" "Dovecot" "VERSION" "2.4")', {"name": "Dovecot", "version": "2.4"}),
        (b'("name" NIL "vendor" "x" "odd")', {"vendor": "x"}),
        (b"NIL", {}),
        (b"(name Cyrus)", {"name": "Cyrus"}),
    ],
)
def test_what_a_server_says_of_itself(text: bytes, said: dict[str, str]) -> None:
    """(quirk 38)."""
    assert parse_id([text], 0) == said


@pytest.mark.parametrize(
    ("key", "origin"),
    [(b"BODY[]<0>", 0), (b"BODY[]<512.100>", 512), (b"BODY[1.2]", None), (b"BODY[HEADER.FIELDS (TO)]<9>", 9)],
)
def test_the_origin_of_a_partial_may_have_a_length_or_be_missing(key: bytes, origin: int | None) -> None:
    """(quirk 39)."""
    assert origin_of([b"* 1 FETCH (UID 7 " + key + b' "BODY[]<77>")']) == origin


@pytest.mark.parametrize(
    ("text", "path"),
    [(b'() "/" 2024:Q1', "2024:Q1"), (b'() "/" [Gmail]/Sent Mail', "[Gmail]/Sent Mail"), (b'() "/" <x', "<x")],
)
def test_names_may_begin_with_anything_and_go_unquoted(text: bytes, path: str) -> None:
    """(quirk 40) (trap 26)."""
    assert parse_list([text], 0)[0] == ListedMailbox(path, "/", frozenset())


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"OK [APPENDUID 1 2 done", "APPENDUID"),
        (b"NO [REFERRAL imap://jan@x.test/[a]b;UIDVALIDITY=1] moved", "REFERRAL"),
        (b"OK [PERMANENTFLAGS (\\Seen [x) \\*)] unbalanced", "PERMANENTFLAGS"),
        (b"OK []] x", None),
        (b"OK [[[[", None),
    ],
)
def test_brackets_of_response_codes_need_not_match(raw: bytes, code: str | None) -> None:
    """(quirk 41)."""
    status = parse_status(raw)
    assert status is not None and status.code == code


def test_an_appenduid_without_its_bracket_names_no_wrong_message() -> None:
    """(quirk 41)."""
    status = parse_status(b"OK [APPENDUID 1 2 done")
    assert status is not None and parse_append_uid(status) == Appended()


def test_addresses_may_be_nil_in_every_place() -> None:
    """NIL rows, NIL hosts, NIL instead of lists (quirk 42)."""
    fetched = row(b'* 1 FETCH (UID 1 ENVELOPE (NIL NIL (NIL (NIL NIL "a" "x.y") ()) NIL NIL NIL ((NIL NIL "b" NIL))))')
    assert fetched.envelope is not None
    assert EnvelopeAddress(None, b"a", b"x.y") in fetched.envelope.from_
    assert fetched.envelope.cc == (EnvelopeAddress(None, b"b", None),)


def test_an_esearch_without_all_is_empty_unless_it_counts_something() -> None:
    """RZimapd under IMAP4rev2 (quirk 20)."""
    assert parse_esearch(b'(TAG "a") UID') == ()
    assert parse_esearch(b'(TAG "a") UID COUNT 0') == ()
    assert parse_esearch(b'(TAG "a") UID COUNT 17') is None


@pytest.mark.parametrize("raw", [b"17-Jul-1996 02:44:25 -0700", b" 7-Jul-1996 02:44:25 -0700", b"7-Jul-1996 2:44:25"])
def test_the_day_of_a_date_may_be_padded_or_short(raw: bytes) -> None:
    """(quirk 52)."""
    assert parse_internal_date(raw) is not None
