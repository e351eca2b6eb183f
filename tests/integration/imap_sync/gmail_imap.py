"""A server with the habits of Gmail: all mail is in All Mail, a mailbox is a label, and labels come in odd ways."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from postbus.imap_sync.protocol.ranges import contains, parse_set

CAPABILITIES = "IMAP4rev1 IDLE X-GM-EXT-1 XLIST ENABLE CONDSTORE MOVE UIDPLUS SPECIAL-USE"
ALL, JUNK, TRASH = "[Gmail]/All Mail", "[Gmail]/Spam", "[Gmail]/Trash"
LISTED = {"INBOX": "", "[Gmail]": "\\Noselect", "Work": "", ALL: "\\All", JUNK: "\\Junk", TRASH: "\\Trash"}
WHO = '((NIL NIL "a" "example.test"))'
INFO = (
    'RFC822.SIZE 10 INTERNALDATE "01-Nov-2099 00:00:00 +0000" ENVELOPE (NIL "message {id}" {who} {who} {who} {who} '
    'NIL NIL NIL "<{id}@test>") BODYSTRUCTURE ("TEXT" "PLAIN" NIL NIL NIL "7BIT" 2 1 NIL NIL NIL NIL)'
)


@dataclass
class Mail:
    """`labels` as they are written on the wire: atoms, quoted strings, literals, in modified UTF-7."""

    msgid: int
    uid: int
    modseq: int
    labels: list[bytes] = field(default_factory=list)
    flags: str = ""


@dataclass
class GmailServer:
    """`shown`: whether the user lets IMAP see All Mail. `refused`: what it offers and does not understand."""

    shown: bool = True
    boxes: dict[str, list[Mail]] = field(default_factory=lambda: {path: [] for path in LISTED})
    refused: str | None = None
    modseq: int = 100
    port: int = 0
    selected: set[str] = field(default_factory=set)
    commands: list[str] = field(default_factory=list)
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def put(self, path: str, msgid: int, *labels: bytes) -> Mail:
        self.modseq += 1
        uid = max((mail.uid for mail in self.boxes[path]), default=0) + 1
        self.boxes[path].append(mail := Mail(msgid, uid, self.modseq, list(labels)))
        await self._tell()
        return mail

    async def relabel(self, mail: Mail, *labels: bytes, flags: str = "") -> None:
        self.modseq += 1
        mail.labels, mail.modseq, mail.flags = list(labels), self.modseq, flags
        await self._tell()

    async def remove(self, path: str, mail: Mail) -> None:
        self.modseq += 1
        self.boxes[path].remove(mail)
        await self._tell()

    async def _tell(self) -> None:
        async with self.changed:
            self.changed.notify_all()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(f"* OK [CAPABILITY {CAPABILITIES}] Gimap ready\r\n".encode())
        path = ""
        with contextlib.suppress(ConnectionError):
            while line := (await reader.readline()).decode().strip():
                tag, _, command = line.partition(" ")
                self.commands.append(command)
                if command.startswith(("EXAMINE", "SELECT")):
                    path = command.split('"')[1] if '"' in command else command.split()[1]
                    self.selected.add(path)
                if command == "IDLE":
                    await self.idle(path, reader, writer)
                if self.refused and self.refused in command:
                    writer.write(f"{tag} BAD {self.refused}?\r\n".encode())
                    continue
                writer.writelines(b"* " + row + b"\r\n" for row in self.answer(command, path))
                writer.write(f"{tag} OK done\r\n".encode())
        writer.close()

    def answer(self, command: str, path: str) -> list[bytes]:
        mails = self.boxes.get(path, [])
        match command.split(" ", 2):
            case ["CAPABILITY"]:
                return [f"CAPABILITY {CAPABILITIES}".encode()]
            case ["ENABLE", *_]:
                return [b"ENABLED CONDSTORE"]
            case ["LIST", _, pattern]:
                names = [name for name in LISTED if (self.shown or name != ALL) and ("*" in pattern or name == "INBOX")]
                return [f'LIST ({LISTED[name]}) "/" "{name}"'.encode() for name in names]
            case ["STATUS", *_]:
                name = re.findall(r'STATUS "?([^"(]+?)"? \(', command)[0]
                return [f'STATUS "{name}" ({self.numbers(name)} UNSEEN 0)'.encode()]
            case ["EXAMINE" | "SELECT", *_]:
                codes = [f"OK [{code}]".encode() for code in ("UIDVALIDITY 1", self.highest())]
                return [f"{len(mails)} EXISTS".encode(), f"OK [UIDNEXT {self.next(path)}]".encode(), *codes]
            case ["NOOP"]:
                return [f"{len(mails)} EXISTS".encode()]
            case ["UID", "SEARCH", _]:
                return [b"SEARCH " + " ".join(str(mail.uid) for mail in mails).encode()]
            case ["UID", "FETCH", arguments]:
                return self.fetch(arguments, mails)
        return []

    def highest(self) -> str:
        return "NOMODSEQ" if self.refused == "HIGHESTMODSEQ" else f"HIGHESTMODSEQ {self.modseq}"

    def numbers(self, path: str) -> str:
        messages = f"MESSAGES {len(self.boxes[path])} UIDNEXT {self.next(path)}"
        return f"{messages} UIDVALIDITY 1 HIGHESTMODSEQ {self.modseq}"

    def next(self, path: str) -> int:
        return max((mail.uid for mail in self.boxes[path]), default=0) + 1

    def fetch(self, arguments: str, mails: list[Mail]) -> list[bytes]:
        words, items = arguments.split(" ", 1)
        ranges, since = parse_set(words), re.search(r"CHANGEDSINCE (\d+)", items)
        rows = []
        for seq, mail in enumerate(mails, 1):
            if not contains(ranges, mail.uid) or (since and mail.modseq <= int(since[1])):
                continue
            values = f"UID {mail.uid} FLAGS ({mail.flags}) MODSEQ ({mail.modseq})".encode()
            if "X-GM-LABELS" in items:
                values += b" X-GM-LABELS (" + b" ".join(mail.labels) + b")"
            if "ENVELOPE" in items:
                values += f" X-GM-MSGID {mail.msgid} X-GM-THRID 9 {INFO.format(id=mail.msgid, who=WHO)}".encode()
            elif "BODY" in items:
                values += b' BODY[1]<0> "hi"'
            rows.append(f"{seq} FETCH (".encode() + values + b")")
        return rows

    async def idle(self, path: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"+ idling\r\n")
        done = asyncio.ensure_future(reader.readline())
        news = asyncio.ensure_future(self._news())
        await asyncio.wait([done, news], return_when=asyncio.FIRST_COMPLETED)
        news.cancel()
        writer.write(f"* 1 FETCH (MODSEQ ({self.modseq}))\r\n* {len(self.boxes[path])} EXISTS\r\n".encode())
        await done

    async def _news(self) -> None:
        async with self.changed:
            await self.changed.wait()


@asynccontextmanager
async def gmail_server(*, shown: bool = True) -> AsyncIterator[GmailServer]:
    gmail = GmailServer(shown=shown)
    server = await asyncio.start_server(gmail.serve, "127.0.0.1", 0)
    gmail.port = server.sockets[0].getsockname()[1]
    try:
        yield gmail
    finally:
        server.close()
