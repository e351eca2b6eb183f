"""RFC 5322, 2047, 2369, 6532: what is composed says what it should, folded where a line may break, never elsewhere."""

import email
import re
from collections.abc import Callable
from datetime import UTC, datetime
from email import policy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postbus.common.errors import BadInput
from postbus.common.mime.compose import (
    OutgoingAddress,
    OutgoingMessage,
    compose_address_list,
    compose_message,
    needs_smtputf8,
    new_message_id,
    wire_address,
)
from postbus.common.mime.headers import decoded_headers, parse_addresses, parse_header_block, parse_message_ids

DATE = datetime(2026, 11, 25, 6, 30, tzinfo=UTC)
ANNA = OutgoingAddress("Anna", "anna@example.test")
COMMAS = "Doe, John (Sales, North and South America, and all of the other regions of the world), Inc."


def outgoing(**changes: Any) -> OutgoingMessage:
    values: dict[str, Any] = {
        "sender": ANNA,
        "to": (OutgoingAddress("", "bob@example.test"),),
        "cc": (),
        "reply_to": (),
        "subject": "Hello",
        "text": "Hi",
        "html": None,
        "attachments": (),
        "headers": (),
        "message_id": "<id@example.test>",
        "date": DATE,
    }
    return OutgoingMessage(**{**values, **changes})


def head_of(wire: bytes) -> bytes:
    return wire.partition(b"\r\n\r\n")[0]


def raw_field(wire: bytes, name: str) -> str:
    return next(value.decode() for field, value in parse_header_block(head_of(wire)) if field.lower() == name.lower())


def refused_keys(compose: Callable[[], object]) -> list[str]:
    with pytest.raises(BadInput) as caught:
        compose()
    return [field["key"] for field in caught.value.fields]


def test_names_with_commas_stay_quoted_when_the_header_is_folded() -> None:
    to = tuple(OutgoingAddress(COMMAS, f"user{n}@example.test") for n in range(3))
    wire = compose_message(outgoing(to=to))
    assert [(a.name, a.address) for a in parse_addresses(raw_field(wire, "To"))] == [(COMMAS, a.address) for a in to]
    parsed = email.message_from_bytes(wire, policy=policy.default)
    assert [(a.display_name, a.addr_spec) for a in parsed["To"].addresses] == [(COMMAS, a.address) for a in to]


def test_long_references_are_folded_at_spaces_and_never_encoded() -> None:
    ids = tuple(f"<{'x' * 70}{n}@mail.example.test>" for n in range(9))
    wire = compose_message(outgoing(in_reply_to=ids[-1], references=ids))
    assert raw_field(wire, "References").split() == list(ids)
    assert parse_message_ids(raw_field(wire, "In-Reply-To")) == [ids[-1]]
    assert b"=?" not in wire


def test_a_message_id_longer_than_a_line_stays_one_word() -> None:
    message_id = f"<{'a' * 300}@example.test>"
    assert raw_field(compose_message(outgoing(message_id=message_id)), "Message-ID") == message_id


def test_list_unsubscribe_is_folded_but_never_encoded() -> None:
    value = f"<https://example.test/{'u' * 200}?a=b>, <mailto:stop@example.test>"
    wire = compose_message(outgoing(headers=(("List-Unsubscribe", value),)))
    assert raw_field(wire, "List-Unsubscribe") == value


@pytest.mark.parametrize(
    "hidden", ["=?utf-8?Q?a=0D=0ABcc:_evil@example.test?=", "=?utf-8?B?YQ0KQmNjOiBi?=", "=?x?q?=00?="]
)
def test_a_line_end_hidden_in_an_encoded_word_is_refused(hidden: str) -> None:
    assert refused_keys(lambda: compose_message(outgoing(subject=f"x {hidden} y"))) == ["subject"]
    assert refused_keys(lambda: compose_message(outgoing(headers=(("X-A", hidden),)))) == ["headers.X-A"]
    assert refused_keys(lambda: compose_message(outgoing(sender=OutgoingAddress(hidden, "a@b.test")))) == ["from.name"]


