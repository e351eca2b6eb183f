"""A webhooks service between a real bus, a real store and a real receiver."""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from postbus.common import commands, ids
from postbus.common.accounts import Account, AccountRecord
from postbus.common.bus.batch import batches, publish_events
from postbus.common.bus.streams import LANES, migrate_streams
from postbus.common.config import Config
from postbus.common.events import AccountAdded, AccountInfo, Envelope, MessageDeleted, MessageRef, seal_event
from postbus.common.service import Parts, open_parts
from postbus.common.store.accounts import new_generation
from postbus.webhooks.retries import RetrySchedule
from postbus.webhooks.service import serve
from tests.servers import NatsServer, ReceivedRequest, WebhookSink

KEY_RING = json.dumps({"active": "k1", "k1": "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="})
SOON = RetrySchedule(first=timedelta(milliseconds=40), longest=timedelta(milliseconds=160))
NEVER = RetrySchedule(first=timedelta(hours=1))
PATIENCE_S = 15.0


@dataclass
class Bench:
    """What tests work with. Accounts are known by their ids, events by the uid they tell of."""

    parts: Parts
    sink: WebhookSink
    config: Config
    accounts: dict[str, Account] = field(default_factory=dict)
    services: list[asyncio.Task[None]] = field(default_factory=list)

    def start(self, parts: Parts | None = None, schedule: RetrySchedule = SOON) -> asyncio.Task[None]:
        self.services.append(asyncio.create_task(serve(parts or self.parts, schedule=schedule)))
        return self.services[-1]

    async def stop(self, service: asyncio.Task[None]) -> None:
        service.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await service
        self.services.remove(service)

    async def account(self, name: str, **record: Any) -> Account:
        generation = new_generation()
        added = seal_event(AccountAdded(account=name, data=AccountInfo(account=name)), generation)
        assert await self.parts.accounts.create(AccountRecord(account=name, **record), {}, added, generation)
        self.accounts[name] = await self.parts.accounts.get(name)
        return self.accounts[name]

    async def change(self, name: str, **changes: Any) -> None:
        account = await self.parts.accounts.get(name)
        assert await self.parts.accounts.update(account, account.record.model_copy(update=changes), {})
        await self.parts.bus.nc.publish(commands.ACCOUNTS_CHANGED, ids.account_token(name).encode())

    async def settings(self, **changes: Any) -> None:
        await self.parts.settings_store.write(changes)
        await self.parts.settings.load()

    def event(self, name: str, uid: int) -> Envelope:
        ref = MessageRef(id=str(ids.MessageId(1, uid)), uid=uid)
        return seal_event(MessageDeleted(account=name, path="INBOX", data=ref), self.accounts[name].generation, 1, uid)

    async def publish(self, name: str, *uids: int) -> None:
        await self.publish_all([self.event(name, uid) for uid in uids])

    async def publish_all(self, events: Sequence[Envelope]) -> None:
        for batch in batches(events):
            await publish_events(self.parts.bus, batch)

    async def lane_keys(self) -> list[str]:
        bucket = await self.parts.bus.js.key_value(LANES)
        with contextlib.suppress(Exception):
            return [key for key in await bucket.keys() if not key.endswith(".position")]
        return []

    async def wait_parked(self, count: int) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while len(await self.lane_keys()) != count:
                await asyncio.sleep(0.02)

    async def received(self, count: int) -> list[ReceivedRequest]:
        return await self.sink.wait_count(count, PATIENCE_S)


def uids(requests: Sequence[ReceivedRequest], name: str | None = None) -> list[int]:
    """The uids that were posted, in the order of arrival, of one account or of all."""
    return [r.json["data"]["uid"] for r in requests if name in (None, r.json["account"])]


def repeats(requests: Sequence[ReceivedRequest]) -> int:
    """How many requests carried an event id that an earlier one had."""
    return len(requests) - len({request.headers["x-ee-wh-event-id"] for request in requests})


class WebhooksProcess:
    """The service as a process of its own, with short gaps; it dies with the test process."""

    def __init__(self, config: Config) -> None:
        self._environ = {
            "PATH": os.environ["PATH"],
            "EENGINE_REDIS": config.redis_or_default,
            "EENGINE_NATS": config.nats_or_default,
            "EENGINE_SECRET": KEY_RING,
        }
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, str(Path(__file__).with_name("run_webhooks.py"))]
        self._process = subprocess.Popen(
            command, env=self._environ, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT
        )

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()


@pytest.fixture
def webhooks_processes(webhooks_config: Config) -> Iterator[list[WebhooksProcess]]:
    """Two of them, not started."""
    processes = [WebhooksProcess(webhooks_config), WebhooksProcess(webhooks_config)]
    yield processes
    for process in processes:
        with contextlib.suppress(AssertionError):
            process.kill()


@pytest.fixture
def webhooks_config(fresh_nats: NatsServer, redis_url: str) -> Config:
    return Config(redis=redis_url, nats=fresh_nats.url, secret=KEY_RING)


@pytest.fixture
async def bench(webhooks_config: Config, webhook_sink: WebhookSink) -> AsyncIterator[Bench]:
    async with AsyncExitStack() as stack:
        parts = await open_parts(stack, "webhooks", webhooks_config)
        await migrate_streams(parts.bus)
        bench = Bench(parts, webhook_sink, webhooks_config)
        await bench.settings(webhooks=webhook_sink.url)
        yield bench
        for service in list(bench.services):
            await bench.stop(service)
