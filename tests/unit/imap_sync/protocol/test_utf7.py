"""RFC 3501, 5.1.3: mailbox names in modified UTF-7."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postbus.common.errors import BadInput
from postbus.imap_sync.protocol.utf7 import decode_utf7, encode_utf7

KNOWN = [
    ("~peter/mail/\u53f0\u5317/\u65e5\u672c\u8a9e", b"~peter/mail/&U,BTFw-/&ZeVnLIqe-"),  # the RFC's own example
    ("Entwürfe", b"Entw&APw-rfe"),
    ("Tom & Jerry", b"Tom &- Jerry"),
    ("&", b"&-"),
    ("\U0001f4e7", b"&2D3c5w-"),
    ("INBOX", b"INBOX"),
]


@pytest.mark.parametrize(("name", "raw"), KNOWN)
def test_known_names_read_and_write_as_the_standard_says(name: str, raw: bytes) -> None:
    assert encode_utf7(name) == raw
    assert decode_utf7(raw) == name


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="".join(map(chr, [*range(32), 127])))))
def test_every_name_survives_the_round_trip(name: str) -> None:
    assert decode_utf7(encode_utf7(name)) == name


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        (b"R&D", "R&D"),
        (b"a &b- c", "a &b- c"),
        ("Größe".encode(), "Größe"),
        ("Größe".encode("latin-1"), "Größe"),
        (b"&AA0-", "&AA0-"),  # a hidden CR
        (b"&2D0-", "&2D0-"),  # half a surrogate pair
        (b"&Jjo!", "&Jjo!"),
    ],
)
def test_names_that_are_no_modified_utf7_are_taken_as_they_are(raw: bytes, name: str) -> None:
    assert decode_utf7(raw) == name


@given(st.binary(max_size=40) | st.text(alphabet="&-AQJjo,+/=! ", max_size=30).map(str.encode))
def test_any_name_has_a_reading_without_control_characters_of_our_making(raw: bytes) -> None:
    name = decode_utf7(raw)
    assert name.isprintable() or any(byte < 32 or byte > 126 for byte in raw) or "&" in name or name


@pytest.mark.parametrize("name", ["a\r\nA1 LOGOUT", "a\nb", "\0", "\x7f", "\ud800"])
def test_names_with_control_characters_are_refused(name: str) -> None:
    with pytest.raises(BadInput):
        encode_utf7(name)