@pytest.mark.parametrize("end", ["\r\n", "\n", "\r", "\0"])
def test_line_ends_and_nul_are_refused_and_all_fields_are_named(end: str) -> None:
    evil = f"a{end}Bcc: evil@example.test"
    message = outgoing(
        subject=evil,
        to=(OutgoingAddress(evil, f"bob@example.test{end}"),),
        cc=(OutgoingAddress("", f"{evil}"),),
        headers=(("X-A", evil), (f"X-B{end}", "x")),
        message_id=f"<{evil}@x>",
    )
    assert set(refused_keys(lambda: compose_message(message))) == {
        "subject",
        "to.0.name",
        "to.0.address",
        "cc.0.address",
        "headers.X-A",
        "headers",
        "messageId",
    }


@pytest.mark.parametrize(
    "name", ["Bcc", "bcc", "From", "Content-Type", "MIME-Version", "X-EE-Send-At", "x-ee-anything"]
)
def test_headers_that_are_not_the_callers_are_refused(name: str) -> None:
    assert refused_keys(lambda: compose_message(outgoing(headers=((name, "x"),)))) == [f"headers.{name}"]


@pytest.mark.parametrize("name", ["", "X A", "X:", "Xé", "x" * 77, "X\t"])
def test_names_that_are_no_header_names_are_refused(name: str) -> None:
    assert refused_keys(lambda: compose_message(outgoing(headers=((name, "x"),)))) == ["headers"]


def test_the_odd_names_of_other_languages_are_ordinary_headers() -> None:
    """(trap 43)"""
    wire = compose_message(outgoing(headers=(("__proto__", "a"), ("constructor", "b"))))
    assert decoded_headers(head_of(wire))["__proto__"] == ["a"]


def test_there_is_never_a_bcc_header() -> None:
    assert "bcc" not in decoded_headers(head_of(compose_message(outgoing())))


def test_a_domain_beyond_ascii_travels_in_its_ascii_form() -> None:
    message = outgoing(to=(OutgoingAddress("", "info@bücher.example"),))
    assert raw_field(compose_message(message), "To") == "info@xn--bcher-kva.example"
    assert not needs_smtputf8(message)


def test_a_local_part_beyond_ascii_is_written_in_utf8_and_needs_smtputf8() -> None:
    message = outgoing(to=(OutgoingAddress("Jürgen", "jürgen@bücher.example"),))
    assert needs_smtputf8(message)
    assert "<jürgen@xn--bcher-kva.example>" in raw_field(compose_message(message), "To")


@pytest.mark.parametrize(
    "address",
    ["", "a", "@b", "a@", "a b@c", "a@b c", "<a@b>", "a@b>", 'a"b@c', "a@b,c@d", "a@[x", "x" * 900 + "@b", "a@b\x7f"],
)
def test_what_is_no_address_is_refused(address: str) -> None:
    assert refused_keys(lambda: compose_message(outgoing(to=(OutgoingAddress("", address),)))) == ["to.0.address"]


@pytest.mark.parametrize("address", ["a@b", "a.b+c@d.example", '"a b"@c.example', "a@[127.0.0.1]", "o'neil@x.example"])
def test_ordinary_and_odd_addresses_pass(address: str) -> None:
    assert wire_address(address) == address


def test_a_message_id_is_fresh_and_at_the_senders_domain() -> None:
    assert re.fullmatch(r"<[0-9a-f-]{36}@xn--bcher-kva\.example>", new_message_id("bücher.example"))
    assert new_message_id("a.test") != new_message_id("a.test")


def test_lone_surrogates_are_replaced() -> None:
    wire = compose_message(outgoing(subject="a\ud800b", text="c\udfffd"))
    assert decoded_headers(head_of(wire))["subject"] == ["a\ufffdb"]


