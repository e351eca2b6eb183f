"""Connections to the store: free ones are taken at once, others are waited for, dead ones are replaced."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.asyncio import Redis

from postbus.common.store.client import MAX_CONNECTIONS, connect_store

pytestmark = pytest.mark.anyio


@pytest.fixture
async def store(redis_url: str) -> AsyncIterator[Redis]:
    """A client as all services have it."""
    redis = connect_store(redis_url)
    yield redis
    await redis.aclose()


async def test_more_commands_than_connections_are_all_answered(store: Redis) -> None:
    answers = await asyncio.gather(*(store.echo(str(number)) for number in range(10 * MAX_CONNECTIONS)))
    assert [int(answer) for answer in answers] == list(range(10 * MAX_CONNECTIONS))
    assert len(store.connection_pool._available_connections) <= MAX_CONNECTIONS
    assert not store.connection_pool._in_use_connections


async def test_who_waits_for_a_connection_gets_the_next_one(store: Redis) -> None:
    pool: Any = store.connection_pool
    held = [await pool.get_connection() for _ in range(MAX_CONNECTIONS)]
    waiting = [asyncio.ensure_future(store.echo(str(number))) for number in range(3)]
    await asyncio.sleep(0)
    assert not any(one.done() for one in waiting)
    await pool.release(held.pop())
    assert await asyncio.gather(*waiting) == [b"0", b"1", b"2"]
    for connection in held:
        await pool.release(connection)


async def test_connections_that_the_server_dropped_are_replaced(store: Redis, redis_url: str) -> None:
    await asyncio.gather(*(store.ping() for _ in range(5)))
    other = connect_store(redis_url)
    await other.client_kill_filter(_type="normal", skipme=True)
    await other.aclose()
    assert await asyncio.gather(*(store.ping() for _ in range(5))) == [True] * 5


async def test_a_cancelled_command_leaves_its_connection_to_others(store: Redis) -> None:
    await store.ping()
    waiting = asyncio.ensure_future(store.blpop(["never"], timeout=0))
    await asyncio.sleep(0.05)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert await store.echo("still") == b"still"
    assert not store.connection_pool._in_use_connections
