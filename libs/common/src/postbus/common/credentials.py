"""Who logs in at a mail server: opened here, in the process that needs it, and never sent anywhere.

Passwords of the record lie sealed in the account. Those of an account with `use_auth_server` are fetched by `auth`,
which leaves them sealed in the store for a short while; the answer on the bus says only that they are there.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol as Interface

import msgspec
from redis.asyncio import Redis

from postbus.common import commands
from postbus.common.accounts import Account, Protocol
from postbus.common.bus import rpc
from postbus.common.bus.connection import Bus
from postbus.common.errors import AuthenticationFailed, Unavailable
from postbus.common.secrets import Secrets
from postbus.common.store import keys
from postbus.common.store.client import as_text, store_errors

CREDENTIALS_LIFE_S = 60  # of fetched ones: they are asked for anew before each login
ENSURE_DEADLINE_S = 20.0


@dataclass(frozen=True, slots=True)
class Credentials:
    """A user and either a password (may be empty) or an OAuth2 access token."""

    user: str
    password: str | None = field(default=None, repr=False)
    access_token: str | None = field(default=None, repr=False)


class CredentialParts(Interface):
    """What loading needs; `postbus.common.service.Parts` has it."""

    @property
    def bus(self) -> Bus:
        """The bus."""

    @property
    def redis(self) -> Redis:
        """The store."""

    @property
    def secrets(self) -> Secrets:
        """The keys."""


async def load_credentials(
    parts: CredentialParts, account: Account, proto: Protocol, *, deadline_s: float = ENSURE_DEADLINE_S
) -> Credentials | None:
    """The credentials for one side of an account; None where nobody logs in.

    AuthenticationFailed and ConnectFailed as the auth server caused them, SecretUnreadable, Unavailable.
    """
    server = account.record.server(proto)
    if server is None:
        return None
    if server.use_auth_server:
        return await _fetched(parts, account, proto, deadline_s)
    if server.user is None:
        return None
    password = await _opened(parts.secrets, account, f"{proto}.pass")
    token = await _opened(parts.secrets, account, f"{proto}.accessToken")
    if password is None and token is None:
        raise AuthenticationFailed("No password or access token is stored for this account", code="ENOAUTH")
    return Credentials(server.user, None if token else password, token)


def seal_fetched(secrets: Secrets, account: str, proto: Protocol, credentials: Credentials) -> str:
    """Fetched credentials as they lie in the store."""
    return secrets.seal(msgspec.json.encode(credentials).decode(), account=account, field=_field(proto))


async def _fetched(parts: CredentialParts, account: Account, proto: Protocol, deadline_s: float) -> Credentials:
    request = commands.EnsureCredentials(account=account.record.account, proto=proto)
    await rpc.call(parts.bus, commands.auth_subject("ensure"), request, deadline_s=deadline_s)
    async with store_errors():
        sealed = await parts.redis.get(keys.credentials(account.token, proto))
    if sealed is None:
        raise Unavailable("the fetched credentials are not in the store any more", code="CredentialsGone")
    plain = await parts.secrets.open(as_text(sealed), account=account.record.account, field=_field(proto))
    return msgspec.json.decode(plain, type=Credentials)


async def _opened(secrets: Secrets, account: Account, name: str) -> str | None:
    sealed = account.sealed.get(name)
    return None if sealed is None else await secrets.open(sealed, account=account.record.account, field=name)


def _field(proto: Protocol) -> str:
    return f"credentials.{proto}"
