"""An IMAP server that says what a test wants, for what no real one does."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from postbus.imap_sync.connection import Endpoint, ImapConnection, open_connection

PATIENCE_S = 5.0
PREAUTH = b"* PREAUTH [CAPABILITY IMAP4rev1 %s] ready"

Play = Callable[["Peer"], Awaitable[None]]


class Peer:
    """The server's end of one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, *lines: bytes) -> None:
        """Send lines, each with its CRLF."""
        self.writer.write(b"".join(line + b"\r\n" for line in lines))

    async def line(self) -> bytes:
        """The client's next line, without its CRLF; empty when it is gone."""
        async with asyncio.timeout(PATIENCE_S):
            return (await self.reader.readline()).removesuffix(b"\r\n")

    async def literal(self, count: int) -> bytes:
        """The client's next bytes."""
        async with asyncio.timeout(PATIENCE_S):
            return await self.reader.readexactly(count)

    async def command(self, expected: bytes) -> bytes:
        """Read a command that must begin so; returns its tag."""
        tag, _, rest = (await self.line()).partition(b" ")
        assert rest.startswith(expected), (rest, expected)
        return tag

    async def answer(self, expected: bytes, *untagged: bytes, status: bytes = b"OK done") -> None:
        """Read a command and answer it."""
        tag = await self.command(expected)
        self.send(*untagged, tag + b" " + status)

    async def gone(self) -> None:
        """Wait until the client has closed."""
        async with asyncio.timeout(PATIENCE_S):
            while await self.reader.read(65536):
                pass

    def close(self) -> None:
        """Close the connection."""
        self.writer.close()


@asynccontextmanager
async def scripted(play: Play) -> AsyncIterator[int]:
    """Serve `play` to one connection after the other on the port that is given; its failures fail the test."""
    failures: list[BaseException] = []
    playing: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        playing.add(task)
        try:
            await play(Peer(reader, writer))
        except (ConnectionError, asyncio.CancelledError):
            pass
        except BaseException as error:
            failures.append(error)
        finally:
            writer.close()
            playing.discard(task)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
        if playing and not failures:
            await asyncio.wait(playing, timeout=PATIENCE_S)
    finally:
        server.close()
        for task in playing:
            task.cancel()
    if failures:
        raise failures[0]


@asynccontextmanager
async def session(play: Play, capabilities: bytes = b"") -> AsyncIterator[ImapConnection]:
    """A connection that is logged in from the start; `play` goes on from there."""

    async def greet_and_play(peer: Peer) -> None:
        peer.send(PREAUTH % capabilities)
        await play(peer)

    async with scripted(greet_and_play) as port:
        connection = await open_connection(Endpoint("127.0.0.1", port, secure=False), None, deadline_s=PATIENCE_S)
        try:
            yield connection
        finally:
            connection.abort()
