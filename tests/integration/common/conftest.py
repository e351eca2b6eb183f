"""The bus with its streams, and the store, for tests of what all services share."""

from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from postbus.common.bus.connection import Bus, BusAddress, connect_bus
from postbus.common.bus.streams import migrate_streams
from postbus.common.store.client import connect_store
from tests.servers import NatsServer


@pytest.fixture
async def bus(nats_url: str) -> AsyncIterator[Bus]:
    """A connection to a NATS of the test's own, streams made."""
    connection = await connect_bus(BusAddress(nats_url), service="test")
    await migrate_streams(connection)
    yield connection
    await connection.close()


@pytest.fixture
async def core_bus(nats_server: NatsServer) -> AsyncIterator[Bus]:
    """A connection to the NATS of all tests, for what needs no streams."""
    connection = await connect_bus(BusAddress(nats_server.url), service="test")
    yield connection
    await connection.close()


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    """A connection to an empty store."""
    client = connect_store(redis_url)
    yield client
    await client.aclose()
