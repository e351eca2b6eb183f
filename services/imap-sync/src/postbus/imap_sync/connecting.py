"""From an account's record to a connection that is logged in, with the logins to one host limited."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

from postbus.common.account_log import AccountLog
from postbus.common.accounts import Account, ImapSettings
from postbus.common.credentials import Credentials, load_credentials
from postbus.common.errors import AuthenticationFailed, ConnectFailed
from postbus.common.network import choose_local_address, load_proxy
from postbus.common.proxies import Proxy
from postbus.common.service import Parts
from postbus.imap_sync.budget import Budget, Slots
from postbus.imap_sync.connection import Endpoint, ImapConnection, open_connection
from postbus.imap_sync.profiles import profile_of_host
from postbus.imap_sync.sanitiser import Sanitiser
from postbus.imap_sync.trace import ConnectionTrace
from postbus.imap_sync.tuning import Tuning

LEFT_FOR_COMMANDS = 3  # of the logins to a host at the same time


class LoginRefused(AuthenticationFailed):
    """The credentials could not be had, or the server refused them."""


@dataclass(slots=True)
class Connector:
    """Connects accounts of one worker, and holds what they share."""

    parts: Parts
    tuning: Tuning
    hosts: dict[str, asyncio.Semaphore] = field(default_factory=dict)
    watching: dict[str, asyncio.Semaphore] = field(default_factory=dict)
    sanitiser: Sanitiser = field(default_factory=Sanitiser)
    slots: dict[str, Slots] = field(default_factory=dict)
    logs: dict[str, AccountLog] = field(default_factory=dict)
    _opened: dict[str, list[weakref.ref[ImapConnection]]] = field(default_factory=dict)

    def budget(self, account: Account) -> Budget:
        """The connections of an account for commands and downloads, one being left to the watching connection."""
        host = _host_of(account)
        profile = profile_of_host(host)
        shared = self.slots.setdefault(host, Slots(profile.host_connections))
        return Budget(Slots(profile.connections - 1), shared)

    async def credentials(self, account: Account) -> Credentials | None:
        """Who logs in. LoginRefused when the authentication server is away or says no."""
        try:
            return await load_credentials(self.parts, account, "imap")
        except (AuthenticationFailed, ConnectFailed) as error:
            raise LoginRefused(error.message, code=error.code) from error

    async def connect(
        self,
        account: Account,
        credentials: Credentials | None,
        *,
        on_event: Callable[[str], None] | None = None,
        urgent: bool = False,
    ) -> ImapConnection:
        """Connect and log in; `on_event` is for connections that watch, which wait for each other unless `urgent`.

        LoginRefused, ConnectFailed, ProtocolError.
        """
        async with self._turn(account, watching=on_event is not None and not urgent):
            try:
                endpoint = await self._endpoint(account)
                account_log = self.logs.get(account.token)
                trace = ConnectionTrace(account_log, "watch" if on_event else "command") if account_log else None
                connection = await open_connection(
                    endpoint, credentials, on_event=on_event, deadline_s=self.tuning.connect_s, trace=trace
                )
                self._count(account.token, connection)
                return connection
            except AuthenticationFailed as error:
                raise LoginRefused(error.message, code=error.code, **error.details) from error

    def connections(self, token: str) -> int:
        """How many connections of an account are open."""
        return len(self._open_ones(token))

    def follow(self, token: str, account_log: AccountLog) -> None:
        """Tell this log what happens on the connections of an account."""
        self.logs[token] = account_log

    def forget(self, token: str, account_log: AccountLog) -> None:
        """The account is somebody else's business, unless it has been started again."""
        if self.logs.get(token) is account_log:
            del self.logs[token]
            self._opened.pop(token, None)

    def _count(self, token: str, connection: ImapConnection) -> None:
        self._opened[token] = [*self._open_ones(token), weakref.ref(connection)]

    def _open_ones(self, token: str) -> list[weakref.ref[ImapConnection]]:
        return [ref for ref in self._opened.get(token, ()) if (one := ref()) is not None and not one.closed]

    async def _endpoint(self, account: Account) -> Endpoint:
        imap = account.record.imap
        assert imap is not None, "an account without IMAP is never connected"
        return endpoint_of(self.parts, imap, account.token, await load_proxy(self.parts, account))

    @asynccontextmanager
    async def _turn(self, account: Account, *, watching: bool) -> AsyncIterator[None]:
        """Keep the limit of logins to a host: providers refuse who comes with a hundred at once.

        Some are left for commands: while a thousand accounts start, somebody waits for the answer of one.
        """
        host = _host_of(account)
        limit = min(self.tuning.logins_per_host, profile_of_host(host).logins)
        ahead = self.watching.setdefault(host, asyncio.Semaphore(max(limit - LEFT_FOR_COMMANDS, limit // 2, 1)))
        async with AsyncExitStack() as stack:
            if watching:
                await stack.enter_async_context(ahead)
            await stack.enter_async_context(self.hosts.setdefault(host, asyncio.Semaphore(limit)))
            yield


def endpoint_of(parts: Parts, imap: ImapSettings, login: str, proxy: Proxy | None) -> Endpoint:
    """Where and how to connect, with what the settings say; `login` is whose connection it is."""
    local = choose_local_address(parts, "imap", login)
    return Endpoint(
        host=imap.host,
        port=imap.port,
        secure=imap.secure,
        tls=imap.tls,
        ignore_cert_errors=bool(parts.settings.current.ignore_mail_cert_errors),
        local_address=local.ip if local else None,
        proxy=proxy,
    )


def _host_of(account: Account) -> str:
    return account.record.imap.host.lower() if account.record.imap else ""
