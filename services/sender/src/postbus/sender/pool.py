"""Connections that wait for the next message of the same account, for a short while: servers give up after 60 s."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from postbus.common.credentials import Credentials
from postbus.sender.session import Server, Session

IDLE_TTL_S = 30.0
PAUSE_S = 5.0  # after which a connection is asked whether it is still there
MAX_MESSAGES = 100  # of one connection
MAX_IDLE_PER_LOGIN = 2
MAX_IDLE = 500
SWEEP_S = 5.0

Open = Callable[[], Awaitable[Session]]


@dataclass(frozen=True, slots=True)
class Login:
    """Whose connection it is: another password, server or address is another login."""

    token: str
    server: Server
    credentials: str

    @classmethod
    def of(cls, token: str, server: Server, credentials: Credentials | None) -> Login:
        """The key of these; secrets are in it as a digest only."""
        secret = repr(credentials and (credentials.user, credentials.password, credentials.access_token))
        return cls(token, server, hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest())


@dataclass(slots=True)
class Pool:
    """Idle sessions by login, newest last."""

    _idle: dict[Login, list[Session]] = field(default_factory=dict)

    @asynccontextmanager
    async def session(self, login: Login, open_new: Open) -> AsyncIterator[Session]:
        """A session for one message. It waits here afterwards, unless anything but a clean failure ended the block."""
        session = await self._take(login) or await open_new()
        try:
            yield session
        except asyncio.CancelledError:
            session.close()
            raise
        finally:
            self._keep(login, session)

    async def sweep(self) -> None:
        """Close what waited for too long, until cancelled; then everything."""
        try:
            while True:
                await asyncio.sleep(SWEEP_S)
                await self._quit(self._expired())
        finally:
            for session in [session for waiting in self._idle.values() for session in waiting]:
                session.close()
            self._idle.clear()

    async def _take(self, login: Login) -> Session | None:
        while waiting := self._idle.get(login):
            session = waiting.pop()
            if not waiting:
                del self._idle[login]
            quiet = asyncio.get_running_loop().time() - session.used_at
            if quiet > IDLE_TTL_S:
                session.close()
            elif session.usable and (quiet < PAUSE_S or await session.alive()):
                return session
        return None

    def _keep(self, login: Login, session: Session) -> None:
        waiting = self._idle.get(login, [])
        full = len(waiting) >= MAX_IDLE_PER_LOGIN or sum(map(len, self._idle.values())) >= MAX_IDLE
        if not session.usable or full or session.messages >= MAX_MESSAGES:
            session.close()
            return
        self._idle.setdefault(login, []).append(session)

    def _expired(self) -> list[Session]:
        now = asyncio.get_running_loop().time()
        expired: list[Session] = []
        for login, waiting in list(self._idle.items()):
            expired += [session for session in waiting if now - session.used_at > IDLE_TTL_S]
            kept = [session for session in waiting if now - session.used_at <= IDLE_TTL_S]
            if kept:
                self._idle[login] = kept
            else:
                del self._idle[login]
        return expired

    async def _quit(self, sessions: list[Session]) -> None:
        await asyncio.gather(*(session.quit() for session in sessions))
