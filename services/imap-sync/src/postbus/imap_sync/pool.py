"""Connections for commands and downloads: few per account, kept warm for some seconds, never the watching one.

All of an account share its budget: one that is warm in one pool makes room for who needs one in the other.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import structlog

from postbus.common.errors import (
    CommandRefused,
    ConnectFailed,
    ConnectionLost,
    DeadlineExceeded,
    PostbusError,
    ProtocolError,
)
from postbus.imap_sync.budget import Budget
from postbus.imap_sync.connection import ImapConnection

log = structlog.get_logger()

FRESH_S = 0.1  # what a connection knew so long ago is current enough

Open = Callable[[], Awaitable[ImapConnection]]


@dataclass(slots=True, eq=False)
class _Warm:
    connection: ImapConnection
    used_at: float
    timer: asyncio.TimerHandle | None = None
    stale: bool = False


class ConnectionPool:
    """At most `limit` connections at a time; who asks for more waits within his deadline."""

    def __init__(
        self, open_connection: Open, budget: Budget, *, limit: int, warm_s: float, spares_last: bool = False
    ) -> None:
        """`spares_last`: never take the last place of the budget."""
        self._open = open_connection
        self._budget = budget
        self._spares_last = spares_last
        self._warm_s = warm_s
        self._room = asyncio.Semaphore(limit)
        self._idle: list[_Warm] = []
        self._closing: set[asyncio.Task[None]] = set()
        self._closed = False

    @asynccontextmanager
    async def lease(self, path: str | None, *, read_only: bool, deadline_s: float) -> AsyncIterator[ImapConnection]:
        """A connection with `path` selected. DeadlineExceeded when none gets free; errors of connecting.

        One that broke in the hands of its user, or that he left in the middle of something, is not used again.
        """
        loop = asyncio.get_running_loop()
        end = loop.time() + deadline_s
        try:
            async with asyncio.timeout_at(end):
                await self._room.acquire()
        except TimeoutError as error:
            raise DeadlineExceeded("Timeout") from error
        try:
            try:
                async with asyncio.timeout_at(end):
                    connection = await self._ready(path, read_only=read_only)
            except TimeoutError as error:
                raise DeadlineExceeded("Timeout") from error
            try:
                yield connection
            except (PostbusError, GeneratorExit):
                self._put_back(connection)
                raise
            except BaseException:
                self._drop(connection)  # cancelled or a mistake of ours: nobody knows what it is in the middle of
                raise
            self._put_back(connection)
        finally:
            self._room.release()

    def expire(self) -> None:
        """Something changed on the server: what idle connections know of their mailbox is old."""
        for warm in self._idle:
            warm.stale = True

    def close(self) -> None:
        """Close all; those in use close when they come back."""
        self._closed = True
        for warm in list(self._idle):
            self._retire(warm)

    async def _ready(self, path: str | None, *, read_only: bool) -> ImapConnection:
        """A warm one that is alive, or a new one, with the mailbox selected."""
        while (warm := self._take(path, read_only=read_only)) is not None:
            try:
                await self._prepare(warm.connection, path, read_only=read_only, fresh=self._is_fresh(warm))
                return warm.connection
            except (ConnectionLost, ProtocolError, DeadlineExceeded):
                self._drop(warm.connection)
            except CommandRefused:
                self._put_back(warm.connection)
                raise
            except BaseException:
                self._drop(warm.connection)
                raise
        connection = await self._budget.open(self._open, spares_last=self._spares_last)
        try:
            await self._prepare(connection, path, read_only=read_only, fresh=True)
        except CommandRefused:
            self._put_back(connection)
            raise
        except ConnectionLost as error:
            self._drop(connection)
            raise ConnectFailed(error.message, code=error.code) from error
        except BaseException:
            self._drop(connection)
            raise
        return connection

    async def _prepare(self, connection: ImapConnection, path: str | None, *, read_only: bool, fresh: bool) -> None:
        selected = connection.selected
        if path is None or (selected and selected.path == path and (read_only or not selected.read_only)):
            if not fresh:
                await connection.noop()
            return
        await connection.select(path, read_only=read_only)

    def _take(self, path: str | None, *, read_only: bool) -> _Warm | None:
        """The idle one that fits best: with the mailbox selected as it is needed, else the one used last."""
        for warm in [warm for warm in self._idle if warm.connection.closed]:
            self._forget(warm)
            self._drop(warm.connection)
        if not self._idle:
            return None

        def fits(warm: _Warm) -> tuple[bool, float]:
            selected = warm.connection.selected
            same = bool(selected and selected.path == path and (read_only or not selected.read_only))
            return same, warm.used_at

        best = max(self._idle, key=fits)
        self._forget(best)
        return best

    def _is_fresh(self, warm: _Warm) -> bool:
        return not warm.stale and asyncio.get_running_loop().time() - warm.used_at < FRESH_S

    def _put_back(self, connection: ImapConnection) -> None:
        if connection.closed:
            self._drop(connection)
            return
        loop = asyncio.get_running_loop()
        warm = _Warm(connection, loop.time())
        self._idle.append(warm)
        if self._closed:
            self._retire(warm)
            return
        warm.timer = loop.call_later(self._warm_s, self._retire, warm)
        self._budget.offer(connection, lambda: self._retire(warm))

    def _forget(self, warm: _Warm) -> None:
        """It is not idle any more."""
        self._idle.remove(warm)
        self._budget.withdraw(warm.connection)
        if warm.timer is not None:
            warm.timer.cancel()

    def _retire(self, warm: _Warm) -> None:
        """Log out in the background."""
        if warm not in self._idle:
            return
        self._forget(warm)
        task = asyncio.ensure_future(self._log_out(warm.connection))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def _log_out(self, connection: ImapConnection) -> None:
        try:
            await connection.logout()
        finally:
            self._drop(connection)

    def _drop(self, connection: ImapConnection) -> None:
        connection.abort()
        self._budget.closed(connection)
