"""Where one server response ends and the next begins (RFC 9051, 2.2.2 and 4.3).

A response is a list of its pieces in turn: text, literal, text, literal, text. The mark of a literal (`{12}`) is not in
the text before it. Nothing is recursive and nothing is copied twice, however the network cuts the bytes.
"""

from __future__ import annotations

import re
from typing import Final

from postbus.common.errors import ProtocolError

Response = list[bytes]  # text at even places, literals at odd ones; never empty

MAX_LINE: Final = 1536 * 1024  # bytes between two literals; an ENVELOPE with 10,000 recipients has 0.6 MB
MAX_NUMBERS_LINE: Final = 16 * 1024 * 1024  # of answers that list uids: 50,000 of them make 289 KB
MAX_RESPONSE: Final = 64 * 1024 * 1024  # bytes of one response with its literals
MAX_ORDINARY_RESPONSE: Final = 16 * 1024 * 1024  # the same of one that brings no message
MAX_LITERALS: Final = 10_000  # of one response

_LITERAL = re.compile(rb"(?:^|(?<=[ (\[\]>]))~?\{(\d{1,20})\}$")  # literal8 of RFC 3516 too
_STATUS_TEXT = re.compile(rb"(?:\*|[^ *+]+) (?:OK|NO|BAD|BYE|PREAUTH)\b|\+", re.IGNORECASE)  # text, free to end in {1}
_NUMBERS = re.compile(rb"\x00*\* (?:E?SEARCH|VANISHED|SORT)\b", re.IGNORECASE)


class ResponseFramer:
    """Cuts a stream of bytes into responses. ProtocolError above a limit; the framer is of no use afterwards."""

    __slots__ = ("_left", "_partial", "_partial_size", "_pieces", "_size", "max_response")

    def __init__(self) -> None:
        self.max_response = MAX_ORDINARY_RESPONSE
        self._pieces: list[bytes] = []  # of the response that has begun
        self._size = 0  # bytes of those
        self._partial: list[bytes] = []  # of the line or literal that has begun
        self._partial_size = 0
        self._left = 0  # bytes of the literal still to come

    @property
    def idle(self) -> bool:
        """Whether no response has begun: every byte so far belongs to one that was returned."""
        return not (self._pieces or self._partial)

    def swallows(self, size: int) -> bool:
        """Whether so many bytes are all part of the literal that has begun."""
        return self._left >= size

    def feed(self, data: bytes) -> list[Response]:
        """Take the next bytes; return the responses they complete, often none."""
        responses: list[Response] = []
        position, end = 0, len(data)
        while position < end:
            if self._left:
                position = self._take_literal(data, position)
                continue
            at = self._find_line_end(data, position)
            if at is None:
                self._keep(data[position:])
                break
            line = self._take_line(data, position, at)
            position = at + 2
            if line[-1:] == b"}" and self._begin_literal(line):
                continue
            if self._pieces:
                self._add(line)
                responses.append(self._pieces)
                self._pieces, self._size = [], 0
            else:
                responses.append([line])
        return responses

    def _find_line_end(self, data: bytes, position: int) -> int | None:
        """Where CRLF begins, one before `position` when its CR came with the bytes before; None when it is to come."""
        if self._partial and data[position : position + 1] == b"\n" and self._partial[-1][-1:] == b"\r":
            return position - 1
        at = data.find(b"\r\n", position)
        return at if at >= 0 else None

    def _take_line(self, data: bytes, position: int, at: int) -> bytes:
        if not self._partial:
            line = data[position:at]
        elif at < position:
            line = b"".join(self._partial)[:-1]
        else:
            line = b"".join((*self._partial, data[position:at]))
        self._partial, self._partial_size = [], 0
        if len(line) > MAX_LINE:
            self._check_line(line, len(line))
        return line

    def _keep(self, rest: bytes) -> None:
        self._partial.append(rest)
        self._partial_size += len(rest)
        if self._partial_size > MAX_LINE:
            self._partial = [b"".join(self._partial)]
            self._check_line(self._partial[0], self._partial_size)
        elif len(self._partial) > 4096:  # bytes that come one by one cost no more than others
            self._partial = [b"".join(self._partial)]

    def _check_line(self, line: bytes, size: int) -> None:
        numbers = not self._pieces and _NUMBERS.match(line) is not None
        if size > (MAX_NUMBERS_LINE if numbers else MAX_LINE):
            raise ProtocolError("the server sent a line that is too long")

    def _begin_literal(self, line: bytes) -> bool:
        """Whether the line ends with the mark of a literal, which then has begun."""
        mark = _LITERAL.search(line, max(0, len(line) - 24))
        if mark is None or (not self._pieces and _STATUS_TEXT.match(line)):
            return False
        size = int(mark[1])
        self._add(line[: mark.start()])
        if self._size + size > self.max_response or len(self._pieces) > 2 * MAX_LITERALS:
            raise ProtocolError("the server sent a response that is too large")
        if size:
            self._left = size
        else:
            self._pieces.append(b"")
        return True

    def _take_literal(self, data: bytes, position: int) -> int:
        piece = data[position : position + self._left]
        self._left -= len(piece)
        if self._left or self._partial:
            self._partial.append(piece)
            if len(self._partial) > 4096:
                self._partial = [b"".join(self._partial)]
        if not self._left:
            self._add(b"".join(self._partial) if self._partial else piece)
            self._partial, self._partial_size = [], 0
        return position + len(piece)

    def _add(self, piece: bytes) -> None:
        self._pieces.append(piece)
        self._size += len(piece)
        if self._size > self.max_response:
            raise ProtocolError("the server sent a response that is too large")
