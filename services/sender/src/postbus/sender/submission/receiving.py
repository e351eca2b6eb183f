"""The body of DATA (RFC 5321, 4.1.1.4 and 4.5.2), read in pieces: dots removed, line ends clean, size watched.

Only `CRLF . CRLF` ends a message: anything more tolerant lets a client smuggle a second one behind the first.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from postbus.common.errors import ConnectionLost, TooLarge, Unavailable

END: Final = b"\r\n.\r\n"
MAX_SURPLUS: Final = 2  # times the limit: so much is read and dropped before the client is cut off

_LINE_END: Final = re.compile(rb"\r\n|\r|\n")


class Unstuffer:
    """Takes what is between DATA and its end, in pieces; gives the message: no stuffed dots, CRLF line ends only."""

    def __init__(self) -> None:
        self._tail = b"\r\n"  # the last two octets that came in
        self._held = b""  # a CR whose LF may come with the next piece

    def feed(self, piece: bytes) -> bytes:
        """The octets of the message in this piece; one pass in C for a clean one."""
        if not piece:
            return b""
        tail, self._tail = self._tail, (self._tail + piece)[-2:]
        data = self._held + (tail + piece).replace(b"\r\n.", b"\r\n")[len(tail) :]
        self._held = b"\r" if data.endswith(b"\r") else b""
        return _clean(data[: len(data) - len(self._held)])

    def finish(self) -> bytes:
        """What is still held."""
        return _clean(self._held)


@dataclass(slots=True)
class Held:
    """Bytes in memory for messages that are being received; `limit` is for all of them."""

    limit: int
    used: int = 0

    def take(self, size: int) -> bool:
        """Whether there is room for so much more; then it is taken."""
        if self.used + size > self.limit:
            return False
        self.used += size
        return True

    def give_back(self, size: int) -> None:
        """Free what was taken."""
        self.used -= size


@dataclass(slots=True)
class Incoming:
    """One message on its way in. `size` is what it took of `held`: to be given back when the message is done with."""

    held: Held
    limit: int
    pieces: list[bytes] = field(default_factory=list)
    size: int = 0
    total: int = 0
    refusal: TooLarge | Unavailable | None = None

    def add(self, piece: bytes) -> None:
        """Keep a piece, or only count it once the message is refused. ConnectionLost when the client has no measure."""
        self.total += len(piece)
        if self.refusal is None and self.total > self.limit:
            self._refuse(TooLarge(f"Message is over the limit of {self.limit} bytes"))
        if self.refusal is None and not self.held.take(len(piece)):
            self._refuse(Unavailable("Too many messages at once, try again later"))
        if self.refusal is None:
            self.size += len(piece)
            self.pieces.append(piece)
        elif self.total > self.limit * (1 + MAX_SURPLUS):
            raise ConnectionLost("the client sends far more than is allowed")

    def close(self) -> None:
        """Give the memory back."""
        self.held.give_back(self.size)
        self.size = 0
        self.pieces.clear()

    def _refuse(self, refusal: TooLarge | Unavailable) -> None:
        self.refusal = refusal
        self.close()


async def read_message(reader: asyncio.StreamReader, incoming: Incoming, on_progress: Callable[[], None]) -> bytes:
    """The message up to its end, which is read to keep the conversation in step even when the message is refused.

    TooLarge and Unavailable are such refusals; ConnectionLost when the client went away or sends without end. Waits
    as long as the client takes, `on_progress` is called after each piece.
    """
    unstuffer = Unstuffer()
    # The end of the line with DATA is a part of the end of an empty message (RFC 5321, 4.1.1.4): look at it again.
    reader._buffer[:0] = b"\r\n"  # type: ignore[attr-defined]
    skip, ended = 2, False
    while not ended:
        piece, ended = await _read_piece(reader)
        incoming.add(unstuffer.feed(piece[skip : len(piece) - 3 if ended else None]))
        on_progress()
        skip = 0
    if incoming.refusal:
        raise incoming.refusal
    return b"".join([*incoming.pieces, unstuffer.finish()])


async def _read_piece(reader: asyncio.StreamReader) -> tuple[bytes, bool]:
    """The next piece, as large as the reader's limit at most, and whether it ends with the end of the message."""
    try:
        return await reader.readuntil(END), True
    except asyncio.LimitOverrunError as error:
        return await reader.readexactly(error.consumed), False
    except asyncio.IncompleteReadError as error:
        raise ConnectionLost("the client left in the middle of a message") from error


def _clean(data: bytes) -> bytes:
    pairs = data.count(b"\r\n")
    if data.count(b"\n") == pairs and data.count(b"\r") == pairs:
        return data
    return _LINE_END.sub(b"\r\n", data)
