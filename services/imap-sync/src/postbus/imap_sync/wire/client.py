"""From an address to a connection that has been greeted."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import Any

from aioimaplib.aioimaplib import IMAP4

from postbus.common.errors import ConnectionLost
from postbus.imap_sync.protocol.framer import Response
from postbus.imap_sync.wire.sending import WireProtocol
from postbus.imap_sync.wire.wire import Wire


class _Client(IMAP4):  # type: ignore[misc]
    """Connects; everything else is the protocol's."""

    def __init__(self, host: str, port: int, on_untagged: Callable[[Response], None], options: dict[str, Any]) -> None:
        self._on_untagged = on_untagged
        self._options = options
        super().__init__(host, port)

    def create_client(
        self,
        host: str,
        port: int,
        loop: asyncio.AbstractEventLoop | None,
        conn_lost_cb: Callable[[Exception | None], None] | None = None,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        """Begin to connect."""
        running = loop or asyncio.get_running_loop()
        self.protocol = protocol = WireProtocol(running, self._on_untagged)
        where: dict[str, Any] = {} if "sock" in self._options else {"host": host, "port": port}
        self._client_task = running.create_task(running.create_connection(lambda: protocol, **where, **self._options))

    async def wait_hello_from_server(self) -> None:
        """Wait for the greeting. OSError when there is no connection, ConnectionLost when it ends."""
        try:
            await self._client_task
            await self.protocol.greeting
        except BaseException:
            self.protocol.fail(ConnectionLost("the connection was given up"))
            raise


async def connect(
    host: str, port: int, *, on_untagged: Callable[[Response], None], options: dict[str, Any] | None = None
) -> Wire:
    """Connect and wait for the greeting; `options` are those of `loop.create_connection`.

    OSError when there is no connection or no TLS; ConnectionLost or ProtocolError when the greeting fails.
    """
    client = _Client(host, port, on_untagged, options or {})
    await client.wait_hello_from_server()
    return Wire(client.protocol, client.protocol.greeting.result())
