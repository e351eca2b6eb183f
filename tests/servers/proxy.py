"""A small real proxy in the test's event loop: SOCKS4, SOCKS4a, SOCKS5 and CONNECT on one port, as a client asks."""

import asyncio
import base64
import ssl
from asyncio import StreamReader, StreamWriter
from collections.abc import Mapping
from contextlib import suppress
from types import TracebackType
from typing import Self

PATIENCE_S = 10.0
READ_SIZE = 65_536

_SOCKS5_REFUSED = b"\x05\x05\x00\x01\0\0\0\0\0\0"
_SOCKS4_REFUSED = b"\0\x5b\0\0\0\0\0\0"


class ProxyServer:
    """Keeps what it was asked for (`asked`) and how many connections it carried; resolves the names in `hosts` only.

    `login` is `user:password`; without one everybody may come. `deaf` takes connections and says nothing. `glued`
    sends the server's first bytes in one packet with the answer to CONNECT.
    """

    def __init__(
        self,
        *,
        login: str | None = None,
        hosts: Mapping[str, str] | None = None,
        deaf: bool = False,
        glued: bool = False,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.login, self.deaf, self.glued = login, deaf, glued
        self.hosts = dict(hosts or {})
        self.asked: list[str] = []
        self.tries = 0
        self._tls = tls
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._on_connection, "127.0.0.1", 0, ssl=self._tls)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def url(self, scheme: str, login: str = "") -> str:
        """Its URL."""
        return f"{scheme}://{login and login + '@'}127.0.0.1:{self.port}"

    async def _on_connection(self, reader: StreamReader, writer: StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self.tries += 1
        try:
            with suppress(OSError, EOFError, TimeoutError):
                await self._serve(reader, writer)
        except asyncio.CancelledError:
            return  # the end of the test
        finally:
            writer.close()

    async def _serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        if self.deaf:
            await reader.read()
            return
        async with asyncio.timeout(PATIENCE_S):
            first = await reader.readexactly(1)
            speak = {b"\x04": self._socks4, b"\x05": self._socks5}.get(first, self._connect)
            there = await speak(reader, writer, first)
        if there is not None:
            await _carry((reader, writer), there)

    async def _socks5(
        self, reader: StreamReader, writer: StreamWriter, _: bytes
    ) -> tuple[StreamReader, StreamWriter] | None:
        methods = await reader.readexactly((await reader.readexactly(1))[0])
        wanted = 2 if self.login else 0
        if wanted not in methods:
            writer.write(b"\x05\xff")
            return None
        writer.write(bytes([5, wanted]))
        if self.login and not await self._sub_negotiation(reader, writer):
            return None
        named = (await reader.readexactly(4))[3] == 3
        if named:
            host = (await reader.readexactly((await reader.readexactly(1))[0])).decode()
        else:
            host = ".".join(map(str, await reader.readexactly(4)))
        port = int.from_bytes(await reader.readexactly(2), "big")
        there = await self._open(host, port)
        writer.write(b"\x05\x00\x00\x01\0\0\0\0\0\0" if there else _SOCKS5_REFUSED)
        return there

    async def _sub_negotiation(self, reader: StreamReader, writer: StreamWriter) -> bool:
        await reader.readexactly(1)
        user = (await reader.readexactly((await reader.readexactly(1))[0])).decode()
        password = (await reader.readexactly((await reader.readexactly(1))[0])).decode()
        right = f"{user}:{password}" == self.login
        writer.write(b"\x01\x00" if right else b"\x01\x01")
        return right

    async def _socks4(
        self, reader: StreamReader, writer: StreamWriter, _: bytes
    ) -> tuple[StreamReader, StreamWriter] | None:
        await reader.readexactly(1)
        port = int.from_bytes(await reader.readexactly(2), "big")
        address = await reader.readexactly(4)
        user = (await reader.readuntil(b"\0"))[:-1].decode()
        is_4a = address[:3] == b"\0\0\0"
        host = (await reader.readuntil(b"\0"))[:-1].decode() if is_4a else ".".join(map(str, address))
        if self.login and user != self.login.partition(":")[0]:
            writer.write(b"\0\x5d\0\0\0\0\0\0")
            return None
        there = await self._open(host, port)
        writer.write(b"\0\x5a\0\0\0\0\0\0" if there else _SOCKS4_REFUSED)
        return there

    async def _connect(
        self, reader: StreamReader, writer: StreamWriter, first: bytes
    ) -> tuple[StreamReader, StreamWriter] | None:
        lines = (first + await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        login = base64.b64encode((self.login or "").encode()).decode()
        if self.login and f"Proxy-Authorization: Basic {login}" not in lines:
            writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\n\r\n")
            return None
        host, _, port = lines[0].split()[1].rpartition(":")
        there = await self._open(host, int(port))
        if there is None:
            writer.write(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 3\r\n\r\nno!")
            return None
        greeting = await there[0].read(READ_SIZE) if self.glued else b""
        writer.write(b"HTTP/1.1 200 Connection established\r\nVia: test\r\n\r\n" + greeting)
        return there

    async def _open(self, host: str, port: int) -> tuple[StreamReader, StreamWriter] | None:
        self.asked.append(f"{host}:{port}")
        try:
            return await asyncio.open_connection(self.hosts.get(host, host), port)
        except OSError:
            return None


async def _carry(here: tuple[StreamReader, StreamWriter], there: tuple[StreamReader, StreamWriter]) -> None:
    pumps = [asyncio.create_task(_pump(here[0], there[1])), asyncio.create_task(_pump(there[0], here[1]))]
    try:
        await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for pump in pumps:
            pump.cancel()
        there[1].close()


async def _pump(reader: StreamReader, writer: StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(READ_SIZE):
            writer.write(data)
            await writer.drain()
