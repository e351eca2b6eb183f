"""Real and broken mail of public corpora, where they are at hand: read whole, and as the standard library reads it."""

import email
import email.message
from collections.abc import Iterator
from pathlib import Path

import pytest

from postbus.common.mime.addresses import parse_addresses
from postbus.common.mime.charsets import decode_text
from postbus.common.mime.headers import decoded_headers, parse_date, parse_header_block, parse_message_ids
from postbus.common.mime.parameters import parse_content_value
from postbus.common.mime.transfer import decode_transfer

CORPORA = Path(__file__).resolve().parents[4] / "shared" / "corpora"
NO_MESSAGES = ("email-reply-parser", "README", "SOURCE", "LICENSE", "NOTICE", "_decoded", "corpora.md")
pytestmark = pytest.mark.skipif(not CORPORA.is_dir(), reason="the corpora are not here")


def messages() -> Iterator[tuple[Path, bytes]]:
    for path in sorted(CORPORA.rglob("*")):
        named = any(word in str(path) for word in NO_MESSAGES)
        if path.is_file() and path.suffix in (".eml", ".msg", ".txt") and not named:
            yield path, path.read_bytes()


def leaves(raw: bytes) -> Iterator[email.message.Message]:
    for part in email.message_from_bytes(raw).walk():
        if not part.is_multipart():
            yield part


def encoded_body(part: email.message.Message) -> bytes | None:
    payload = part.get_payload()
    return payload.encode() if isinstance(payload, str) and payload.isascii() else None


def test_there_are_messages_to_read() -> None:
    assert sum(1 for _ in messages()) > 300


def test_header_fields_are_those_of_the_standard_library_and_more_where_it_gives_up() -> None:
    """It ends the header at a line that is no field, and at white space before the colon (RFC 5322, 4.5)."""
    further = 0
    for path, raw in messages():
        ours = [name.lower() for name, _ in parse_header_block(raw)]
        theirs = [name.lower() for name in email.message_from_bytes(raw)]
        assert ours[: len(theirs)] == theirs, path
        further += len(ours) > len(theirs)
    assert 0 < further < 10


def test_every_header_is_read_as_what_it_is() -> None:
    for path, raw in messages():
        for name, value in parse_header_block(raw):
            parse_date(value)
            parse_message_ids(value)
            for address in parse_addresses(value):
                assert "\n" not in address.name + address.address, (path, name)
            for text in parse_content_value(value)[1].values():
                text.encode()
        for values in decoded_headers(raw).values():
            assert all(not {"\r", "\n", "\0"} & set(value) for value in values), path


def test_bodies_are_decoded_as_the_standard_library_does() -> None:
    compared = 0
    for path, raw in messages():
        for part in leaves(raw):
            encoding, body = str(part.get("content-transfer-encoding", "")).strip().lower(), encoded_body(part)
            if body is None or encoding not in ("base64", "quoted-printable"):
                continue
            theirs = part.get_payload(decode=True)
            if part.defects or theirs == body:  # it gives up where we go on
                continue
            assert isinstance(theirs, bytes)
            assert decode_transfer(body, encoding).rstrip() == theirs.rstrip(), path
            compared += 1
    assert compared > 80


def test_texts_are_readable_whatever_charset_they_claim() -> None:
    for path, raw in messages():
        for part in leaves(raw):
            if part.get_content_maintype() != "text":
                continue
            data = part.get_payload(decode=True)
            assert isinstance(data, bytes)
            text = decode_text(data, str(part.get_param("charset", "") or ""))
            assert text.count("\ufffd") <= len(data) // 10, path
