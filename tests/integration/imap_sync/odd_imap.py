"""An IMAP server with one mailbox that misbehaves as told: what no real one does on demand."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from postbus.imap_sync.protocol.ranges import contains, parse_set

INFO = (
    'RFC822.SIZE 10 INTERNALDATE "01-Nov-2099 00:00:00 +0000" ENVELOPE (NIL "message {uid}" NIL NIL NIL NIL NIL NIL '
    'NIL "<{uid}@test>") BODYSTRUCTURE ("TEXT" "PLAIN" NIL NIL NIL "7BIT" 2 1 NIL NIL NIL NIL)'
)


@dataclass
class OddServer:
    """`withheld`: uids whose content is never given. `deadly`: asking for them ends the connection. `refused`: NO.

    `held_back`: expunged, and listed until the next NOOP.

    `broken`: their ENVELOPE is no value at all. `bare`: given without flags, once. `closed`: mailboxes that can't be
    selected; `lethal`: selecting them ends the connection. `validity`: what SELECT and STATUS tell, None for nothing.
    `arriving`, `leaving`: what comes and goes while contents are fetched, untold.
    """

    uids: list[int] = field(default_factory=list)
    withheld: set[int] = field(default_factory=set)
    deadly: set[int] = field(default_factory=set)
    refused: set[int] = field(default_factory=set)
    held_back: set[int] = field(default_factory=set)
    broken: set[int] = field(default_factory=set)
    bare: set[int] = field(default_factory=set)
    arriving: list[int] = field(default_factory=list)
    leaving: list[int] = field(default_factory=list)
    shuffled: bool = False
    mailboxes: list[str] = field(default_factory=lambda: ["INBOX"])
    closed: set[str] = field(default_factory=set)
    lethal: set[str] = field(default_factory=set)
    validity: tuple[int | None, int | None] = (1, 1)
    next_told: bool = True
    opened: list[str] = field(default_factory=list)
    fetches: list[str] = field(default_factory=list)
    drops_after_login: bool = False
    logins: int = 0
    port: int = 0
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def arrive(self, *uids: int) -> None:
        self.uids += uids
        self.changed.set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"* OK [CAPABILITY IMAP4rev1 IDLE] ready\r\n")
        with contextlib.suppress(ConnectionError):
            while line := (await reader.readline()).decode().strip():
                tag, _, rest = line.partition(" ")
                answer = await self.answer(rest, reader, writer)
                if answer is None:
                    break
                writer.write(f"{tag} {answer}\r\n".encode())
        writer.close()

    async def answer(self, command: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str | None:
        def say(line: str) -> None:
            writer.write(f"* {line}\r\n".encode())

        match command.split(" ", 2):
            case ["LOGIN", *_]:
                self.logins += 1
                return None if self.drops_after_login else "OK in"
            case ["CAPABILITY"]:
                say("CAPABILITY IMAP4rev1 IDLE")
            case ["LIST", _, pattern]:
                for path in self.mailboxes if "*" in pattern else [box for box in self.mailboxes if box == "INBOX"]:
                    say(f'LIST () "/" {path}')
            case ["STATUS", path, _]:
                validity = "" if self.validity[1] is None else f"UIDVALIDITY {self.validity[1]} "
                say(f"STATUS {path} (MESSAGES {len(self.uids)} UIDNEXT {self.next} {validity}UNSEEN 0)")
            case ["EXAMINE" | "SELECT", path, *_]:
                self.opened.append(path.strip('"'))
                if path.strip('"') in self.lethal:
                    return None
                if path.strip('"') in self.closed:
                    return "NO it is not there"
                say(f"{len(self.uids)} EXISTS")
                if self.validity[0] is not None:
                    say(f"OK [UIDVALIDITY {self.validity[0]}] valid")
                if self.next_told:
                    say(f"OK [UIDNEXT {self.next}] next")
            case ["UID", "SEARCH", _]:
                say(f"SEARCH {' '.join(map(str, self.uids))}")
            case ["UID", "FETCH", arguments]:
                return self.fetch(arguments, say)
            case ["NOOP"]:
                for uid in sorted(self.held_back & set(self.uids)):
                    say(f"{self.uids.index(uid) + 1} EXPUNGE")
                    self.uids.remove(uid)
                say(f"{len(self.uids)} EXISTS")
            case ["IDLE"]:
                await self.idle(reader, writer)
            case ["LSUB", *_]:
                return "BAD unknown"
        return "OK done"

    @property
    def next(self) -> int:
        return max(self.uids, default=0) + 1

    def fetch(self, arguments: str, say: object) -> str | None:
        assert callable(say)
        text, items = arguments.split(" ", 1)
        ranges = parse_set(text)
        asked = [uid for uid in self.uids if contains(ranges, uid)]
        self.fetches.append(items)
        content = "ENVELOPE" in items or "BODY" in items
        if content and self.deadly & set(asked):
            return None
        if content and self.refused & set(asked):
            return "NO [SERVERBUG] internal error"
        if "ENVELOPE" in items:
            self.uids = sorted({*self.uids, *self.arriving} - {*self.leaving})
            self.arriving.clear()
        for uid in reversed(asked) if self.shuffled else asked:
            if uid not in self.uids:
                continue
            values = f"UID {uid}" if uid in self.bare else f"UID {uid} FLAGS ()"
            self.bare.discard(uid)
            if content and uid in self.withheld:
                continue
            if "ENVELOPE" in items:
                values += ' ENVELOPE ("' if uid in self.broken else " " + INFO.format(uid=uid)
            elif section := re.search(r"BODY\.PEEK\[1\]<0", items):
                assert section
                values += ' BODY[1]<0> "hi"'
            say(f"{self.uids.index(uid) + 1} FETCH ({values})")
        return "OK done"

    async def idle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"+ idling\r\n")
        self.changed.clear()
        done = asyncio.ensure_future(reader.readline())
        news = asyncio.ensure_future(self.changed.wait())
        await asyncio.wait([done, news], return_when=asyncio.FIRST_COMPLETED)
        news.cancel()
        writer.write(f"* {len(self.uids)} EXISTS\r\n".encode())
        await done


@asynccontextmanager
async def odd_server(**oddities: object) -> AsyncIterator[OddServer]:
    odd = OddServer(**oddities)  # type: ignore[arg-type]
    server = await asyncio.start_server(odd.serve, "127.0.0.1", 0)
    odd.port = server.sockets[0].getsockname()[1]
    try:
        yield odd
    finally:
        server.close()
