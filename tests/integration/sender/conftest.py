"""A sender at work between a real bus, a real store and a real mail server, and the owner of accounts as a stand-in."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeVar

import pytest
from nats.aio.msg import Msg

from postbus.common import ids
from postbus.common.accounts import Account, AccountRecord
from postbus.common.bus import rpc
from postbus.common.bus.queue import chunk_count, put_submission
from postbus.common.bus.streams import JOBS, SEND_CONSUMER, migrate_streams, work_consumer
from postbus.common.commands import FileMessage, FileResult
from postbus.common.config import Config
from postbus.common.events import AccountAdded, AccountInfo, Event, parse_event, seal_event
from postbus.common.jobs import Envelope, Submission
from postbus.common.service import Parts, open_parts
from postbus.common.store import keys
from postbus.common.store.accounts import new_generation
from postbus.common.store.client import as_text
from postbus.common.times import now
from postbus.sender.retry import RetryPolicy
from postbus.sender.service import Tuning, serve
from tests.mailserver import MailServer
from tests.servers import NatsServer

KEY_RING = json.dumps({"active": "k1", "k1": "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="})
SOON = RetryPolicy(first=timedelta(seconds=1), longest=timedelta(seconds=1), jitter=0)
PATIENCE_S = 15.0

T = TypeVar("T")


@dataclass
class Bench:
    """What tests work with."""

    parts: Parts
    mail: MailServer
    config: Config
    events: list[Event] = field(default_factory=list)
    filings: list[FileMessage] = field(default_factory=list)
    file_error: Exception | None = None
    handlers: dict[str, rpc.Handler] = field(default_factory=dict)
    services: list[asyncio.Task[None]] = field(default_factory=list)

    async def start(self, **tuning: Any) -> asyncio.Task[None]:
        values: dict[str, Any] = {"policy": SOON, "first_filing_gap": timedelta(seconds=1), **tuning}
        self.services.append(asyncio.create_task(serve(self.parts, Tuning(**values))))
        return self.services[-1]

    async def account(self, name: str, *, secret: dict[str, str] | None = None, **smtp: Any) -> Account:
        settings = {"host": "127.0.0.1", "port": self.mail.info["submission"], "user": f"{name}@example.test"}
        settings |= {"tls": {"reject_unauthorized": False}, **smtp}
        record = AccountRecord.model_validate({"account": name, "smtp": settings, "imap": {"host": "x", "port": 1}})
        plain = {"smtp.pass": "pass"} if secret is None else secret
        sealed = {f: self.parts.secrets.seal(value, account=name, field=f) for f, value in plain.items()}
        generation = new_generation()
        added = seal_event(AccountAdded(account=name, data=AccountInfo(account=name)), generation)
        assert await self.parts.accounts.create(record, sealed, added, generation)
        return await self.parts.accounts.get(name)

    async def submit(self, account: Account, *to: str, raw: bytes | None = None, **changes: Any) -> Submission:
        queue_id = ids.new_queue_id()
        message_id = f"<{queue_id}@example.test>"
        raw = message(message_id) if raw is None else raw
        values: dict[str, Any] = {
            "queue_id": queue_id,
            "account": account.record.account,
            "message_id": message_id,
            "envelope": Envelope(sender=f"{account.record.account}@example.test", recipients=to),
            "created": now(),
            "send_at": now(),
            "deadline": now() + timedelta(days=3),
            "size": len(raw),
            "raw_chunks": chunk_count(len(raw)),
            **changes,
        }
        submission = Submission(**values)
        await put_submission(self.parts.bus, submission, raw)
        return submission

    def events_of(self, submission: Submission) -> list[Any]:
        return [event for event in self.events if getattr(event.data, "queue_id", None) == submission.queue_id]

    async def event(self, submission: Submission, kind: str, count: int = 1) -> Any:
        """The event of this kind, the last of `count`."""

        def found() -> list[Event]:
            return [event for event in self.events_of(submission) if event.event == kind]

        await until(lambda: len(found()) >= count, f"{kind} of {submission.envelope.recipients}")
        return found()[count - 1]

    async def received(self, user: str, submission: Submission, count: int = 1) -> list[bytes]:
        """The message in a mailbox, by its Message-ID."""
        needle = submission.message_id.encode()
        found = await asyncio.to_thread(self.mail.messages, user, wait=PATIENCE_S, count=count, match=needle)
        return [raw for raw in found if needle in raw]

    async def idle(self) -> None:
        """Wait until no job is left."""
        await until_async(self._no_jobs, "an empty queue")

    async def phase(self, submission: Submission) -> str:
        key = keys.submission(ids.account_token(submission.account), submission.queue_id)
        return as_text(await self.parts.redis.hget(key, "phase") or b"")

    async def in_phase(self, submission: Submission, phase: str) -> None:
        async def there() -> bool:
            return await self.phase(submission) == phase

        await until_async(there, f"phase {phase}")

    async def _no_jobs(self) -> bool:
        return (await self.parts.bus.js.stream_info(JOBS)).state.messages == 0

    async def hand_over_after(self, ack_wait_s: float) -> None:
        """Let the bus take a job from a dead sender sooner than in the product."""
        config = work_consumer(SEND_CONSUMER, "ee.job.send.*.*")
        config.ack_wait = ack_wait_s
        await self.parts.bus.js.add_consumer(JOBS, config)

    async def on_event(self, message: Msg) -> None:
        self.events.append(parse_event(message.data))

    async def on_file(self, payload: bytes) -> bytes:
        if self.file_error is not None:
            raise self.file_error
        self.filings.append(FileMessage.model_validate_json(payload))
        return FileResult(path="Sent").model_dump_json().encode()


@pytest.fixture
async def bench(fresh_nats: NatsServer, redis_url: str, mail: MailServer) -> AsyncIterator[Bench]:
    """Everything but the sender itself, which a test starts."""
    config = Config(redis=redis_url, nats=fresh_nats.url, secret=KEY_RING)
    async with AsyncExitStack() as stack:
        parts = await open_parts(stack, "sender", config)
        await migrate_streams(parts.bus)
        made = Bench(parts, mail, config)
        await parts.bus.nc.subscribe("ee.events.>", cb=made.on_event)
        made.handlers["file"] = made.on_file
        await rpc.serve(parts.bus, "ee.rpc.*", made.handlers)
        yield made
        for service in made.services:
            service.cancel()
        results = await asyncio.gather(*made.services, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception):
                raise result


def message(message_id: str, body: bytes = b"Hello\r\n") -> bytes:
    head = f"From: a@example.test\r\nSubject: test\r\nMessage-ID: {message_id}\r\n\r\n"
    return head.encode() + body


async def until(condition: Callable[[], bool], what: str) -> None:
    async def met() -> bool:
        return condition()

    await until_async(met, what)


async def until_async(condition: Callable[[], Awaitable[bool]], what: str) -> None:
    end = time.monotonic() + PATIENCE_S
    while not await condition():
        assert time.monotonic() < end, f"in vain: {what}"
        await asyncio.sleep(0.02)
