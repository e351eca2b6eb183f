"""The connection to the store: one pool a process, scripts by hash, and errors in our own words."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, RedisError

from postbus.common.errors import Unavailable

MAX_CONNECTIONS = 32
SOCKET_TIMEOUT_S = 5.0

Value = str | bytes | int


class Script:
    """A Lua script on 6.2 commands: idempotent by construction, as a lost answer means it may run again."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._sha = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()

    async def run(self, redis: Redis, keys: Sequence[str], args: Sequence[Value] = ()) -> Any:
        """Run it; Unavailable when the store can't be reached."""
        async with store_errors():
            try:
                return await redis.evalsha(self._sha, len(keys), *keys, *args)
            except NoScriptError:
                return await redis.eval(self._source, len(keys), *keys, *args)


def connect_store(url: str) -> Redis:
    """A client on `redis://`, `rediss://` or `unix://`; nothing is sent yet. Answers are bytes."""
    pool = _Pool.from_url(
        url,
        max_connections=MAX_CONNECTIONS,
        timeout=SOCKET_TIMEOUT_S,
        socket_timeout=SOCKET_TIMEOUT_S,
        socket_connect_timeout=SOCKET_TIMEOUT_S,
        retry=Retry(ExponentialBackoff(cap=0.5, base=0.05), 3),
        retry_on_error=[RedisConnectionError],
    )
    return Redis(connection_pool=pool)


class _Pool(BlockingConnectionPool):
    """redis-py's pool, without its locks and timers where a connection is free: they were a third of every command.

    While somebody waits for one, all go redis-py's way.
    """

    _waiting = 0

    async def get_connection(self, command_name: Any = None, *keys: Any, **options: Any) -> Any:
        """A connection; ConnectionError when none gets free in time."""
        if self._waiting or self._in_maintenance or not self._available_connections:
            self._waiting += 1
            try:
                return await super().get_connection()  # type: ignore[no-untyped-call]
            finally:
                self._waiting -= 1
        connection = self.get_available_connection()  # type: ignore[no-untyped-call]
        try:
            await self.ensure_connection(connection)
        except BaseException:
            await self.release(connection)
            raise
        return connection


@asynccontextmanager
async def store_errors() -> AsyncIterator[None]:
    """Turn the client's errors into Unavailable: the store is away, loading, or refuses to write."""
    try:
        yield
    except RedisError as error:
        raise Unavailable(f"store: {error}", code="StoreUnavailable") from error


def as_text(value: object) -> str:
    """An answer of the store as text."""
    return value.decode() if isinstance(value, bytes) else str(value)


async def check_durability(redis: Redis) -> list[str]:
    """What is wrong with the store's settings for keeping state; empty where all is well or it does not tell."""
    warnings = []
    try:
        info = await redis.info("persistence")
        memory = await redis.info("memory")
    except RedisError:
        return []
    if not info.get("aof_enabled"):
        warnings.append("the store keeps no append-only file: a crash of it loses accounts and sync state")
    if memory.get("maxmemory") and memory.get("maxmemory_policy") != "noeviction":
        warnings.append(f"the store evicts keys ({memory.get('maxmemory_policy')}): set maxmemory-policy noeviction")
    return warnings
