"""Which way connections to mail servers go: through a proxy, or from an address of ours (contract, section 31)."""

from __future__ import annotations

import random
import socket
from typing import Protocol as Interface

from postbus.common import ids
from postbus.common.accounts import Account, Protocol
from postbus.common.config import Config
from postbus.common.config_values import LocalAddress
from postbus.common.proxies import Proxy, parse_proxy
from postbus.common.secrets import Secrets
from postbus.common.store.settings import SettingsCache

PROXY_SECRET = "proxy"  # noqa: S105 - the name under which the URL of an account's proxy is sealed
_SUBMISSION = "submission.proxy"


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


async def load_proxy(parts: NetworkParts, account: Account, *, asked: str | None = None) -> Proxy | None:
    """The proxy of an account: its own, else the global one, else none. SecretUnreadable, KeysUnavailable.

    `asked` is that of a submission, sealed; it goes before all others.
    """
    if asked is not None:
        return parse_proxy(await parts.secrets.open(asked, account=account.record.account, field=_SUBMISSION))
    own = account.record.proxy
    sealed = account.sealed.get(PROXY_SECRET)
    if own and sealed:
        own = await parts.secrets.open(sealed, account=account.record.account, field=PROXY_SECRET)
    return choose_proxy(parts, own)


def seal_asked_proxy(secrets: Secrets, account: str, url: str) -> str:
    """The proxy of a submission as it may travel."""
    return secrets.seal(url, account=account, field=_SUBMISSION)


def choose_proxy(parts: NetworkParts, *urls: str | None) -> Proxy | None:
    """The first of these proxies that somebody named, else the global one, else none."""
    url = next(filter(None, urls), None) or parts.settings.current.effective_proxy
    return parse_proxy(url) if url else None


def choose_local_address(
    parts: NetworkParts, proto: Protocol, login: str, *, wish: str | None = None
) -> LocalAddress | None:
    """The address of ours to connect from; None when the system chooses. `login` is whose connection it is.

    `wish` counts where it is one of the candidates. `default` draws one of the configured addresses; the other
    strategies look at the setting `localAddresses` first: `random` draws anew each time, `dedicated` keeps to one.
    """
    settings, configured = parts.settings.current, parts.config.local_addresses
    strategy = settings.imap_strategy if proto == "imap" else settings.smtp_strategy
    named = {address.ip: address for address in configured}
    chosen = [named.get(ip, LocalAddress(ip)) for ip in settings.local_addresses or () if is_ours(ip)]
    if wish is not None and (asked := next((one for one in (*configured, *chosen) if one.ip == wish), None)):
        return asked
    candidates = configured if strategy in (None, "default") else chosen or configured
    if not candidates:
        return None
    if strategy == "dedicated":  # by the highest hash: another address moves the fewest of them
        return max(candidates, key=lambda one: ids.fnv1a32(f"{one.ip}|{login}"))
    return random.choice(candidates)  # noqa: S311 - spreads load, no secret


def is_ours(ip: str) -> bool:
    """Whether an interface of this machine has this address, so that connections may start from it."""
    with socket.socket(socket.AF_INET6 if ":" in ip else socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((ip, 0))
        except OSError:
            return False
    return True
