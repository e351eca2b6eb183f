"""COMPRESS=DEFLATE (RFC 4978): both directions of a connection, unpacked in pieces that others need not wait for.

What is packed may be a thousand times as long, be it a bomb or an attachment full of zeros: it counts as if it had
come plainly, against the limits of the command it answers.
"""

from __future__ import annotations

import zlib
from typing import Any, Final

from postbus.common.errors import ProtocolError
from postbus.imap_sync.wire.inflow import SLICE

PIECE: Final = SLICE  # bytes that are unpacked at once

_RAW: Final = -15  # no zlib header (RFC 1951)


class Inflater:
    """Unpacks what the server sends."""

    def __init__(self) -> None:
        self._zlib = zlib.decompressobj(_RAW)

    def unpack(self, data: bytes) -> tuple[bytes, bytes | None]:
        """The next piece, and what to unpack after it: None for nothing, no bytes where zlib may hold some back.

        ProtocolError for what is no deflate stream, and for what comes behind its end.
        """
        if self._zlib.eof:
            raise ProtocolError("the server sent something behind the end of what is packed")
        try:
            piece = self._zlib.decompress(data, PIECE)
        except zlib.error as error:
            raise ProtocolError("the server sent something that can not be unpacked") from error
        more = len(piece) == PIECE and not self._zlib.eof
        return piece, self._zlib.unconsumed_tail if more else None


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