def test_threading_headers_may_be_given_by_the_caller_when_there_is_no_reference() -> None:
    headers = (("In-Reply-To", "<a@x>"), ("References", "<b@x> <a@x>"), ("Reply-To", '"Doe, J" <j@x.test>'))
    wire = compose_message(outgoing(headers=headers))
    assert raw_field(wire, "References") == "<b@x> <a@x>"
    assert [a.name for a in parse_addresses(raw_field(wire, "Reply-To"))] == ["Doe, J"]
    own = compose_message(outgoing(headers=headers, in_reply_to="<c@x>", references=("<c@x>",)))
    assert raw_field(own, "In-Reply-To") == raw_field(own, "References") == "<c@x>"


def test_ids_of_strangers_that_can_not_be_written_are_left_out() -> None:
    wire = compose_message(outgoing(references=("<a@x>", "<ä@x>", "<b c@x>", "<a@x>", f"<{'z' * 1000}@x>")))
    assert raw_field(wire, "References") == "<a@x>"


def test_a_thread_of_thousands_keeps_its_first_and_latest_ids() -> None:
    wire = compose_message(outgoing(references=tuple(f"<{n}@x>" for n in range(5000))))
    ids = raw_field(wire, "References").split()
    assert (ids[0], ids[-1], len(ids)) == ("<0@x>", "<4999@x>", 100)


def test_an_encoded_word_given_as_an_extra_header_passes_as_it_is() -> None:
    wire = compose_message(outgoing(headers=(("X-A", "=?utf-8?Q?gr=C3=BCn?= x"),)))
    assert decoded_headers(head_of(wire))["x-a"] == ["grün x"]


def test_a_long_subject_beyond_ascii_is_cut_into_words_of_75_characters() -> None:
    subject = "Überraschung 🎉 für alle — " * 12
    wire = compose_message(outgoing(subject=subject))
    words = re.findall(rb"=\?[^ \r\n]*\?=", head_of(wire))
    assert words and max(map(len, words)) <= 75
    assert decoded_headers(head_of(wire))["subject"] == [subject.strip()]


TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0"), max_size=300)


def spaced(text: str) -> str:
    return text.replace("\t", " ").strip(" ")


@given(TEXT)
def test_any_subject_is_read_back_as_it_was(subject: str) -> None:
    try:
        wire = compose_message(outgoing(subject=subject))
    except BadInput:
        assert "=?" in subject  # hides a line end
        return
    assert decoded_headers(head_of(wire))["subject"][0].strip(" ") == spaced(subject)
    assert max(map(len, wire.split(b"\r\n"))) <= 998


@given(
    st.lists(st.tuples(TEXT, st.from_regex(r"[a-z.]{1,20}@[a-z]{1,20}\.test", fullmatch=True)), min_size=1, max_size=9)
)
def test_any_names_are_read_back_as_they_were(mailboxes: list[tuple[str, str]]) -> None:
    addresses = [OutgoingAddress(name, address) for name, address in mailboxes]
    try:
        value = compose_address_list(addresses)
    except BadInput:
        assert any("=?" in name for name, _ in mailboxes)
        return
    read = parse_addresses(value.replace("\r\n", ""))
    assert [a.address for a in read] == [a.address for a in addresses]
    for mailbox, back in zip(addresses, read, strict=True):
        assert back.name.split() == spaced(mailbox.name).split()


@given(st.from_regex(r"[A-Za-z][A-Za-z0-9-]{0,30}", fullmatch=True), TEXT)
def test_any_extra_header_ends_where_it_should(name: str, value: str) -> None:
    try:
        wire = compose_message(outgoing(headers=((f"X-{name}", value),)))
    except BadInput:
        return
    parsed = email.message_from_bytes(wire, policy=policy.compat32)
    assert not parsed.defects
    allowed = {
        "from",
        "to",
        "subject",
        "date",
        "message-id",
        "mime-version",
        "content-type",
        "content-transfer-encoding",
    }
    assert {field.lower() for field in parsed} <= {*allowed, f"x-{name}".lower()}
