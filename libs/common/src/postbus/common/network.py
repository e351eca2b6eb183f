"""Which way connections to mail servers go: through a proxy, or from an address of ours (contract, section 31)."""

from __future__ import annotations

from typing import Protocol as Interface

from postbus.common.accounts import Account
from postbus.common.proxies import Proxy, parse_proxy
from postbus.common.secrets import Secrets
from postbus.common.store.settings import SettingsCache

PROXY_SECRET = "proxy"  # noqa: S105 - the name under which the URL of an account's proxy is sealed


class NetworkParts(Interface):
    """What choosing a way needs; `postbus.common.service.Parts` has it."""

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
    url = own or parts.settings.current.effective_proxy
    return parse_proxy(url) if url else None
