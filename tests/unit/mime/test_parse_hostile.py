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
SIZE = 32 * 1024
TOO_SHORT_TO_COMPARE_S = 0.05
QUADRATIC = 16  # how much longer four times as much takes then
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


def seconds(read: Callable[[bytes], object], repeat: bytes, size: int) -> float:
    """Processor time for a value of this many bytes."""
    data = (repeat * (size // len(repeat) + 1))[:size]
    started = time.process_time()
    read(data)
    return time.process_time() - started


@pytest.mark.parametrize("name", READERS)
def test_hostile_repeats_take_time_in_proportion_to_their_size(name: str) -> None:
    grown = {}
    for repeat in REPEATS:
        if seconds(READERS[name], repeat, SIZE) < TOO_SHORT_TO_COMPARE_S:
            continue
        whole, quarter = (min(seconds(READERS[name], repeat, size) for _ in range(3)) for size in (SIZE, SIZE // 4))
        if whole > TOO_SHORT_TO_COMPARE_S:
            grown[repeat] = whole / quarter
    assert all(factor < QUADRATIC / 2 for factor in grown.values()), grown


@pytest.mark.slow
@pytest.mark.parametrize("name", READERS)
def test_a_megabyte_of_hostile_repeats_is_read_within_seconds(name: str) -> None:
    taken = {repeat: seconds(READERS[name], repeat, 1024 * 1024) for repeat in REPEATS}
    assert {repeat: spent for repeat, spent in taken.items() if spent > LIMIT_S} == {}


@pytest.mark.parametrize("name", READERS)
def test_nothing_at_all_is_read_too(name: str) -> None:
    READERS[name](b"")
