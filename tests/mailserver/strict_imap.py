"""What an IMAP server without some capability does not know: commands it refuses, response codes it never sends."""

import re
from collections.abc import Iterable

# Commands (client to server) that fail without their capability: matched against the text after the tag.
COMMANDS = {
    "IDLE": rb"IDLE\b",
    "MOVE": rb"(UID )?MOVE\b",
    "UIDPLUS": rb"UID EXPUNGE\b",
    "CONDSTORE": rb"(ENABLE .*CONDSTORE|(SELECT|EXAMINE) .*\(CONDSTORE\)|STATUS .*HIGHESTMODSEQ"
    rb"|.*\b(CHANGEDSINCE|UNCHANGEDSINCE|MODSEQ)\b)",
    "QRESYNC": rb"(ENABLE .*QRESYNC|(SELECT|EXAMINE) .*\(QRESYNC\b|.*\bVANISHED\b)",
    "ENABLE": rb"ENABLE\b",
    "NAMESPACE": rb"NAMESPACE\b",
    "ID": rb"ID\b",
    "UNSELECT": rb"UNSELECT\b",
    "LIST-STATUS": rb"LIST .*RETURN.*STATUS",
    "SPECIAL-USE": rb"(LIST .*SPECIAL-USE|CREATE .*\(USE\b)",
    "LIST-EXTENDED": rb"LIST (\(|.*\bRETURN\b)",
    "ESEARCH": rb"(UID )?SEARCH RETURN\b",
    "BINARY": rb".*BINARY(\.PEEK|\.SIZE)?\[",
    "SORT": rb"(UID )?SORT\b",
    "THREAD": rb"(UID )?THREAD\b",
    "SASL-IR": rb"AUTHENTICATE \S+ \S+",
    "NOTIFY": rb"NOTIFY\b",
}
# Response codes (server to client) that are removed.
RESPONSES = {
    "UIDPLUS": rb"\[(APPENDUID|COPYUID)[^\]]*\] ?",
    "CONDSTORE": rb"\[(HIGHESTMODSEQ|NOMODSEQ|MODIFIED)[^\]]*\] ?",
}

_TAGGED = re.compile(rb"([^\s(){%*\"\\]+) (.*)", re.DOTALL)
_STARTTLS = re.compile(rb"\S+ STARTTLS\r", re.IGNORECASE)
_LITERAL = re.compile(rb"\{(\d+)\+?\}\r\n$")


class Splitter:
    """Cuts an IMAP byte stream into lines with their literals.

    `feed` returns (kind, bytes): `line` for a protocol line, `data` for literal octets, `cont` for a line that
    follows a literal.
    """

    def __init__(self) -> None:
        self._buffer = b""
        self._literal = 0  # octets that are still to come
        self._inside = False

    def feed(self, data: bytes) -> list[tuple[str, bytes]]:
        """Take the next octets; return what they complete."""
        self._buffer += data
        pieces = []
        while self._buffer:
            if self._literal:
                part, self._buffer = self._buffer[: self._literal], self._buffer[self._literal :]
                self._literal -= len(part)
                pieces.append(("data", part))
                continue
            end = self._buffer.find(b"\n")
            if end < 0:
                break
            line, self._buffer = self._buffer[: end + 1], self._buffer[end + 1 :]
            pieces.append(("cont" if self._inside else "line", line))
            literal = _LITERAL.search(line)
            self._inside = literal is not None
            self._literal = int(literal[1]) if literal else 0
        return pieces


class StrictFilter:
    """Stands between client and server for one proxy and plays a server without the denied capabilities."""

    def __init__(self, denied: Iterable[str]) -> None:
        names = [name.upper() for name in denied]
        flags = re.IGNORECASE | re.DOTALL
        self._commands = {name: re.compile(COMMANDS[name], flags) for name in names if name in COMMANDS}
        self._responses = [re.compile(RESPONSES[name]) for name in names if name in RESPONSES]
        self.tried: list[dict[str, str]] = []  # what clients asked for in vain

    def refuse(self, line: bytes) -> bytes | None:
        """The answer to a command that is not known here; None for one that may pass."""
        tagged = _TAGGED.match(line)
        if tagged is None:
            return None
        for name, pattern in self._commands.items():
            if pattern.match(tagged[2]):
                self.tried.append({"cap": name, "line": line.decode("latin-1").strip()})
                return tagged[1] + b" BAD Unknown command (" + name.encode() + b" is not available)\r\n"
        return None

    def without_codes(self, line: bytes) -> bytes:
        """A response line without the codes that belong to denied capabilities."""
        for pattern in self._responses:
            line = pattern.sub(b"", line, count=1)
        return line


class FilteredConnection:
    """Both directions of one connection through a StrictFilter; after STARTTLS it can only look on."""

    def __init__(self, strict: StrictFilter) -> None:
        self._strict = strict
        self._up, self._down = Splitter(), Splitter()
        self._dropping = False  # the rest of a refused command, with its literals
        self._encrypted = False

    def from_client(self, data: bytes) -> tuple[bytes, bytes]:
        """What goes on to the server, and what the client is answered at once."""
        if self._encrypted:
            return data, b""
        passed, answer = b"", b""
        for kind, part in self._up.feed(data):
            if kind == "line":
                self._encrypted = self._encrypted or _STARTTLS.match(part) is not None
                verdict = self._strict.refuse(part)
                self._dropping = verdict is not None
                answer += verdict or b""
            passed += b"" if self._dropping else part
        return passed, answer

    def from_server(self, data: bytes) -> bytes:
        """What goes on to the client."""
        if self._encrypted:
            return data
        return b"".join(
            self._strict.without_codes(part) if kind == "line" else part for kind, part in self._down.feed(data)
        )
