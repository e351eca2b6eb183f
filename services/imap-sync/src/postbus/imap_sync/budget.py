"""How many connections there are beside the main one of each account: of one account, and of all at one host.

Providers count them (Gmail: 15 to an account), and the user's own programs need some, too. Who finds none left takes
one that is kept warm by somebody else, or waits for his turn.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from postbus.imap_sync.connection import ImapConnection

GiveUp = Callable[[], None]


@dataclass(slots=True, eq=False)
class _Waiter:
    leaving: int
    turn: asyncio.Future[None]


class Slots:
    """At most `limit` connections at a time."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._waiting: list[_Waiter] = []  # every account has this, and a deque takes 600 bytes
        self._spare: dict[object, GiveUp] = {}  # connections that nobody uses, the one unused for longest first
        self.used = 0

    @property
    def limit(self) -> int:
        """How many there may be; where there are more, none is closed for it, but none is opened."""
        return self._limit

    @limit.setter
    def limit(self, limit: int) -> None:
        self._limit = limit
        self._serve()

    @property
    def crowded(self) -> bool:
        """Whether somebody waits."""
        return bool(self._waiting)

    async def take(self, *, leaving: int = 0) -> None:
        """One more, as soon as there is room for it and, once all that are warm are closed, for `leaving` others."""
        waiter = _Waiter(leaving, asyncio.get_running_loop().create_future())
        self._waiting.append(waiter)
        self._serve()
        try:
            await waiter.turn
        except asyncio.CancelledError:
            if waiter.turn.done() and not waiter.turn.cancelled():
                self.give()
            elif waiter in self._waiting:
                self._waiting.remove(waiter)
                self._serve()
            raise

    def give(self) -> None:
        """One is closed."""
        self.used -= 1
        self._serve()

    def offer(self, key: object, give_up: GiveUp) -> None:
        """A connection is kept warm; `give_up` closes it for somebody who has none."""
        self._spare[key] = give_up
        self._serve()

    def withdraw(self, key: object) -> None:
        """It is in use again, or closed."""
        self._spare.pop(key, None)

    def _serve(self) -> None:
        """Let in who fits, in the order they came; who wants to leave room for others lets those pass."""
        for waiter in list(self._waiting):
            if self.used - len(self._spare) + waiter.leaving >= self._limit:
                continue
            if self.used >= self._limit:
                self._reclaim()
                return
            self._waiting.remove(waiter)
            if not waiter.turn.done():
                self.used += 1
                waiter.turn.set_result(None)

    def _reclaim(self) -> None:
        """Close the one that was unused for longest; its place is given once it is closed."""
        if self._spare:
            self._spare.pop(next(iter(self._spare)))()


class Budget:
    """The connections of one account beside the main one, within its own limit and that of its host."""

    def __init__(self, account: Slots, host: Slots) -> None:
        self.account = account
        self._host = host
        self._open: set[ImapConnection] = set()
        self._watching: set[ImapConnection] = set()

    async def open(self, connect: Callable[[], Awaitable[ImapConnection]], *, spares_last: bool) -> ImapConnection:
        """Connect once there is room. `spares_last` leaves the last place, and a quarter of the host, to others."""
        await self.account.take(leaving=1 if spares_last else 0)
        try:
            await self._host.take(leaving=self._host.limit // 4 if spares_last else 0)
            try:
                connection = await connect()
            except BaseException:
                self._host.give()
                raise
        except BaseException:
            self.account.give()
            raise
        self._open.add(connection)
        return connection

    async def open_watching(self, connect: Callable[[], Awaitable[ImapConnection]]) -> ImapConnection:
        """Connect for a subconnection: those stay, so they leave half of the host's places to commands and downloads.

        Their places in the account are set aside: its limit is without them.
        """
        await self._host.take(leaving=self._host.limit // 2)
        try:
            connection = await connect()
        except BaseException:
            self._host.give()
            raise
        self._watching.add(connection)
        return connection

    def closed(self, connection: ImapConnection) -> None:
        """It is closed; to say so twice is no mistake."""
        if connection in self._watching:
            self._watching.remove(connection)
            self._host.give()
        if connection in self._open:
            self._open.remove(connection)
            self.withdraw(connection)
            self._host.give()
            self.account.give()

    def offer(self, connection: ImapConnection, give_up: GiveUp) -> None:
        """It is kept warm."""
        self.account.offer(connection, give_up)
        self._host.offer(connection, give_up)

    def withdraw(self, connection: ImapConnection) -> None:
        """It is in use again."""
        self.account.withdraw(connection)
        self._host.withdraw(connection)
