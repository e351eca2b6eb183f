"""Servers that want to hurt: a process of its own with a port for each way to do it, so that only we are measured."""

import asyncio
import contextlib
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from functools import partial

GREETING = b"* OK [CAPABILITY IMAP4rev1] hi\r\n"
HANDSHAKE = b"\x16\x03\x03\x40\x00"  # the head of a TLS record that is never finished


async def flood(writer: asyncio.StreamWriter, chunk: bytes, first: bytes = b"") -> None:
    """Write the same for ever, as fast as it is read."""
    writer.write(first)
    while True:
        writer.write(chunk)
        await writer.drain()


async def trickle(writer: asyncio.StreamWriter, data: bytes) -> None:
    """A byte every 20 ms, for ever."""
    while True:
        for byte in data:
            writer.write(bytes([byte]))
            await asyncio.sleep(0.02)


async def rows() -> AsyncIterator[bytes]:
    """FETCH rows of ever new messages."""
    for start in range(1, 2**32, 1000):
        yield b"".join(b"* %d FETCH (UID %d FLAGS (\\Seen))\r\n" % (uid, uid) for uid in range(start, start + 1000))


async def listed() -> AsyncIterator[bytes]:
    for start in range(1, 2**32, 500):
        yield b"".join(b'* LIST () "/" "%d%s"\r\n' % (name, b"x" * 200) for name in range(start, start + 500))


async def pour(writer: asyncio.StreamWriter, chunks: AsyncIterator[bytes]) -> None:
    async for chunk in chunks:
        writer.write(chunk)
        await writer.drain()


async def greet(name: str, writer: asyncio.StreamWriter) -> None:
    """The greeting, and for some attacks all there is."""
    match name:
        case "endless greeting":
            await flood(writer, b"x" * 65536, b"* OK ")
        case "many greetings":
            await flood(writer, b"* OK hello\r\n" * 5000)
        case "slow greeting":
            await trickle(writer, b"* OK " + b"x" * 1000)
        case "slow handshake":
            await trickle(writer, HANDSHAKE + bytes(1000))
        case "silence":
            await asyncio.Event().wait()
    writer.write(GREETING)


async def attack(name: str, verb: bytes, writer: asyncio.StreamWriter) -> None:
    """What the answer to a command is; returns where it is an ordinary one."""
    selecting = verb in (b"SELECT", b"EXAMINE")
    match name:
        case "million lines" if selecting:
            await flood(writer, b"* 1 RECENT\r\n* OK still here\r\n" * 5000)
        case "lines of nobody" if selecting:
            await flood(writer, b"X9 OK done\r\ngarbage\r\n" * 5000)
        case "strangers' flags" if selecting:
            await pour(writer, rows())
        case "endless list" if verb == b"LIST":
            await pour(writer, listed())
        case "endless flags" if verb == b"UID":
            await pour(writer, rows())
        case "huge literal" if verb == b"LIST":
            await flood(writer, b"x" * 65536, b'* LIST () "/" {2147483648}\r\n')
        case "large literals" if verb == b"LIST":
            await flood(writer, b'* LIST () "/" {15000000}\r\n' + b"x" * 15_000_000 + b"\r\n")
        case "endless line" if verb == b"LIST":
            await flood(writer, b"x" * 65536, b'* LIST () "/" ')
        case "deep nesting" if verb == b"UID":
            await flood(writer, b"* 1 FETCH (UID 1 BODYSTRUCTURE " + b"(" * 100_000 + b")" * 100_000 + b")\r\n")
        case "many words" if verb == b"UID":
            await flood(writer, b"* 1 FETCH (UID 1 FLAGS (" + b"a " * 1_000_000 + b"))\r\n")
        case "slow answer" if verb == b"LIST":
            await trickle(writer, b"* LIST " + b"x" * 1000)


ATTACKS = (
    *("endless greeting", "many greetings", "slow greeting", "slow handshake", "silence"),
    *("million lines", "lines of nobody", "strangers' flags", "endless list", "endless flags", "huge literal"),
    *("large literals", "endless line", "deep nesting", "many words", "slow answer"),
)


async def serve(name: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        await greet(name, writer)
        while line := await reader.readline():
            tag, _, rest = line.strip().partition(b" ")
            verb = rest.partition(b" ")[0].upper()
            await attack(name, verb, writer)
            if verb == b"LIST":
                writer.write(b'* LIST () "/" INBOX\r\n')
            elif verb == b"STATUS":
                writer.write(b"* STATUS INBOX (MESSAGES 3 UIDNEXT 4 UIDVALIDITY 1 UNSEEN 0)\r\n")
            elif verb in (b"SELECT", b"EXAMINE"):
                writer.write(b"* 3 EXISTS\r\n* OK [UIDVALIDITY 1] x\r\n* OK [UIDNEXT 4] x\r\n")
            writer.write(tag + b" OK done\r\n")
            await writer.drain()
    writer.close()


async def main() -> None:
    ports: dict[str, int] = {}
    for name in ATTACKS:
        server = await asyncio.start_server(partial(serve, name), "127.0.0.1", 0)
        ports[name] = server.sockets[0].getsockname()[1]
    print(json.dumps(ports), flush=True)
    await asyncio.to_thread(sys.stdin.read)  # until whoever started us is gone


@contextmanager
def hostile_servers() -> Iterator[dict[str, int]]:
    """Port by attack."""
    process = subprocess.Popen([sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None and process.stdout is not None
    try:
        yield json.loads(process.stdout.readline())
    finally:
        process.stdin.close()
        process.kill()
        process.wait(10)


if __name__ == "__main__":
    asyncio.run(main())
