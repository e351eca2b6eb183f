"""An account that runs in this worker: its session and its outbox, supervised, and handed over in good order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from postbus.common import ids
from postbus.common.accounts import Account
from postbus.common.bus.connection import Bus
from postbus.common.store.stats import Stats
from postbus.imap_sync.backoff import Fault
from postbus.imap_sync.connecting import Connector
from postbus.imap_sync.ending import end_tasks
from postbus.imap_sync.outbox import Outbox
from postbus.imap_sync.session import AccountSession
from postbus.imap_sync.state.live import LiveAccount
from postbus.imap_sync.state.store import AccountGone, Fenced, SyncStore
from postbus.imap_sync.tuning import Tuning

log = structlog.get_logger()


class AccountRunner:
    """One account. `ended` is called once it runs no more by itself: it is gone, or somebody else's."""

    def __init__(
        self,
        account: Account,
        epoch: int,
        store: SyncStore,
        connector: Connector,
        tuning: Tuning,
        ended: Callable[[AccountRunner], None],
    ) -> None:
        bus: Bus = connector.parts.bus
        stats: Stats = connector.parts.stats
        self._outbox = Outbox(store, bus, stats, account.token, epoch, self._on_drain)
        self._live = LiveAccount(store, account, epoch, self._outbox)
        self._tuning = tuning
        self._ended = ended
        self._drain: asyncio.Task[None] | None = None
        self._task: asyncio.Task[None] | None = None
        self.partition = ids.partition_of(account.token)
        self.revision = (str(account.generation), account.revision)
        self.session = AccountSession(self._live, connector, tuning)

    @property
    def token(self) -> str:
        """The account's token."""
        return self._live.token

    def start(self, delay_s: float = 0.0) -> None:
        """Begin, after a delay."""
        self._task = asyncio.create_task(self._run(delay_s), name=f"account {self.token}")

    async def stop(self) -> None:
        """Finish the commit that is under way, publish what is left, close. Not longer than `release_s` each."""
        await end_tasks([self._task] if self._task else [], limit_s=self._tuning.release_s)
        try:
            async with asyncio.timeout(self._tuning.release_s):
                await self._outbox.drained()
        except TimeoutError:
            log.info("events are left for the next owner", account=self.token)
        self._outbox.close()
        await end_tasks([self._drain] if self._drain else [], limit_s=self._tuning.release_s)
        self.session.close()
        await self.session.log.close()

    async def _run(self, delay_s: float) -> None:
        backoff = self._tuning.backoff()
        while True:
            try:
                await self.session.run(delay_s)
            except (Fenced, AccountGone) as error:
                log.info("account given up", account=self.token, reason=error.message)
                self._ended(self)
                return
            except Exception:
                log.exception("account session failed", account=self.token)
            delay_s = backoff.next_s(Fault.REFUSED)

    def _on_drain(self, task: asyncio.Task[None]) -> None:
        self._drain = task
        task.add_done_callback(self._after_drain)

    def _after_drain(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and isinstance(task.exception(), Fenced):
            self._ended(self)
