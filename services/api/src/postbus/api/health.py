"""Whether this installation can work: store, bus, keys, somebody who syncs. What is odd about it is a warning."""

from __future__ import annotations

import asyncio
import ipaddress
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import nats.errors

from postbus.common.config import Config
from postbus.common.errors import PostbusError
from postbus.common.secrets import SecretsState
from postbus.common.service import Parts
from postbus.common.store import keys
from postbus.common.store.client import check_durability, store_errors

CHECK_TIMEOUT_S = 3.0
PROBE_LIFE_MS = 10_000
DURABILITY_EVERY_S = 60.0
SYNC_PLACEMENT = "imap-sync"


@dataclass(slots=True)
class HealthReport:
    """What is missing, and what should be looked at."""

    reasons: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


@dataclass(slots=True)
class HealthChecks:
    """The checks, with what they remember from one request to the next."""

    parts: Parts
    _durability: list[str] = field(default_factory=list)
    _durability_at: float = field(default=float("-inf"))

    async def report(self) -> HealthReport:
        """Run all checks at once; each has a limit of its own."""
        report = HealthReport()
        checks: dict[str, Callable[[], Awaitable[str | None]]] = {
            "store": self._store,
            "bus": self._bus,
            "sync workers": self._workers,
        }
        results = await asyncio.gather(*(_limited(name, check) for name, check in checks.items()))
        report.reasons += [reason for reason in results if reason]
        secrets_state = self.parts.secrets
        if not secrets_state.usable:
            report.reasons.append(f"secrets: {secrets_state.description}")
        elif secrets_state.state is not SecretsState.READY:
            report.warnings.append(f"secrets: {secrets_state.description}")
        if not results[0]:
            report.warnings += await self._durability_warnings()
        if open_to_all(self.parts.config):
            report.warnings.append(open_warning(self.parts.config))
        return report

    async def _store(self) -> str | None:
        """Write, read and delete."""
        key = f"ee:{{health}}:{secrets.token_hex(8)}"
        async with store_errors(), self.parts.redis.pipeline(transaction=False) as pipe:
            pipe.set(key, b"1", px=PROBE_LIFE_MS)
            pipe.get(key)
            pipe.delete(key)
            _, value, deleted = await pipe.execute()
        return None if value == b"1" and deleted == 1 else "the store does not keep what is written"

    async def _bus(self) -> str | None:
        if not self.parts.bus.connected:
            return "bus: not connected"
        await self.parts.bus.nc.flush(timeout=int(CHECK_TIMEOUT_S))
        return None

    async def _workers(self) -> str | None:
        members, _ = keys.placement(SYNC_PLACEMENT)
        async with store_errors(), self.parts.redis.pipeline(transaction=False) as pipe:
            pipe.time()
            pipe.zrange(members, -1, -1, withscores=True)
            (seconds, micros), latest = await pipe.execute()
        if not latest or latest[0][1] < seconds * 1000 + micros // 1000:
            return "no imap-sync worker is running"
        return None

    async def _durability_warnings(self) -> list[str]:
        if time.monotonic() - self._durability_at > DURABILITY_EVERY_S:
            self._durability = await check_durability(self.parts.redis)
            self._durability_at = time.monotonic()
        return self._durability


def open_to_all(config: Config) -> bool:
    """Whether anybody in the network can use the API."""
    return config.auth is None and not is_loopback(config.host)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach what listens there."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def open_warning(config: Config) -> str:
    """The warning for the log and for health."""
    return (
        f"the API listens on {config.host} and asks nobody for a password: whoever reaches port {config.port} can read "
        "and send mail. Set EENGINE_AUTH, or listen on 127.0.0.1 (EENGINE_HOST)"
    )


async def _limited(name: str, check: Callable[[], Awaitable[str | None]]) -> str | None:
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_S):
            return await check()
    except TimeoutError:
        return f"{name}: no answer within {CHECK_TIMEOUT_S:.0f} s"
    except PostbusError as error:
        return error.message
    except nats.errors.Error as error:
        return f"bus: {error or type(error).__name__}"
