"""One account in the hands of its owner: connected, watched, brought back after every failure; and open to commands.

The watching connection belongs to the sync alone. Commands and downloads have connections of their own, so neither
waits for the other.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import replace

import structlog

from postbus.common.account_log import AccountLog
from postbus.common.accounts import Account, AccountState, MailboxRecord, names
from postbus.common.bus.connection import Bus
from postbus.common.errors import AuthenticationFailed, ConnectionLost, DeadlineExceeded, PostbusError, Unavailable
from postbus.imap_sync.backoff import Fault
from postbus.imap_sync.connecting import Connector
from postbus.imap_sync.connection import DroppedAtOnce, ImapConnection
from postbus.imap_sync.late_mail import LateMail
from postbus.imap_sync.new_mail import NewMail
from postbus.imap_sync.pool import ConnectionPool
from postbus.imap_sync.profiles import Profile
from postbus.imap_sync.sanitiser import Sanitiser
from postbus.imap_sync.state.commit import Commit
from postbus.imap_sync.state.live import LiveAccount
from postbus.imap_sync.state.store import AccountGone, Fenced, StateConflict
from postbus.imap_sync.states import States, not_usable
from postbus.imap_sync.subconnections import Subconnections, dump_disabled, plan_subconnections
from postbus.imap_sync.tuning import Tuning
from postbus.imap_sync.watch import Pushes, Watcher

log = structlog.get_logger()

LONGEST_STORE_RETRY_S = 10.0  # a worker has thousands of accounts that all ask whether the store is back

RELIST_S = 3.0  # who changed a mailbox waits no longer for the listing; it comes all the same

_UNUSABLE = (
    AccountState.AUTHENTICATION_ERROR,
    AccountState.CONNECT_ERROR,
    AccountState.UNSET,
    AccountState.PAUSED,
)


class AccountSession:
    """Keeps one account connected (`run`), and is what operations see of it."""

    def __init__(self, live: LiveAccount, connector: Connector, tuning: Tuning) -> None:
        self._live = live
        self._connector = connector
        self._tuning = tuning
        self.log = self._account_log()
        self._states = States(live, self.log)
        self._backoff = tuning.backoff()
        self._budget = connector.budget(live.account)
        self._subconnections = Subconnections(self._open_watching, self._budget.closed, self.poke, tuning.backoff)
        self._new_mail = NewMail(lambda: connector.parts.settings.current, connector.sanitiser)
        self._late = LateMail()
        self._since: float | None = None  # time of the loop at which we were let in
        self._again = asyncio.Event()
        self._delayed = False  # by the start of many accounts at once
        self._wanted = False
        self._loaded = asyncio.Event()
        self._known = asyncio.Event()  # which mailboxes there are, or that this can't be told
        self.ready = asyncio.Event()  # all mailboxes were looked at once
        self._watcher: Watcher | None = None
        self._commands: ConnectionPool | None = None
        self._transfers: ConnectionPool | None = None

    def _account_log(self) -> AccountLog:
        """The log of the account; on and off as the settings say at the moment."""
        record, settings = self.account.record, self._connector.parts.settings
        account_log = AccountLog(
            self._connector.parts.redis,
            self._live.token,
            lambda: settings.current.log_lines(record.account, wanted=record.logs),
        )
        self._live.log = account_log
        self._connector.follow(self._live.token, account_log)
        return account_log

    # what operations see

    @property
    def connections(self) -> int:
        """How many connections to the mail server are open."""
        return self._connector.connections(self._live.token)

    @property
    def account(self) -> Account:
        """The current record and state."""
        return self._live.account

    @property
    def bus(self) -> Bus:
        """The connection to NATS."""
        return self._connector.parts.bus

    @property
    def sanitiser(self) -> Sanitiser:
        """What makes HTML safe, for all accounts of the worker."""
        return self._connector.sanitiser

    @property
    def is_gmail(self) -> bool:
        """Whether the server is Gmail and shows All Mail."""
        return self._watcher is not None and self._watcher.gmail

    def mailbox(self, path: str) -> MailboxRecord | None:
        """The mailbox of a path, of `inbox` in any case, or of an alias such as `\\Sent`."""
        if (found := self._live.mailbox(path)) is not None:
            return found
        if path.upper() == "INBOX":
            return self._live.mailbox("INBOX")
        return self.special(path) if path.startswith("\\") else None

    def mailbox_by_number(self, number: int) -> MailboxRecord | None:
        """The mailbox of a number; None where that belongs to another UIDVALIDITY or path by now."""
        return next((row for row in self._live.mailboxes() if row.number == number), None) if number else None

    def special(self, use: str) -> MailboxRecord | None:
        """The mailbox with a special use, in any case."""
        wanted = use.lower()
        return next((row for row in self._live.mailboxes() if (row.special_use or "").lower() == wanted), None)

    def command(
        self, path: str | None = None, *, read_only: bool = True, deadline_s: float
    ) -> AbstractAsyncContextManager[ImapConnection]:
        """A connection for a short command, with the mailbox selected.

        AccountNotUsable with the state when the account can't be used; DeadlineExceeded when none gets free.
        """
        if self._commands is None:
            limit, warm_s = self._tuning.commands, self._tuning.warm_s
            self._commands = ConnectionPool(self._open, self._budget, limit=limit, warm_s=warm_s)
        return self._usable(self._commands, path, read_only=read_only, deadline_s=deadline_s)

    def transfer(self, path: str, *, deadline_s: float) -> AbstractAsyncContextManager[ImapConnection]:
        """A connection for a download, with the mailbox selected; errors as `command`."""
        if self._transfers is None:
            limit, warm_s = self._tuning.transfers, self._tuning.warm_s
            connect, budget = self._open_transfer, self._budget
            self._transfers = ConnectionPool(connect, budget, limit=limit, warm_s=warm_s, spares_last=True)
        return self._usable(self._transfers, path, read_only=True, deadline_s=deadline_s)

    def poke(self, path: str) -> None:
        """Look at this mailbox soon."""
        if self._watcher is not None:
            self._watcher.poke(path)

    async def relist(self) -> None:
        """List the mailboxes now, as we changed them; returns when the stored listing is current, or after a while."""
        if self._watcher is not None:
            await self._watcher.relist(RELIST_S)

    def resync(self) -> None:
        """Look at everything soon, as if nothing were known for sure; connect now where that is still to be done."""
        if self._watcher is not None:
            self._watcher.resync()
        else:
            self.reconnect()

    async def usable(self, limit_s: float) -> None:
        """Wait until it is known which mailboxes a new account has. AccountNotUsable where no command can work."""
        hopeful = self.account.record.syncs and self.account.state not in _UNUSABLE
        if hopeful and not self._live.rows:
            with suppress(TimeoutError):
                async with asyncio.timeout(limit_s):
                    await self._known.wait()
        self.check_usable()

    def check_usable(self) -> None:
        """AccountNotUsable where no command can work now."""
        if not self.account.record.syncs or self.account.state in _UNUSABLE or not self._live.rows:
            raise not_usable(self.account)

    @asynccontextmanager
    async def _usable(
        self, pool: ConnectionPool, path: str | None, *, read_only: bool, deadline_s: float
    ) -> AsyncIterator[ImapConnection]:
        self.check_usable()
        async with pool.lease(path, read_only=read_only, deadline_s=deadline_s) as connection:
            yield connection

    async def _open(self) -> ImapConnection:
        account = self.account
        return await self._connector.connect(account, await self._connector.credentials(account))

    async def _open_transfer(self) -> ImapConnection:
        """One that carries much: compressed where that saves something."""
        connection = await self._open()
        try:
            await connection.compress()
        except BaseException:
            connection.abort()
            raise
        return connection

    # what keeps it connected

    async def run(self, delay_s: float = 0.0) -> None:
        """Keep the account connected until cancelled, the first time after a delay.

        Raises Fenced and AccountGone when it is not ours any more.
        """
        self._states.show()
        while True:
            delay_s = await self._live_once(delay_s)
            await self._wait(delay_s)
            delay_s = 0.0

    async def loaded(self, limit_s: float) -> None:
        """Wait until the stored state is known: commands may come the moment the account is ours."""
        try:
            async with asyncio.timeout(limit_s):
                await self._loaded.wait()
        except TimeoutError as error:
            raise not_usable(self.account) from error

    def reconnect(self) -> None:
        """Do not wait any longer."""
        self._backoff.reset()
        self._again.set()

    def wake(self) -> None:
        """Somebody asks for the account: it starts ahead of those that nobody asked for, if it has not done so."""
        if not self.ready.is_set():
            self._wanted = True
            if self._delayed:
                self._again.set()

    def close(self) -> None:
        """Close the connections for commands; `run` has been cancelled before."""
        for pool in (self._commands, self._transfers):
            if pool is not None:
                pool.close()
        self._states.close()
        self._connector.forget(self._live.token, self.log)

    async def _live_once(self, delay_s: float) -> float:
        """One attempt and the life that follows; returns how many seconds to wait before the next one."""
        self._since = None
        try:
            await self._live.load()
            self._loaded.set()
            if not self.account.record.syncs:
                await self._states.unset()
                changed = asyncio.get_running_loop().create_future()  # then another session takes over
                await changed
            if not self._wanted:
                self._delayed = True
                await self._wait(delay_s)
                self._delayed = False
            await self._connect_and_watch()
        except (Fenced, AccountGone):
            raise
        except AuthenticationFailed as error:
            await self._note(self._states.refused(error))
            return self._tell_attempt(error, self._backoff.next_s(Fault.REFUSED))
        except (Unavailable, StateConflict) as error:
            log.warning("account waits", account=self._live.token, reason=error.message)
            return random.uniform(0.0, self._tuning.first_backoff_s)  # noqa: S311
        except (ConnectionLost, DeadlineExceeded) as error:
            log.info("connection lost", account=self._live.token, reason=error.message)
            await self._note(self._states.disconnected(error))
            return self._tell_attempt(error, self._backoff.next_s(Fault.DROPPED, lived_s=self._lived_s()))
        except DroppedAtOnce as error:
            await self._note(self._states.unreachable(error))
            return self._tell_attempt(error, self._backoff.next_s(Fault.DROPPED))
        except PostbusError as error:
            await self._note(self._states.unreachable(error))
            asked_s = float(error.details.get("backoff_s") or 0.0)
            fault = Fault.AWAY if self._since is None else Fault.BROKEN
            return self._tell_attempt(error, self._backoff.next_s(fault, lived_s=self._lived_s(), at_least_s=asked_s))
        raise AssertionError("watching ends with an error only")

    def _tell_attempt(self, error: PostbusError, delay_s: float) -> float:
        """Tell in the log of the account how an attempt ended; returns after how many seconds the next one is due."""
        words = None if isinstance(error, AuthenticationFailed) else error.message  # they may repeat the login's
        self.log.add("account", event="attempt ended", code=error.code, text=words, nextAttemptMs=int(delay_s * 1000))
        return delay_s

    def _lived_s(self) -> float:
        """How long the session lived, from the login on."""
        return 0.0 if self._since is None else asyncio.get_running_loop().time() - self._since

    async def _connect_and_watch(self) -> None:
        """Connect, catch up, watch; ends with an error only."""
        await self._states.connecting()
        account = self.account
        credentials = await self._connector.credentials(account)
        pushes = Pushes()
        connection = await self._connector.connect(account, credentials, on_event=pushes.note, urgent=self._wanted)
        self._since = asyncio.get_running_loop().time()
        try:
            while True:
                await self._watch(connection, credentials.user if credentials else "", pushes)
                await self._reload()
        finally:
            self._watcher = None
            connection.abort()
            await self._subconnections.end(self._tuning.release_s)

    async def _watch(self, connection: ImapConnection, user: str, pushes: Pushes) -> None:
        """Catch up and watch. Returns when the store is away: that is no reason to drop the connection."""
        try:
            if self.account.state not in (AccountState.SYNCING, AccountState.CONNECTED):
                await self._states.authenticated(user)
            self._watcher = Watcher(
                self._live, connection, self._new_mail, self._late, pushes, self._tuning, self._on_changes
            )
            self._watcher.on_listed = self._keep_subconnections
            await self._watcher.catch_up()
            await self._states.connected()
            self.ready.set()
            self._wanted = False
            self._backoff.settled()
            await self._watcher.run()
        except Unavailable as error:
            log.warning("account waits", account=self._live.token, reason=error.message)

    async def _reload(self) -> None:
        """Wait for the store and read what it holds: the state in memory may be ahead of it."""
        longest_s = self._tuning.first_backoff_s
        while True:
            await self._wait(random.uniform(0.0, longest_s))  # noqa: S311
            try:
                return await self._live.load()
            except Unavailable:
                longest_s = min(longest_s * 2, LONGEST_STORE_RETRY_S)

    async def _note(self, step: Coroutine[None, None, None]) -> None:
        """Store a state; while the store is away the attempts go on all the same."""
        try:
            await step
        except (Unavailable, StateConflict) as error:
            log.warning("state not stored", account=self._live.token, reason=error.message)
        self._known.set()

    async def _wait(self, seconds: float) -> None:
        if seconds <= 0:
            return
        self._again.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._again.wait()
        except TimeoutError:
            return

    async def _keep_subconnections(self, synced: Sequence[MailboxRecord], profile: Profile) -> None:
        """Once it is known which mailboxes there are: those that were asked for get a connection of their own."""
        self._known.set()
        account = self.account
        await self._live.note_missing(self._missing_name())
        wanted, noted = account.record.subconnections, account.disabled_subconnections
        rows, limit = list(self._live.mailboxes()) if wanted else [], profile.connections
        plan = plan_subconnections(wanted, rows, synced, gmail=self.is_gmail, connections=limit)
        if plan.disabled != noted:
            await self._live.commit(Commit(fields={"subconnections": dump_disabled(plan.disabled)}))
            self._live.account = replace(self._live.account, disabled_subconnections=plan.disabled)
        self._budget.account.limit = limit - 1 - len(plan.paths)
        self._subconnections.keep(plan.paths)

    def _missing_name(self) -> str | None:
        """The first name in `path` of the account that is no mailbox: what nobody watches looks healthy otherwise."""
        chosen = self.account.record.path
        if "*" in chosen:
            return None
        rows = list(self._live.mailboxes())
        return next((name for name in chosen if not any(names(name, row.path, row.special_use) for row in rows)), None)

    async def _open_watching(self, on_event: Callable[[str], None]) -> ImapConnection:
        async def connect() -> ImapConnection:
            account = self.account
            credentials = await self._connector.credentials(account)
            return await self._connector.connect(account, credentials, on_event=on_event)

        return await self._budget.open_watching(connect)

    def _on_changes(self) -> None:
        """The mailboxes are not what idle connections for commands think they are."""
        if self._commands is not None:
            self._commands.expire()
