"""What happens between an account and its mail servers, for people: lines of JSON, gathered and written in batches.

Nothing is composed while the log is off. No secret and no content of a message may get here: whoever adds a line says
what was asked and answered, never with what words.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from collections.abc import Callable

import orjson
import structlog
from redis.asyncio import Redis

from postbus.common.errors import Unavailable
from postbus.common.store.account_logs import append_log
from postbus.common.times import iso, now

log = structlog.get_logger()

FLUSH_S = 1.0  # lines are that late at most, while the store is there
RETRY_S = 5.0
MAX_WAITING = 1_000  # lines in memory; older ones are dropped, and the number of those is told
MAX_TEXT_CHARS = 300  # of one field
MAX_LINE_BYTES = 4_096
CLOSE_S = 2.0

Value = str | int | float | bool | None


class AccountLog:
    """The log of one account in one process. `max_lines` says how many lines are kept; 0 while the log is off."""

    __slots__ = ("_batch", "_dropped", "_limit", "_max_lines", "_redis", "_task", "_token", "_waiting")

    def __init__(self, redis: Redis, token: str, max_lines: Callable[[], int]) -> None:
        self._redis = redis
        self._token = token
        self._max_lines = max_lines
        self._waiting: deque[bytes] | None = None
        self._dropped = 0
        self._batch: tuple[str, list[bytes]] | None = None  # under way; it keeps its name until it is written
        self._limit = 1
        self._task: asyncio.Task[None] | None = None

    @property
    def on(self) -> bool:
        """Whether lines are wanted now."""
        return self._max_lines() > 0

    def add(self, source: str, **fields: Value) -> None:
        """Add a line, to be written soon. Fields that are None are left out, long ones cut."""
        if (limit := self._max_lines()) <= 0:
            return
        self._limit = limit
        if self._waiting is None:
            self._waiting = deque()
        if len(self._waiting) >= MAX_WAITING:
            self._waiting.popleft()
            self._dropped += 1
        self._waiting.append(compose_line(source, **fields))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._write_soon())

    async def close(self) -> None:
        """Write what is left, if that is quickly done."""
        if self._task is None:
            return
        self._task.cancel()
        await asyncio.wait([self._task], timeout=CLOSE_S)
        try:
            async with asyncio.timeout(CLOSE_S):
                await self._write()
                await self._write()  # what came while a batch was under way
        except (Unavailable, TimeoutError):
            log.debug("lines of an account log lost", account=self._token)

    async def _write_soon(self) -> None:
        pause_s = FLUSH_S
        while self._waiting or self._batch:
            await asyncio.sleep(pause_s)
            try:
                await self._write()
                pause_s = FLUSH_S
            except Unavailable as error:
                log.debug("account log not written", account=self._token, reason=error.message)
                pause_s = RETRY_S

    async def _write(self) -> None:
        """All that waits in one command; what comes meanwhile stays for the next one."""
        if self._batch is None and self._waiting:
            lines = list(self._waiting)
            if self._dropped:
                lines.insert(0, compose_line("log", dropped=self._dropped))
            self._batch = (secrets.token_hex(8), lines)
            self._waiting, self._dropped = None, 0
        if self._batch is not None:
            name, lines = self._batch
            await append_log(self._redis, self._token, name, lines, max_lines=self._limit)
            self._batch = None


def compose_line(source: str, **fields: Value) -> bytes:
    """One line of JSON, without its line break."""
    shown = {
        name: value[:MAX_TEXT_CHARS] if isinstance(value, str) else value
        for name, value in fields.items()
        if value is not None
    }
    line = _encode({"time": iso(now()), "source": source, **shown})
    if len(line) <= MAX_LINE_BYTES:
        return line
    return _encode({"time": iso(now()), "source": source, "cut": True})


def _encode(fields: dict[str, Value]) -> bytes:
    try:
        return orjson.dumps(fields)
    except TypeError:  # lone surrogates, which JSON in UTF-8 can't hold
        plain = {
            name: value.encode("utf-8", "replace").decode() if isinstance(value, str) else value
            for name, value in fields.items()
        }
        return orjson.dumps(plain)
