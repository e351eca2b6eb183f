"""What is done once before services start: streams as this version wants them, and the prepared settings."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

import structlog
from redis.asyncio import Redis

from postbus.common.bus.connection import Bus, BusAddress, connect_bus
from postbus.common.bus.streams import migrate_streams
from postbus.common.commands import SETTINGS_CHANGED
from postbus.common.config import Config
from postbus.common.errors import Unavailable
from postbus.common.secrets import Secrets, choose_provider
from postbus.common.service import SaltStore
from postbus.common.service_settings import SEALED_SETTINGS
from postbus.common.store.client import connect_store
from postbus.common.store.settings import SettingsStore

log = structlog.get_logger()

RETRY_S = 0.1
KEYS_TIMEOUT_S = 30.0

T = TypeVar("T")


async def prepare(config: Config, settings: Mapping[str, Any], *, replicas: int = 1) -> None:
    """Migrate the streams and write the settings; waits while bus or store are away.

    Unavailable where the bus is too old or refuses, or no key for a secret setting can be had.
    """
    address = BusAddress(config.nats_or_default, config.nats_ca_file, config.nats_credentials_file)
    bus = await _patiently("bus", lambda: connect_bus(address, service="postbus"))
    redis = connect_store(config.redis_or_default)
    try:
        await migrate_streams(bus, replicas=replicas)
        if settings:
            await _write_settings(config, bus, redis, settings)
    finally:
        await redis.aclose()
        await bus.close()


async def _write_settings(config: Config, bus: Bus, redis: Redis, settings: Mapping[str, Any]) -> None:
    secrets = await Secrets.start(choose_provider(config, SaltStore(redis)))
    try:
        if SEALED_SETTINGS & settings.keys():
            await _wait_for_keys(secrets)
        await _patiently("store", lambda: SettingsStore(redis, secrets).write(settings))
    finally:
        await secrets.close()
    await bus.say(SETTINGS_CHANGED)
    log.info("prepared settings written", names=sorted(settings))


async def _wait_for_keys(secrets: Secrets) -> None:
    try:
        async with asyncio.timeout(KEYS_TIMEOUT_S):
            await secrets.wait_for_keys()
    except TimeoutError as error:
        raise Unavailable(f"prepared settings hold a secret, and {secrets.description}") from error


async def _patiently(what: str, action: Callable[[], Awaitable[T]]) -> T:
    """Try until it works, and say once that we wait."""
    told = False
    while True:
        try:
            return await action()
        except Unavailable as error:
            if not told:
                log.warning("waiting", for_=what, reason=error.message)
                told = True
            await asyncio.sleep(RETRY_S)
