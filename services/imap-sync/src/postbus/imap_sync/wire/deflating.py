"""COMPRESS=DEFLATE (RFC 4978): both directions of a connection, and a limit for what blows up when it is unpacked."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any, Final

from postbus.common.errors import ProtocolError

PIECE: Final = 64 * 1024  # bytes that are unpacked at once
MOST_RATIO: Final = 200  # of unpacked to packed bytes; flags of messages have 10, what is all zeros has 1000
FREE: Final = 4 * 1024 * 1024  # bytes before the ratio counts

_RAW: Final = -15  # no zlib header (RFC 1951)


class Inflater:
    """Unpacks what the server sends."""

    def __init__(self) -> None:
        self._zlib = zlib.decompressobj(_RAW)
        self._packed = self._unpacked = 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The pieces these bytes unpack to. ProtocolError for what is no deflate stream, and for a bomb."""
        self._packed += len(data)
        full = False  # then zlib may hold back more, though it has taken all of the data
        while data or full:
            try:
                piece = self._zlib.decompress(data, PIECE)
            except zlib.error as error:
                raise ProtocolError("the server sent something that can not be unpacked") from error
            data = self._zlib.unconsumed_tail
            self._unpacked += len(piece)
            if self._unpacked > FREE + MOST_RATIO * self._packed:
                raise ProtocolError("the server sent something that is far too large when it is unpacked")
            full = len(piece) == PIECE
            if piece:
                yield piece


class Deflated:
    """A transport that packs what is written, so that the server can read all of it at once."""

    def __init__(self, transport: Any) -> None:
        self._transport = transport
        self._zlib = zlib.compressobj(zlib.Z_DEFAULT_COMPRESSION, zlib.DEFLATED, _RAW)

    def write(self, data: bytes) -> None:
        """Pack and send."""
        self._transport.write(self._zlib.compress(data) + self._zlib.flush(zlib.Z_SYNC_FLUSH))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)
