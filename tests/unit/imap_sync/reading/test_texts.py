"""How fetched bytes become text (contract, section 9; RFC 3676)."""

import base64
import quopri

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postbus.imap_sync.structure import Content, TextPart
from postbus.imap_sync.texts import Text, byte_limits, decode_part, read_text, text_items, unfold_flowed, wanted_parts


def part(number: str = "1", charset: str | None = "utf-8", encoding: str = "8bit", size: int = 0) -> TextPart:
    return TextPart(number, charset, encoding, size)


def read(sections: dict[str, bytes], content: Content, max_chars: int = 1000) -> Text:
    """Read what was fetched of parts that are as large as they came, or larger where a limit cut them."""
    return read_text(sections, content, byte_limits(content, max_chars), max_chars)


def test_transfer_encoding_and_charset_are_undone() -> None:
    assert decode_part(part(encoding="base64"), base64.b64encode("Grüße".encode()), cut=False) == "Grüße"
    assert decode_part(part(encoding="quoted-printable"), b"Gr=C3=BC=C3=9Fe", cut=False) == "Grüße"
    assert decode_part(part(charset="iso-2022-jp", encoding="7bit"), "日本".encode("iso-2022-jp"), cut=False) == "日本"
    assert decode_part(part(charset="no-such"), "Grüße".encode(), cut=False) == "Grüße"
    assert decode_part(part(charset=None), b"plain", cut=False) == "plain"


def test_lines_end_in_lf_and_parts_are_joined_by_one() -> None:
    content = Content(plain=(part("1"), part("3")), html=(part("2"),))
    text = read({"1": b"one\r\ntwo", "3": b"three", "2": b"<p>\r\n"}, content)
    assert text == Text("one\ntwo\nthree", "<p>\n", has_more=False)
    assert text.fields() == {"plain": "one\ntwo\nthree", "html": "<p>\n", "hasMore": False}


def test_a_type_the_message_does_not_have_is_absent() -> None:
    assert read({"1": b"x"}, Content(plain=(part(),))).fields() == {"plain": "x", "hasMore": False}


def test_only_the_wanted_type_is_read() -> None:
    content = Content(plain=(part("1"),), html=(part("2"),))
    assert wanted_parts(content, "plain") == Content(plain=(part("1"),))
    assert wanted_parts(content, "html") == Content(html=(part("2"),))
    assert wanted_parts(content, "*") == content


def test_the_limit_counts_characters_of_each_type() -> None:
    """(trap 47)"""
    content = Content(plain=(part("1"),), html=(part("2"),))
    text = read({"1": "äöü".encode(), "2": b"<b>"}, content, max_chars=2)
    assert text == Text("äö", "<b", has_more=True)
    assert read({"1": "äö".encode(), "2": b"<b"}, content, max_chars=2).has_more is False


@pytest.mark.parametrize("charset", ["utf-8", "gb18030", "iso-2022-jp", "shift_jis", "utf-16-le"])
@pytest.mark.parametrize("encoding", ["8bit", "base64", "quoted-printable"])
def test_a_cut_anywhere_leaves_no_broken_character(charset: str, encoding: str) -> None:
    """(trap 47)"""
    written = "a日本語テキスト" * 3
    raw = written.encode(charset)
    raw = {"base64": base64.encodebytes, "quoted-printable": quopri.encodestring}.get(encoding, bytes)(raw)
    for end in range(len(raw)):
        text = decode_part(part(charset=charset, encoding=encoding), raw[:end], cut=True)
        assert written.startswith(text.rstrip("\n")), (end, text)


def test_a_part_that_was_cut_by_the_fetch_has_more() -> None:
    limit = byte_limits(Content(plain=(part(charset="us-ascii"),)), 100)["1"]
    whole = part(charset="us-ascii", size=limit)
    longer = part(charset="us-ascii", size=limit + 1)
    raw = b"x" * limit
    assert read_text({"1": raw}, Content(plain=(longer,)), {"1": limit}, limit).has_more
    assert not read_text({"1": raw}, Content(plain=(whole,)), {"1": limit}, limit).has_more


def test_a_server_that_ignores_the_limit_is_cut_all_the_same() -> None:
    content = Content(plain=(part(charset="us-ascii", size=5000),))
    assert read({"1": b"x" * 5000}, content, max_chars=10) == Text("x" * 10, None, has_more=True)


def test_what_is_fetched_is_bounded_however_many_parts_there_are() -> None:
    parts = tuple(part(str(number)) for number in range(1, 51))
    assert sum(byte_limits(Content(plain=parts, html=parts), 2**30).values()) <= 32 * 1024 * 1024


def test_every_limit_is_a_partial_fetch() -> None:
    content = Content(plain=(part("1.2", charset="us-ascii"),))
    assert text_items(byte_limits(content, 1000)) == ("BODY.PEEK[1.2]<0.1256>",)


@given(
    st.text(st.characters(codec="utf-8"), min_size=1, max_size=200),
    st.sampled_from(["8bit", "base64", "quoted-printable"]),
)
def test_the_bytes_that_are_fetched_suffice_for_the_characters_that_are_wanted(text: str, encoding: str) -> None:
    raw = text.encode()
    raw = {"base64": base64.encodebytes, "quoted-printable": quopri.encodestring}.get(encoding, bytes)(raw)
    content = Content(plain=(part(encoding=encoding, size=len(raw)),))
    assert len(raw) <= byte_limits(content, len(text))["1"]


@given(
    st.binary(max_size=300), st.sampled_from(["base64", "quoted-printable", "x-uuencode", "?"]), st.text(max_size=10)
)
def test_whatever_a_stranger_wrote_becomes_text(raw: bytes, encoding: str, charset: str) -> None:
    for cut in (True, False):
        decode_part(part(charset=charset, encoding=encoding), raw, cut=cut).encode()


def test_flowed_lines_become_paragraphs() -> None:
    """(trap 50)"""
    assert unfold_flowed("A long \nparagraph. \nEnd.\nNext", delsp=False) == "A long paragraph. End.\nNext"
    assert unfold_flowed("kana \nkana", delsp=True) == "kanakana"


def test_flowed_quotes_join_only_at_the_same_depth() -> None:
    # RFC 3676, 4.5, with the quotes of its example
    assert unfold_flowed("> one \n> two\n>> deep \n> up", delsp=False) == "> one two\n>> deep \n> up"


def test_space_stuffing_is_undone_and_signatures_stay_apart() -> None:
    assert unfold_flowed(" From me\n >not a quote", delsp=False) == "From me\n>not a quote"
    assert unfold_flowed("bye \n-- \nMe", delsp=False) == "bye \n-- \nMe"
