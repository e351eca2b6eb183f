"""RFC 2045, 2046, 2231: texts, alternatives, images, attachments and embedded messages, as readers find them."""

import email
import time
from datetime import UTC, datetime
from email import policy
from email.message import EmailMessage
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postbus.common.errors import BadInput
from postbus.common.mime.compose import OutgoingAddress, OutgoingAttachment, OutgoingMessage, compose_message
from postbus.common.mime.parameters import parse_content_value

EMBEDDED = b"From: a@b.test\r\nSubject: inner\r\n\r\ntext\r\n"


def compose(**changes: Any) -> bytes:
    values: dict[str, Any] = {
        "sender": OutgoingAddress("", "a@example.test"),
        "to": (),
        "cc": (),
        "reply_to": (),
        "subject": "s",
        "text": None,
        "html": None,
        "attachments": (),
        "headers": (),
        "message_id": "<id@example.test>",
        "date": datetime(2026, 11, 25, tzinfo=UTC),
    }
    return compose_message(OutgoingMessage(**{**values, **changes}))


def parse(wire: bytes) -> EmailMessage:
    return email.message_from_bytes(wire, policy=policy.default)


def structure(message: EmailMessage) -> Any:
    kind = message.get_content_type()
    if message.get_content_maintype() != "multipart":
        return kind
    return kind, [structure(cast(EmailMessage, part)) for part in message.iter_parts()]


def attachment(content: bytes = b"x", kind: str = "application/pdf", **options: Any) -> OutgoingAttachment:
    return OutgoingAttachment(options.pop("filename", "a.pdf"), content, kind, **options)


def test_text_alone_is_one_part() -> None:
    assert structure(parse(compose(text="Hi"))) == "text/plain"


def test_text_and_html_are_alternatives_the_best_last() -> None:
    wire = compose(text="Hi", html="<p>Hi</p>")
    assert structure(parse(wire)) == ("multipart/alternative", ["text/plain", "text/html"])


def test_images_stand_with_the_html_and_files_behind() -> None:
    image = attachment(b"img", "image/png", filename="i.png", disposition="inline", content_id="logo")
    message = parse(compose(text="t", html='<img src="cid:logo">', attachments=(image, attachment())))
    related = ("multipart/related", ["text/html", "image/png"])
    assert structure(message) == (
        "multipart/mixed",
        [("multipart/alternative", ["text/plain", related]), "application/pdf"],
    )
    assert [part["Content-ID"] for part in message.walk() if part["Content-ID"]] == ["<logo>"]


def test_a_single_attachment_without_text_stands_in_a_multipart() -> None:
    assert structure(parse(compose(attachments=(attachment(),)))) == ("multipart/mixed", ["application/pdf"])


def test_nothing_at_all_is_an_empty_text() -> None:
    assert structure(parse(compose())) == "text/plain"


def test_an_embedded_message_is_never_encoded() -> None:
    """(trap 44)"""
    wire = compose(text="t", attachments=(attachment(EMBEDDED, "message/rfc822", filename="m.eml"),))
    assert EMBEDDED in wire
    parts = list(parse(wire).iter_attachments())
    assert parts[0].get_content_type() == "message/rfc822"
    assert parts[0].get_content()["Subject"] == "inner"


def test_an_embedded_message_in_eight_bits_says_so_on_every_level() -> None:
    wire = compose(text="t", attachments=(attachment("Subject: ä\n\nö".encode(), "message/rfc822"),))
    assert parse(wire)["Content-Transfer-Encoding"] == "8bit"
    assert b"Subject: \xc3\xa4\r\n\r\n\xc3\xb6" in wire


def test_an_embedded_message_that_no_line_can_carry_becomes_a_file() -> None:
    wire = compose(attachments=(attachment(b"Subject: x\r\n\r\n" + b"y" * 2000, "message/rfc822"),))
    part = next(parse(wire).iter_attachments())
    assert (part.get_content_type(), part["Content-Transfer-Encoding"]) == ("application/octet-stream", "base64")


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("plain\nlines", "7bit"),
        ("a" * 79, "quoted-printable"),
        ("mostly plain with one ä in it and more text around it", "quoted-printable"),
        ("Привет, мир! Привет, мир!", "base64"),
        ("nul \0 and bell \x07 in a text that is otherwise very plain", "quoted-printable"),
    ],
)
def test_text_is_encoded_only_where_it_has_to_be(text: str, encoding: str) -> None:
    message = parse(compose(text=text))
    assert message["Content-Transfer-Encoding"] == encoding
    assert message.get_content().replace("\r\n", "\n").rstrip("\n") == text


