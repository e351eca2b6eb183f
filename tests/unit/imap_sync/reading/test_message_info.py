"""A row of FETCH as listings and events show it (contract, section 7)."""

import json
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from postbus.common.accounts import MailboxRecord
from postbus.common.events import MAX_EVENT_BYTES, MessageInfo
from postbus.common.ids import parse_attachment_id, parse_message_id, parse_text_id
from postbus.common.mime.words import decode_words
from postbus.imap_sync.envelope import decode_value
from postbus.imap_sync.message_info import (
    MAX_INFO_BYTES,
    View,
    changing_fields,
    compose_fields,
    compose_headers,
    compose_info,
    info_items,
)
from postbus.imap_sync.protocol.values import BodyPart, EnvelopeAddress, Fetched, MessageEnvelope

INBOX = MailboxRecord(number=1, path="INBOX", special_use="\\Inbox")
RECEIVED = datetime(2026, 11, 25, 5, 9, 23, tzinfo=UTC)
ALICE = EnvelopeAddress(b"Alice", b"alice", b"example.test")
BOB = EnvelopeAddress(b"=?utf-8?q?B=C3=B6b?=", b"bob", b"example.test")
TWO_TEXTS = BodyPart(
    "",
    "multipart",
    "alternative",
    children=(BodyPart("1", "text", "plain", size=10), BodyPart("2", "text", "html", size=20)),
)


def row(**more: Any) -> Fetched:
    values: dict[str, Any] = {
        "uid": 481,
        "flags": ("\\Seen",),
        "size": 1000,
        "internal_date": RECEIVED,
        "envelope": MessageEnvelope(
            date=b"Wed, 25 Nov 2026 06:08:00 +0100 (CET)",
            subject=b"=?utf-8?b?SMOkbGxv?=",
            from_=(ALICE,),
            to=(BOB,),
            message_id=b"<m1@example.test>",
        ),
        "structure": TWO_TEXTS,
    }
    return Fetched(1, **(values | more))


def with_envelope(**more: Any) -> Fetched:
    return row(envelope=MessageEnvelope(**more))


def test_a_message_has_the_ids_of_the_contract() -> None:
    fields = compose_fields(row(), INBOX, View.LISTING)
    assert fields["id"] == "AAAAAQAAAeE"
    assert fields["text"] == {"id": "AAAAAQAAAeGTkaExkaEykA", "encodedSize": {"plain": 10, "html": 20}}


def test_all_fields_of_an_entry_of_a_listing() -> None:
    assert compose_fields(row(), INBOX, View.LISTING) == {
        "id": "AAAAAQAAAeE",
        "uid": 481,
        "path": "INBOX",
        "date": "2026-11-25T05:08:00.000Z",
        "flags": ["\\Seen"],
        "size": 1000,
        "subject": "Hällo",
        "from": {"name": "Alice", "address": "alice@example.test"},
        "to": [{"name": "Böb", "address": "bob@example.test"}],
        "attachments": [],
        "messageId": "<m1@example.test>",
        "text": {"id": "AAAAAQAAAeGTkaExkaEykA", "encodedSize": {"plain": 10, "html": 20}},
        "messageSpecialUse": "\\Inbox",
    }


def test_flags_are_only_ever_true() -> None:
    fields = compose_fields(
        row(flags=("\\Flagged", "\\Answered", "\\Draft", "\\Recent", "$Label1")), INBOX, View.LISTING
    )
    assert [fields[name] for name in ("unseen", "flagged", "answered", "draft")] == [True] * 4
    assert fields["flags"] == ["\\Flagged", "\\Answered", "\\Draft", "$Label1"]
    assert not {"unseen", "flagged", "answered", "draft"} & set(compose_fields(row(), INBOX, View.LISTING))


def test_a_row_without_flags_claims_nothing() -> None:
    fields = compose_fields(row(flags=None), INBOX, View.LISTING)
    assert fields["flags"] == [] and "unseen" not in fields


@pytest.mark.parametrize(
    "written",
    [None, b"", b"nonsense", b"Thu, 01 Jan 0000 00:00:00 +0000", b"Mon, 31 Feb 2026 00:00:00 +0000", b"\xff\xfe"],
)
def test_without_a_usable_date_header_the_server_s_own_date_counts(written: bytes | None) -> None:
    """(trap 51)"""
    assert compose_fields(with_envelope(date=written), INBOX, View.LISTING)["date"] == "2026-11-25T05:09:23.000Z"


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (b"Fri, 21 Nov 1997 09:55:06 -0600", "1997-11-21T15:55:06.000Z"),  # RFC 5322, A.1.1
        (b"21 Nov 97 09:55:06 GMT", "1997-11-21T09:55:06.000Z"),  # RFC 5322, A.6.2
        (b"Thu, 31 Dec 2026 23:30:00 -0100", "2027-01-01T00:30:00.000Z"),
    ],
)
def test_dates_are_written_in_utc(written: bytes, expected: str) -> None:
    assert compose_fields(with_envelope(date=written), INBOX, View.LISTING)["date"] == expected


