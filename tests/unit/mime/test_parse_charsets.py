"""Charset labels as they are meant (WHATWG Encoding Standard, 4.2), and what is done where they lie."""

import encodings.aliases

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postbus.common.mime.charsets import codec_of, decode_text, replace_surrogates

GERMAN = "Schöne Grüße aus München, wir wünschen fröhliche Tage und viele süße Äpfel."
RUSSIAN = "Здравствуйте, это письмо написано по-русски и достаточно длинное."
JAPANESE = "これは日本語で書かれたメールです。"


@pytest.mark.parametrize(
    ("label", "written", "text"),
    [
        ("utf-8", "utf-8", GERMAN),
        ("UTF8", "utf-8", GERMAN),
        ("iso-8859-1", "cp1252", "“quoted” – 5 €"),
        ("us-ascii", "utf-8", GERMAN),
        ("iso-8859-1 (Western)", "cp1252", "5 €"),
        ("gb2312", "gb18030", "朱镕基"),
        ("GBK", "gb18030", "朱镕基"),
        ("Shift_JIS", "cp932", "①髙"),
        ("x-sjis", "cp932", JAPANESE),
        ("windows-31j", "cp932", "①"),
        ("iso-2022-jp", "iso2022_jp", JAPANESE),
        ("ks_c_5601-1987", "cp949", "똠방각하"),
        ("euc-kr", "cp949", "똠방각하"),
        ("big5", "big5hkscs", "啫喱"),
        ("koi8-r", "koi8-r", RUSSIAN),
        ("cp-1251", "cp1251", RUSSIAN),
        ("x-windows-1251", "cp1251", RUSSIAN),
        ("macintosh", "mac_roman", "é"),
        ("iso-8859-8-i", "iso8859_8", "שלום"),
        ("unicode-1-1-utf-7", "utf_7", GERMAN),
        ("utf-16", "utf-16", GERMAN),
        ("iso-8859-9", "cp1254", "ığş"),
        ("nonsense", "utf-8", GERMAN),
        (None, "utf-8", GERMAN),
        (None, "cp1252", "grün"),
        ("", "cp1252", "grün"),
    ],
)
def test_labels_are_read_as_they_are_meant(label: str | None, written: str, text: str) -> None:
    """(trap 50)"""
    assert decode_text(text.encode(written), label) == text


@pytest.mark.parametrize(
    ("label", "written", "text"),
    [
        ("utf-8", "cp1252", GERMAN),
        ("us-ascii", "koi8-r", RUSSIAN),
        (None, "shift_jis", JAPANESE),
        ("utf-8", "gb18030", "这是一封用中文写的电子邮件"),
    ],
)
def test_a_wrong_label_is_seen_through(label: str | None, written: str, text: str) -> None:
    """(trap 50)"""
    assert decode_text(text.encode(written), label) == text


def test_a_broken_character_costs_itself_only() -> None:
    data = GERMAN.encode() + b"\xff" + GERMAN.encode()
    assert decode_text(data, "utf-8") == f"{GERMAN}\ufffd{GERMAN}"
    assert decode_text(GERMAN.encode()[:-1] + "ß".encode()[:1], "utf-8").startswith(GERMAN[:-1])


def test_a_byte_order_mark_is_no_character_of_the_text() -> None:
    assert decode_text(b"\xef\xbb\xbfabc", "utf-8") == "abc"


@pytest.mark.parametrize(
    "label",
    ["hex", "base64", "rot13", "zlib", "bz2", "uu", "idna", "punycode", "unicode_escape", "os", "../x", "undefined"],
)
def test_what_is_no_charset_is_never_looked_up(label: str) -> None:
    assert codec_of(label) is None


@given(
    st.binary(max_size=500), st.text() | st.sampled_from(sorted({*encodings.aliases.aliases, "utf-16", "utf-7", "hz"}))
)
def test_any_bytes_under_any_label_are_text_that_utf_8_can_carry(data: bytes, label: str) -> None:
    decode_text(data, label).encode()


@given(st.text(alphabet=st.characters()))
def test_text_survives_as_utf_8(text: str) -> None:
    clean = replace_surrogates(text)
    assert decode_text(clean.encode(), "utf-8") == clean.removeprefix("\ufeff")


def test_surrogates_are_joined_or_replaced() -> None:
    assert replace_surrogates("\ud83d\ude00 \ud800") == "😀 \ufffd"