@given(st.text(st.characters(codec="utf-8"), max_size=2000))
def test_any_text_is_read_back_with_its_lines(text: str) -> None:
    wire = compose(text=text)
    body = cast(bytes, parse(wire).get_payload(decode=True))
    lines = text.replace("\r\n", "\n").replace("\r", "\n")
    assert body.decode().replace("\r\n", "\n").rstrip("\n") == lines.rstrip("\n")
    assert b"\n" not in wire.replace(b"\r\n", b"") and b"\r" not in wire.replace(b"\r\n", b"")
    assert max(map(len, wire.split(b"\r\n"))) <= 998 and wire.endswith(b"\r\n")


@given(
    st.binary(max_size=500),
    st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0"), max_size=120),
)
def test_any_attachment_is_read_back_with_its_name(content: bytes, filename: str) -> None:
    try:
        wire = compose(text="t", attachments=(attachment(content, filename=filename),))
    except BadInput:
        assert "=?" in filename
        return
    part = next(parse(wire).iter_attachments())
    assert part.get_payload(decode=True) == content
    value = wire.partition(b"Content-Disposition: ")[2].partition(b"\r\nContent-Transfer")[0].replace(b"\r\n", b"")
    assert parse_content_value(value)[1].get("filename", "") == filename
    if filename.isprintable() and not filename.startswith("<"):  # the standard library takes off angle brackets
        assert (part.get_filename() or "").strip() == filename.strip()


def test_a_long_file_name_is_split_by_rfc_2231_and_no_line_is_long() -> None:
    wire = compose(text="t", attachments=(attachment(filename="Überweisung — " * 20 + ".pdf"),))
    assert b"filename*0*=utf-8''" in wire
    assert max(map(len, wire.split(b"\r\n"))) <= 78


def test_parameters_of_a_content_type_are_kept() -> None:
    kind = 'text/calendar; method=REQUEST; charset="utf-8"; name="x"; boundary=evil'
    part = next(
        parse(compose(text="t", attachments=(attachment(b"BEGIN", kind, filename="i.ics"),))).iter_attachments()
    )
    assert part.get_content_type() == "text/calendar"
    assert (part.get_param("method"), part.get_content_charset(), part.get_param("boundary")) == (
        "REQUEST",
        "utf-8",
        None,
    )


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"kind": "nonsense"}, "attachments.0.contentType"),
        ({"kind": "multipart/mixed"}, "attachments.0.contentType"),
        ({"kind": "text/plain\r\nX: y"}, "attachments.0.contentType"),
        ({"filename": "a\r\nb"}, "attachments.0.filename"),
        ({"content_id": "a b"}, "attachments.0.cid"),
        ({"content_id": "a\r\nX: y"}, "attachments.0.cid"),
    ],
)
def test_bad_attachments_are_refused_by_name(changes: dict[str, Any], key: str) -> None:
    with pytest.raises(BadInput) as caught:
        compose(attachments=(attachment(**changes),))
    assert [field["key"] for field in caught.value.fields] == [key]


def test_the_brackets_of_a_content_id_may_be_there_already() -> None:
    image = attachment(b"i", "image/png", disposition="inline", content_id="<logo@x>")
    assert b"Content-ID: <logo@x>\r\n" in compose(html="<p>", attachments=(image,))


def test_25_mb_of_everything_take_linear_time() -> None:
    big = 25 * 1024 * 1024
    started = time.monotonic()
    compose(attachments=(attachment(b"\0" * big),))
    compose(text="é\n" * (big // 4), html="x" * big)
    compose(attachments=(attachment(b"\r" * (big // 8), "message/rfc822"),))
    compose(
        text=("y" * 77 + "\n") * (big // 78), attachments=(attachment((b"z" * 997 + b"\n") * 26_000, "message/rfc822"),)
    )
    assert time.monotonic() - started < 20
