"""Reads one secret from Vault or OpenBao: AppRole login, KV engine of version 2, tokens kept alive or replaced.

hvac waits in its calls, so it has a thread of its own. Facts measured with hvac 2.4 and OpenBao 2.7: a denied path and
an expired token are both Forbidden, a sealed server is VaultDown, an unreachable one is an error of `requests`, which
is an OSError, and a token at its maximum life can't be renewed.
"""

from __future__ import annotations

import asyncio
import json
import math
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import hvac
from hvac.exceptions import Forbidden, InvalidPath, InvalidRequest, Unauthorized, UnexpectedError, VaultDown, VaultError
from pydantic import SecretStr

from postbus.common import metrics
from postbus.common.secrets.errors import KeysUnavailable, SecretsState

TIMEOUT_S = 3  # of each request
RENEW_AFTER = 2 / 3  # of the life of a token


@dataclass(frozen=True, slots=True)
class VaultLogin:
    """Which secret, and who reads it. `path` is `secret/data/a/b` (mount `secret`) or the same without `data`."""

    address: str
    role_id: str
    secret_id: SecretStr
    path: str
    key: str

    @property
    def mount_and_path(self) -> tuple[str, str]:
        """The mount of the engine and the path in it."""
        whole = self.path.strip("/").removeprefix("v1/")
        mount, data, path = whole.partition("/data/")
        if not data:
            mount, _, path = whole.partition("/")
        return mount, path


class VaultReader:
    """Reads the secret again and again with one login."""

    def __init__(self, login: VaultLogin) -> None:
        self._login = login
        # An empty token keeps hvac from taking one of VAULT_TOKEN or the home directory.
        self._client = hvac.Client(url=login.address, token="", timeout=TIMEOUT_S)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="vault")
        self._renew_at = 0.0  # time.monotonic()

    async def read(self) -> str:
        """The value at the key, a JSON object as its text; KeysUnavailable with the reason otherwise."""
        try:
            value = await asyncio.get_running_loop().run_in_executor(self._thread, self._read)
        except KeysUnavailable:
            metrics.report_vault(up=False)
            raise
        metrics.report_vault(up=True)
        return value

    def _read(self) -> str:
        try:
            self._keep_token()
            return self._value(self._read_secret())
        except (VaultError, OSError) as error:
            raise self._unavailable(error) from error

    def _keep_token(self) -> None:
        if not self._client.token:
            self._log_in()
        elif time.monotonic() >= self._renew_at:
            try:
                self._adopt(self._client.auth.token.renew_self())
            except (Forbidden, InvalidRequest):  # expired, or not renewable
                self._log_in()

    def _log_in(self) -> None:
        self._client.token = ""
        secret_id = self._login.secret_id.get_secret_value()
        try:
            self._adopt(self._client.auth.approle.login(self._login.role_id, secret_id))
        except (InvalidRequest, InvalidPath, Forbidden, Unauthorized) as error:
            reason = "Vault does not accept VAULT_ROLE_ID and VAULT_SECRET_ID at auth/approle"
            raise KeysUnavailable(SecretsState.LOGIN_FAILED, reason) from error

    def _adopt(self, answer: object) -> None:
        """Take a token and plan its renewal; a life of 0 is one without end."""
        match answer:
            case {"auth": {"client_token": str(token), "lease_duration": int(life)}}:
                self._client.token = token
                self._renew_at = time.monotonic() + life * RENEW_AFTER if life else math.inf
            case _:
                raise UnexpectedError("not an answer of Vault")

    def _read_secret(self) -> object:
        try:
            return self._ask()
        except Forbidden:  # an expired token, or a path this role may not read: a new login tells them apart
            self._log_in()
            return self._ask()

    def _ask(self) -> object:
        mount, path = self._login.mount_and_path
        kv = self._client.secrets.kv.v2
        return kv.read_secret_version(path=path, mount_point=mount, raise_on_deleted_version=True)

    def _value(self, answer: object) -> str:
        match answer:
            case {"data": {"data": {**entries}}}:
                value = entries.get(self._login.key)
            case _:
                raise UnexpectedError("not an answer of a KV engine of version 2")
        if value is None:
            reason = f"the secret at {self._login.path} in Vault has no key {self._login.key}"
            raise KeysUnavailable(SecretsState.KEY_MISSING, reason)
        return value if isinstance(value, str) else json.dumps(value)

    def _unavailable(self, error: Exception) -> KeysUnavailable:
        """The reason in our words: Vault's own would repeat its address."""
        match error:
            case Forbidden():
                state, reason = SecretsState.PERMISSION_DENIED, f"the role may not read {self._login.path} in Vault"
            case InvalidPath():
                state, reason = SecretsState.PATH_MISSING, f"there is no secret at {self._login.path} in Vault"
            case VaultDown():
                state, reason = SecretsState.VAULT_SEALED, "Vault is sealed"
            case _:
                state, reason = SecretsState.VAULT_DOWN, f"Vault can't be reached ({type(error).__name__})"
        return KeysUnavailable(state, reason)
