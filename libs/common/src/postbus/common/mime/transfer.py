"""Content-Transfer-Encoding (RFC 2045, section 6), as tolerant as mail is broken; whole or in pieces.

One decoder per encoding, fed piece by piece; `decode_transfer` is the same decoder fed once, so both always agree.
Memory is bounded by the piece plus one line.
"""

from __future__ import annotations

import binascii
import re
from typing import Final, Protocol

MAX_PADDING: Final = 1000  # bytes of white space dropped at the end of a quoted-printable line; RFC 5321, 4.5.3.1.6
HELD_BACK: Final = MAX_PADDING + 100  # bytes of an unfinished quoted-printable line whose meaning may still change
MAX_UU_LINE: Final = 1000  # bytes; a uuencoded line has at most 61

_NOT_BASE64: Final = bytes(octet for octet in range(256) if not re.match(rb"[A-Za-z0-9+/=]", bytes([octet])))
_HEX: Final = re.compile(rb"=([0-9A-Fa-f]{2})")
_UU_BEGIN: Final = re.compile(rb"begin(?:-base64)? +[0-7]{3,4} ")


def decode_transfer(data: bytes, encoding: str) -> bytes:
    """Undo a transfer encoding; unknown encodings pass through, broken data gives what can be read. Never raises."""
    decoder = TransferDecoder(encoding)
    return decoder.feed(data) + decoder.finish()


class TransferDecoder:
    """Undoes a transfer encoding piece by piece: `feed` any number of times, then `finish` once."""

    def __init__(self, encoding: str) -> None:
        self._steps = _steps_of(encoding)

    def feed(self, chunk: bytes) -> bytes:
        """Take the next bytes of the part; return the decoded bytes they complete."""
        return self._steps.feed(chunk)

    def finish(self) -> bytes:
        """Return what the end of the part completes."""
        return self._steps.finish()


class _Steps(Protocol):
    def feed(self, chunk: bytes) -> bytes: ...

    def finish(self) -> bytes: ...


def _steps_of(encoding: str) -> _Steps:
    """`Base64 (a comment)`, `"base64"`, `base64;` and `quoted-printable ` are all seen in the wild."""
    name = re.sub(r"\(.*", "", encoding[:100], flags=re.DOTALL).strip(" \t\r\n\"';").lower()
    match name:
        case "base64":
            return _Base64()
        case "quoted-printable" | "quoted printable" | "quotedprintable":
            return _QuotedPrintable()
        case "x-uuencode" | "x-uue" | "uuencode" | "uue":
            return _Uuencode()
        case _:
            return _Identity()


class _Identity:
    def feed(self, chunk: bytes) -> bytes:
        return chunk

    def finish(self) -> bytes:
        return b""


class _Base64:
    """RFC 2045, 6.8: other characters are ignored; padding in the middle starts anew (joined encodings)."""

    def __init__(self) -> None:
        self._rest = b""  # fewer than four characters of an unfinished group

    def feed(self, chunk: bytes) -> bytes:
        letters = self._rest + chunk.translate(None, _NOT_BASE64)
        *padded, self._rest = letters.split(b"=")
        decoded = [_base64_run(run) for run in padded]
        whole = len(self._rest) // 4 * 4
        decoded.append(binascii.a2b_base64(self._rest[:whole]))
        self._rest = self._rest[whole:]
        return b"".join(decoded)

    def finish(self) -> bytes:
        rest, self._rest = self._rest, b""
        return _base64_run(rest)


def _base64_run(run: bytes) -> bytes:
    """Letters up to a padding or the end; a single last letter carries no whole byte."""
    if len(run) % 4 == 1:
        run = run[:-1]
    return binascii.a2b_base64(run + b"=" * (-len(run) % 4))


class _QuotedPrintable:
    """RFC 2045, 6.7: line by line; a `=` that starts neither a code nor a soft break stays as it is."""

    def __init__(self) -> None:
        self._line = b""

    def feed(self, chunk: bytes) -> bytes:
        lines = (self._line + chunk).split(b"\n")
        self._line = lines.pop()
        decoded = [_quoted_line(line, b"\n") for line in lines]
        decoded.append(self._sure_part())
        return b"".join(decoded)

    def finish(self) -> bytes:
        line, self._line = self._line, b""
        return _quoted_line(line, b"")

    def _sure_part(self) -> bytes:
        """Decode the beginning of a long unfinished line that no later byte can change."""
        cut = len(self._line) - HELD_BACK
        if cut < HELD_BACK:
            return b""
        if b"=" in self._line[cut - 2 : cut]:
            cut -= 1 if self._line[cut - 1 : cut] == b"=" else 2
        done, self._line = self._line[:cut], self._line[cut:]
        return _HEX.sub(_octet, done)


def _quoted_line(line: bytes, end: bytes) -> bytes:
    if end and line.endswith(b"\r"):
        line, end = line[:-1], b"\r\n"
    line = line[:-MAX_PADDING] + line[-MAX_PADDING:].rstrip(b" \t")
    if line.endswith(b"="):
        line, end = line[:-1], b""
    return _HEX.sub(_octet, line) + end


def _octet(code: re.Match[bytes]) -> bytes:
    return bytes.fromhex(code[1].decode("ascii"))


class _Uuencode:
    """POSIX uuencode: lines between `begin 644 name` and `end`; lines that are none are skipped."""

    def __init__(self) -> None:
        self._line = b""
        self._inside = False
        self._done = False

    def feed(self, chunk: bytes) -> bytes:
        lines = (self._line + chunk).split(b"\n")
        self._line = lines.pop()[:MAX_UU_LINE]
        return b"".join(map(self._decoded, lines))

    def finish(self) -> bytes:
        line, self._line = self._line, b""
        return self._decoded(line)

    def _decoded(self, line: bytes) -> bytes:
        line = line[:MAX_UU_LINE].rstrip(b"\r")
        if self._done:
            return b""
        if not self._inside:
            self._inside = _UU_BEGIN.match(line) is not None
            return b""
        if line.strip() == b"end":
            self._done = True
            return b""
        return _uu_line(line)


def _uu_line(line: bytes) -> bytes:
    try:
        return binascii.a2b_uu(line)
    except binascii.Error:
        pass
    if not line:
        return b""
    size = (((line[0] - 32) & 63) * 4 + 5) // 3  # some encoders pad lines beyond their stated length
    try:
        return binascii.a2b_uu(line[:size])
    except binascii.Error:
        return b""
