"""The body of a message as DATA carries it (RFC 5321, 4.5.2): CRLF line ends, no line that is the end by mistake."""

from __future__ import annotations

import re
from typing import Final

END_OF_DATA: Final = b".\r\n"

_LINE_END: Final = re.compile(rb"\r\n|\r|\n")


class DotStuffer:
    """Takes the message in pieces; a bare CR or LF becomes CRLF, so that no receiver sees an end we did not mean."""

    def __init__(self) -> None:
        self._tail = b"\r\n"  # the last two octets that went out
        self._held = b""  # a CR whose LF may come with the next piece

    def feed(self, piece: bytes) -> bytes:
        """The octets to send for this piece; costs one pass in C for a clean one."""
        data = self._held + piece
        self._held = b"\r" if data.endswith(b"\r") else b""
        return self._stuffed(data[:-1] if self._held else data)

    def finish(self) -> bytes:
        """What is missing for the last line to be a whole one; the end of data comes after it."""
        rest = self._stuffed(self._held)
        return rest if self._tail == b"\r\n" else rest + b"\r\n"

    def _stuffed(self, data: bytes) -> bytes:
        if not data:
            return b""
        pairs = data.count(b"\r\n")
        if data.count(b"\n") != pairs or data.count(b"\r") != pairs:
            data = _LINE_END.sub(b"\r\n", data)
        joined = (self._tail + data).replace(b"\r\n.", b"\r\n..")[len(self._tail) :]
        self._tail = (self._tail + data)[-2:]
        return joined
