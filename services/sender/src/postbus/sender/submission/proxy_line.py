"""The PROXY protocol (HAProxy, versions 1 and 2): who is really there, told by the first bytes of a connection.

Read from the socket itself, octet by octet up to its end and no further: TLS may begin right behind it.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Final

from aiosmtpd.proxy_protocol import get_proxy

from postbus.common.errors import ProtocolError

MAX_LINE: Final = 107  # octets of version 1, its line end included
MAX_BINARY: Final = 4096  # of version 2: addresses, and what proxies add to them


class _SocketReader:
    """As much of a stream reader as reading the header takes."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._left = MAX_BINARY

    async def read(self, n: int = -1) -> bytes:
        """Up to `n` octets."""
        if not 0 <= n <= self._left:
            raise ProtocolError("PROXY header too long")
        data = await asyncio.get_running_loop().sock_recv(self._connection, n) if n else b""
        if n and not data:
            raise ProtocolError("connection ended in the PROXY header")
        self._left -= len(data)
        return data

    async def readexactly(self, n: int) -> bytes:
        """`n` octets."""
        data = b""
        while len(data) < n:
            data += await self.read(n - len(data))
        return data

    async def readuntil(self, separator: bytes = b"\n") -> bytes:
        """Octets up to the end of a line."""
        data = b""
        while not data.endswith(separator):
            if len(data) >= MAX_LINE:
                raise ProtocolError("PROXY line too long")
            data += await self.read(1)
        return data


async def read_proxy_header(connection: socket.socket) -> str | None:
    """The client's address; None where the proxy itself speaks, or says nothing of it. ProtocolError for anything else.

    Waits as long as the peer takes.
    """
    try:
        found = await get_proxy(_SocketReader(connection))
    except (OSError, ValueError, AssertionError, asyncio.IncompleteReadError) as error:
        raise ProtocolError("no PROXY header") from error
    if not found:
        raise ProtocolError("no PROXY header")
    return str(found.src_addr) if found.src_addr and not isinstance(found.src_addr, bytes) else None
