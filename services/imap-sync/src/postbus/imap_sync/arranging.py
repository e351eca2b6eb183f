"""CREATE, RENAME, DELETE, SUBSCRIBE of mailboxes (RFC 9051, 6.3.4 to 6.3.8), and the names they get."""

from __future__ import annotations

from collections.abc import Sequence

from postbus.common.errors import BadInput, CommandRefused
from postbus.imap_sync.listing import Names
from postbus.imap_sync.protocol.arguments import Argument, astring
from postbus.imap_sync.protocol.responses import Status
from postbus.imap_sync.wire import Wire


def compose_path(segments: Sequence[str], *, delimiter: str | None, prefix: str = "") -> str:
    """The path of a new mailbox: segments may hold delimiters themselves; `prefix` is that of the user's namespace.

    BadInput for empty levels, and for levels on a server that has none.
    """
    if delimiter is None and len(segments) > 1:
        raise BadInput("The mail server has no levels of mailboxes", code="NoHierarchy")
    levels = [level for segment in segments for level in (segment.split(delimiter) if delimiter else [segment])]
    if not all(levels):
        raise BadInput("A level of the path is empty", code="EmptyName")
    if levels[0].upper() == "INBOX":  # RFC 9051, 5.1
        levels[0] = "INBOX"
    path = (delimiter or "").join(levels)
    return path if path == "INBOX" or path.startswith(prefix) else prefix + path


async def create(wire: Wire, names: Names, path: str) -> str | None:
    """CREATE; returns the id that a server with OBJECTID gives it (RFC 8474, 4.1)."""
    status = await wire.run("CREATE", names.argument(path))
    return status.argument.strip("() ") or None if status.code == "MAILBOXID" else None


async def rename(wire: Wire, names: Names, path: str, new_path: str) -> None:
    """RENAME, with all that is below."""
    await _run_named(wire, names, "RENAME", path, names.argument(new_path))


async def delete(wire: Wire, names: Names, path: str) -> None:
    """DELETE, with all messages; what is below stays."""
    await _run_named(wire, names, "DELETE", path)


async def subscribe(wire: Wire, names: Names, path: str, *, subscribed: bool) -> None:
    """SUBSCRIBE or UNSUBSCRIBE."""
    await _run_named(wire, names, "SUBSCRIBE" if subscribed else "UNSUBSCRIBE", path)


async def _run_named(wire: Wire, names: Names, verb: str, path: str, *more: Argument) -> Status:
    """A command with the name of a mailbox, and once more with the other way to write that name, if there is one."""
    try:
        return await wire.run(verb, names.argument(path), *more)
    except CommandRefused as error:
        other = names.alternative(path)
        if other is None or error.status != "NO":
            raise
        try:
            status = await wire.run(verb, astring(other), *more)
        except CommandRefused:
            raise error from None
    names.learn(path, other)
    return status
