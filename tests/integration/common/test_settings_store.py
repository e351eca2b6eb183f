"""Settings in the store: secrets sealed, the copy of each service kept current, and the last good one kept."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import timedelta

import pytest
from redis.asyncio import Redis

from postbus.common.config import load_config
from postbus.common.errors import Unavailable
from postbus.common.secrets import Secrets, choose_provider
from postbus.common.secrets.keyring import compose_ring
from postbus.common.service import SaltStore
from postbus.common.service_settings import ServiceSettings
from postbus.common.store import keys, settings
from postbus.common.store.client import connect_store
from postbus.common.store.settings import SettingsCache, SettingsStore
from postbus.common.store.stats import Stats, read_stats
from tests.servers import ValkeyServer

pytestmark = pytest.mark.anyio

RING = compose_ring({"k1": bytes(32)}, "k1")


@pytest.fixture
async def secrets(redis: Redis, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Secrets]:
    config = load_config([], {"EENGINE_SECRET": RING}, tmp_path_factory.mktemp("config"))
    loaded = await Secrets.start(choose_provider(config, SaltStore(redis)), refresh_every=timedelta(hours=1))
    yield loaded
    await loaded.close()


@pytest.fixture
def store(redis: Redis, secrets: Secrets) -> SettingsStore:
    return SettingsStore(redis, secrets)


async def test_settings_read_back_by_their_public_names(store: SettingsStore) -> None:
    await store.write({"webhooks": "http://localhost/", "webhookEvents": ["messageNew"], "notifyText": False})
    read = await store.read()
    assert (read.webhooks, read.webhook_events, read.notify_text) == ("http://localhost/", ["messageNew"], False)
    await store.write({"webhooks": None, "notifyTextSize": 10})
    read = await store.read()
    assert (read.webhooks, read.notify_text_size, read.notify_text) == (None, 10, False)


async def test_nothing_to_change_is_no_change(store: SettingsStore) -> None:
    await store.write({})
    assert await store.read() == ServiceSettings()


async def test_secrets_lie_sealed_and_a_blank_one_changes_nothing(store: SettingsStore, redis: Redis) -> None:
    await store.write({"serviceSecret": "geheim"})
    stored = await redis.hget(keys.SETTINGS, "serviceSecret")
    assert stored is not None
    assert b"v1:k1:" in bytes(stored)  # type: ignore[arg-type]
    assert b"geheim" not in bytes(stored)  # type: ignore[arg-type]
    await store.write({"serviceSecret": ""})
    assert (await store.read()).service_secret == "geheim"


async def test_the_service_secret_is_made_once_for_all_replicas(store: SettingsStore) -> None:
    await asyncio.gather(*(store.ensure_service_secret() for _ in range(10)))
    first = (await store.read()).service_secret
    assert first is not None
    assert len(first) == 32
    await store.ensure_service_secret()
    assert (await store.read()).service_secret == first


async def test_settings_of_a_newer_version_are_left_alone(store: SettingsStore, redis: Redis) -> None:
    await redis.hset(keys.SETTINGS, "notKnownYet", '{"a":1}')
    await store.write({"notifyText": True})
    assert (await store.read()).notify_text is True
    assert await redis.hexists(keys.SETTINGS, "notKnownYet")


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.01)


async def test_a_copy_follows_when_it_is_told_and_by_itself(
    store: SettingsStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = SettingsCache(store)
    await cache.load()
    running = asyncio.create_task(cache.run())
    await store.write({"notifyTextSize": 1})
    cache.poke()
    await until(lambda: cache.current.notify_text_size == 1)
    running.cancel()
    monkeypatch.setattr(settings, "REREAD_S", 0.05)
    running = asyncio.create_task(cache.run())
    await store.write({"notifyTextSize": 2})
    await until(lambda: cache.current.notify_text_size == 2)
    running.cancel()


async def test_the_last_good_copy_stays_while_the_store_is_away(
    secrets: Secrets, fresh_valkey: ValkeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "REREAD_S", 0.05)
    client = connect_store(fresh_valkey.url)
    store = SettingsStore(client, secrets)
    await store.write({"notifyTextSize": 1})
    cache = SettingsCache(store)
    await cache.load()
    running = asyncio.create_task(cache.run())
    fresh_valkey.kill()
    with pytest.raises(Unavailable):
        await store.read()
    assert cache.current.notify_text_size == 1
    assert not running.done()
    fresh_valkey.start()
    await store.write({"notifyTextSize": 2})
    await until(lambda: cache.current.notify_text_size == 2)
    running.cancel()
    await client.aclose()


async def test_counters_of_all_processes_add_up_and_survive_a_store_that_is_away(fresh_valkey: ValkeyServer) -> None:
    client = connect_store(fresh_valkey.url)
    first, second = Stats(client), Stats(client)
    first.add("events:messageNew", 3)
    second.add("events:messageNew")
    second.add("webhooks:success", 2)
    await first.flush()
    fresh_valkey.kill()
    await second.flush()
    fresh_valkey.start()
    await second.flush()
    await second.flush()
    assert await read_stats(client, 60) == {"events:messageNew": 4, "webhooks:success": 2}
    await client.aclose()
