"""One worker: the partitions it holds, the accounts in them, and the commands for those accounts.

What the store says about accounts is the truth, read again every half minute; messages on the bus only make it sooner.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import nats.errors
import structlog
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from postbus.common import commands, ids
from postbus.common.accounts import Account
from postbus.common.bus import rpc
from postbus.common.errors import NotFound, Unavailable
from postbus.common.placement import Placement
from postbus.common.service import Parts
from postbus.imap_sync.connecting import Connector
from postbus.imap_sync.directory import accounts_in, revisions
from postbus.imap_sync.dispatch import Dispatcher
from postbus.imap_sync.ending import end_tasks
from postbus.imap_sync.runner import AccountRunner
from postbus.imap_sync.session import AccountSession
from postbus.imap_sync.state.flush import flush_account
from postbus.imap_sync.state.flush_lock import LEASE_S, give_flush_lock, take_flush_lock
from postbus.imap_sync.state.store import AccountGone, Fenced, SyncStore
from postbus.imap_sync.tuning import Tuning

log = structlog.get_logger()

PLACEMENT = "imap-sync"
PARALLEL_STOPS = 64
BROKEN_RECORD = (ValueError, KeyError)  # of an account; pydantic's and the enum's errors are ValueErrors


@dataclass(slots=True)
class _Partition:
    epoch: int
    subscription: Subscription


class _Locks:
    """A lock for each account that is being started or stopped; kept as long as somebody holds it or waits for it."""

    def __init__(self) -> None:
        self._locks: dict[str, asyncio.Lock] = {}
        self._users: Counter[str] = Counter()

    @asynccontextmanager
    async def of(self, token: str) -> AsyncIterator[None]:
        self._users[token] += 1
        try:
            async with self._locks.setdefault(token, asyncio.Lock()):
                yield
        finally:
            self._users[token] -= 1
            if not self._users[token]:
                del self._users[token], self._locks[token]


class Worker:
    """Runs the accounts of the partitions it holds."""

    def __init__(self, parts: Parts, tuning: Tuning | None = None) -> None:
        self._parts = parts
        self._tuning = tuning or Tuning()
        self._store = SyncStore(parts.redis)
        self._connector = Connector(parts, self._tuning)
        self._dispatcher = Dispatcher(parts.bus, self._is_sure, self._session_of, self._reconnect, self._flush)
        self._partitions: dict[int, _Partition] = {}
        self._fresh: set[int] = set()
        self._wake = asyncio.Event()
        self._locks = _Locks()
        self._tasks: set[asyncio.Task[None]] = set()
        self.runners: dict[str, AccountRunner] = {}
        self.placement = Placement(
            redis=parts.redis,
            name=PLACEMENT,
            worker=parts.worker,
            partitions=ids.PARTITIONS,
            on_claim=self._on_claim,
            on_release=self._on_release,
            announce=self._announce,
        )

    async def serve(self) -> None:
        """Take part until cancelled; then hand everything over."""
        nc = self._parts.bus.nc
        subscriptions = [
            await nc.subscribe(commands.ACCOUNTS_CHANGED, cb=self._on_account_hint),
            await nc.subscribe(commands.PLACEMENT_CHANGED, cb=self._on_placement_hint),
        ]
        working = [asyncio.create_task(self.placement.run()), asyncio.create_task(self._keep_scanning())]
        try:
            done, _ = await asyncio.wait(working, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()  # it never ends by itself: this raises what went wrong
        finally:
            for subscription in subscriptions:
                await _unsubscribe(subscription)
            await self.placement.stop()
            await end_tasks([*working, *self._tasks], limit_s=self._tuning.release_s)
            await self._connector.sanitiser.close()

    # partitions

    async def _on_claim(self, partition: int, epoch: int) -> None:
        subscription = await rpc.serve_messages(self._parts.bus, f"ee.rpc.{partition}.*", self._dispatcher.answer)
        self._partitions[partition] = _Partition(epoch, subscription)
        self._fresh.add(partition)
        self._wake.set()

    async def _on_release(self, partition: int) -> None:
        held = self._partitions.pop(partition, None)
        self._fresh.discard(partition)
        if held is not None:
            await _unsubscribe(held.subscription)
        await self._stop_all([token for token, runner in self.runners.items() if runner.partition == partition])

    def _is_sure(self) -> bool:
        """Whether no other worker can have claimed our accounts. Without the store, or after a pause, nobody knows."""
        return self.placement.sure

    async def _announce(self) -> None:
        await self._parts.bus.say(commands.PLACEMENT_CHANGED)

    async def _on_placement_hint(self, _: Msg) -> None:
        self.placement.changed.set()

    # accounts

    async def _keep_scanning(self) -> None:
        while True:
            whole = not self._wake.is_set()
            self._wake.clear()
            try:
                await self._scan(whole=whole)
            except Unavailable as error:
                log.warning("accounts can't be read", reason=error.message)
                await asyncio.sleep(1.0)
                self._wake.set()
                continue
            try:
                async with asyncio.timeout(self._tuning.rescan_s * random.uniform(0.8, 1.2)):  # noqa: S311
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _scan(self, *, whole: bool) -> None:
        """Start what should run in partitions just claimed; with `whole`, check all others too."""
        partitions = set(self._partitions) if whole else set(self._fresh)
        found = {ids.account_token(account): account for account in await accounts_in(self._parts.redis, partitions)}
        missing = [account for token, account in found.items() if token not in self.runners]
        spread_s = len(missing) / self._tuning.starts_per_s if len(missing) > 1 else 0.0
        for account in await self._load(missing):
            async with self._locks.of(account.token):
                self._start(account, random.uniform(0.0, spread_s))  # noqa: S311
        self._fresh -= partitions
        if whole:
            await self._check_running(found.keys())

    async def _load(self, accounts: Sequence[str]) -> list[Account]:
        """These accounts. One whose record can't be read stops no other."""
        try:
            return await self._parts.accounts.many(accounts)
        except BROKEN_RECORD:
            found = []
        for account in accounts:
            try:
                found += await self._parts.accounts.many([account])
            except BROKEN_RECORD:
                log.exception("account not readable", account=ids.account_token(account))
        return found

    async def _check_running(self, found: Iterable[str]) -> None:
        known = set(found)
        running = [token for token, runner in self.runners.items() if runner.partition in self._partitions]
        for token, revision in zip(running, await revisions(self._parts.redis, running), strict=True):
            runner = self.runners.get(token)
            if runner is not None and (token not in known or revision != runner.revision):
                await self._refresh_safely(token)

    async def _on_account_hint(self, message: Msg) -> None:
        token = message.data.decode("utf-8", "replace")
        if ids.partition_of(token) in self._partitions:
            self._keep(self._refresh_safely(token))

    async def _refresh_safely(self, token: str) -> None:
        try:
            await self._refresh(token)
        except Unavailable as error:
            log.warning("account can't be read", account=token, reason=error.message)
        except BROKEN_RECORD:
            log.exception("account not readable", account=token)

    async def _refresh(self, token: str) -> None:
        """Make what runs agree with what is stored: start, stop, start again; else try to connect at once."""
        async with self._locks.of(token):
            account = await self._parts.accounts.find(token)  # under the lock: of two hints the later one counts
            runner = self.runners.get(token)
            wanted = None if account is None else (str(account.generation), account.revision)
            if runner is not None and runner.revision == wanted:
                runner.session.reconnect()
                return
            await self._stop(token)
            if account is not None:
                self._start(account)

    async def _reconnect(self, token: str) -> None:
        """Drop the connections of an account and start it again."""
        async with self._locks.of(token):
            account = await self._parts.accounts.find(token)
            if account is None:
                raise _unknown_account()
            await self._stop(token)
            self._start(account)

    async def _flush(self, command: commands.FlushAccount) -> None:
        """Stop an account, forget its index, start it again. Others are flushed once its mailboxes are indexed."""
        redis, token = self._parts.redis, ids.account_token(command.account)
        async with self._locks.of(token):
            account = await self._parts.accounts.get(command.account)
            if (held := self._partitions.get(ids.partition_of(token))) is None:
                raise rpc.NotOwner("the account is run by another worker")
            await take_flush_lock(redis, command.flush_id)
            await self._stop(token)
            try:
                await flush_account(redis, self._parts.accounts, command, held.epoch)
            except (Fenced, AccountGone) as error:
                raise rpc.NotOwner(error.message) from error
            finally:
                self._start(await self._parts.accounts.get(command.account))
                self._keep(self._end_flush(token, command.flush_id, syncs=account.record.syncs))

    async def _end_flush(self, token: str, flush_id: str, *, syncs: bool) -> None:
        """Let others flush once all mailboxes are indexed again; after a while they may in any case."""
        runner = self.runners.get(token)
        if runner is not None and syncs:
            try:
                async with asyncio.timeout(LEASE_S):
                    await runner.session.ready.wait()
            except TimeoutError:
                return
        try:
            await give_flush_lock(self._parts.redis, flush_id)
        except Unavailable as error:
            log.warning("flush not ended", account=token, reason=error.message)

    async def _session_of(self, account: str) -> AccountSession:
        """The session of an account by its id. NotFound when there is none, NotOwner when it is not ours."""
        token = ids.account_token(account)
        runner = self.runners.get(token)
        if runner is None:
            async with self._locks.of(token):
                self._start(await self._parts.accounts.get(account))
            runner = self.runners.get(token)
        if runner is None:
            raise rpc.NotOwner("the account is run by another worker")
        if runner.session.account.record.account != account:
            raise _unknown_account()
        return runner.session

    def _start(self, account: Account, delay_s: float = 0.0) -> None:
        held = self._partitions.get(ids.partition_of(account.token))
        if held is None or account.token in self.runners:
            return
        runner = AccountRunner(account, held.epoch, self._store, self._connector, self._tuning, self._on_ended)
        self.runners[account.token] = runner
        runner.start(delay_s)

    async def _stop(self, token: str) -> None:
        if (runner := self.runners.pop(token, None)) is not None:
            await runner.stop()

    async def _stop_all(self, tokens: Iterable[str]) -> None:
        room = asyncio.Semaphore(PARALLEL_STOPS)

        async def stop(token: str) -> None:
            async with room, self._locks.of(token):
                await self._stop(token)

        await asyncio.gather(*(stop(token) for token in tokens))

    def _on_ended(self, runner: AccountRunner) -> None:
        """The account is gone or another worker's: forget it; the next scan sees what is true."""
        if self.runners.get(runner.token) is runner:
            del self.runners[runner.token]
            self._keep(runner.stop())

    def _keep(self, work: Coroutine[None, None, None]) -> None:
        """Do something beside; it ends with the worker at the latest."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _unknown_account() -> NotFound:
    return NotFound("Account record was not found for requested ID", code="AccountNotFound")


async def _unsubscribe(subscription: Subscription) -> None:
    try:
        await subscription.unsubscribe()
    except nats.errors.Error:
        return  # the connection is closed, and the subscription with it
