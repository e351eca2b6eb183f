"""What others ask of this service, by request and reply (`postbus.common.commands`)."""

from __future__ import annotations

from dataclasses import dataclass

import httpx
import structlog
from pydantic import ValidationError

from postbus.auth.auth_server import CODE, fetch_credentials
from postbus.common import credentials, ids
from postbus.common.commands import EnsureCredentials
from postbus.common.errors import AuthenticationFailed, BadInput
from postbus.common.service import Parts
from postbus.common.store import keys
from postbus.common.store.client import store_errors

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Handlers:
    """The handlers and what they work with. Errors go back to who asked."""

    parts: Parts
    client: httpx.AsyncClient

    async def on_ensure(self, payload: bytes) -> bytes:
        """Fetch the credentials of an account and leave them sealed in the store; the answer is `{}`.

        AuthenticationFailed, ConnectFailed, Unavailable without store or keys, BadInput for what is no such command.
        """
        try:
            command = EnsureCredentials.model_validate_json(payload)
        except ValidationError as error:
            raise BadInput("not an `ensure` command") from error
        auth_server = self.parts.settings.current.auth_server
        if not auth_server:
            raise AuthenticationFailed("The setting authServer is not set", code=CODE)
        fetched = await fetch_credentials(self.client, auth_server, command.account, command.proto)
        sealed = credentials.seal_fetched(self.parts.secrets, command.account, command.proto, fetched)
        key = keys.credentials(ids.account_token(command.account), command.proto)
        async with store_errors():
            await self.parts.redis.set(key, sealed, ex=credentials.CREDENTIALS_LIFE_S)
        log.debug("credentials fetched", account=ids.account_token(command.account), proto=command.proto)
        return b"{}"
