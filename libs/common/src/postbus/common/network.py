"""Which way connections to mail servers go: through a proxy, or from an address of ours (contract, section 31)."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Protocol as Interface

from postbus.common.accounts import Account
from postbus.common.config import Config
from postbus.common.config_values import LocalAddress
from postbus.common.proxies import Proxy, parse_proxy
from postbus.common.secrets import Secrets
from postbus.common.store.settings import SettingsCache

PROXY_SECRET = "proxy"  # noqa: S105 - the name under which the URL of an account's proxy is sealed


class NetworkParts(Interface):
    """What choosing a way needs; `postbus.common.service.Parts` has it."""

    @property
    def config(self) -> Config:
        """The configuration."""

    @property
    def secrets(self) -> Secrets:
        """The keys."""

    @property
    def settings(self) -> SettingsCache:
        """The settings."""


async def load_proxy(parts: NetworkParts, account: Account) -> Proxy | None:
    """The proxy of an account: its own, else the global one, else none. SecretUnreadable, KeysUnavailable."""
    own = account.record.proxy
    sealed = account.sealed.get(PROXY_SECRET)
    if own and sealed:
        own = await parts.secrets.open(sealed, account=account.record.account, field=PROXY_SECRET)
    return choose_proxy(parts, own)


def choose_proxy(parts: NetworkParts, *urls: str | None) -> Proxy | None:
    """The first of these proxies that somebody named, else the global one, else none."""
    url = next(filter(None, urls), None) or parts.settings.current.effective_proxy
    return parse_proxy(url) if url else None


def choose_local_address(addresses: Sequence[LocalAddress]) -> LocalAddress | None:
    """One of these, at random; None when the system chooses."""
    return random.choice(addresses) if addresses else None  # noqa: S311 - spreads load, no secret
