"""How every service runs: configuration, logs, connections, then its own work until SIGTERM or SIGINT.

A service is `async def serve(parts)`: it runs until it is cancelled and cleans up then. Anything it raises ends the
process loudly; the supervisor or the orchestrator starts it again.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import structlog
import uvloop
from redis.asyncio import Redis

from postbus.common import commands, metrics
from postbus.common.bus.connection import Bus, BusAddress, connect_bus
from postbus.common.config import Config, ConfigError, load_config
from postbus.common.errors import Unavailable
from postbus.common.logs import configure_logs
from postbus.common.secrets import Secrets, choose_provider
from postbus.common.store.accounts import AccountStore
from postbus.common.store.client import as_text, connect_store, store_errors
from postbus.common.store.keys import KEYS
from postbus.common.store.settings import SettingsCache, SettingsStore
from postbus.common.store.stats import Stats
from postbus.common.telemetry import close_telemetry, configure_telemetry
from postbus.common.wait_for import install_wait_for

if TYPE_CHECKING:
    from nats.aio.msg import Msg

log = structlog.get_logger()

START_RETRY_S = 0.25
SALT_BYTES = 16


@dataclass(slots=True)
class Parts:
    """What a service works with. `worker` names this process among its like."""

    service: str
    worker: str
    config: Config
    bus: Bus
    redis: Redis
    accounts: AccountStore
    secrets: Secrets
    settings_store: SettingsStore
    settings: SettingsCache
    stats: Stats


Serve = Callable[[Parts], Awaitable[None]]
T = TypeVar("T")


class SaltStore:
    """The salt of a passphrase, drawn once and kept in the store, so that all replicas derive the same key."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def salt(self) -> bytes:
        """The salt; the first to ask draws it."""
        async with store_errors():
            await self._redis.hsetnx(KEYS, "salt", os.urandom(SALT_BYTES).hex())
            return bytes.fromhex(as_text(await self._redis.hget(KEYS, "salt") or b""))


def run_service(service: str, serve: Serve) -> None:
    """The `main` of every service: read the configuration, run until told to stop. Exit 1 on bad configuration."""
    try:
        config = load_config(sys.argv[1:], os.environ, Path.cwd())
    except ConfigError as error:
        sys.exit(str(error))
    run_configured(service, serve, config)


def run_configured(service: str, serve: Serve, config: Config) -> None:
    """Run a service with a configuration that was read before (the supervisor forks into this)."""
    install_wait_for()
    configure_logs(config.log_level, service=service)
    configure_telemetry(service, config.otlp_endpoint)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_run(service, serve, config))
    except ConfigError as error:  # what only shows at work: no secret to encrypt with
        sys.exit(str(error))
    finally:
        close_telemetry()


async def open_parts(stack: AsyncExitStack, service: str, config: Config) -> Parts:
    """Connect to the bus and the store and load the keys; waits, and says so, while one of them is away."""
    redis = connect_store(config.redis_or_default)
    stack.push_async_callback(redis.aclose)
    address = BusAddress(config.nats_or_default, config.nats_ca_file, config.nats_credentials_file)
    bus = await _patiently(lambda: connect_bus(address, service=service))
    stack.push_async_callback(bus.close)
    secrets = await Secrets.start(choose_provider(config, SaltStore(redis)), retry=True)
    stack.push_async_callback(secrets.close)
    settings_store = SettingsStore(redis, secrets)
    settings = SettingsCache(settings_store)
    await _patiently(settings_store.ensure_service_secret)
    await _patiently(settings.load)
    worker = f"{socket.gethostname()}-{os.getpid()}"
    stats = Stats(redis)
    stack.push_async_callback(stats.flush)
    return Parts(service, worker, config, bus, redis, AccountStore(redis), secrets, settings_store, settings, stats)


async def _run(service: str, serve: Serve, config: Config) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    async with AsyncExitStack() as stack:
        opening = asyncio.create_task(open_parts(stack, service, config))
        stopping = asyncio.create_task(stopped.wait())
        await asyncio.wait([opening, stopping], return_when=asyncio.FIRST_COMPLETED)
        if stopped.is_set():
            opening.cancel()
            return
        await _serve_until(stopping, opening.result(), serve)


async def _serve_until(stopping: asyncio.Task[bool], parts: Parts, serve: Serve) -> None:
    async def on_settings(_: Msg) -> None:
        parts.settings.poke()

    async def on_metrics(message: Msg) -> None:
        await message.respond(metrics.render_local())

    await parts.bus.nc.subscribe(commands.SETTINGS_CHANGED, cb=on_settings)
    await parts.bus.nc.subscribe(commands.METRICS_WANTED, cb=on_metrics)
    log.info("service ready", worker=parts.worker)
    working = asyncio.ensure_future(serve(parts))
    beside = [asyncio.create_task(run) for run in (parts.settings.run(), parts.stats.run(), parts.bus.keep())]
    try:
        await asyncio.wait([stopping, working, *beside], return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (working, *beside):
            task.cancel()
        results = await asyncio.gather(working, *beside, return_exceptions=True)
    for result in results:
        if isinstance(result, Exception):
            raise result
    log.info("service stopped")


async def _patiently(action: Callable[[], Awaitable[T]]) -> T:
    """Try until it works: at start the others may be later than we are."""
    told = False
    while True:
        try:
            return await action()
        except Unavailable as error:
            if not told:
                log.warning("waiting", reason=error.message)
                told = True
            await asyncio.sleep(START_RETRY_S)
