"""RFC 2045, section 6: transfer encodings, broken as they come, whole or in pieces."""

import base64
import binascii
import itertools
import quopri

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from postbus.common.mime.transfer import TransferDecoder, decode_transfer

ENCODINGS = ("base64", "quoted-printable", "x-uuencode", "7bit", "8bit", "binary", "nonsense", "")


def decode_in_pieces(data: bytes, encoding: str, cuts: list[int]) -> bytes:
    decoder = TransferDecoder(encoding)
    ends = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    pieces = [data[start:end] for start, end in itertools.pairwise(ends)]
    return b"".join(decoder.feed(piece) for piece in pieces) + decoder.finish()


@given(st.binary(max_size=3000))
def test_base64_reads_back(raw: bytes) -> None:
    assert decode_transfer(base64.encodebytes(raw), "base64") == raw


@given(st.binary(max_size=3000).filter(lambda raw: b"\r" not in raw))
def test_quoted_printable_reads_back(raw: bytes) -> None:
    assert decode_transfer(quopri.encodestring(raw, quotetabs=True), "quoted-printable") == raw


@given(st.binary(max_size=1000))
def test_uuencode_reads_back(raw: bytes) -> None:
    lines = [binascii.b2a_uu(raw[start : start + 45]) for start in range(0, len(raw), 45)]
    wire = b"begin 644 file.bin\n" + b"".join(lines) + b"`\nend\n"
    assert decode_transfer(wire, "x-uuencode") == raw


@pytest.mark.parametrize(
    ("encoding", "data", "decoded"),
    [
        ("base64", b"Zm9v\r\nYmFy", b"foobar"),
        ("Base64 (comment)", b"Zm9v", b"foo"),
        ('"base64"', b"Zm9v", b"foo"),
        ("base64;", b"Zm9v", b"foo"),
        ("base64", b"Zm9vYg", b"foob"),
        ("base64", b"Zm9vYmF", b"fooba"),
        ("base64", b"Zm9vY", b"foo"),
        ("base64", b"Zm9v*-_YmFy", b"foobar"),
        ("base64", b"Zg==Zm9v", b"ffoo"),
        ("base64", b"=", b""),
        ("base64", b"", b""),
        ("base64", "Zm9vü".encode(), b"foo"),
        ("quoted-printable", b"a=3Db=3db", b"a=b=b"),
        ("quoted-printable", b"soft=\r\nbreak=\nend", b"softbreakend"),
        ("quoted-printable", b"soft=  \r\nbreak", b"softbreak"),
        ("quoted-printable", b"trailing \t \r\nspace  ", b"trailing\r\nspace"),
        ("quoted-printable", b"a=ZZ=4", b"a=ZZ=4"),
        ("quoted-printable", b"a==41=", b"a=A"),
        ("Quoted-Printable ", b"=FC", b"\xfc"),
        ("quoted printable", b"=FC", b"\xfc"),
        ("7bit", b"=41 Zm9v", b"=41 Zm9v"),
        ("text/html", b"=41", b"=41"),
        ("x-uuencode", b"junk\nbegin 644 a\n#9F]O\n`\nend\nmore", b"foo"),
        ("x-uuencode", b"no uuencode at all", b""),
    ],
)
def test_what_mailers_really_write(encoding: str, data: bytes, decoded: bytes) -> None:
    assert decode_transfer(data, encoding) == decoded


BROKEN = st.lists(
    st.sampled_from(
        [b"=", b"==", b"=4", b"1", b"=\r\n", b"\r", b"\n", b" " * 990, b"\t", b"Zm9v", b"x" * 1100, b"\xff"]
    ),
    max_size=12,
).map(b"".join)


@given(BROKEN | st.binary(), st.sampled_from(ENCODINGS), st.lists(st.integers(0, 20_000), max_size=6))
@example(b"a" + b" " * 3000 + b"\nb", "quoted-printable", [1500])
@example(b"x" * 2300 + b"=41", "quoted-printable", [2301])
def test_the_network_chunking_never_changes_the_result(data: bytes, encoding: str, cuts: list[int]) -> None:
    assert decode_in_pieces(data, encoding, cuts) == decode_transfer(data, encoding)


@given(BROKEN | st.binary(max_size=200), st.sampled_from(ENCODINGS))
def test_octet_by_octet_is_the_same_too(data: bytes, encoding: str) -> None:
    data = data[:2500]
    assert decode_in_pieces(data, encoding, list(range(len(data)))) == decode_transfer(data, encoding)


@given(st.binary(), st.text())
def test_any_data_under_any_name_is_decoded(data: bytes, encoding: str) -> None:
    decode_transfer(data, encoding)