@pytest.mark.parametrize(
    "address",
    [
        EnvelopeAddress(b"undisclosed-recipients", None, None),
        EnvelopeAddress(None, b"friends", None),  # start of a group: no host
        EnvelopeAddress(b"Name", b"name", None),
        EnvelopeAddress(b"Name", b"MISSING_MAILBOX", b"MISSING_DOMAIN"),
        EnvelopeAddress(b"Name", b"", b"example.test"),
        EnvelopeAddress(None, None, None),
    ],
)
def test_what_has_no_address_never_becomes_one(address: EnvelopeAddress) -> None:
    fields = compose_fields(with_envelope(from_=(address,), to=(address, ALICE), cc=(address,)), INBOX, View.EVENT)
    assert "from" not in fields and "cc" not in fields
    assert fields["to"] == [{"name": "Alice", "address": "alice@example.test"}]


def test_the_name_of_an_address_may_be_empty_and_raw_bytes_are_decoded() -> None:
    addresses = (EnvelopeAddress(None, b"a", b"b.test"), EnvelopeAddress("Jürgen".encode("latin-1"), b"j", b"b.test"))
    fields = compose_fields(with_envelope(to=addresses), INBOX, View.EVENT)
    assert fields["to"] == [{"name": "", "address": "a@b.test"}, {"name": "Jürgen", "address": "j@b.test"}]


def test_line_breaks_in_an_envelope_do_not_get_through() -> None:
    evil = EnvelopeAddress(b"=?utf-8?q?a=0D=0Ab?=", b"a\r\nBcc: x", b"b.test")
    fields = compose_fields(with_envelope(subject=b"=?utf-8?q?one=0D=0Atwo?=", to=(evil,)), INBOX, View.EVENT)
    assert not set("\r\n\0") & set(json.dumps(fields, ensure_ascii=False))


def test_sender_bcc_and_special_use_are_left_out_of_listings() -> None:
    fetched = with_envelope(from_=(ALICE,), sender=(BOB,), bcc=(BOB,), reply_to=(BOB,))
    listed, shown, told = (set(compose_fields(fetched, INBOX, view)) for view in View)
    assert shown - listed == {"sender", "bcc", "specialUse"}
    assert shown - told == {"path"}


@pytest.mark.parametrize(
    ("special_use", "labels", "expected"),
    [
        ("\\Junk", None, "\\Junk"),
        ("\\All", ("\\Inbox", "\\Sent", "work"), "\\Sent"),
        ("\\All", ("\\Inbox", "\\Important"), "\\Inbox"),
        ("\\All", ("work",), None),
        (None, None, None),
    ],
)
def test_a_message_has_the_special_use_of_its_mailbox_or_its_labels(
    special_use: str | None, labels: tuple[str, ...] | None, expected: str | None
) -> None:
    mailbox = MailboxRecord(number=2, path="box", special_use=special_use)
    assert compose_fields(row(labels=labels), mailbox, View.EVENT).get("messageSpecialUse") == expected


def test_event_and_listing_agree_field_for_field() -> None:
    fetched = row(email_id="e1", thread_id="t1", labels=("\\Inbox",), flags=("\\Answered",))
    fields = compose_fields(fetched, INBOX, View.EVENT)
    assert compose_info(fetched, INBOX).model_dump_json(by_alias=True).encode() == msgspec.json.encode(fields)
    listed = MessageInfo.model_validate(compose_fields(fetched, INBOX, View.LISTING))
    assert msgspec.json.decode(listed.model_dump_json(by_alias=True)) == compose_fields(fetched, INBOX, View.LISTING)


def test_only_the_wanted_headers_are_told_whatever_their_case() -> None:
    fetched = row(
        sections={"HEADER": b"Received: one\r\nX-List: a\r\nRECEIVED: two\r\nSubject: =?utf-8?q?=C3=A4?=\r\n\r\n"}
    )
    assert compose_headers(fetched, ["*"]) == {"received": ["one", "two"], "x-list": ["a"], "subject": ["ä"]}
    assert compose_headers(fetched, ["Received"]) == {"received": ["one", "two"]}
    assert compose_info(fetched, INBOX).headers is None
    assert compose_info(fetched, INBOX, headers=["x-list"]).headers == {"x-list": ["a"]}


