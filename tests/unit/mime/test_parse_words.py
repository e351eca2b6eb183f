"""RFC 2047: encoded words, as the RFC has them and as mail really is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postbus.common.mime.words import decode_words


@pytest.mark.parametrize(
    ("raw", "text"),
    [  # RFC 2047, 8: the examples of display names, and the table of spacing
        ("=?US-ASCII?Q?Keith_Moore?=", "Keith Moore"),
        ("=?ISO-8859-1?Q?Keld_J=F8rn_Simonsen?=", "Keld Jørn Simonsen"),
        ("=?ISO-8859-1?Q?Andr=E9?= Pirard", "André Pirard"),
        (
            "=?ISO-8859-1?B?SWYgeW91IGNhbiByZWFkIHRoaXMgeW8=?=\r\n"
            " =?ISO-8859-2?B?dSB1bmRlcnN0YW5kIHRoZSBleGFtcGxlLg==?=",
            "If you can read this you understand the example.",
        ),
        ("=?ISO-8859-1?Q?a?=", "a"),
        ("=?ISO-8859-1?Q?a?= b", "a b"),
        ("=?ISO-8859-1?Q?a?= =?ISO-8859-1?Q?b?=", "ab"),
        ("=?ISO-8859-1?Q?a?=  =?ISO-8859-1?Q?b?=", "ab"),
        ("=?ISO-8859-1?Q?a?=\r\n    =?ISO-8859-1?Q?b?=", "ab"),
        ("=?ISO-8859-1?Q?a_b?=", "a b"),
        ("=?ISO-8859-1?Q?a?= =?ISO-8859-2?Q?_b?=", "a b"),
        ("=?iso-8859-8?b?7eXs+SDv4SDp7Oj08A==?=", "םולש ןב ילטפנ"),
    ],
)
def test_the_examples_of_the_rfc(raw: str, text: str) -> None:
    assert decode_words(raw) == text


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"=?utf-8?B?8J+Y?= =?utf-8?B?gA==?=", "😀"),  # a character cut in two
        (b"=?utf-8?Q?=F0=9F?=\r\n =?UTF-8?Q?=98=80?=", "😀"),
        (b"=?utf-8?Q?a?==?utf-8?Q?b?=", "ab"),  # glued
        (b"Re:=?utf-8?Q?a?=b", "Re:ab"),
        (b"=?utf-8?Q?a b?=", "a b"),  # a space where none may be
        (b"=?utf-8*en?Q?a?=", "a"),  # RFC 2231, 5
        (b"=?gb2312?B?1uzpRrv5?=", "朱镕基"),  # gb18030 under the name of a part of it
        (b"=?nonsense?Q?gr=C3=BCn?=", "grün"),
        (b"=?iso-8859-1?Q?=93a=94?=", "“a”"),  # windows-1252 under another name
        (b"=?utf-8?B?Zm9v!YmFy?=", "foobar"),
        (b"=?utf-8?B?Zm9vYg?=", "foob"),  # without padding
        (b"gr\xfcn", "grün"),  # raw Latin-1
        ("grün".encode(), "grün"),
        (b"=?utf-8?Q??=", ""),
        (b"=?utf-8?X?a?=", "=?utf-8?X?a?="),
        (b"=?utf-8?Q?unfinished", "=?utf-8?Q?unfinished"),
        (b"a\r\n b\tc", "a b c"),
        (b"=?utf-8?Q?a=0D=0ABcc:=20x=00?=", "a  Bcc: x "),  # nobody gets a header of his own
    ],
)
def test_what_mailers_really_write(raw: bytes, text: str) -> None:
    assert decode_words(raw) == text


@given(st.binary() | st.text(alphabet=st.characters()))
def test_any_value_is_read_into_one_line_of_text(raw: bytes | str) -> None:
    text = decode_words(raw)
    assert not {"\r", "\n", "\0"} & set(text)
    text.encode()


PIECES = st.sampled_from(
    [b"=?", b"utf-8", b"?", b"q", b"b", b"?=", b"=", b"=FC", b"\r\n ", b" ", b"\xe4", b"gb2312", b"_"]
)


@given(st.lists(PIECES, max_size=30))
def test_any_mixture_of_pieces_is_read(pieces: list[bytes]) -> None:
    text = decode_words(b"".join(pieces))
    assert not {"\r", "\n", "\0"} & set(text)
    text.encode()
