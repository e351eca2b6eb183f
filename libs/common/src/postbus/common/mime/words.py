"""RFC 2047 encoded words in header values, read the way mail is really written."""

from __future__ import annotations

import binascii
import re
from typing import Final

from postbus.common.mime.charsets import decode_text, replace_surrogates
from postbus.common.mime.transfer import decode_transfer

MAX_VALUE: Final = 1024 * 1024  # bytes of one header value that are looked at

# encoded-word = "=?" charset "?" encoding "?" encoded-text "?="; the text stops at the start of another word, so that
# hostile values cost linear time. `=?=` is base64 padding and the end of a word.
_WORD: Final = re.compile(rb"=\?([^?\s=]{1,80})\?([bBqQ])\?((?:(?!\?=)(?!=\?[^=]).)*+)\?=", re.DOTALL)
_FOLD: Final = re.compile(rb"\r?\n[ \t]*")
_CONTROL: Final = str.maketrans("\r\n\0", "   ")


def decode_words(raw: bytes | str) -> str:
    """Decode a header value: encoded words anywhere, raw 8-bit text, folding. Never raises.

    Neighbouring words of one charset are joined before decoding, because mailers cut multi-byte characters in two.
    The result holds no CR, LF or NUL, not even when a word encodes one.
    """
    value = header_bytes(raw)[:MAX_VALUE]
    pieces: list[tuple[bytes | None, bytearray]] = []  # (charset or None for plain text, bytes)
    position = 0
    for word in _WORD.finditer(value):
        between = value[position : word.start()]
        if between and not (pieces and pieces[-1][0] is not None and not between.strip()):
            pieces.append((None, bytearray(between)))
        _append_word(pieces, word)
        position = word.end()
    if position < len(value):
        pieces.append((None, bytearray(value[position:])))
    return "".join(_decode_piece(charset, bytes(data)) for charset, data in pieces)


def header_bytes(raw: bytes | str) -> bytes:
    """Bytes of a header value that may be text already: raw 8-bit survives the standard library's surrogates."""
    if isinstance(raw, bytes):
        return raw
    try:
        return raw.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return replace_surrogates(raw).encode()


def _append_word(pieces: list[tuple[bytes | None, bytearray]], word: re.Match[bytes]) -> None:
    charset = word[1].partition(b"*")[0].lower()  # RFC 2231, 5: a language may follow
    data = _decode_b(word[3]) if word[2] in b"bB" else _decode_q(word[3])
    if pieces and pieces[-1][0] == charset:
        pieces[-1][1].extend(data)
    else:
        pieces.append((charset, bytearray(data)))


def _decode_b(text: bytes) -> bytes:
    return decode_transfer(text, "base64")


def _decode_q(text: bytes) -> bytes:
    return binascii.a2b_qp(_FOLD.sub(b" ", text), header=True)


def _decode_piece(charset: bytes | None, data: bytes) -> str:
    if charset is None:
        data = _FOLD.sub(b" ", data).replace(b"\t", b" ")
    label = charset.decode("ascii", "replace") if charset else None
    return decode_text(data, label).translate(_CONTROL)