def test_odd_header_names_are_harmless() -> None:
    """(trap 43)"""
    block = b"__proto__: a\r\nconstructor: b\r\nto_string: c\r\n\r\n"
    assert set(compose_headers(row(sections={"HEADER": block}), ["*"])) == {"__proto__", "constructor", "to_string"}


def test_items_follow_what_the_server_has_and_what_is_wanted() -> None:
    assert "ENVELOPE" in info_items(gmail=False) and not any("HEADER" in item for item in info_items(gmail=False))
    assert {"X-GM-MSGID", "X-GM-THRID", "X-GM-LABELS"} <= set(info_items(gmail=True))
    assert {"EMAILID", "THREADID"} <= set(info_items(gmail=False, object_ids=True))
    assert info_items(gmail=False, headers=True)[-1].startswith("BODY.PEEK[HEADER]<0.")
    assert info_items(gmail=False, headers=["subject", "x)\r\nA1 LOGOUT"])[-1] == "BODY.PEEK[HEADER.FIELDS (SUBJECT)]"


def test_a_hundred_thousand_recipients_still_fit_into_an_event() -> None:
    many = tuple(EnvelopeAddress(b"N" * 100, b"user%d" % number, b"example.test") for number in range(100_000))
    info = compose_info(with_envelope(to=many, cc=many, subject=b"s" * 1_000_000), INBOX)
    assert len(info.model_dump_json(by_alias=True)) <= MAX_INFO_BYTES < MAX_EVENT_BYTES
    assert info.to


def test_a_row_without_a_uid_is_no_message() -> None:
    with pytest.raises(ValueError, match="without a uid"):
        compose_fields(row(uid=None), INBOX, View.LISTING)


def test_ids_lead_back_to_the_message() -> None:
    structure = BodyPart(
        "", "multipart", "mixed", children=(BodyPart("1", "text", "plain"), BodyPart("2", "image", "png"))
    )
    fields = compose_fields(row(structure=structure), INBOX, View.LISTING)
    message = parse_message_id(fields["id"])
    assert (message.mailbox, message.uid) == (1, 481)
    assert parse_text_id(fields["text"]["id"]).plain == ("1",)
    assert parse_attachment_id(fields["attachments"][0]["id"]).part == "2"


RAW = st.none() | st.binary(max_size=60) | st.from_regex(rb"=\?[a-z0-9-]+\?[bq]\?[!-~]{0,30}\?=", fullmatch=True)
ADDRESSES = st.lists(st.builds(EnvelopeAddress, name=RAW, mailbox=RAW, host=RAW), max_size=3).map(tuple)
ENVELOPES = st.builds(
    MessageEnvelope,
    date=RAW,
    subject=RAW,
    from_=ADDRESSES,
    sender=ADDRESSES,
    reply_to=ADDRESSES,
    to=ADDRESSES,
    cc=ADDRESSES,
    bcc=ADDRESSES,
    in_reply_to=RAW,
    message_id=RAW,
)


@given(
    st.none() | ENVELOPES, st.binary(max_size=200), st.none() | st.lists(st.text(max_size=10), max_size=5).map(tuple)
)
def test_whatever_a_stranger_wrote_becomes_json(
    envelope: MessageEnvelope | None, block: bytes, flags: tuple[str, ...] | None
) -> None:
    fetched = row(envelope=envelope, flags=flags, sections={"HEADER": block})
    for view in View:
        assert msgspec.json.decode(msgspec.json.encode(compose_fields(fetched, INBOX, view)))["uid"] == 481
    assert compose_info(fetched, INBOX, headers=["*"]).model_dump_json(by_alias=True)


@given(
    st.binary(max_size=80) | st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=80).map(str.encode)
)
def test_the_quick_way_to_decode_a_value_gives_what_the_slow_one_does(raw: bytes) -> None:
    assert decode_value(raw) == decode_words(raw)


def test_all_that_labels_and_flags_decide_is_known_to_change() -> None:
    all_mail = MailboxRecord(number=2, path="All", special_use="\\All")
    before = row(labels=("\\Inbox",), flags=())
    after = row(labels=("\\Trash",), flags=("\\Seen", "\\Flagged", "\\Answered", "\\Draft"))
    for one, other in ((before, after), (after, before)):
        changing = changing_fields(one, all_mail).keys() | changing_fields(other, all_mail).keys()
        fixed = [
            {
                name: value
                for name, value in compose_fields(fetched, all_mail, View.LISTING).items()
                if name not in changing
            }
            for fetched in (one, other)
        ]
        assert fixed[0] == fixed[1]
        assert changing_fields(one, all_mail).items() <= compose_fields(one, all_mail, View.LISTING).items()
