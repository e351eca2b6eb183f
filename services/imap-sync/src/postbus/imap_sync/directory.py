"""Which accounts there are in the partitions of a worker, in one command for all of them."""

from __future__ import annotations

from collections.abc import Awaitable, Iterable, Sequence
from typing import Any, cast

from redis.asyncio import Redis

from postbus.common.store import keys
from postbus.common.store.client import as_text, store_errors

BATCH = 500  # accounts in one round trip: more would hold up the event loop


async def accounts_in(redis: Redis, partitions: Iterable[int]) -> set[str]:
    """The ids of all accounts of these partitions; all keys are in one slot."""
    names = [keys.ACCOUNT_PARTITION % partition for partition in partitions]
    if not names:
        return set()
    async with store_errors():
        found = await cast(Awaitable[set[Any]], redis.sunion(names))
    return {as_text(raw) for raw in found}


async def revisions(redis: Redis, tokens: Sequence[str]) -> list[tuple[str, int] | None]:
    """Generation and revision of each account, None for one that is gone."""
    rows: list[Any] = []
    for batch in (tokens[start : start + BATCH] for start in range(0, len(tokens), BATCH)):
        async with store_errors(), redis.pipeline(transaction=False) as pipe:
            for token in batch:
                pipe.hmget(keys.account(token), "generation", "revision")
            rows += await pipe.execute()
    return [(as_text(row[0]), int(row[1])) if row[0] and row[1] else None for row in rows]
