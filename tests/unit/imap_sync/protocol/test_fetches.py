"""RFC 9051, 7.5.2: FETCH rows; examples of the RFC, habits of servers, and anything else."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postbus.common.errors import ProtocolError
from postbus.imap_sync.protocol.body_structure import MAX_NESTING, parse_body
from postbus.imap_sync.protocol.dates import compose_internal_date, parse_internal_date
from postbus.imap_sync.protocol.envelope import parse_envelope
from postbus.imap_sync.protocol.fetches import broken_row, parse_flags_row, parse_row, section_key
from postbus.imap_sync.protocol.framer import ResponseFramer
from postbus.imap_sync.protocol.tokens import parse_tokens
from postbus.imap_sync.protocol.values import BodyPart, EnvelopeAddress, Fetched, MessageEnvelope

ENVELOPE = (
    b'("Wed, 17 Jul 1996 02:23:25 -0700 (PDT)" "IMAP4rev2 WG mtg summary and minutes" '
    b'(("Terry Gray" NIL "gray" "cac.washington.edu")) (("Terry Gray" NIL "gray" "cac.washington.edu")) '
    b'(("Terry Gray" NIL "gray" "cac.washington.edu")) ((NIL NIL "imap" "cac.washington.edu")) '
    b'((NIL NIL "minutes" "CNRI.Reston.VA.US") ("John Klensin" NIL "KLENSIN" "MIT.EDU")) NIL NIL '
    b'"<B27397-0100000@cac.washington.edu>")'
)  # RFC 9051, section 8
GRAY = EnvelopeAddress(b"Terry Gray", b"gray", b"cac.washington.edu")


def row(wire: bytes) -> Fetched:
    (pieces,) = ResponseFramer().feed(wire + b"\r\n")
    return parse_row(pieces)


def body(text: bytes) -> BodyPart:
    part = parse_body(parse_tokens([text])[0])
    assert part is not None
    return part


def envelope(text: bytes) -> MessageEnvelope:
    parsed = parse_envelope(parse_tokens([text])[0])
    assert parsed is not None
    return parsed


def numbers(part: BodyPart) -> list[tuple[str, str]]:
    return [(part.number, part.content_type), *(entry for child in part.children for entry in numbers(child))]


def test_the_example_of_the_standard_reads_whole() -> None:
    fetched = row(
        b'* 12 FETCH (FLAGS (\\Seen) INTERNALDATE "17-Jul-1996 02:44:25 -0700" RFC822.SIZE 4286 ENVELOPE '
        + ENVELOPE
        + b' BODY ("TEXT" "PLAIN" ("CHARSET" "US-ASCII") NIL NIL "7BIT" 3028 92))'
    )
    assert fetched == Fetched(
        12,
        flags=("\\Seen",),
        size=4286,
        internal_date=datetime(1996, 7, 17, 9, 44, 25, tzinfo=UTC),
        envelope=MessageEnvelope(
            date=b"Wed, 17 Jul 1996 02:23:25 -0700 (PDT)",
            subject=b"IMAP4rev2 WG mtg summary and minutes",
            from_=(GRAY,),
            sender=(GRAY,),
            reply_to=(GRAY,),
            to=(EnvelopeAddress(None, b"imap", b"cac.washington.edu"),),
            cc=(
                EnvelopeAddress(None, b"minutes", b"CNRI.Reston.VA.US"),
                EnvelopeAddress(b"John Klensin", b"KLENSIN", b"MIT.EDU"),
            ),
            message_id=b"<B27397-0100000@cac.washington.edu>",
        ),
        structure=BodyPart("1", "text", "plain", {"charset": "US-ASCII"}, encoding="7bit", size=3028, lines=92),
    )


def test_literals_may_stand_anywhere_in_a_row() -> None:
    """(trap 26)."""
    fetched = row(
        b'* 3 FETCH (UID 9 ENVELOPE (NIL {9}\r\na ) "(" b (({3}\r\nJan NIL {1}\r\nj "x.y")) '
        b"NIL NIL NIL NIL NIL NIL NIL) "
        b"BODY[HEADER.FIELDS ({10}\r\nREFERENCES)] {4}\r\n\r\n\r\n BODY[1]<0> {3}\r\nA1  FLAGS (a))"
    )
    assert fetched.envelope is not None
    assert fetched.envelope.subject == b'a ) "(" b'
    assert fetched.envelope.from_ == (EnvelopeAddress(b"Jan", b"j", b"x.y"),)
    assert fetched.sections == {"HEADER.FIELDS (REFERENCES)": b"\r\n\r\n", "1": b"A1 "}
    assert (fetched.uid, fetched.flags) == (9, ("a",))


@pytest.mark.parametrize(
    ("answered", "key"),
    [
        (b"BODY[]", ""),
        (b"BODY[]<0.100>", ""),
        (b"BODY[]<0>", ""),
        (b"BODY[1.2.MIME]", "1.2.MIME"),
        (b'BODY[HEADER.FIELDS ("References" Subject)]', "HEADER.FIELDS (REFERENCES SUBJECT)"),
        (b"body[text]", "TEXT"),
        (b"RFC822", ""),
        (b"RFC822.HEADER", "HEADER"),
        (b"BINARY[2]", "2"),
    ],
)
def test_a_section_is_found_by_what_was_asked(answered: bytes, key: str) -> None:
    """Odd and missing origins of partials (quirk 39)."""
    assert row(b"* 1 FETCH (" + answered + b' "data" UID 1)').sections == {key: b"data"}
    assert section_key(key.lower()) == key


def test_a_section_that_is_not_there_is_absent() -> None:
    assert row(b"* 1 FETCH (UID 1 BODY[9] NIL)").sections == {}
    assert row(b'* 1 FETCH (UID 1 BODY[1] "")').sections == {"1": b""}


def test_ids_labels_and_modseq_of_extensions() -> None:
    """64 bits of MODSEQ (quirk 37), THREADID NIL (quirk 42)."""
    fetched = row(
        b"* 1 FETCH (X-GM-THRID 1278455344230334865 X-GM-MSGID 1278455344230334866 "
        b'X-GM-LABELS ("\\\\Inbox" "Entw&APw-rfe" foo) MODSEQ (18446744073709551615) UID 4294967295)'
    )
    assert (fetched.email_id, fetched.thread_id) == ("1278455344230334866", "1278455344230334865")
    assert fetched.labels == ("\\Inbox", "Entwürfe", "foo")
    assert (fetched.modseq, fetched.uid) == (2**64 - 1, 4294967295)
    assert row(b"* 1 FETCH (EMAILID (M6d99) THREADID NIL)") == Fetched(1, email_id="M6d99")


@pytest.mark.parametrize(
    "items",
    [
        b"UID 7 FLAGS (\\Seen $x)",
        b"FLAGS (\\Seen $x) UID 7",
        b"UID 7 FLAGS (\\Seen $x) MODSEQ (12)",
        b"UID 7 MODSEQ (12) FLAGS (\\Seen $x)",
        b"FLAGS (\\Seen $x) UID 7 MODSEQ (12)",
    ],
)
def test_the_fast_lane_says_what_the_parser_says(items: bytes) -> None:
    text = b"* 3 FETCH (" + items + b")"
    slow = parse_row([text])
    assert parse_flags_row(text) == (slow.uid, slow.flags) == (7, ("\\Seen", "$x"))


def test_other_rows_do_not_take_the_fast_lane() -> None:
    for text in (
        b"* 3 FETCH (FLAGS ())",
        b'* 3 FETCH (UID 7 FLAGS ("a"))',
        b"* 3 FETCH (UID 7 FLAGS () X 1)",
        b"* 3 EXISTS",
    ):
        assert parse_flags_row(text) is None


def test_a_row_that_can_not_be_understood_still_has_its_numbers() -> None:
    pieces = [b'* 3 FETCH (UID 77 ENVELOPE ("unclosed))']
    with pytest.raises(ProtocolError):
        parse_row(pieces)
    assert broken_row(pieces) == Fetched(3, uid=77, broken=True)
    assert broken_row([b"* 3 FETCH (ENVELOPE ("]) is None


def test_group_markers_are_no_addresses_and_a_missing_host_is_none() -> None:
    """Neither becomes a recipient (trap 6, trap 7, quirk 42)."""
    grouped = envelope(
        b'(NIL NIL NIL NIL NIL ((NIL NIL "friends" NIL)("A" NIL "a" "x.y")(NIL NIL NIL NIL)) NIL NIL NIL NIL)'
    )
    assert grouped.to == (EnvelopeAddress(b"A", b"a", b"x.y"),)
    assert envelope(b'(NIL NIL ((NIL NIL "root" NIL)) NIL NIL NIL NIL NIL NIL NIL)').from_ == (
        EnvelopeAddress(None, b"root", None),
    )


def test_short_and_shifted_envelopes_read_as_far_as_they_go() -> None:
    """(quirk 42)."""
    assert envelope(b'("date" "subject" "not a list")') == MessageEnvelope(b"date", b"subject")
    assert envelope(b"(() NIL (NIL () x (y)))").from_ == (EnvelopeAddress(b"y", None, None),)
    assert envelope(b"()") == MessageEnvelope()


def test_parts_are_numbered_as_the_standard_says() -> None:
    text = b'("TEXT" "PLAIN" NIL NIL NIL "7BIT" 1 1)'
    image = b'("IMAGE" "GIF" NIL "<c@x>" NIL "BASE64" 9 NIL ("attachment" ("filename" "a.gif")))'
    inner = b"(" + text + b"(" + image + text + b' "MIXED") "MIXED")'
    message = b'("MESSAGE" "RFC822" NIL NIL NIL "7BIT" 99 ' + ENVELOPE + b" " + inner + b" 20)"
    simple = b'("MESSAGE" "RFC822" NIL NIL NIL "7BIT" 99 ' + ENVELOPE + b" " + text + b" 20)"
    whole = body(b"(" + text + image + message + b"(" + image + text + b' "ALTERNATIVE")' + simple + b' "MIXED")')
    # The part specifiers of the example in RFC 9051, 6.4.5.1
    assert numbers(whole) == [
        ("", "multipart/mixed"),
        ("1", "text/plain"),
        ("2", "image/gif"),
        ("3", "message/rfc822"),
        ("3.TEXT", "multipart/mixed"),
        ("3.1", "text/plain"),
        ("3.2", "multipart/mixed"),
        ("3.2.1", "image/gif"),
        ("3.2.2", "text/plain"),
        ("4", "multipart/alternative"),
        ("4.1", "image/gif"),
        ("4.2", "text/plain"),
        ("5", "message/rfc822"),
        ("5.1", "text/plain"),
    ]
    gif = whole.children[1]
    assert (gif.content_id, gif.disposition, gif.disposition_parameters) == (
        "<c@x>",
        "attachment",
        {"filename": "a.gif"},
    )
    assert whole.children[2].envelope is not None and whole.children[2].lines == 20


def test_a_message_alone_is_part_one() -> None:
    assert numbers(body(b'("TEXT" "PLAIN" NIL NIL NIL "7BIT" 1 1)')) == [("1", "text/plain")]


def test_missing_fields_and_raw_names_are_tolerated() -> None:
    """(quirk 43) (trap 25)."""
    part = body('("application" "pdf" ("NAME" "Übersicht.pdf") NIL NIL "base64" 10 ("attachment" NIL))'.encode())
    assert (part.parameters, part.disposition) == ({"name": "Übersicht.pdf"}, "attachment")
    assert body(b"(NIL)").content_type == "application/octet-stream"
    assert body(b'("text" "plain" ("a"))').parameters == {}
    assert body(b"((NIL) NIL)").content_type == "multipart/mixed"
    assert parse_body(None) is None and parse_body([]) is None


def test_nesting_without_end_is_cut() -> None:
    """(quirk 55)."""
    part = body(b"(" * 400 + b'("text" "plain")' + b' "mixed")' * 400)
    depth = 0
    while part.children:
        part, depth = part.children[0], depth + 1
    assert depth <= MAX_NESTING


@pytest.mark.parametrize(
    ("raw", "moment"),
    [
        (b"17-Jul-1996 02:44:25 -0700", datetime(1996, 7, 17, 9, 44, 25, tzinfo=UTC)),
        (b" 7-jul-1996 02:44:25 +0000", datetime(1996, 7, 7, 2, 44, 25, tzinfo=UTC)),
        (b"1-Jan-2000 00:00:60 +0000", datetime(2000, 1, 1, 0, 0, 59, tzinfo=UTC)),
        (b"01-Jan-0001 00:00:00 +1400", None),
        (b"30-Feb-2020 00:00:00 +0000", None),
        (b"1-Jan-2020 00:00:00 +9999", None),
        (b"1-Foo-2020 00:00:00 +0000", None),
        (b"yesterday", None),
    ],
)
def test_internal_dates_are_moments_or_nothing(raw: bytes, moment: datetime | None) -> None:
    """A day padded with a space (quirk 52)."""
    assert parse_internal_date(raw) == moment


@given(st.datetimes(datetime(1970, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)))
def test_a_moment_survives_the_round_trip(moment: datetime) -> None:
    assert parse_internal_date(compose_internal_date(moment).encode()) == moment.replace(microsecond=0)


WORDS = st.sampled_from(
    [
        *(
            "UID",
            "FLAGS",
            "(",
            ")",
            "((",
            "))",
            "NIL",
            '"x"',
            "ENVELOPE",
            "BODYSTRUCTURE",
            "BODY",
            "BODY[]",
            "BODY[1]<0>",
        ),
        *("MODSEQ", "12", "INTERNALDATE", '"17-Jul-1996 02:44:25 -0700"', "RFC822.SIZE", "EMAILID", "X-GM-LABELS"),
        *('"text"', '"plain"', '"message"', '"rfc822"', '"attachment"', "\\Seen"),
    ]
)


@given(st.lists(WORDS | st.text(alphabet='()"\\[]{}<>a1 \xff', max_size=5), max_size=60))
def test_any_row_is_values_or_a_protocol_error(words: list[str]) -> None:
    text = " ".join(words).encode()
    for wire in (b"* 1 FETCH (" + text + b")", b"* 1 FETCH " + text):
        try:
            parse_row([wire])
        except ProtocolError:
            pass
        broken_row([wire])


TOKENS = st.recursive(st.none() | st.binary(max_size=6) | st.sampled_from([b"message", b"rfc822", b"text"]), st.lists)


@given(TOKENS)
def test_envelope_and_structure_never_raise(token: object) -> None:
    parse_envelope(token)  # type: ignore[arg-type]
    parse_body(token)  # type: ignore[arg-type]
