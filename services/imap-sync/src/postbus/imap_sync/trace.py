"""What an IMAP conversation looks like in the log of its account: commands and their answers, never what is secret.

Arguments are shown of those commands only that are known to hold nothing but names, numbers and flags; literals are
cut to their size. Of logins and searches only the name is shown, and no words of the answer, which may repeat theirs.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Sequence

from postbus.common.account_log import AccountLog
from postbus.common.errors import PostbusError
from postbus.imap_sync.protocol.arguments import Argument
from postbus.imap_sync.protocol.responses import Status

Told = Callable[[Status | None, BaseException | None], None]

_MAX_CHARS = 300
_OPEN = frozenset(
    {
        *("CAPABILITY", "ENABLE", "ID", "STARTTLS", "NAMESPACE", "NOOP", "IDLE", "LOGOUT"),
        *("LIST", "LSUB", "XLIST", "STATUS", "GETQUOTAROOT"),
        *("CREATE", "DELETE", "RENAME", "SUBSCRIBE", "UNSUBSCRIBE"),
        *("SELECT", "EXAMINE", "UNSELECT", "CLOSE", "EXPUNGE", "FETCH", "APPEND"),
        *("UID FETCH", "UID STORE", "UID COPY", "UID MOVE", "UID EXPUNGE"),
    }
)


class ConnectionTrace:
    """One connection in the log of its account."""

    __slots__ = ("_log", "_name", "_purpose")

    def __init__(self, log: AccountLog, purpose: str) -> None:
        self._log = log
        self._purpose = purpose
        self._name = secrets.token_hex(4)

    @property
    def on(self) -> bool:
        """Whether somebody wants to know."""
        return self._log.on

    def opened(self, host: str, port: int, *, secure: bool, greeting: Status) -> None:
        """The server has greeted us."""
        self._add("connected", purpose=self._purpose, host=host, port=port, secure=secure, text=greeting.text)

    def closed(self, error: PostbusError) -> None:
        """The connection is gone."""
        self._add("closed", code=error.code, text=error.message)

    def command(self, arguments: Sequence[Argument]) -> Told:
        """A command begins; what is returned is to be called with its answer, or with what came in between."""
        verb, shown = describe(arguments)
        started = time.monotonic()

        def told(status: Status | None, error: BaseException | None) -> None:
            ms = int((time.monotonic() - started) * 1000)
            if status is None:
                self._add("command", command=shown, ms=ms, failed=type(error).__name__ if error else "Cancelled")
            else:
                text = status.text if verb in _OPEN else None
                self._add("command", command=shown, ms=ms, status=status.status, code=status.code, text=text)

        return told

    def _add(self, event: str, **fields: str | int | bool | None) -> None:
        self._log.add("imap", connection=self._name, event=event, **fields)


def describe(arguments: Sequence[Argument]) -> tuple[str, str]:
    """The name of a command, and as much of it as may be shown."""
    first = str(arguments[0])
    words = first.split(" ", 2)
    verb = " ".join(words[:2]) if words[0] == "UID" else words[0]
    if verb not in _OPEN:
        mechanism = words[1] if words[0] == "AUTHENTICATE" and len(words) > 1 else ""
        return verb, f"{verb} {mechanism}".rstrip()
    rest = [f"{{{len(part)}}}" if isinstance(part, bytes) else part for part in arguments[1:]]
    return verb, " ".join([first, *rest])[:_MAX_CHARS]
