"""Values made to be slow: any repeat is read in linear time, a megabyte well within seconds."""

import time
from collections.abc import Callable

import pytest

from postbus.common.mime.addresses import parse_addresses
from postbus.common.mime.charsets import decode_text
from postbus.common.mime.headers import decoded_headers, parse_date, parse_header_block, parse_message_ids
from postbus.common.mime.parameters import decode_parameters, parse_content_value
from postbus.common.mime.transfer import decode_transfer
from postbus.common.mime.words import decode_words

LIMIT_S = 2.0  # of processor time, for a megabyte
REPEATS = [
    b"a",
    b" ",
    b"\t\r\n ",
    b"\r\n",
    b"x\r\n",
    b"a:\r\n",
    b"a: b\n",
    b"=?",
    b"=?a?q?",
    b"=?a?q?x?= ",
    b"=?utf-8?b?w7w?=",
    b"=?utf-8?q?=C3=BC?=\r\n ",
    b"=?utf-8?q?=C3?==?latin1?q?=BC?=",
    b"?=",
    b"=?=",
    b'"',
    b'"\\',
    b"\\",
    b'\\"',
    b'<"',
    b'<\\"',
    b"<",
    b"<a",
    b"<>",
    b"(",
    b")",
    b"()",
    b"(\\",
    b"[",
    b"a[",
    b"[a",
    b"@",
    b"a@",
    b"a@b,",
    b"a@b ",
    b"a @ b ",
    b",",
    b";",
    b":",
    b";a=",
    b';a="',
    b"; ",
    b";a*0=x",
    b"a*",
    b"%",
    b"'",
    b"=",
    b"=4",
    b"=\n",
    b"=" + b" " * 999,
    b"\xff",
    b"\xc3\xbc",
    b"\x1b$B",
    b"\x1b$B!!\x1b(B",
    b"+AGE-",
    b"~{",
    b"\0",
    b"begin 644 a\n",
    b"M\n",
    b"0 ",
    b"Jan 0",
]
READERS: dict[str, Callable[[bytes], object]] = {
    "words": decode_words,
    "addresses": parse_addresses,
    "header block": parse_header_block,
    "decoded headers": lambda data: decoded_headers(b"subject: " + data),
    "message ids": parse_message_ids,
    "date": parse_date,
    "content value": lambda data: parse_content_value(b"a/b;" + data),
    "parameters": lambda data: decode_parameters({"a*0*": data.decode("latin-1")}),
    "base64": lambda data: decode_transfer(data, "base64"),
    "quoted-printable": lambda data: decode_transfer(data, "quoted-printable"),
    "uuencode": lambda data: decode_transfer(data, "x-uuencode"),
    "no charset": lambda data: decode_text(data, None),
    "iso-2022-jp": lambda data: decode_text(data, "iso-2022-jp"),
    "utf-7": lambda data: decode_text(data, "utf-7"),
}


def slow_repeats(read: Callable[[bytes], object], size: int, limit_s: float) -> list[str]:
    slow = []
    for repeat in REPEATS:
        data = (repeat * (size // len(repeat) + 1))[:size]
        started = time.process_time()
        read(data)
        if (spent := time.process_time() - started) > limit_s:
            slow.append(f"{repeat!r}: {spent:.2f} s")
    return slow


@pytest.mark.parametrize("name", READERS)
def test_hostile_repeats_are_read_in_linear_time(name: str) -> None:
    assert slow_repeats(READERS[name], 64 * 1024, LIMIT_S) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", READERS)
def test_a_megabyte_of_hostile_repeats_is_read_in_linear_time(name: str) -> None:
    assert slow_repeats(READERS[name], 1024 * 1024, LIMIT_S) == []


@pytest.mark.parametrize("name", READERS)
def test_nothing_at_all_is_read_too(name: str) -> None:
    READERS[name](b"")
