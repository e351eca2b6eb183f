"""Workers of imap-sync between a real bus, a real store and a real mail server, and the events they publish."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

from nats.aio.msg import Msg
from nats.js.api import DeliverPolicy

from postbus.common import commands, ids
from postbus.common.accounts import Account, AccountRecord, AccountState, MailboxRecord
from postbus.common.bus.streams import migrate_streams
from postbus.common.config import Config
from postbus.common.events import AccountAdded, AccountInfo, Event, parse_event, seal_event
from postbus.common.service import Parts, open_parts
from postbus.common.store.accounts import new_generation
from postbus.common.times import now
from postbus.imap_sync.tuning import Tuning
from postbus.imap_sync.worker import Worker
from tests.mailserver import MailServer

KEY_RING = json.dumps({"active": "k1", "k1": "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="})
PATIENCE_S = 20.0
QUICK = Tuning(poll_s=0.3, longest_poll_s=0.3, first_backoff_s=0.1, longest_backoff_s=0.5, rescan_s=0.5, release_s=2.0)


@dataclass
class Running:
    """One worker that runs in the test's event loop."""

    worker: Worker
    task: asyncio.Task[None]

    async def stop(self) -> None:
        self.task.cancel()
        done, _ = await asyncio.wait([self.task], timeout=PATIENCE_S)
        if not done:
            for t in asyncio.all_tasks():
                print("TASK", t)
                t.print_stack()
        assert done, "the worker does not stop"


@dataclass
class System:
    """What tests work with. `events` are those of the log, in order, with their ids: what is kept, not what is sent."""

    parts: Parts
    mail: MailServer
    config: Config
    tuning: Tuning = QUICK
    events: list[Event] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    running: list[Running] = field(default_factory=list)

    async def start(self, name: str = "w1", tuning: Tuning | None = None) -> Running:
        worker = Worker(replace(self.parts, worker=name), tuning or self.tuning)
        self.running.append(Running(worker, asyncio.create_task(worker.serve())))
        return self.running[-1]

    async def add(
        self,
        user: str | None = None,
        *,
        notify_from: datetime | None = None,
        password: str = "pass",
        record_of: dict[str, Any] | None = None,
        **changes: Any,
    ) -> Account:
        """Register a user of the mail server; `changes` are of the IMAP side, `record_of` of the record."""
        account = (user or f"u{uuid4().hex[:10]}@example.test").partition("@")[0]
        imap = {"host": "127.0.0.1", "port": self.mail.info["imap"], "user": f"{account}@example.test"}
        imap |= {"tls": {"reject_unauthorized": False}, **changes}
        since = notify_from or now() - timedelta(hours=1)
        fields = {"account": account, "notify_from": since, "imap": imap, **(record_of or {})}
        record = AccountRecord.model_validate(fields)
        sealed = {"imap.pass": self.parts.secrets.seal(password, account=account, field="imap.pass")}
        generation = new_generation()
        added = seal_event(AccountAdded(account=account, data=AccountInfo(account=account)), generation)
        assert await self.parts.accounts.create(record, sealed, added, generation)
        await self.changed(account)
        return await self.parts.accounts.get(account)

    async def connected(self, **options: Any) -> Account:
        account = await self.add(**options)
        await self.in_state(account, AccountState.CONNECTED)
        await self.event(account, "accountInitialized")
        return await self.parts.accounts.get(account.record.account)

    async def changed(self, account: str) -> None:
        await self.parts.bus.say(commands.ACCOUNTS_CHANGED, ids.account_token(account).encode())

    async def change(self, account: Account, **fields: Any) -> None:
        """Change the record, as the API does."""
        current = await self.parts.accounts.get(account.record.account)
        assert await self.parts.accounts.update(current, current.record.model_copy(update=fields), {})
        await self.changed(account.record.account)

    async def in_state(self, account: Account, state: AccountState) -> None:
        async def there() -> bool:
            return (await self.parts.accounts.states([account.record.account])) == [state]

        await until(there, f"{account.token} is {state}")

    def of(self, account: Account, *kinds: str) -> list[Any]:
        mine = [event for event in self.events if event.account == account.record.account]
        return [event for event in mine if not kinds or event.event in kinds]

    async def event(self, account: Account, kind: str, count: int = 1) -> Any:
        """The event of this kind, the last of `count`."""
        await until_true(lambda: len(self.of(account, kind)) >= count, f"{count} {kind}")
        return self.of(account, kind)[count - 1]

    async def mailbox(self, account: Account, path: str) -> MailboxRecord | None:
        return next((row for row in await self.parts.accounts.mailboxes(account.token) if row.path == path), None)

    async def deliver(self, account: Account, **options: Any) -> None:
        await asyncio.to_thread(self.mail.deliver, f"{account.record.account}@example.test", **options)

    async def imap(self, account: Account, act: Callable[[Any], None], mailbox: str = "INBOX") -> None:
        """Let somebody else's mail program do something."""

        def run() -> None:
            client = self.mail.imap_client(f"{account.record.account}@example.test", port=self.mail.info["imap_direct"])
            client.select(f'"{mailbox}"')
            act(client)
            client.logout()

        await asyncio.to_thread(run)

    def repeated(self) -> list[str]:
        return [event_id for event_id, count in Counter(self.ids).items() if count > 1]

    async def on_event(self, message: Msg) -> None:
        self.events.append(parse_event(message.data))
        self.ids.append((message.headers or {})["Ee-Event-Id"])


@asynccontextmanager
async def open_system(nats_url: str, redis_url: str, mail: MailServer, tuning: Tuning = QUICK) -> AsyncIterator[System]:
    config = Config(redis=redis_url, nats=nats_url, secret=KEY_RING)
    async with AsyncExitStack() as stack:
        parts = await open_parts(stack, "imap-sync", config)
        await migrate_streams(parts.bus)
        system = System(parts, mail, config, tuning)
        await parts.bus.js.subscribe(
            "ee.events.>", ordered_consumer=True, deliver_policy=DeliverPolicy.NEW, cb=system.on_event
        )
        try:
            yield system
        finally:
            for running in system.running:
                await running.stop()


async def until_true(condition: Callable[[], bool], what: str) -> None:
    async def met() -> bool:
        return condition()

    await until(met, what)


async def until(condition: Callable[[], Awaitable[bool]], what: str) -> None:
    end = time.monotonic() + PATIENCE_S
    while not await condition():
        assert time.monotonic() < end, f"in vain: {what}"
        await asyncio.sleep(0.02)
