"""Where an event goes: the account's own target, else that of the settings; decided when it is sent, not before.

Accounts are read from the store once per burst, not once per event: a copy lives for ten seconds, or until somebody
says that the account changed.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from dataclasses import dataclass

import structlog

from postbus.common.errors import Unavailable
from postbus.common.service_settings import ServiceSettings
from postbus.common.store.accounts import AccountStore
from postbus.common.store.settings import SettingsCache

log = structlog.get_logger()

ACCOUNT_LIFE_S = 10.0
MAX_ACCOUNTS = 10_000
STORE_RETRY_S = 0.5
UNREADABLE_RETRY_S = 10.0


@dataclass(frozen=True, slots=True)
class Target:
    """Where to post, and what to add: custom headers, the global ones first."""

    url: str
    headers: tuple[tuple[str, str], ...]
    service_url: str | None
    secret: str | None


@dataclass(frozen=True, slots=True)
class AccountTarget:
    """What of an account matters here. The last known values stay when it is deleted."""

    exists: bool
    url: str | None = None
    headers: tuple[tuple[str, str], ...] = ()


class Targets:
    """Answers where an event goes right now."""

    def __init__(self, accounts: AccountStore, settings: SettingsCache) -> None:
        self._accounts = accounts
        self._settings = settings
        self._known: OrderedDict[str, tuple[AccountTarget, float]] = OrderedDict()
        self._changes = 0

    def forget(self, token: str) -> None:
        """The account changed: read it again before the next event."""
        self._changes += 1
        if token in self._known:
            self._known[token] = (self._known[token][0], 0.0)

    async def find(self, token: str, event: str) -> Target | None:
        """The target of an event, None where nobody wants it; waits while it can't be read."""
        settings = self._settings.current
        if settings.webhooks_enabled is False or not settings.wants_event(event):
            return None
        account = await self._account(token)
        if not account.exists and event != "accountDeleted":
            return None
        return choose_target(self._settings.current, account)

    async def _account(self, token: str) -> AccountTarget:
        while True:
            known, until = self._known.get(token, (None, 0.0))
            if known is not None and time.monotonic() < until:
                return known
            try:
                return await self._read(token, known)
            except Unavailable as error:
                log.warning("account can't be read", account=token, error=error.message)
                await asyncio.sleep(STORE_RETRY_S)
            except (ValueError, KeyError) as error:  # a broken record: its events wait, those of others do not
                log.error("account not readable", account=token, error=type(error).__name__)
                await asyncio.sleep(UNREADABLE_RETRY_S)

    async def _read(self, token: str, before: AccountTarget | None) -> AccountTarget:
        changes = self._changes
        found = await self._accounts.find(token)
        if found is None:
            account = AccountTarget(False, before.url if before else None, before.headers if before else ())
        else:
            headers = tuple((header.key, header.value) for header in found.record.webhooks_custom_headers)
            account = AccountTarget(True, found.record.webhooks or None, headers)
        if changes == self._changes:
            self._known[token] = (account, time.monotonic() + ACCOUNT_LIFE_S)
            self._known.move_to_end(token)
            if len(self._known) > MAX_ACCOUNTS:
                self._known.popitem(last=False)
        return account


def choose_target(settings: ServiceSettings, account: AccountTarget) -> Target | None:
    """The account's own target replaces that of the settings; the custom headers of both are sent."""
    url = account.url or settings.webhooks
    if not url or settings.webhooks_enabled is False:
        return None
    common = tuple((header.key, header.value) for header in settings.webhooks_custom_headers or ())
    return Target(url, (*common, *account.headers), settings.service_url, settings.service_secret)
