"""Mailboxes with an IDLE connection of their own: they only say "look", the watching connection does the looking.

So a mailbox is looked at by one connection at a time, and one of these that fails costs nobody anything: what it would
have told is found by the next poll.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import structlog

from postbus.common.accounts import DisabledSubconnection, MailboxRecord, names
from postbus.common.errors import AuthenticationFailed, ConnectionLost, DeadlineExceeded, PostbusError
from postbus.imap_sync.backoff import Backoff, Fault
from postbus.imap_sync.connection import ImapConnection
from postbus.imap_sync.ending import end_tasks

log = structlog.get_logger()

SHORTEST_IDLE_S = 1.0  # a server that ends IDLE at once is not asked in a loop
KEPT_FOR_COMMANDS = 2  # connections of an account: one for a command, one for a download

OnEvent = Callable[[str], None]
Connect = Callable[[OnEvent], Awaitable[ImapConnection]]


@dataclass(frozen=True, slots=True)
class SubconnectionPlan:
    """Paths that get a connection, in the order they were asked for, and those that get none, with the reason."""

    paths: tuple[str, ...] = ()
    disabled: tuple[DisabledSubconnection, ...] = ()


def plan_subconnections(
    wanted: Sequence[str],
    rows: Sequence[MailboxRecord],
    synced: Sequence[MailboxRecord],
    *,
    gmail: bool,
    connections: int,
) -> SubconnectionPlan:
    """Which of the mailboxes get a connection. Pure.

    `synced`: those that are, the one that the main connection watches first. `connections`: of the account in all.
    """
    paths: list[str] = []
    disabled: list[DisabledSubconnection] = []
    for name in wanted:
        row = next((row for row in rows if names(name, row.path, row.special_use)), None)
        reason = _why_not(row, synced, paths, gmail=gmail, room=connections - 1 - KEPT_FOR_COMMANDS)
        if reason is not None:
            disabled.append(DisabledSubconnection(path=name, reason=reason))
        elif row is not None:
            paths.append(row.path)
    return SubconnectionPlan(tuple(paths), tuple(disabled))


def _why_not(
    row: MailboxRecord | None, synced: Sequence[MailboxRecord], paths: Sequence[str], *, gmail: bool, room: int
) -> str | None:
    if row is None:
        return "there is no such mailbox"
    if synced and row.path == synced[0].path:
        return "the main connection watches it already"
    known = any(other.path == row.path for other in synced)
    if gmail and not known and any(other.special_use == "\\All" for other in synced):
        return "All Mail covers it already"
    if not known:
        return "it is not one of the mailboxes that are synced"
    if row.path in paths:
        return "it is named twice"
    return "the connections of the account are used up" if len(paths) >= room else None


def dump_disabled(disabled: Sequence[DisabledSubconnection]) -> str | None:
    """As it is stored with the account; None for none."""
    return json.dumps([note.model_dump(by_alias=True) for note in disabled]) if disabled else None


class Subconnections:
    """The extra connections of one account while its watching connection lives."""

    def __init__(
        self,
        connect: Connect,
        closed: Callable[[ImapConnection], None],
        poke: Callable[[str], None],
        backoff: Callable[[], Backoff],
    ) -> None:
        self._connect = connect
        self._closed = closed
        self._poke = poke
        self._backoff = backoff
        self._tasks: dict[str, asyncio.Task[None]] = {}

    @property
    def paths(self) -> tuple[str, ...]:
        """Mailboxes that have one, or are about to."""
        return tuple(self._tasks)

    def keep(self, paths: Sequence[str]) -> None:
        """Have one for each of these, and no others."""
        for path in [path for path in self._tasks if path not in paths]:
            self._tasks.pop(path).cancel()
        for path in paths:
            if path not in self._tasks or self._tasks[path].done():  # one that a mistake of ours ended, too
                self._tasks[path] = asyncio.create_task(self._run(path), name=f"subconnection {path}")

    async def end(self, limit_s: float) -> None:
        """Close all."""
        tasks, self._tasks = list(self._tasks.values()), {}
        await end_tasks(tasks, limit_s=limit_s)

    async def _run(self, path: str) -> None:
        """Watch, again and again, until cancelled. A mistake of ours ends this one alone, and loudly."""
        backoff, loop = self._backoff(), asyncio.get_running_loop()
        try:
            while True:
                started = loop.time()
                try:
                    await self._watch(path)
                except PostbusError as error:
                    log.info("subconnection lost", path=path, reason=error.message)
                    asked_s = float(error.details.get("backoff_s") or 0.0)
                    lived_s = loop.time() - started
                    await asyncio.sleep(backoff.next_s(_fault(error), lived_s=lived_s, at_least_s=asked_s))
        except Exception:
            log.exception("subconnection failed", path=path)

    async def _watch(self, path: str) -> None:
        """Look once when it begins, as nobody knows what happened before, and at every push."""
        pushed = asyncio.Event()
        connection = await self._connect(lambda _: pushed.set())
        try:
            await connection.select(path, read_only=True)
            while True:
                pushed.clear()
                self._poke(path)
                await _wait_for_push(connection, pushed)
        finally:
            connection.abort()
            self._closed(connection)


def _fault(error: PostbusError) -> Fault:
    if isinstance(error, AuthenticationFailed):
        return Fault.REFUSED
    return Fault.DROPPED if isinstance(error, ConnectionLost | DeadlineExceeded) else Fault.AWAY


async def _wait_for_push(connection: ImapConnection, pushed: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    while not pushed.is_set():
        started = loop.time()
        await connection.idle(max_s=connection.profile.idle_s)
        if pushed.is_set():
            return
        if loop.time() - started < SHORTEST_IDLE_S:
            await asyncio.sleep(SHORTEST_IDLE_S)
        await connection.keep_alive()  # between two IDLEs, which are no sign of life for every provider
