"""The state of an account as everybody sees it: each step is committed, and told where somebody waits for it."""

from __future__ import annotations

from dataclasses import replace

import structlog

from postbus.common import metrics
from postbus.common.account_log import AccountLog
from postbus.common.accounts import Account, AccountState, LastError
from postbus.common.errors import AccountNotUsable, PostbusError
from postbus.common.events import (
    AccountInitialized,
    AuthenticationError,
    AuthenticationSuccess,
    ConnectError,
    Event,
    InitializedInfo,
    LoginErrorInfo,
    LoginInfo,
)
from postbus.common.times import iso, now
from postbus.imap_sync.state.commit import Commit
from postbus.imap_sync.state.live import LiveAccount

log = structlog.get_logger()

MAX_RESPONSE_CHARS = 1024  # of a server's words

_FAILED = (AccountState.AUTHENTICATION_ERROR, AccountState.CONNECT_ERROR)


class States:
    """Moves one account from state to state."""

    def __init__(self, live: LiveAccount, account_log: AccountLog) -> None:
        self._live = live
        self._log = account_log
        self._shown: AccountState | None = None

    @property
    def state(self) -> AccountState:
        """The state now."""
        return self._live.account.state

    def show(self) -> None:
        """Count the account under its state, once it is ours."""
        self._count(self._live.account.state)

    def close(self) -> None:
        """The account is somebody else's business now."""
        self._count(None)

    async def connecting(self) -> None:
        """An attempt starts; an error stays visible until it is over."""
        if self.state not in (*_FAILED, AccountState.CONNECTING):
            await self._move(AccountState.CONNECTING)

    async def authenticated(self, user: str) -> None:
        """The server let us in: tell of the first time, and of the first time after an error."""
        account = self._live.account
        event = AuthenticationSuccess(account=account.record.account, data=LoginInfo(user=user))
        told = not account.connected_before or self.state in _FAILED
        await self._move(AccountState.SYNCING, event if told else None, last_error=None)

    async def connected(self) -> None:
        """The first pass over all mailboxes is done; the very first time that is told."""
        account = self._live.account
        if self.state is AccountState.CONNECTED:
            return
        event = AccountInitialized(account=account.record.account, data=InitializedInfo())
        first = not account.connected_before
        await self._move(AccountState.CONNECTED, event if first else None, connected_before=True)

    async def disconnected(self, error: PostbusError) -> None:
        """The connection was lost. What the server said then is kept until it lets us in again."""
        if self.state in (AccountState.CONNECTED, AccountState.SYNCING):
            await self._move(AccountState.DISCONNECTED, last_error=_last_error(error))

    async def unset(self) -> None:
        """There is nothing to connect to."""
        if self.state is not AccountState.UNSET:
            await self._move(AccountState.UNSET)

    async def refused(self, error: PostbusError) -> None:
        """Login was refused."""
        await self._failed(AccountState.AUTHENTICATION_ERROR, AuthenticationError, error)

    async def unreachable(self, error: PostbusError) -> None:
        """Connecting failed, or the server can't be worked with."""
        await self._failed(AccountState.CONNECT_ERROR, ConnectError, error)

    async def _failed(
        self, state: AccountState, kind: type[AuthenticationError] | type[ConnectError], error: PostbusError
    ) -> None:
        """Only the first of a run of equal errors is stored and told."""
        account = self._live.account
        last = _last_error(error)
        if self.state is state and account.last_error and account.last_error.server_response_code == error.code:
            return
        log.info("account not connected", account=account.token, state=state.value, code=error.code)
        info = LoginErrorInfo(response=last.response, server_response_code=last.server_response_code)
        await self._move(state, kind(account=account.record.account, data=info), last_error=last)

    async def _move(
        self,
        state: AccountState,
        event: Event | None = None,
        *,
        last_error: LastError | bool | None = True,
        connected_before: bool = False,
    ) -> None:
        """`last_error` True keeps it. What makes the event one of its own is its time and the state it led from."""
        account = self._live.account
        before = account.state
        fields: dict[str, str | None] = {"state": state.value}
        if not isinstance(last_error, bool):
            fields["lastError"] = last_error.model_dump_json(by_alias=True) if last_error else None
            account = replace(account, last_error=last_error)
        if connected_before:
            fields["connectedBefore"] = "1"
            account = replace(account, connected_before=True)
        events = [self._live.seal(event, iso(now()), before.value)] if event else []
        code = last_error.server_response_code if isinstance(last_error, LastError) else None
        self._log.add("account", event="state", state=state.value, before=before.value, code=code)
        await self._live.commit(Commit(events=events, fields=fields))
        self._live.account = replace(account, state=state)
        self._count(state)

    def _count(self, state: AccountState | None) -> None:
        if self._shown is not None:
            metrics.IMAP_CONNECTIONS.labels(self._shown.value).dec()
        if state is not None:
            metrics.IMAP_CONNECTIONS.labels(state.value).inc()
        self._shown = state


def _last_error(error: PostbusError) -> LastError:
    """The server's words as they are stored: text, however it comes (trap: an object)."""
    said = error.details.get("alert")
    return LastError(
        response=error.message[:MAX_RESPONSE_CHARS],
        server_response_code=str(error.code),
        description=str(said)[:MAX_RESPONSE_CHARS] if said else None,
    )


def not_usable(account: Account) -> AccountNotUsable:
    """The error for who wants something of an account that can't work now (contract, section 2)."""
    codes = {
        AccountState.AUTHENTICATION_ERROR: "AuthenticationFails",
        AccountState.CONNECT_ERROR: "ConnectionError",
        AccountState.UNSET: "NoAvailable",
        AccountState.PAUSED: "NoAvailable",
        AccountState.DISCONNECTED: "NoAvailable",
    }
    code = codes.get(account.state, "NotYetConnected")
    return AccountNotUsable("The account is not connected", code=code, state=account.state.value)
