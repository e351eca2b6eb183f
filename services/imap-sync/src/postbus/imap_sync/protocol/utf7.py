"""Mailbox names: modified UTF-7 on the wire, Unicode for everybody else (RFC 3501, 5.1.3).

Names that are not valid modified UTF-7 (raw UTF-8, a bare `&`) are taken as they are: an odd name is better than a
mailbox that can't be seen.
"""

from __future__ import annotations

import binascii
import re

from postbus.common.errors import BadInput
from postbus.imap_sync.protocol.tokens import decode

_PLAIN = re.compile(r"[\x20-\x25\x27-\x7e]+")
_SHIFTED = re.compile(rb"&([^-&]*)(-|$)")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def decode_utf7(raw: bytes) -> str:
    """The Unicode name; the raw name where it is no modified UTF-7, or hides control characters."""
    if b"&" not in raw:
        return decode(raw)
    try:
        name = _decode_strictly(raw)
    except ValueError:  # includes what binascii and the codec raise
        return decode(raw)
    return name


def encode_utf7(name: str) -> bytes:
    """The name for a command. BadInput for control characters: no mailbox of ours has them."""
    if _CONTROL.search(name):
        raise BadInput("control characters are not allowed in mailbox names")
    encoded: list[str] = []
    position = 0
    for plain in _PLAIN.finditer(name):
        encoded.append(_shift(name[position : plain.start()]))
        encoded.append(plain[0])
        position = plain.end()
    encoded.append(_shift(name[position:]))
    return "".join(encoded).encode("ascii")


def _decode_strictly(raw: bytes) -> str:
    raw.decode("ascii")
    decoded: list[str] = []
    position = 0
    for shifted in _SHIFTED.finditer(raw):
        decoded.append(raw[position : shifted.start()].decode("ascii"))
        decoded.append(_unshift(shifted[1]) if shifted[1] else "&")
        position = shifted.end()
    decoded.append(raw[position:].decode("ascii"))
    name = "".join(decoded)
    # A name that we could not say back: a bare &, padding, plain text inside the shift.
    if _CONTROL.search(name) or encode_utf7(name) != raw:
        raise ValueError("not the canonical form")
    return name


def _unshift(base64: bytes) -> str:
    padded = base64.replace(b",", b"/") + b"=" * (-len(base64) % 4)
    return binascii.a2b_base64(padded, strict_mode=True).decode("utf-16-be")


def _shift(text: str) -> str:
    """What can't stand as it is; `&` alone becomes `&-`, and splits a shifted part as RFC 3501 wants it."""
    return "".join("&-" if part == "&" else _base64(part) for part in re.split("(&)", text) if part)


def _base64(text: str) -> str:
    try:
        wide = text.encode("utf-16-be")
    except UnicodeEncodeError as error:
        raise BadInput("the mailbox name is not valid Unicode") from error
    return "&" + binascii.b2a_base64(wide, newline=False).rstrip(b"=").replace(b"/", b",").decode("ascii") + "-"
