"""Settings in the store, and the copy each service works with: told of changes at once, re-read every 10 seconds."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Awaitable, Mapping
from typing import Any, Protocol, cast

import structlog
from redis.asyncio import Redis

from postbus.common.errors import PostbusError
from postbus.common.service_settings import SEALED_SETTINGS, SECRET_SETTINGS, SETTING_NAMES, ServiceSettings
from postbus.common.store import keys
from postbus.common.store.client import as_text, store_errors

log = structlog.get_logger()

REREAD_S = 10.0
_SECRET_BYTES = 16


class Sealer(Protocol):
    """What seals and opens the secret ones: `postbus.common.secrets.Secrets`."""

    def seal(self, plain: str, *, account: str, field: str) -> str:
        """Seal one."""

    async def open(self, sealed: str, *, account: str, field: str) -> str:
        """Open one."""


class SettingsStore:
    """Reads and writes the settings: one hash, a JSON value a key."""

    def __init__(self, redis: Redis, sealer: Sealer) -> None:
        self._redis = redis
        self._sealer = sealer

    async def read(self) -> ServiceSettings:
        """All settings, secrets opened."""
        async with store_errors():
            rows = await cast(Awaitable[dict[Any, Any]], self._redis.hgetall(keys.SETTINGS))
        values = {as_text(name): json.loads(as_text(raw)) for name, raw in rows.items()}
        known = {name: value for name, value in values.items() if name in SETTING_NAMES}
        for name in SEALED_SETTINGS & {name for name, value in known.items() if value}:
            known[name] = await self._sealer.open(known[name], account="", field=name)
        return ServiceSettings.model_validate(known)

    async def write(self, changes: Mapping[str, Any]) -> None:
        """Store these, by their public names and already validated; None unsets one, a blank secret is no change."""
        stored = {name: value for name, value in changes.items() if not _says_nothing(name, value)}
        for name in SEALED_SETTINGS & {name for name, value in stored.items() if value}:
            stored[name] = self._sealer.seal(stored[name], account="", field=name)
        gone = [name for name, value in stored.items() if value is None]
        kept: dict[Any, Any] = {name: json.dumps(value) for name, value in stored.items() if value is not None}
        async with store_errors(), self._redis.pipeline(transaction=True) as pipe:
            if gone:
                pipe.hdel(keys.SETTINGS, *gone)
            if kept:
                pipe.hset(keys.SETTINGS, mapping=kept)
            await pipe.execute()

    async def ensure_service_secret(self) -> None:
        """Make the key of webhook signatures at the first start; the first of several replicas wins."""
        sealed = self._sealer.seal(secrets.token_hex(_SECRET_BYTES), account="", field="serviceSecret")
        async with store_errors():
            await self._redis.hsetnx(keys.SETTINGS, "serviceSecret", json.dumps(sealed))


def _says_nothing(name: str, value: Any) -> bool:
    """A blank secret is no change; the key of signatures is always there."""
    return name in SECRET_SETTINGS and (value == "" or (value is None and name == "serviceSecret"))


class SettingsCache:
    """The copy a service works with. `run` keeps it current; `poke` is called when somebody says they changed."""

    def __init__(self, store: SettingsStore) -> None:
        self._store = store
        self._poked = asyncio.Event()
        self.current = ServiceSettings()

    async def load(self) -> ServiceSettings:
        """Read them now."""
        self.current = await self._store.read()
        return self.current

    def poke(self) -> None:
        """Read them again, soon."""
        self._poked.set()

    async def run(self) -> None:
        """Keep the copy current until cancelled; the last good one stays while the store is away."""
        while True:
            try:
                async with asyncio.timeout(REREAD_S):
                    await self._poked.wait()
            except TimeoutError:
                pass
            self._poked.clear()
            try:
                await self.load()
            except PostbusError as error:
                log.warning("settings could not be read", error=str(error))
