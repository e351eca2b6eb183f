"""The global proxy in the store: its URL, which may hold a password, lies sealed."""

import pytest
from redis.asyncio import Redis

from postbus.common.config import load_config
from postbus.common.secrets import Secrets, choose_provider
from postbus.common.secrets.keyring import compose_ring
from postbus.common.service import SaltStore
from postbus.common.store import keys
from postbus.common.store.settings import SettingsStore

pytestmark = pytest.mark.anyio

URL = "socks5://anna:s3cret@proxy.test:1080"


async def test_the_proxy_url_lies_sealed_and_an_empty_one_is_none(
    redis: Redis, tmp_path_factory: pytest.TempPathFactory
) -> None:
    environ = {"EENGINE_SECRET": compose_ring({"k1": bytes(32)}, "k1")}
    config = load_config([], environ, tmp_path_factory.mktemp("config"))
    secrets = await Secrets.start(choose_provider(config, SaltStore(redis)))
    try:
        store = SettingsStore(redis, secrets)
        await store.write({"proxyUrl": URL, "proxyEnabled": True})
        stored = str(await redis.hgetall(keys.SETTINGS))
        assert "v1:k1:" in stored and "s3cret" not in stored and "proxy.test" not in stored
        assert (await store.read()).effective_proxy == URL
        for nothing in ("", None):
            await store.write({"proxyUrl": nothing})
            assert (await store.read()).effective_proxy is None
    finally:
        await secrets.close()
