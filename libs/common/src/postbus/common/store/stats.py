"""Counters of what happened, by minute, for `GET /v1/stats`: counted in memory, added to the store once a second."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import structlog
from redis.asyncio import Redis

from postbus.common.errors import Unavailable
from postbus.common.store import keys
from postbus.common.store.client import as_text, store_errors

log = structlog.get_logger()

FLUSH_EVERY_S = 1.0
KEPT_DAYS = 8
MAX_SECONDS = 7 * 86_400


class Stats:
    """The counters of this process. A crash loses a second of them: they are figures, not events."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._counts: Counter[str] = Counter()

    def add(self, name: str, count: int = 1) -> None:
        """Count something: `events:messageNew`, `webhooks:success`."""
        self._counts[name] += count

    async def run(self) -> None:
        """Add to the store once a second, until cancelled."""
        while True:
            await asyncio.sleep(FLUSH_EVERY_S)
            await self.flush()

    async def flush(self) -> None:
        """Add to the store now; what can't be added is kept for the next time."""
        if not self._counts:
            return
        counts, self._counts = self._counts, Counter()
        now = datetime.now(UTC)
        key = keys.STATS % f"{now:%Y%m%d}"
        minute = now.hour * 60 + now.minute
        try:
            async with store_errors(), self._redis.pipeline(transaction=False) as pipe:
                for name, count in counts.items():
                    pipe.hincrby(key, f"{minute}:{name}", count)
                pipe.expire(key, KEPT_DAYS * 86_400)
                await pipe.execute()
        except Unavailable as error:
            self._counts.update(counts)
            log.debug("statistics not stored", error=error.message)


async def read_stats(redis: Redis, seconds: int) -> dict[str, int]:
    """The sums over the last `seconds` (at most 7 days, in whole minutes), by name; Unavailable without the store."""
    until = int(time.time()) // 60
    since = until - (min(seconds, MAX_SECONDS) + 59) // 60
    totals: Counter[str] = Counter()
    first = datetime.fromtimestamp(since * 60, UTC)
    day = datetime(first.year, first.month, first.day, tzinfo=UTC)
    while int(day.timestamp()) // 60 <= until:
        async with store_errors():
            row = await cast(Awaitable[dict[Any, Any]], redis.hgetall(keys.STATS % f"{day:%Y%m%d}"))
        start = int(day.timestamp()) // 60
        for field, count in row.items():
            minute, _, name = as_text(field).partition(":")
            if since <= start + int(minute) <= until:
                totals[name] += int(count)
        day += timedelta(days=1)
    return dict(totals)
